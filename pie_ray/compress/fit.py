"""What compression is given to train networks with, so that it need not know how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import nn

AfterStep = Callable[[int], None]
"""Called with the number of finished steps, after each of the optimizer's: where masks are kept."""


class Resumable(Protocol):
    """What a method remembers from step to step, so that a training that is interrupted can go on."""

    def state(self) -> dict[str, Any]:
        """Tensors, and dicts of them."""

    def restore(self, state: dict[str, Any]) -> None:
        """Remember what `state` tells, whose tensors are on the CPU."""


class Fit(Protocol):
    """Trains a network in place, with the recipe's training or fine-tuning and the member's random numbers.

    Called several times it trains several times, each with the next random numbers. When a member is made again that
    was interrupted, those trainings that were done leave the network untrained, and the next one makes up for it: it
    goes on with network and method as they were. What is computed between trainings must not mind.
    """

    @property
    def num_epochs(self) -> int: ...

    @property
    def steps_per_epoch(self) -> int: ...

    def __call__(
        self, network: nn.Module, *, after_step: AfterStep, first_epoch: int = 0, keeps: Resumable | None = None
    ) -> None:
        """Leave the network trained from `first_epoch` to the end, and in eval mode.

        `keeps`: all that the method remembers, and does not compute anew from what it begins with.

        Raises NonFiniteLossError.
        """


def num_steps(fit: Fit) -> int:
    """Of a training from its first epoch."""
    return fit.num_epochs * fit.steps_per_epoch


def nothing_after(step: int) -> None:
    """An `AfterStep` that does nothing."""
