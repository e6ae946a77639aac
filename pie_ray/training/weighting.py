"""How the terms of a loss are weighed against each other: losses [k] to one scalar."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from ..config import SoftAdaptWeights, Weighting

Mean = Callable[[Tensor], Tensor]
"""Of losses [k] over processes."""


class TermWeighting(Protocol):
    def __call__(self, losses: Tensor) -> Tensor: ...

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is learned beside the network."""

    def state(self) -> dict[str, Any]:
        """What it has learned or seen so far."""

    def restore(self, state: dict[str, Any]) -> None:
        """Be as it was when `state` was taken."""


@final
class Fixed:
    """Weights that stay."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        self.parameters: list[nn.Parameter] = []

    def __call__(self, losses: Tensor) -> Tensor:
        return (self.weights * losses).sum()

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        del state


@final
class Learned:
    """Sum of exp(-s_k) loss_k + s_k, with s_k = log of a term's variance, from 0 (Kendall et al., arXiv 1705.07115)."""

    def __init__(self, num_terms: int, device: torch.device) -> None:
        self.log_variances = nn.Parameter(torch.zeros(num_terms, device=device))
        self.parameters = [self.log_variances]

    def __call__(self, losses: Tensor) -> Tensor:
        return (torch.exp(-self.log_variances) * losses + self.log_variances).sum()

    def state(self) -> dict[str, Any]:
        return {"log_variances": self.log_variances}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        self.log_variances.copy_(state["log_variances"])


@final
class SoftAdapt:
    """w_k = m_k^q exp(beta (s_k - max s)) / sum of the same (Heydari et al., arXiv 1912.12355).

    Over the last `window` steps s_k is the slope of term k, (last - first) / (steps between), and m_k its mean; q is 1
    where the config says `loss_weighted`, else 0. Equal weights until there are two steps.
    """

    def __init__(self, config: SoftAdaptWeights, num_terms: int, device: torch.device, mean: Mean) -> None:
        self.mean = mean
        self.beta, self.loss_weighted = config.beta, config.loss_weighted
        self.history: deque[Tensor] = deque(maxlen=config.window)
        self.weights = torch.full((num_terms,), 1 / num_terms, device=device)
        self.parameters: list[nn.Parameter] = []

    def __call__(self, losses: Tensor) -> Tensor:
        self.history.append(self.mean(losses.detach()))
        if len(self.history) > 1:
            slopes = (self.history[-1] - self.history[0]) / (len(self.history) - 1)
            scores = torch.exp(self.beta * (slopes - slopes.max()))
            if self.loss_weighted:
                scores = scores * torch.stack(list(self.history)).mean(0)
            total = scores.sum()
            # Terms that are all zero weigh nothing either way.
            self.weights = torch.where(total > 0, scores / total, self.weights)
        return (self.weights * losses).sum()

    def state(self) -> dict[str, Any]:
        return {"history": list(self.history), "weights": self.weights}

    def restore(self, state: dict[str, Any]) -> None:
        device = self.weights.device
        self.history = deque((losses.to(device) for losses in state["history"]), maxlen=self.history.maxlen)
        self.weights = state["weights"].to(device)


WEIGHTINGS: dict[str, Callable[[Any, int, torch.device, Mean], TermWeighting]] = {
    "uniform": lambda config, num_terms, device, mean: Fixed(torch.full((num_terms,), 1 / num_terms, device=device)),
    "fixed": lambda config, num_terms, device, mean: Fixed(torch.tensor(config.weights, device=device)),
    "learned": lambda config, num_terms, device, mean: Learned(num_terms, device),
    "softadapt": SoftAdapt,
}


def make_weighting(
    config: Weighting, num_terms: int, device: torch.device, mean: Mean = lambda losses: losses
) -> TermWeighting:
    """The weighting that a recipe names; `mean` is over all processes that share the batches."""
    return WEIGHTINGS[config.kind](config, num_terms, device, mean)
