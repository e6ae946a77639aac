"""A member as a file that predicts elsewhere, with the predictions that were audited: `pie-ray export`.

    data = FORMATS["onnx"].to_bytes(member)
    predict = FORMATS["onnx"].open(data, source="network.onnx")
    logits = predict(images)     # uint8 [n, channels, height, width] -> float32 [n, outputs]

The room `export` is another: it hands lists of PIEs to people and tools.
"""

from .agreement import Agreement, compare, tolerance_of
from .formats import FORMATS, Format
from .member import PortableMember
from .onnx_file import missing_libraries
from .safetensors_file import load_safetensors

__all__ = [
    "FORMATS",
    "Agreement",
    "Format",
    "PortableMember",
    "compare",
    "load_safetensors",
    "missing_libraries",
    "tolerance_of",
]
