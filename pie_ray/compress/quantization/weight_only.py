"""Weights alone in 8 or 4 bits: a smaller file, computed in float32 with the rounded weights.

Symmetric for each output channel: integers in -127..127 or -7..7 (and not -8, which would have no counterpart) times
the channel's scale. Two integers of 4 bits lie in one byte of the checkpoint.
"""

from __future__ import annotations

import copy
from typing import final

import torch
from torch import Tensor, nn

from .levels import by_channel, quantize_weight
from .network import (
    QuantizableLayer,
    QuantizedNetwork,
    load_state,
    portable,
    quantizable_layers,
    replace_layers,
    require_finite,
)


def encode(num_bits: int, network: nn.Module, calibration_images: Tensor) -> dict[str, Tensor]:
    """Quantize the weights; the calibration images play no part."""
    del calibration_images
    network = copy.deepcopy(network)
    stored = {layer: StoredLayer(layer, num_bits) for _, layer in quantizable_layers(network)}
    for name, layer in quantizable_layers(network):
        stored[layer].store(name, layer)
    replace_layers(network, stored)
    return portable(network.state_dict())


def decode(num_bits: int, skeleton: nn.Module, state: dict[str, Tensor]) -> QuantizedNetwork:
    network = copy.deepcopy(skeleton).eval()
    stored = {layer: StoredLayer(layer, num_bits) for _, layer in quantizable_layers(network)}
    replace_layers(network, stored)
    load_state(network, state)
    for layer, kept in stored.items():
        kept.restore(layer)
    replace_layers(network, {kept: layer for layer, kept in stored.items()})
    return QuantizedNetwork(network=network, state=state, arithmetic="native")


@final
class StoredLayer(nn.Module):
    """A Conv2d or Linear as the checkpoint has it."""

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor | None

    def __init__(self, source: QuantizableLayer, num_bits: int) -> None:
        """Shape the buffers after `source`; their values come from `store` or a state."""
        super().__init__()
        self.num_bits = num_bits
        zeros = torch.zeros_like(source.weight, dtype=torch.int8)
        self.register_buffer("weight", pack_pairs(zeros) if num_bits == 4 else zeros)
        self.register_buffer("weight_scale", torch.ones(len(source.weight), device=source.weight.device))
        self.register_buffer("bias", None if source.bias is None else source.bias.detach().clone())

    def store(self, name: str, source: QuantizableLayer) -> None:
        integers, self.weight_scale = quantize_weight(source.weight.detach(), self.num_bits)
        require_finite(self.weight_scale, f"the weights of {name} are")
        self.weight = pack_pairs(integers) if self.num_bits == 4 else integers

    @torch.no_grad()
    def restore(self, layer: QuantizableLayer) -> None:
        shape = layer.weight.shape
        integers = unpack_pairs(self.weight, shape) if self.num_bits == 4 else self.weight
        layer.weight.copy_(integers * by_channel(self.weight_scale, len(shape)))
        if layer.bias is not None and self.bias is not None:
            layer.bias.copy_(self.bias)


def pack_pairs(integers: Tensor) -> Tensor:
    """Integers in -8..7 of any shape, as bytes of two each, the first in the lower half; an odd one is filled up."""
    halves = (integers.flatten() & 0xF).to(torch.uint8)
    if len(halves) % 2:
        halves = torch.cat([halves, halves.new_zeros(1)])
    return halves[0::2] | (halves[1::2] << 4)


def unpack_pairs(packed: Tensor, shape: torch.Size) -> Tensor:
    """`pack_pairs` undone, int8."""
    halves = torch.stack([packed & 0xF, packed >> 4], dim=1).flatten()[: shape.numel()].to(torch.int8)
    return torch.where(halves > 7, halves - 16, halves).view(shape)
