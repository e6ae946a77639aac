"""Pruning during training: a callback on the training loop that owns the masks."""

from __future__ import annotations

from typing import final

import torch
from torch import nn

from ..errors import CompressionError
from ..identity import MagnitudePruning
from .masks import MASKS, measure_sparsity, prunable_weights
from .schedule import mask_updates


@final
class GradualMagnitudePruning:
    """Recompute masks on the cubic schedule and hold pruned weights at zero after every optimizer step.

    Weights are multiplied by their masks after the optimizer's step and before new masks are chosen, so neither
    momentum nor weight decay can bring a pruned weight back: its magnitude is zero, and it stays pruned.
    """

    def __init__(self, network: nn.Module, pruning: MagnitudePruning, num_steps: int) -> None:
        self.weights = prunable_weights(network, pruning.scope)
        if not self.weights:
            raise CompressionError(f"the network has no layer that pruning with scope {pruning.scope!r} may prune")
        self.pruning = pruning
        self.updates = mask_updates(pruning.schedule, pruning.sparsity, num_steps)
        self.masks: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Keep the masks, recomputed where the schedule says so, after `step` finished steps."""
        self._apply()
        if step in self.updates:
            self.masks = MASKS[self.pruning.scope](self.weights, self.updates[step])
            self._apply()

    def _apply(self) -> None:
        for name, mask in self.masks.items():
            self.weights[name].mul_(mask)

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
