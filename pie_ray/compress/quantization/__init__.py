"""Post-training quantization of a trained float32 network, from its parent's checkpoint and never retrained.

Every Conv2d and Linear is covered, the first and the last included; everything else stays float32:

    float16       weights and biases stored in float16, computed in float32 (as TFLite's float16 does on a CPU)
    dynamic_int8  int8 weights; inputs in 256 levels between the smallest and the largest value of each image
    static_int8   int8 weights; inputs in 256 levels between the extremes seen on the calibration images

The int8 layers are ours, over the oneDNN kernels that torch registers for its own compiler. Of the library routes, PT2E
with torch.compile is faster but compiles each member for seconds, and again for a batch of one; torch.ao's FX mode is
deprecated; neither quantizes convolutions dynamically, nor restores a network without tracing it anew.

    quantized = quantize(network, "static_int8", calibration_images=images[:100])
    logits = quantized.forward(batch)
    same = restore(skeleton, "static_int8", quantized.state)     # the same logits, bit for bit
"""

from __future__ import annotations

from torch import Tensor, nn

from ...config import QuantizationScheme
from ...errors import InputError
from . import float16, int8
from .aware import quantize_aware
from .network import QuantizedNetwork, Quantizer

__all__ = ["QUANTIZERS", "QuantizedNetwork", "Quantizer", "quantize", "quantize_aware", "restore"]

QUANTIZERS: dict[str, Quantizer] = {
    "float16": Quantizer(encode=float16.encode, decode=float16.decode),
    "dynamic_int8": Quantizer(encode=int8.encode_dynamic, decode=int8.decode_dynamic),
    "static_int8": Quantizer(encode=int8.encode_static, decode=int8.decode_static),
}


def quantize(network: nn.Module, scheme: QuantizationScheme, *, calibration_images: Tensor) -> QuantizedNetwork:
    """Quantize a trained network, leaving it as it is.

    Args:
        network: on the device where the quantized one is to run.
        calibration_images: [n, C, H, W], normalised like all inputs; only `static_int8` looks at them, in one pass.
    """
    # Decoding what was encoded makes a restored network the same network by construction.
    return restore(network, scheme, _quantizer(scheme).encode(network, calibration_images))


def restore(skeleton: nn.Module, scheme: QuantizationScheme, state: dict[str, Tensor]) -> QuantizedNetwork:
    """Rebuild a quantized network from its state; of the skeleton only the architecture and the device count."""
    return _quantizer(scheme).decode(skeleton, state)


def _quantizer(scheme: str) -> Quantizer:
    if scheme not in QUANTIZERS:
        raise InputError(f"unknown quantization scheme {scheme!r}: accepted are {', '.join(QUANTIZERS)}")
    return QUANTIZERS[scheme]
