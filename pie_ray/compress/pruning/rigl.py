"""RigL: sparse from the first step; small weights are given up for those of large gradients (arXiv 1911.11134)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ...config import Scope
from ...variants import RiglPruning
from ..fit import Fit, num_steps
from .masks import FixedMasks, largest, random_scores, require_sparsity, weights_to_prune
from .schedule import last_step


def prune_by_rigl(
    network: nn.Module, pruning: RiglPruning, fit: Fit, images: Tensor, generator: torch.Generator
) -> nn.Module:
    """Random masks to begin with, and exchanges of weights on the way.

    Where the training compiles the network nothing is different: gradients are masked once they are whole, on the
    parameters, which lie outside of what is compiled.
    """
    del images
    weights = weights_to_prune(network, pruning.scope)
    counts = num_kept(weights, pruning.sparsity, pruning.scope)
    masks = {name: largest(scores, counts[name]) for name, scores in random_scores(weights, generator).items()}
    exchange = Exchange(weights, masks, exchange_fractions(pruning, num_steps(fit)))
    with exchange.hooks():
        fit(network, after_step=exchange.after_step, keeps=exchange)
    require_sparsity(weights, pruning.sparsity, pruning.scope)
    return network


def exchange_fractions(pruning: RiglPruning, num_steps: int) -> dict[int, float]:
    """Share of a layer's weights that is exchanged, by the number of finished steps.

    alpha / 2 (1 + cos(pi t / T)) at evenly spaced t between 0 and T, the step of `end`: at T there would be none.

    Raises CompressionError where training is too short.
    """
    end = last_step(pruning.end, num_steps)
    fractions = {}
    for update in range(1, pruning.num_updates + 1):
        step = max(1, round(end * update / (pruning.num_updates + 1)))
        fractions[step] = pruning.drop_fraction / 2 * (1 + math.cos(math.pi * step / end))
    return fractions


# ------------------------------------------------------------------------------------------------- how many a layer


def num_kept(weights: Mapping[str, Tensor], sparsity: float, scope: Scope) -> dict[str, int]:
    """Weights kept by layer: the same share of each (`layer`), or Erdős-Rényi-kernel shares (`global`).

    The latter add up to exactly round(N (1 - sparsity)): each is rounded down, and the largest remainders get one more.
    """
    if scope == "layer":
        return {name: round(weight.numel() * (1 - sparsity)) for name, weight in weights.items()}
    total = round(sum(weight.numel() for weight in weights.values()) * (1 - sparsity))
    exact = _kernel_counts(weights, total)
    counts = {name: math.floor(count) for name, count in exact.items()}
    by_remainder = sorted(weights, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _kernel_counts(weights: Mapping[str, Tensor], total: int) -> dict[str, float]:
    """Weights kept by layer, not rounded, `total` in all: a density that is proportional to (sum of a kernel's axes) /
    (their product), or 1 where that is more."""
    dense: set[str] = set()
    while True:
        # Density times size, so that the product of the axes falls out of it.
        shares = {name: sum(weight.shape) for name, weight in weights.items() if name not in dense}
        left = total - sum(weights[name].numel() for name in dense)
        scale = left / sum(shares.values()) if shares else 0.0
        too_dense = {name for name, share in shares.items() if scale * share > weights[name].numel()}
        if not too_dense:
            kept = {name: scale * share for name, share in shares.items()}
            return {name: kept.get(name, float(weight.numel())) for name, weight in weights.items()}
        dense |= too_dense


# --------------------------------------------------------------------------------------------------------- exchange


@final
class Exchange:
    """Exchanges weights at some steps, and holds the others at zero.

    Gradients of masked weights are set to zero before the optimizer sees them, and what it remembers of a weight is
    forgotten when that is dropped: one that comes back starts from zero in every respect. The gradients that choose
    which weights come are those of the batch that the last step was taken on, averaged where processes share it.

    Unlike in the paper a weight that was just dropped does not come back at once, so that a layer that is denser than
    the exchange would have it exchanges as many as it has zeros.
    """

    def __init__(
        self, weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor], fractions: Mapping[int, float]
    ) -> None:
        """`fractions`: what is exchanged of each layer's weights, by the number of finished steps."""
        self.weights, self.fractions = weights, fractions
        self.masks = dict(masks)
        self.fixed = FixedMasks.put_on(weights, self.masks)
        self.gradients: dict[str, Tensor] = {}
        self.num_finished = 0

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Watch gradients and optimizer meanwhile."""
        handles = [
            register_optimizer_step_pre_hook(self._mask_gradients),
            register_optimizer_step_post_hook(self._forget),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def after_step(self, step: int) -> None:
        self.num_finished = step
        self.fixed.after_step()
        if step in self.fractions:
            # Layers that are frozen or not used have none, and keep their masks.
            for name, gradient in self.gradients.items():
                weight = self.weights[name].detach()
                self.masks[name] = exchanged(weight, gradient, self.masks[name], self.fractions[step])
            self.gradients.clear()
            self.fixed = FixedMasks.put_on(self.weights, self.masks)

    def state(self) -> dict[str, Any]:
        return {"num_finished": self.num_finished, "masks": dict(self.masks)}

    def restore(self, state: dict[str, Any]) -> None:
        self.num_finished = state["num_finished"]
        self.masks = {name: mask.to(self.weights[name].device) for name, mask in state["masks"].items()}
        self.fixed = FixedMasks(self.weights, self.masks)

    def _mask_gradients(self, optimizer: torch.optim.Optimizer, *arguments: Any) -> None:
        stepped = {parameter for group in optimizer.param_groups for parameter in group["params"]}
        for name, weight in self.weights.items():
            # Layers that are frozen or not used have none.
            if weight in stepped and weight.grad is not None:
                if self.num_finished + 1 in self.fractions:
                    self.gradients[name] = weight.grad.detach().abs()
                weight.grad.mul_(self.masks[name])

    def _forget(self, optimizer: torch.optim.Optimizer, *arguments: Any) -> None:
        """Of a masked weight what the optimizer remembers: momentum, Adam's moments."""
        for name, weight in self.weights.items():
            for memory in optimizer.state.get(weight, {}).values():
                if isinstance(memory, Tensor) and memory.shape == weight.shape:
                    memory.mul_(self.masks[name])


def exchanged(weight: Tensor, gradient: Tensor, mask: Tensor, fraction: float) -> Tensor:
    """The mask without its smallest weights, and with as many others of the largest gradients (magnitudes)."""
    num_before = int(mask.sum())
    num_exchanged = min(round(fraction * num_before), mask.numel() - num_before)
    stay = largest(torch.where(mask, weight.abs(), -1.0), num_before - num_exchanged)
    come = largest(torch.where(mask, -1.0, gradient), num_exchanged)
    return stay | come
