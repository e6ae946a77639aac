"""The fastest way through each variant's network that leaves its arithmetic what it is.

| variant | float32 | bfloat16 |
|---|---|---|
| trained, or of float16 weights | batch norms folded | batch norms folded, autocast |
| in int8, or simulating it | as it is | as it is |

torch.compile has no place here: on the CPU it is not faster than this, and compiles for seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from .folding import fold_batch_norms

Forward = Callable[[Tensor], Tensor]
"""Normalised images [n, c, h, w] to logits [n, outputs]."""


def make_route(
    network: nn.Module,
    *,
    arithmetic: str,
    precision: Literal["float32", "bfloat16"],
    image_shape: tuple[int, int, int],
) -> Forward:
    """How `network`, which stays as it is, makes its predictions: of one member the same whatever is asked of it.

    Args:
        network: in eval mode, on the device where it is to run.
        arithmetic: `records.Arithmetic`; integers are left alone, and only `native` networks obey `precision`.
        precision: of convolutions and matrix products.
        image_shape: channels, height, width.
    """
    if arithmetic != "native":
        return network
    folded = fold_batch_norms(network, image_shape)
    return folded if precision == "float32" else _in_bfloat16(folded)


def _in_bfloat16(network: nn.Module) -> Forward:
    def forward(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            logits: Tensor = network(images)
        return logits

    return forward
