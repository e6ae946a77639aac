"""What every quantization scheme takes and gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CompressionError, StoreError
from ...records import Arithmetic, Granularity, QuantizationFacts

QuantizableLayer = nn.Conv2d | nn.Linear


@dataclass(frozen=True)
class QuantizedNetwork:
    network: nn.Module
    """In eval mode; of plain layers where the arithmetic is `native`."""
    state: dict[str, Tensor]
    """What goes on disk: contiguous tensors on the CPU that share no memory."""
    arithmetic: Arithmetic

    @property
    def forward(self) -> Callable[[Tensor], Tensor]:
        """Float32 images [n, C, H, W] to float32 logits [n, classes], for any n; no image depends on its batch."""
        return in_float32(self.network)


Encode = Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class Quantizer:
    """One scheme in two halves: a trained network to a state, and a state to a network that runs."""

    encode: Callable[[nn.Module, Tensor], dict[str, Tensor]]
    """Of a network and the calibration images; leaves the network as it is."""
    decode: Callable[[nn.Module, dict[str, Tensor]], QuantizedNetwork]
    """Of a network of the same architecture, and a state."""
    weight_bits: int
    weight_granularity: Granularity = "none"
    input_bits: int = 32
    input_granularity: Granularity = "none"
    looks_at_images: bool = False
    """Whether `encode` looks at the calibration images."""
    prepare_training: Callable[[nn.Module, Tensor], Encode] | None = None
    """Puts the rounding into a network that is trained then. What it returns takes the rounding out and encodes."""


def quantizable_layers(network: nn.Module) -> list[tuple[str, QuantizableLayer]]:
    """Every plain Conv2d and Linear with its name.

    Subclasses are left alone: what they do with their weight is theirs (the output projection of torch's attention, a
    standardised convolution). A network without a single plain layer is an error, not an unchanged network.
    """
    layers = [
        (name, module)
        for name, module in network.named_modules()
        if name and (type(module) is nn.Conv2d or type(module) is nn.Linear)
    ]
    if not layers:
        raise CompressionError("nothing to quantize: the network contains no plain nn.Conv2d or nn.Linear")
    return layers


def describe_coverage(network: nn.Module, quantizer: Quantizer, num_calibration_images: int) -> QuantizationFacts:
    """What a scheme rounds of a plain network."""
    layers = dict(quantizable_layers(network))
    num_covered = sum(_num_covered(layer, quantizer) for layer in layers.values())
    not_covered: Counter[str] = Counter()
    for module in network.modules():
        num_own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if num_own and module not in layers.values():
            not_covered[type(module).__name__] += num_own
    return QuantizationFacts(
        weight_bits=quantizer.weight_bits,
        weight_granularity=quantizer.weight_granularity,
        input_bits=quantizer.input_bits,
        input_granularity=quantizer.input_granularity,
        covered=tuple(layers),
        covered_fraction=num_covered / sum(parameter.numel() for parameter in network.parameters()),
        not_covered=dict(sorted(not_covered.items())),
        calibration_images=(0, num_calibration_images) if quantizer.looks_at_images else None,
    )


def _num_covered(layer: QuantizableLayer, quantizer: Quantizer) -> int:
    """Integer schemes leave biases in float32."""
    covered = layer.parameters() if quantizer.weight_bits == 16 else [layer.weight]
    return sum(parameter.numel() for parameter in covered)


def replace_layers(network: nn.Module, replacements: Mapping[Any, nn.Module]) -> None:
    """Replace in place; a layer that stands in several places by one and the same."""
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in replacements:
                setattr(parent, name, replacements[child])


def require_finite(values: Tensor, what: str) -> None:
    if not bool(torch.isfinite(values).all()):
        raise CompressionError(f"cannot quantize: {what} not finite")


def load_state(network: nn.Module, state: dict[str, Tensor]) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise StoreError(f"the quantized checkpoint does not fit this network and scheme: {error}") from error


def portable(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that safetensors accepts: on the CPU, contiguous, none sharing memory with another."""
    return {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}


def in_float32(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Run the network without gradients, and in float32 even where the caller autocasts the other members."""

    def forward(images: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            logits: Tensor = network(images)
        return logits

    return forward
