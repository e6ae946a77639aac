"""Float16 storage: the weights and biases of convolutions and linear layers rounded to float16.

The processor computes with the rounded weights in float32, as TFLite does when a float16 network runs on a CPU; batch
norm's parameters and statistics stay float32, which keeps them out of float16's narrow range.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from .network import QuantizedNetwork, load_state, portable, quantizable_layers, require_finite


def encode(network: nn.Module, calibration_images: Tensor) -> dict[str, Tensor]:
    """Round what is covered; the calibration images play no part."""
    del calibration_images
    network = copy.deepcopy(network)
    for name, layer in quantizable_layers(network):
        for parameter in layer.half().parameters():
            require_finite(parameter, f"the weights of {name}, rounded to float16, are")
    return portable(network.state_dict())


def decode(skeleton: nn.Module, state: dict[str, Tensor]) -> QuantizedNetwork:
    network = copy.deepcopy(skeleton).eval()
    load_state(network, state)
    return QuantizedNetwork(network=network, state=state, arithmetic="native")
