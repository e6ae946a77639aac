"""Static and dynamic int8: every Conv2d and Linear replaced by an `Int8Layer`, calibrated or not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from .int8_kernels import kernels_are_exact
from .int8_layer import Int8Layer
from .network import (
    QuantizableLayer,
    QuantizedNetwork,
    in_float32,
    load_state,
    portable,
    quantizable_layers,
    replace_layers,
)

Extremes = tuple[Tensor, Tensor]
"""The smallest and the largest input of a layer, two scalars."""


def encode_static(network: nn.Module, calibration_images: Tensor) -> dict[str, Tensor]:
    return encode(network, observe_inputs(copy.deepcopy(network).eval(), calibration_images))


def encode_dynamic(network: nn.Module, calibration_images: Tensor) -> dict[str, Tensor]:
    """Quantize the weights; the calibration images play no part."""
    del calibration_images
    return encode(network, {})


def encode(network: nn.Module, extremes: Mapping[str, Extremes]) -> dict[str, Tensor]:
    """Quantize the weights; layers whose inputs' extremes are given become static."""
    network = copy.deepcopy(network)
    _replace_layers(network, lambda name, layer: Int8Layer.from_trained(name, layer, extremes.get(name)))
    return portable(network.state_dict())


def decode_static(skeleton: nn.Module, state: dict[str, Tensor]) -> QuantizedNetwork:
    return _decode(skeleton, state, static=True)


def decode_dynamic(skeleton: nn.Module, state: dict[str, Tensor]) -> QuantizedNetwork:
    return _decode(skeleton, state, static=False)


def _decode(skeleton: nn.Module, state: dict[str, Tensor], *, static: bool) -> QuantizedNetwork:
    network = copy.deepcopy(skeleton).eval()
    layers = _replace_layers(network, lambda _, layer: Int8Layer(layer, static=static))
    load_state(network, state)
    in_int8 = layers[0].weight.device.type == "cpu" and kernels_are_exact()
    for layer in layers:
        layer.prepare(in_int8=in_int8)
    return QuantizedNetwork(network=network, state=state, arithmetic="int8" if in_int8 else "simulated")


def observe_inputs(network: nn.Module, images: Tensor) -> dict[str, Extremes]:
    """Extremes of every layer's inputs over one pass; a layer that the pass does not reach gets (0, 0)."""
    zero = torch.zeros((), device=images.device)
    layers = quantizable_layers(network)
    extremes = {name: (zero, zero) for name, _ in layers}
    hooks = [layer.register_forward_pre_hook(partial(_widen, extremes, name)) for name, layer in layers]
    in_float32(network)(images)
    for hook in hooks:
        hook.remove()
    return extremes


def _widen(extremes: dict[str, Extremes], name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    low, high = extremes[name]
    extremes[name] = torch.minimum(low, inputs[0].amin()), torch.maximum(high, inputs[0].amax())


def _replace_layers(network: nn.Module, replacement: Callable[[str, QuantizableLayer], Int8Layer]) -> list[Int8Layer]:
    """Replace in place."""
    replaced = {layer: replacement(name, layer) for name, layer in quantizable_layers(network)}
    replace_layers(network, replaced)
    return list(replaced.values())
