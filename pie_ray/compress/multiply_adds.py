"""How much work one image is: multiply-adds, counted layer by layer from the shapes of what goes through.

torch.utils.flop_counter counts the same and more, and loads sympy and torch's compiler into every process that uses it:
1.2 s for what takes milliseconds here.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def multiply_adds(network: nn.Module, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Multiply-adds of one image in convolutions and linear layers, and those of them whose weight is not zero.

    Each output of a layer takes one for every weight that leads to it: out_height x out_width x weights of a
    convolution, padding included. The second figure takes the share of a layer's weights that are not zero. Channels
    that are gone are in neither, and neither is what no such layer computes: norms, sums, products of attention.
    One image of zeros goes through the network, which is left in eval mode.

    Args:
        network: with weights in floating point, on any device.
        image_shape: channels, height, width.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _LAYERS)]
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    counts: Counter[nn.Module] = Counter()

    def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        counts[layer] += output.numel() * layer.weight[0].numel()  # type: ignore[index]

    with ExitStack() as hooks, torch.no_grad():
        for layer in layers:
            hooks.callback(layer.register_forward_hook(count).remove)
        network.eval()(torch.zeros(1, *image_shape, device=device))
    nonzero = sum(counts[layer] * int(layer.weight.count_nonzero()) / layer.weight.numel() for layer in layers)
    return sum(counts.values()), round(nonzero)
