"""Gradual pruning: masks on the cubic schedule, kept after every step of the optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from ...variants import GradualPruning
from ..fit import Fit, num_steps
from .masks import MASKS, FixedMasks, random_scores, require_sparsity, weights_to_prune
from .schedule import mask_updates


def prune_gradually(
    network: nn.Module, pruning: GradualPruning, fit: Fit, images: Tensor, generator: torch.Generator
) -> nn.Module:
    """By magnitude: GMP-RI from random weights, GMP-PT from dense ones."""
    del images, generator
    weights = weights_to_prune(network, pruning.scope)
    return _prune(network, GradualMasks(weights, weights, pruning, num_steps(fit)), fit)


def prune_at_random(
    network: nn.Module, pruning: GradualPruning, fit: Fit, images: Tensor, generator: torch.Generator
) -> nn.Module:
    """The control: the same schedule and counts, but which weights go has been drawn beforehand."""
    del images
    weights = weights_to_prune(network, pruning.scope)
    return _prune(network, GradualMasks(weights, random_scores(weights, generator), pruning, num_steps(fit)), fit)


def _prune(network: nn.Module, masks: GradualMasks, fit: Fit) -> nn.Module:
    fit(network, after_step=masks.after_step)
    masks.check()
    return network


@final
class GradualMasks:
    """Recompute masks on the cubic schedule and hold pruned weights at zero after every optimizer step.

    Weights are multiplied by their masks after the optimizer's step and before new masks are chosen, so neither
    momentum nor weight decay can bring a pruned weight back: its magnitude is zero, and it stays pruned. Of scores that
    never change the largest are always among those of the mask before.
    """

    def __init__(
        self,
        weights: Mapping[str, nn.Parameter],
        scores: Mapping[str, Tensor],
        pruning: GradualPruning,
        num_steps: int,
    ) -> None:
        """`scores`: of each weight; the largest stay. The weights themselves, or random ones."""
        self.weights, self.scores, self.pruning = weights, scores, pruning
        self.updates = mask_updates(pruning.schedule, pruning.sparsity, num_steps)
        self.masks = FixedMasks(weights, {})

    def after_step(self, step: int) -> None:
        """Keep the masks, recomputed where the schedule says so, after `step` finished steps."""
        self.masks.after_step()
        if step in self.updates:
            masks = MASKS[self.pruning.scope](self.scores, self.updates[step])
            self.masks = FixedMasks.put_on(self.weights, masks)

    def check(self) -> float:
        """Return the sparsity measured from the weights. Raises CompressionError as `require_sparsity` does."""
        return require_sparsity(self.weights, self.pruning.sparsity, self.pruning.scope)
