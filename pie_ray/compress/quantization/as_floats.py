"""A quantized network as plain float layers that hold the rounded weights: what has gradients, or goes elsewhere."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from .int8_layer import Int8Layer
from .levels import by_channel
from .network import load_state


def as_floats(network: nn.Module, skeleton: nn.Module) -> tuple[nn.Module, bool]:
    """A copy of `skeleton` with the network's weights, rounded as they are, and whether its inputs lost their rounding.

    Of int8 layers it is the weights times their scales; what they do to their inputs is left out. In eval mode.
    """
    layers = {
        name: module for name, module in network.named_modules(remove_duplicate=False) if isinstance(module, Int8Layer)
    }
    state = dict(network.state_dict())
    for name, layer in layers.items():
        for buffer in ("weight_scale", "input_scale", "input_zero_point"):
            state.pop(f"{name}.{buffer}", None)
        state[f"{name}.weight"] = _rounded(layer)
    floats = copy.deepcopy(skeleton).eval()
    load_state(floats, state)
    return floats, bool(layers)


def _rounded(layer: Int8Layer) -> Tensor:
    return layer.weight.float() * by_channel(layer.weight_scale, layer.weight.dim())
