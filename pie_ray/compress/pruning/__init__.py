"""Pruning methods: each takes a network, trains it where it has to, and gives back a pruned one.

    network = prune(network, variant.pruning, fit, images, generator)

| kind | begins with | then |
|---|---|---|
| magnitude, random | random or dense weights | masks that grow during training |
| one_shot, n_m | dense weights | masks at once, and fine-tuning with them |
| structured | dense weights | without some of the channels, and fine-tuning |
| rigl | random weights | masks of the final sparsity that move during training |
| rewinding | random weights | trained in rounds, between which masks grow and weights go back |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...variants import Pruning
from ..fit import Fit
from .gradual import prune_gradually
from .n_m import prune_n_of_m
from .one_shot import prune_at_once
from .rewinding import prune_and_rewind
from .rigl import prune_by_rigl
from .structured import prune_structured

__all__ = ["PRUNERS", "prune"]

Pruner = Callable[[nn.Module, Any, Fit, Tensor, torch.Generator], nn.Module]
"""As `prune`, each with its own pruning."""

PRUNERS: dict[str, Pruner] = {
    "magnitude": prune_gradually,
    "random": prune_gradually,
    "one_shot": prune_at_once,
    "n_m": prune_n_of_m,
    "structured": prune_structured,
    "rigl": prune_by_rigl,
    "rewinding": prune_and_rewind,
}


def prune(network: nn.Module, pruning: Pruning, fit: Fit, images: Tensor, generator: torch.Generator) -> nn.Module:
    """A pruned network, in eval mode; it may be `network` itself, which is used up.

    Args:
        network: on its device, with random weights or, where `pruning.starts_dense`, the dense member's.
        fit: is called only where `pruning.trains`.
        images: normalised, [n, channels, height, width]: what the network is traced with where it has to be.
        generator: on the CPU, of this member alone: where masks are drawn from.

    Raises CompressionError where the network has nothing to prune or misses the sparsity, NonFiniteLossError.
    """
    return PRUNERS[pruning.kind](network, pruning, fit, images, generator)
