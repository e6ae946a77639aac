"""Iterative magnitude pruning with rewinding (Frankle et al., arXiv 1903.01611)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from ...variants import RewindingPruning
from ..fit import Fit
from .masks import MASKS, FixedMasks, require_sparsity, weights_to_prune


def prune_and_rewind(
    network: nn.Module, pruning: RewindingPruning, fit: Fit, images: Tensor, generator: torch.Generator
) -> nn.Module:
    """Train; then in every round prune by the trained magnitudes, go back to the early weights and train again.

    Round r of R ends at a sparsity of 1 - (1 - s)^(r / R), so that each removes the same share of what is left. What
    was removed stays so: it is zero when the next round's magnitudes are compared. Weights, batch norm's parameters and
    its running statistics are gone back to; the learning rate too, as the training goes on from that epoch. Its batches
    are others than those of the rounds before.
    """
    del images, generator
    weights = weights_to_prune(network, pruning.scope)
    snapshot = Snapshot(network, pruning.rewind_epoch * fit.steps_per_epoch)
    rounds = Rounds(snapshot, FixedMasks(weights, {}))
    fit(network, after_step=snapshot.after_step, keeps=rounds)
    for finished_round in range(1, pruning.num_rounds + 1):
        sparsity = round_sparsity(pruning.sparsity, finished_round, pruning.num_rounds)
        masks = MASKS[pruning.scope](weights, sparsity)
        network.load_state_dict(snapshot.state)
        rounds.masks = FixedMasks.put_on(weights, masks)
        fit(network, after_step=rounds.masks.after_step, first_epoch=pruning.rewind_epoch, keeps=rounds)
    require_sparsity(weights, pruning.sparsity, pruning.scope)
    return network


def round_sparsity(final_sparsity: float, finished_round: int, num_rounds: int) -> float:
    """1 - (1 - s)^(r / R), and exactly s after the last round."""
    if finished_round == num_rounds:
        return final_sparsity
    return 1 - float((1 - final_sparsity) ** (finished_round / num_rounds))


@final
class Snapshot:
    """A copy of a network's weights and buffers after so many steps."""

    def __init__(self, network: nn.Module, step: int) -> None:
        self.network, self.step = network, step
        self.state = self._copy()

    def after_step(self, step: int) -> None:
        if step == self.step:
            self.state = self._copy()

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}


@final
@dataclass
class Rounds:
    """What later rounds go by, and this one holds at zero."""

    snapshot: Snapshot
    masks: FixedMasks

    def state(self) -> dict[str, Any]:
        return {"early": self.snapshot.state, "masks": self.masks.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.snapshot.state = state["early"]
        self.masks.restore(state["masks"])
