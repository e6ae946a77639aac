"""A member that several processes train together: each makes its network, of its share of the batches.

This process is the first. It has the others started, on this machine or wherever its workplace's `helpers` start them,
and stores and evaluates what came out; the others' results, which are the same, are dropped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import final

import torch
from torch import distributed, multiprocessing

from . import errors
from .config import Recipe
from .data import load_splits
from .errors import InputError, PieRayError, TeamError
from .identity import MemberSpec
from .making import make_network
from .saved_states import open_states
from .store import MemorySink, Storage
from .training import ALONE, Team, choose_device
from .training.team import PATIENCE, join, open_store
from .workplace import Helpers, Workplace

HERE = "127.0.0.1"
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_TO_EXPLAIN = 10.0
"""How long a process that lost another waits for the reason."""


@contextmanager
def gather(spec: MemberSpec, workplace: Workplace, device: torch.device) -> Iterator[Team]:
    """The team that trains a member, with this process in it; this one alone where the recipe has no more.

    Raises TeamError where another process ends early, or the error that ended it.
    """
    num_processes = workplace.recipe.training.num_processes
    if num_processes == 1 or not spec.variant.trains:
        yield ALONE
        return
    helpers = workplace.helpers or LocalHelpers(workplace)
    store = open_store(helpers.host)
    try:
        helpers.start(spec, store.port)
        _wait_until_ready(store, helpers, num_processes)
        with join(store, 0, num_processes, device) as team:
            yield team
    except PieRayError:
        raise
    except RuntimeError as error:
        reason = _reason(store, helpers, num_processes)
        if reason is None:
            raise
        raise reason from error
    finally:
        helpers.stop()


def help_to_make(spec: MemberSpec, open_workplace: Callable[[], Workplace], host: str, port: int, rank: int) -> None:
    """Be the process `rank` of the team that `host` waits for at `port`.

    Raises what opening the workplace and `make_network` do; the first process is told of it.
    """
    store = distributed.TCPStore(host, port, is_master=False, timeout=PATIENCE)
    try:
        workplace, device = open_workplace(), _device()
        store.set(_ready(rank), "")
        with (
            join(store, rank, workplace.recipe.training.num_processes, device) as team,
            open_states(spec, workplace.recipe, workplace.storage, device, team) as states,
        ):
            try:
                make_network(spec, workplace, device, lambda epoch, loss: None, states, team)
            except Exception as error:
                tell_failure(store, rank, error)  # while the first is there: to leave a team may take long
                raise
    except Exception as error:
        tell_failure(store, rank, error)
        raise


def tell_failure(store: distributed.Store, rank: int, error: Exception) -> None:
    """Leave the reason where the first process finds it, as long as that is there."""
    with suppress(RuntimeError):
        store.set(_failed(rank), json.dumps({"type": type(error).__name__, "message": str(error)}))


def _wait_until_ready(store: distributed.Store, helpers: Helpers, num_processes: int) -> None:
    """Joining itself would wait long for a process that is gone."""
    while not store.check([_ready(rank) for rank in range(1, num_processes)]):
        if helpers.ended():
            raise _reason(store, helpers, num_processes) or TeamError("a process ended before it began")
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _reason(store: distributed.Store, helpers: Helpers, num_processes: int) -> PieRayError | None:
    """Why another process ended: its own error where it had one; None where none ended."""
    deadline = time.monotonic() + _SECONDS_TO_EXPLAIN
    while time.monotonic() < deadline:
        for rank in range(1, num_processes):
            if store.check([_failed(rank)]):
                return _told(json.loads(store.get(_failed(rank))), rank, num_processes)
        ended = helpers.ended()
        if ended:
            return TeamError(f"process {ended[0]} of {num_processes} that trained the member died")
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return None


def _told(failure: dict[str, str], rank: int, num_processes: int) -> PieRayError:
    kind = getattr(errors, failure["type"], None)
    if isinstance(kind, type) and issubclass(kind, PieRayError):
        return kind(failure["message"])
    return TeamError(f"process {rank} of {num_processes}: {failure['type']}: {failure['message']}")


def _ready(rank: int) -> str:
    return f"pie_ray/ready/{rank}"


def _failed(rank: int) -> str:
    return f"pie_ray/failed/{rank}"


def _device() -> torch.device:
    device = choose_device()
    return torch.device("cuda", torch.cuda.current_device()) if device.type == "cuda" else device


# ----------------------------------------------------------------------------------------------- on this machine


@final
class LocalHelpers:
    """Processes of this machine, each with a GPU of its own where there are any.

    They are spawned: a script that calls `run_member` must do so under `if __name__ == "__main__"`.
    """

    host = HERE

    def __init__(self, workplace: Workplace) -> None:
        self.workplace = workplace
        self._processes: list[multiprocessing.Process] = []

    def start(self, spec: MemberSpec, port: int) -> None:
        num_processes = self.workplace.recipe.training.num_processes
        num_gpus = torch.cuda.device_count()
        if 0 < num_gpus < num_processes:
            raise InputError(
                f"training.num_processes is {num_processes}, this machine has {num_gpus} GPUs: run on a cluster, or "
                "set CUDA_VISIBLE_DEVICES to nothing to train on processors"
            )
        arguments = (spec, self.workplace.recipe, self.workplace.storage, port, torch.get_num_threads())
        # No daemons, which might have no processes that decode images; they end with this one all the same.
        context = multiprocessing.spawn(_help_here, arguments, nprocs=num_processes - 1, join=False)
        self._processes = context.processes

    def ended(self) -> list[int]:
        return [rank for rank, process in enumerate(self._processes, 1) if not process.is_alive()]

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()


def _help_here(index: int, spec: MemberSpec, recipe: Recipe, storage: Storage, port: int, num_threads: int) -> None:
    rank = index + 1
    torch.set_num_threads(num_threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)

    def open_workplace() -> Workplace:
        return Workplace(recipe, load_splits(recipe.data, recipe.execution.cache), storage, MemorySink())

    help_to_make(spec, open_workplace, HERE, port, rank)
