"""The formats, by the name that `--format` has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .member import PortableMember
from .onnx_file import onnx_bytes, open_onnx
from .predicting import Predict
from .safetensors_file import open_safetensors, safetensors_bytes
from .torchscript_file import open_torchscript, torchscript_bytes


class Open(Protocol):
    def __call__(self, data: bytes, *, source: str) -> Predict: ...


@dataclass(frozen=True)
class Format:
    suffix: str
    to_bytes: Callable[[PortableMember], bytes]
    open: Open
    """What predicts with a file's bytes: to check them."""
    opened_by: str
    opened_with: tuple[str, ...] = ()
    """Libraries that opening needs and pie_ray itself does not."""


FORMATS = {
    "onnx": Format(".onnx", onnx_bytes, open_onnx, "ONNX Runtime", ("onnxruntime",)),
    "torchscript": Format(".pt", torchscript_bytes, open_torchscript, "torch.jit"),
    "safetensors": Format(".safetensors", safetensors_bytes, open_safetensors, "pie_ray"),
}
