"""A member in the middle of its training, kept on the sweep's storage now and then: where its next attempt goes on.

A pruning method may train several times. A state is of one of these trainings, and has all that the method remembers:
the next attempt passes over those before.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, final

import torch

from . import __version__
from .config import Recipe
from .errors import CompressionError, NonFiniteLossError, StorageError, StoreError
from .identity import MemberSpec
from .store import Storage, delete_training_state, read_training_state, write_training_state
from .training import ALONE, State, Team, resolve_precision

_log = logging.getLogger(__name__)


@final
class MemberStates:
    """The `StateKeeper` of all trainings of one member, in turn.

    A state counts only for the same member in the same precision, on the same kind of device and with the same
    versions, so that no member is made of two halves. One that is damaged or of something else is passed over, and
    replaced by the next. What the storage refuses is told and costs the training nothing.
    """

    def __init__(
        self,
        spec: MemberSpec,
        storage: Storage,
        *,
        device: torch.device,
        precision: str,
        minutes: float | None,
        team: Team = ALONE,
    ) -> None:
        """`minutes` between states; None neither keeps nor looks for any. Of a team the first process keeps them."""
        self.place = (storage, spec.variant_id, spec.seed)
        self.about = {
            "member_id": spec.member_id,
            "device": device.type,
            "precision": precision,
            "torch": torch.__version__,
            "pie_ray": __version__,
        }
        self.minutes, self.team = minutes, team
        self._training = 0
        self._found = self._read()
        self.earlier_seconds: float = 0.0 if self._found is None else self._found["seconds"]
        """What earlier attempts trained for, up to the state that was found."""
        self._started = self._last = time.monotonic()
        self._writing: Future[None] | None = None

    def next_training(self) -> bool:
        """To be called before each; False where it was done before the state that was found."""
        self._training += 1
        return self._found is None or self._training >= self._found["training"]

    def begin(self) -> State | None:
        if self._found is None or self._training != self._found["training"]:
            return None
        state: State = self._found["state"]
        self._found = None
        _log.info("%s: goes on from step %d", self.about["member_id"], state["step"])
        return state

    def is_due(self) -> bool:
        if self.minutes is None or self.team.share[0] > 0:
            return False
        is_writing = self._writing is not None and not self._writing.done()
        return not is_writing and time.monotonic() - self._last >= 60 * self.minutes

    def keep(self, state: State) -> None:
        """Writes it while training goes on."""
        self._last = time.monotonic()
        pool = ThreadPoolExecutor(1)
        seconds = self.earlier_seconds + self._last - self._started
        found = {"training": self._training, "seconds": seconds, "state": state}
        self._writing = pool.submit(self._write, found)
        pool.shutdown(wait=False)

    def wait(self) -> None:
        """Until the last state is written."""
        if self._writing is not None:
            self._writing.result()

    def delete(self) -> None:
        """For a member that needs none any more."""
        self.wait()
        if self.minutes is not None and self.team.share[0] == 0:
            delete_training_state(*self.place)

    def _write(self, found: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save(found, buffer)
        try:
            write_training_state(*self.place, self.about, buffer.getvalue())
        except StorageError as error:
            _log.warning("the state of a training was not kept: %s", error)

    def _read(self) -> dict[str, Any] | None:
        if self.minutes is None:
            return None
        data = self.team.from_first(self._read_bytes)
        if data is None:
            return None
        found: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return found

    def _read_bytes(self) -> bytes | None:
        try:
            return read_training_state(*self.place, self.about)
        except StorageError:
            raise
        except StoreError as error:
            _log.warning("%s; the member is trained from its beginning", error)
            return None


@contextmanager
def open_states(
    spec: MemberSpec, recipe: Recipe, storage: Storage, device: torch.device, team: Team = ALONE
) -> Iterator[MemberStates]:
    """Of a member as its recipe says. Those of one whose training fails for good are deleted."""
    states = MemberStates(
        spec,
        storage,
        device=device,
        precision=resolve_precision(recipe.training.precision, device),
        minutes=recipe.execution.save_minutes if spec.variant.trains else None,
        team=team,
    )
    try:
        yield states
    except (NonFiniteLossError, CompressionError):
        states.delete()
        raise
    finally:
        states.wait()
