"""Processes that train one member together: each takes its share of every batch, and all have the same weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol, TypeVar, final

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import ModelError, TeamError

PATIENCE = timedelta(minutes=10)
"""How long a process waits for another; longer than one may wait for a storage that is away."""


T = TypeVar("T")


class Team(Protocol):
    """What training does together with the others; each method is called by all of them, in the same order."""

    @property
    def share(self) -> tuple[int, int]:
        """This process's number, and how many there are."""

    def share_gradients(self, network: nn.Module) -> nn.Module:
        """The network to be called in training: its gradients become the mean over all processes."""

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Make those of further parameters the mean over all processes."""

    def mean(self, values: Tensor) -> Tensor:
        """Over all processes, of values that nothing is differentiated by."""

    def from_first(self, get: Callable[[], T]) -> T:
        """What `get` gives in the first process, which alone calls it."""

    def check_same(self, network: nn.Module) -> None:
        """Raises TeamError where the processes' weights differ."""


@final
class Alone:
    """One process; of a `share` of each batch one that waits for no others, as for a measurement."""

    def __init__(self, share: tuple[int, int] = (0, 1)) -> None:
        self.share = share

    def share_gradients(self, network: nn.Module) -> nn.Module:
        return network

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        del parameters

    def mean(self, values: Tensor) -> Tensor:
        return values

    def from_first(self, get: Callable[[], T]) -> T:
        return get()

    def check_same(self, network: nn.Module) -> None:
        del network


ALONE = Alone()


@final
class Joined:
    """A process that has joined others (`join`)."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.share = (distributed.get_rank(), distributed.get_world_size())
        self._unchecked: dict[str, nn.Parameter] = {}

    def share_gradients(self, network: nn.Module) -> nn.Module:
        self._unchecked = {name: p for name, p in network.named_parameters() if p.requires_grad}
        return DistributedDataParallel(network, device_ids=[self.device] if self.device.type == "cuda" else None)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        for name, parameter in self._unchecked.items():
            if parameter.grad is None:
                raise ModelError(
                    f"model: the network does not use its parameter {name}; where training.num_processes is above 1 "
                    "each must be used in every step, or not ask for a gradient"
                )
        self._unchecked = {}
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = self.mean(parameter.grad)

    def mean(self, values: Tensor) -> Tensor:
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total / self.share[1]

    def from_first(self, get: Callable[[], T]) -> T:
        found = [get() if self.share[0] == 0 else None]
        distributed.broadcast_object_list(found, device=self.device)
        return found[0]  # type: ignore[return-value]

    def check_same(self, network: nn.Module) -> None:
        digest = hashlib.sha256()
        for parameter in network.parameters():
            digest.update(parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        mine = torch.tensor([int.from_bytes(digest.digest()[:7], "big")], device=self.device)
        everyones = [torch.empty_like(mine) for _ in range(self.share[1])]
        distributed.all_gather(everyones, mine)
        differing = [rank for rank, found in enumerate(everyones) if found != everyones[0]]
        if differing:
            raise TeamError(
                f"the weights of process {differing[0]} differ from those of process 0; a member's processes need "
                "processors and GPUs of one kind"
            )


def open_store(host: str) -> distributed.TCPStore:
    """Where processes find each other, on this machine, which the others reach as `host`: on a free port, `.port`."""
    return distributed.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=PATIENCE)


@contextmanager
def join(store: distributed.Store, rank: int, num_processes: int, device: torch.device) -> Iterator[Joined]:
    """Be one of the processes meanwhile. Waits for the others."""
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=num_processes,
        timeout=PATIENCE,
    )
    try:
        yield Joined(device)
    finally:
        distributed.destroy_process_group()
