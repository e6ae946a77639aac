"""What a training is at one of its steps, taken apart and put together again, so that it goes on with the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn

State = dict[str, Any]
"""Tensors, numbers and texts, and lists and dicts of them."""


@runtime_checkable
class Resumable(Protocol):
    """What changes from step to step beside the network."""

    def state(self) -> State: ...

    def restore(self, state: State) -> None:
        """Be as it was when `state` was taken."""


class StateKeeper(Protocol):
    """Where a training's state is kept meanwhile."""

    def begin(self) -> State | None:
        """The state to go on from; None begins at the first step."""

    def is_due(self) -> bool:
        """Whether the state should be kept now; asked after every step but the last."""

    def keep(self, state: State) -> None:
        """`state` is a copy of the caller's, on the CPU."""


@final
class KeepsNothing:
    """Of a training that begins again where it is interrupted."""

    def begin(self) -> None:
        return None

    def is_due(self) -> bool:
        return False

    def keep(self, state: State) -> None:
        del state


@dataclass(frozen=True)
class TrainingParts:
    """All that a step changes; `others` by name, of which those are kept that are `Resumable`."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    others: dict[str, object]

    def state(self, step: int, total: Tensor) -> State:
        """After `step` steps, with the `total` of this epoch's losses. A copy on the CPU."""
        state: State = {
            "step": step,
            "total": total,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            # Of networks that draw random numbers, for dropout.
            "random": {device.type: _random_state(device) for device in self._devices()},
            "others": {name: part.state() for name, part in self._resumable().items()},
        }
        copied: State = _copied(state)
        return copied

    def restore(self, state: State, device: torch.device) -> tuple[int, Tensor]:
        """Number of steps that were done, and the total of the epoch's losses."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, part in self._resumable().items():
            part.restore(state["others"][name])
        for own in self._devices():
            _set_random_state(own, state["random"][own.type])
        return int(state["step"]), state["total"].to(device)

    def _devices(self) -> set[torch.device]:
        return {torch.device("cpu"), *(parameter.device for parameter in self.network.parameters())}

    def _resumable(self) -> dict[str, Resumable]:
        return {name: part for name, part in self.others.items() if isinstance(part, Resumable)}


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(part) for part in value)
    return value
