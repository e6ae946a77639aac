"""What compression is given to train networks with, so that it need not know how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import nn

AfterStep = Callable[[int], None]
"""Called with the number of finished steps, after each of the optimizer's: where masks are kept."""


class Fit(Protocol):
    """Trains a network in place, with the recipe's training or fine-tuning and the member's random numbers.

    Called several times it trains several times, each with the next random numbers.
    """

    @property
    def num_epochs(self) -> int: ...

    @property
    def steps_per_epoch(self) -> int: ...

    def __call__(self, network: nn.Module, *, after_step: AfterStep, first_epoch: int = 0) -> None:
        """Leave the network trained from `first_epoch` to the end, and in eval mode.

        Raises NonFiniteLossError.
        """


def num_steps(fit: Fit) -> int:
    """Of a training from its first epoch."""
    return fit.num_epochs * fit.steps_per_epoch


def nothing_after(step: int) -> None:
    """An `AfterStep` that does nothing."""
