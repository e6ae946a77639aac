"""Gradual pruning: masks on the cubic schedule, kept after every step of the optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from ...variants import GradualPruning
from ..fit import Fit, num_steps
from .masks import MASKS, FixedMasks, random_scores, require_sparsity, weights_to_prune
from .schedule import mask_updates


def prune_gradually(
    network: nn.Module, pruning: GradualPruning, fit: Fit, images: Tensor, generator: torch.Generator
) -> nn.Module:
    """By magnitude, GMP-RI from random weights and GMP-PT from dense ones; or at random, the control."""
    del images
    masks = gradual_masks(network, pruning, num_steps(fit), generator)
    fit(network, after_step=masks.after_step, keeps=masks)
    masks.check()
    return network


def gradual_masks(
    network: nn.Module, pruning: GradualPruning, num_steps: int, generator: torch.Generator
) -> GradualMasks:
    """Masks for a training of `num_steps`; random ones have the same schedule and counts, and are drawn beforehand.

    Raises CompressionError where the network has nothing to prune, or training is too short to prune.
    """
    weights = weights_to_prune(network, pruning.scope)
    scores = weights if pruning.kind == "magnitude" else random_scores(weights, generator)
    return GradualMasks(weights, scores, pruning, num_steps)


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
            self.masks = FixedMasks.put_on(self.weights, self.masks_after(step))

    def masks_after(self, step: int) -> dict[str, Tensor]:
        """New masks by weight, for a step of the schedule's."""
        return MASKS[self.pruning.scope](self.scores, self.updates[step])

    def state(self) -> dict[str, Any]:
        """As `FixedMasks` has it."""
        return self.masks.state()

    def restore(self, state: dict[str, Any]) -> None:
        """As `FixedMasks` has it."""
        self.masks.restore(state)

    def check(self) -> float:
        """Return the sparsity measured from the weights. Raises CompressionError as `require_sparsity` does."""
        return require_sparsity(self.weights, self.pruning.sparsity, self.pruning.scope)


@final
class MasksSideBySide:
    """Gradual masks of several members whose weights lie side by side in one network's: a multiplication a weight."""

    def __init__(self, weights: Mapping[str, nn.Parameter], members: Sequence[GradualMasks | None]) -> None:
        """`weights`: of each name the members' own, one after the other; `members` has None for a dense one."""
        self.weights, self.members = weights, members
        self.masks: dict[str, Tensor] = {}
        self.fixed = FixedMasks(weights, self.masks)

    def after_step(self, step: int) -> None:
        """Keep every member's masks, recomputed where its schedule says so, after `step` finished steps."""
        self.fixed.after_step()
        due = [(number, masks) for number, masks in enumerate(self.members) if masks and step in masks.updates]
        for number, masks in due:
            for name, mask in masks.masks_after(step).items():
                self._of_member(name, number).copy_(mask)
        if due:
            self.fixed.after_step()

    def _of_member(self, name: str, number: int) -> Tensor:
        if name not in self.masks:
            self.masks[name] = torch.ones_like(self.weights[name], dtype=torch.bool)
        return self.masks[name].chunk(len(self.members))[number]
