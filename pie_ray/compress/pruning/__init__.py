"""Pruning methods: each takes a network, trains it where it has to, and gives back a pruned one.

    network = prune(network, variant.pruning, fit, images)

| kind | begins with | then |
|---|---|---|
| magnitude, random | random or dense weights | masks that grow during training |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ...variants import Pruning
from ..fit import Fit
from .gradual import prune_gradually

__all__ = ["PRUNERS", "prune"]

Pruner = Callable[[nn.Module, Any, Fit, Tensor], nn.Module]

PRUNERS: dict[str, Pruner] = {
    "magnitude": prune_gradually,
    "random": prune_gradually,
}


def prune(network: nn.Module, pruning: Pruning, fit: Fit, images: Tensor) -> nn.Module:
    """A pruned network, in eval mode; it may be `network` itself, which is used up.

    Args:
        network: on its device, with random weights or, where `pruning.starts_dense`, the dense member's.
        fit: is called only where `pruning.trains`.
        images: normalised, [n, channels, height, width]: what the network is traced with where it has to be.

    Raises CompressionError where the network has nothing to prune or misses the sparsity, NonFiniteLossError.
    """
    return PRUNERS[pruning.kind](network, pruning, fit, images)
