"""What every quantization scheme takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import CompressionError, StoreError
from ...records import Arithmetic

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


@dataclass(frozen=True)
class Quantizer:
    """One scheme in two halves: a trained network to a state, and a state to a network that runs."""

    encode: Callable[[nn.Module, Tensor], dict[str, Tensor]]
    decode: Callable[[nn.Module, dict[str, Tensor]], QuantizedNetwork]


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
