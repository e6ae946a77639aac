"""Quantization of a trained float32 network, from its parent's checkpoint: as it is, or trained on for it.

Every Conv2d and Linear is covered, the first and the last included; everything else stays float32:

    float16       weights and biases stored in float16, computed in float32 (as TFLite's float16 does on a CPU)
    bfloat16      the same in bfloat16
    dynamic_int8  int8 weights; inputs in 256 levels between the smallest and the largest value of each image
    static_int8   int8 weights; inputs in 256 levels between the extremes seen on the calibration images
    weight_int8   int8 weights, computed in float32
    weight_int4   4-bit weights, computed in float32

The int8 layers are ours, over the oneDNN kernels that torch registers for its own compiler. Of the library routes, PT2E
with torch.compile is faster but compiles each member for seconds, and again for a batch of one; torch.ao's FX mode is
deprecated; neither quantizes convolutions dynamically, nor restores a network without tracing it anew.

    quantized = quantize(network, "static_int8", calibration_images=images[:100])
    logits = quantized.forward(batch)
    same = restore(skeleton, "static_int8", quantized.state)     # the same logits, bit for bit
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from ...config import QuantizationScheme
from ...errors import InputError
from ...records import QuantizationFacts
from ..fit import AfterStep, Fit
from . import aware, floats, int8, weight_only
from .as_floats import as_floats
from .network import QuantizedNetwork, Quantizer, describe_coverage

__all__ = [
    "QUANTIZERS",
    "QuantizedNetwork",
    "Quantizer",
    "as_floats",
    "describe",
    "quantize",
    "quantize_aware",
    "restore",
]


def _weight_only(num_bits: int) -> Quantizer:
    return Quantizer(
        encode=partial(weight_only.encode, num_bits),
        decode=partial(weight_only.decode, num_bits),
        weight_bits=num_bits,
        weight_granularity="channel",
        prepare_training=partial(aware.prepare_weight_only, num_bits),
    )


QUANTIZERS: dict[str, Quantizer] = {
    "float16": Quantizer(encode=partial(floats.encode, torch.float16), decode=floats.decode, weight_bits=16),
    "bfloat16": Quantizer(encode=partial(floats.encode, torch.bfloat16), decode=floats.decode, weight_bits=16),
    "dynamic_int8": Quantizer(
        encode=int8.encode_dynamic,
        decode=int8.decode_dynamic,
        weight_bits=8,
        weight_granularity="channel",
        input_bits=8,
        input_granularity="image",
        prepare_training=aware.prepare_dynamic_int8,
    ),
    "static_int8": Quantizer(
        encode=int8.encode_static,
        decode=int8.decode_static,
        weight_bits=8,
        weight_granularity="channel",
        input_bits=8,
        input_granularity="tensor",
        looks_at_images=True,
        prepare_training=aware.prepare_static_int8,
    ),
    "weight_int8": _weight_only(8),
    "weight_int4": _weight_only(4),
}


def quantize(network: nn.Module, scheme: QuantizationScheme, *, calibration_images: Tensor) -> QuantizedNetwork:
    """Quantize a trained network, leaving it as it is.

    Args:
        network: on the device where the quantized one is to run.
        calibration_images: [n, C, H, W], normalised like all inputs; only `static_int8` looks at them, in one pass.
    """
    # Decoding what was encoded makes a restored network the same network by construction.
    return restore(network, scheme, _quantizer(scheme).encode(network, calibration_images))


def quantize_aware(
    network: nn.Module, scheme: QuantizationScheme, fit: Fit, *, calibration_images: Tensor, after_step: AfterStep
) -> QuantizedNetwork:
    """Train a network on with the scheme's rounding in it, and quantize it then.

    Args:
        network: trained in place: its own layers hold the weights in floating point that were rounded in the end.
        calibration_images: as in `quantize`; the ranges of `static_int8` begin there.
        after_step: called after each step of the optimizer; what it does to the network's parameters holds.
    """
    quantizer = _quantizer(scheme)
    if quantizer.prepare_training is None:
        raise InputError(f"quantization scheme {scheme!r} has no rounding to train with")
    encode = quantizer.prepare_training(network, calibration_images)
    fit(network, after_step=after_step)
    return quantizer.decode(network, encode())


def describe(network: nn.Module, scheme: QuantizationScheme, *, num_calibration_images: int) -> QuantizationFacts:
    """What the scheme rounds of a network that is not quantized, and on how many images it is calibrated."""
    return describe_coverage(network, _quantizer(scheme), num_calibration_images)


def restore(skeleton: nn.Module, scheme: QuantizationScheme, state: dict[str, Tensor]) -> QuantizedNetwork:
    """Rebuild a quantized network from its state; of the skeleton only the architecture and the device count."""
    return _quantizer(scheme).decode(skeleton, state)


def _quantizer(scheme: str) -> Quantizer:
    if scheme not in QUANTIZERS:
        raise InputError(f"unknown quantization scheme {scheme!r}: accepted are {', '.join(QUANTIZERS)}")
    return QUANTIZERS[scheme]
