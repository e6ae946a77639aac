"""A member as ONNX: the only home of onnx and of torch's exporter to it.

The graph takes `images`, uint8 [n, channels, height, width], and gives `logits`, float32 [n, outputs].
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import torch
from torch import nn

from .. import __version__
from ..compress.quantization.weight_only import pack_pairs
from ..errors import InputError, ModelError
from ..onnx_runtime import open_session
from .layers import add_as_onnx_integers
from .member import INPUT, OUTPUT, PortableMember
from .predicting import Predict

OPSET = 21
"""The first with integers of 4 bits."""


def onnx_bytes(member: PortableMember) -> bytes:
    """The file's bytes.

    Raises InputError where `pie_ray[onnx]` is not installed, ModelError for a network that cannot be exported.
    """
    if missing := missing_libraries("onnx", "onnxscript"):
        raise InputError(
            f"--format onnx: {' and '.join(missing)} cannot be imported; `pip install 'pie_ray[onnx]'` installs "
            "them, and --format torchscript and safetensors need neither"
        )
    network = member.stored_network()
    add_as_onnx_integers(network)
    graph = _exported(member.from_pixels(network), member)
    _leave_out_origins(graph)
    if member.scheme == "weight_int4":
        _store_four_bits(graph)
    graph.producer_name, graph.producer_version = "pie_ray", __version__
    for name, text in member.metadata.items():
        graph.metadata_props.add(key=name, value=text)
    return bytes(graph.SerializeToString())


def open_onnx(data: bytes, *, source: str) -> Predict:
    """Raises ModelError where ONNX Runtime is absent, or refuses the file."""
    session = open_session(data, source=source, num_threads=torch.get_num_threads())
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]


def missing_libraries(*names: str) -> list[str]:
    """Those that cannot be imported."""
    missing = []
    for name in names:
        try:
            import_module(name)
        except ImportError:
            missing.append(name)
    return missing


def _exported(network: nn.Module, member: PortableMember) -> Any:
    """The `onnx.ModelProto`."""
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (member.example(),),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={INPUT: {0: "n"}},
                opset_version=OPSET,
                # It would fold the stored weights into float32 ones; ONNX Runtime does so when it opens the file.
                optimize=False,
                verbose=False,
            )
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"--format onnx: torch.onnx cannot follow the network ({reason}); "
            "accepted for any network are --format torchscript and safetensors"
        ) from error
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings and progress."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _leave_out_origins(graph: Any) -> None:
    """What the exporter says of each node: stack traces with this machine's paths, larger than a small network."""
    parts = graph.graph
    for node in parts.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*parts.input, *parts.output, *parts.initializer):
        del value.metadata_props[:]
    del parts.value_info[:], parts.metadata_props[:]


def _store_four_bits(graph: Any) -> None:
    """Two of the integers of 4 bits in one byte; ONNX, too, has the first in the lower half."""
    from onnx import TensorProto, helper, numpy_helper

    for tensor in graph.graph.initializer:
        if tensor.data_type == TensorProto.INT8:
            integers = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            packed = pack_pairs(integers).numpy().tobytes()
            tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.INT4, tensor.dims, packed, raw=True))
