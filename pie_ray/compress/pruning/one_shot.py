"""Magnitude pruning of the dense member at once; then, maybe, fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...variants import NMPruning, OneShotPruning
from ..fit import Fit
from .masks import MASKS, FixedMasks, require_sparsity, weights_to_prune


def prune_at_once(
    network: nn.Module, pruning: OneShotPruning, fit: Fit, images: Tensor, generator: torch.Generator
) -> nn.Module:
    """The largest weights of the dense member, of each layer or of all."""
    del images, generator
    weights = weights_to_prune(network, pruning.scope)
    remove(network, weights, MASKS[pruning.scope](weights, pruning.sparsity), pruning, fit)
    require_sparsity(weights, pruning.sparsity, pruning.scope)
    return network


def remove(
    network: nn.Module,
    weights: Mapping[str, nn.Parameter],
    masks: Mapping[str, Tensor],
    pruning: OneShotPruning | NMPruning,
    fit: Fit,
) -> None:
    """Put the masks on the weights of `network`, and train it with them where the pruning says so."""
    fixed = FixedMasks.put_on(weights, masks)
    if pruning.trains:
        fit(network, after_step=fixed.after_step)
