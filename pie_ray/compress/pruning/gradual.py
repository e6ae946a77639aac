"""Gradual pruning: masks on the cubic schedule, kept after every step of the optimizer."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from ...errors import CompressionError
from ...variants import GradualPruning
from ..fit import Fit, num_steps
from .masks import MASKS, FixedMasks, measure_sparsity, prunable_weights
from .schedule import mask_updates


def prune_gradually(network: nn.Module, pruning: GradualPruning, fit: Fit, images: Tensor) -> nn.Module:
    """GMP-RI from random weights, GMP-PT from dense ones."""
    del images
    masks = GradualMasks(network, pruning, num_steps(fit))
    fit(network, after_step=masks.after_step)
    masks.check()
    return network


@final
class GradualMasks:
    """Recompute masks on the cubic schedule and hold pruned weights at zero after every optimizer step.

    Weights are multiplied by their masks after the optimizer's step and before new masks are chosen, so neither
    momentum nor weight decay can bring a pruned weight back: its magnitude is zero, and it stays pruned.
    """

    def __init__(self, network: nn.Module, pruning: GradualPruning, num_steps: int) -> None:
        self.weights = prunable_weights(network, pruning.scope)
        if not self.weights:
            raise CompressionError(f"the network has no layer that pruning with scope {pruning.scope!r} may prune")
        self.pruning = pruning
        self.updates = mask_updates(pruning.schedule, pruning.sparsity, num_steps)
        self.masks = FixedMasks(self.weights, {})

    def after_step(self, step: int) -> None:
        """Keep the masks, recomputed where the schedule says so, after `step` finished steps."""
        self.masks.after_step()
        if step in self.updates:
            masks = MASKS[self.pruning.scope](self.weights, self.updates[step])
            self.masks = FixedMasks(self.weights, masks)
            self.masks.after_step()

    def check(self) -> float:
        """Return the sparsity measured from the weights.

        Raises CompressionError where fewer weights are zero than the variant asks for, but for rounding by tensor.
        """
        achieved = measure_sparsity(self.weights)
        num_weights = sum(weight.numel() for weight in self.weights.values())
        tolerance = len(self.weights) / num_weights
        if achieved < self.pruning.sparsity - tolerance:
            raise CompressionError(f"pruned to sparsity {achieved:.6f}, the variant asks for {self.pruning.sparsity}")
        return achieved
