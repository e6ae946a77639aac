"""ONNX files opened to predict: the only home of ONNX Runtime, which is there with `pie_ray[onnx]`."""

from __future__ import annotations

from typing import Any

from .errors import ModelError

_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""In this order, those that the installed ONNX Runtime has."""

_ERRORS_ALONE = 3


def open_session(network: str | bytes, *, source: str, num_threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` of a file's path or bytes; on a GPU where ONNX Runtime has one.

    Raises ModelError, naming `source`, where ONNX Runtime is absent, or refuses the network.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"{source}: ONNX networks are opened by ONNX Runtime, which is not installed; "
            "`pip install 'pie_ray[onnx]'` does"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ALONE
    providers = [name for name in _PROVIDERS if name in onnxruntime.get_available_providers()]
    # Its errors have no common class of their own.
    try:
        return onnxruntime.InferenceSession(network, options, providers=providers)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{source}: ONNX Runtime cannot open it: {reason}; accepted is a whole .onnx file") from error
