"""16-bit storage: the weights and biases of convolutions and linear layers rounded to float16 or bfloat16.

The processor computes with the rounded weights in float32, as TFLite does when a float16 network runs on a CPU; batch
norm's parameters and statistics stay float32, which keeps them out of float16's narrow range. float16 has 11
significant bits up to 65,504; bfloat16 has 8 in float32's range.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .network import QuantizedNetwork, load_state, portable, quantizable_layers, require_finite


def encode(dtype: torch.dtype, network: nn.Module, calibration_images: Tensor) -> dict[str, Tensor]:
    """Round what is covered; the calibration images play no part."""
    del calibration_images
    network = copy.deepcopy(network)
    for name, layer in quantizable_layers(network):
        for parameter in layer.to(dtype).parameters():
            require_finite(parameter, f"the weights of {name}, rounded to {str(dtype).removeprefix('torch.')}, are")
    return portable(network.state_dict())


def decode(skeleton: nn.Module, state: dict[str, Tensor]) -> QuantizedNetwork:
    network = copy.deepcopy(skeleton).eval()
    load_state(network, state)
    return QuantizedNetwork(network=network, state=state, arithmetic="native")
