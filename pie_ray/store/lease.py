"""One driver a sweep: two would train every member twice, and give up each other's failures.

    with hold_lease(storage, console.print):
        ...

A driver writes who it is to `drivers/` and then lists that folder; whoever else lives there was first. Of two that
start at once both see the other: both withdraw, and come back after uneven waits. A lease is not what keeps results
whole: two sweeps of one recipe write the same bytes.

A driver on the same machine is alive if its process is. Of one elsewhere the file tells, which a thread of its own
renews: what was not renewed for `EXPIRY_SECONDS`, and not while we looked on, is dead.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import final

from pydantic import ValidationError

from ..errors import StorageError, StoreError
from . import paths
from .driver import Driver
from .storage import Storage

RENEWAL_SECONDS = 15.0
EXPIRY_SECONDS = 60.0
LONG_DEAD_SECONDS = 600.0
"""Not renewed for longer than any outage that a sweep survives: nobody needs to look on."""

_NUM_ATTEMPTS = 10
# The global generators belong to the members' random numbers.
_random = random.SystemRandom()

Say = Callable[[str], object]


@contextmanager
def hold_lease(storage: Storage, say: Say, stop: Callable[[], object] | None = None) -> Iterator[Driver]:
    """Be the storage's one driver for the `with` block; `say` hears of a wait for one that may be dead.

    Gives who this driver is.

    Raises StoreError where another driver lives. Where another takes over meanwhile, because this one was taken for
    dead, `stop` is called (without one: Ctrl-C in the main thread) and the block ends with a StoreError.
    """
    lease = _take(storage, say)
    keeper = _Keeper(storage, lease, stop or _interrupt)
    keeper.start()
    try:
        yield lease
    except KeyboardInterrupt:
        if keeper.loss is None:
            raise
    finally:
        keeper.end()
    if keeper.loss is not None:
        raise StoreError(f"stopped: {keeper.loss}")


def _interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@dataclass(frozen=True)
class _Other:
    """Another driver's lease as it was listed; `age` is seconds since it was renewed, by the storage's clock."""

    driver: Driver
    renewed: float
    age: float


@dataclass(frozen=True)
class Sighting:
    """A driver whose lease lies in a storage, as an onlooker sees it."""

    driver: Driver
    lives: bool
    seconds_since: float
    """Since it renewed its lease, by this machine's clock."""


def find_driver(storage: Storage) -> Sighting | None:
    """Who drives the storage's sweep; the last that did where it ended without a word; None where nobody is known.

    For an onlooker, who writes nothing and waits for nothing: a driver elsewhere is taken for dead once its lease
    has expired.
    """
    found = []
    for path, renewed in storage.list_times(paths.DRIVERS).items():
        if path.endswith(".json"):
            # Gone since it was listed, or no driver's.
            with suppress(FileNotFoundError, StoreError):
                driver, age = _read(storage, path), max(0.0, time.time() - renewed)
                lives = driver.is_alive()
                found.append(Sighting(driver, age <= EXPIRY_SECONDS if lives is None else lives, age))
    driving = [sighting for sighting in found if sighting.driver.state == "driving"]
    return max(driving, key=lambda sighting: (sighting.lives, -sighting.seconds_since), default=None)


def _others(storage: Storage, own: Driver) -> list[_Other]:
    times = storage.list_times(paths.DRIVERS)
    now = times.get(paths.driver(own.id), max(times.values(), default=0))
    found = []
    for path in sorted(times.keys() - {paths.driver(own.id)}):
        if path.endswith(".json"):
            with suppress(FileNotFoundError):
                found.append(_Other(_read(storage, path), times[path], now - times[path]))
    return found


def _read(storage: Storage, path: str) -> Driver:
    try:
        return Driver.model_validate_json(storage.read_bytes(path))
    except ValidationError as error:
        raise StoreError(f"{path} in {storage} is no driver's: delete it once no driver runs") from error


def _write(storage: Storage, lease: Driver) -> None:
    storage.write_bytes(paths.driver(lease.id), lease.model_dump_json(indent=2).encode() + b"\n")


def _withdraw(storage: Storage, lease: Driver) -> None:
    # Where the storage is away now, the lease ends with its process, or expires.
    with suppress(StorageError):
        storage.with_patience(0).delete(paths.driver(lease.id))


# ----------------------------------------------------------------------------------------------------------- take


def _take(storage: Storage, say: Say) -> Driver:
    watched: dict[str, float] = {}
    rival: _Other | None = None
    for _ in range(_NUM_ATTEMPTS):
        lease = Driver()
        _write(storage, lease)
        try:
            others = _others(storage, lease)
            rival = next((other for other in others if not _is_dead(other, watched)), None)
            if rival is None:
                return _succeed(storage, lease, [other.driver for other in others])
        except BaseException:
            _withdraw(storage, lease)
            raise
        _withdraw(storage, lease)
        if _is_alive(rival, watched):
            if rival.driver.state == "driving":
                break
        else:
            _watch(storage, rival, watched, say)
        time.sleep(_random.uniform(0.1, 2))
    assert rival is not None
    raise StoreError(f"{storage} has another driver: {rival.driver}; wait until it ends, or stop it")


def _succeed(storage: Storage, lease: Driver, dead: list[Driver]) -> Driver:
    lease = lease.model_copy(update={"state": "driving", "succeeds": tuple(driver.id for driver in dead)})
    _write(storage, lease)
    for driver in dead:
        storage.delete(paths.driver(driver.id))
    return lease


def _is_dead(other: _Other, watched: dict[str, float]) -> bool:
    lives = other.driver.is_alive()
    if lives is None:
        return other.age > LONG_DEAD_SECONDS or watched.get(other.driver.id) == other.renewed
    return not lives


def _is_alive(other: _Other, watched: dict[str, float]) -> bool:
    """Of one elsewhere, whether it renewed its lease since we began to watch it."""
    lives = other.driver.is_alive()
    if lives is None:
        return other.driver.id in watched and watched[other.driver.id] != other.renewed
    return lives


def _watch(storage: Storage, other: _Other, watched: dict[str, float], say: Say) -> None:
    """Wait until the other's lease is renewed, withdrawn or expired; its last renewal is kept in `watched`."""
    watched[other.driver.id] = other.renewed
    # However old it is: a storage that was away until now let nobody renew anything.
    seconds = max(EXPIRY_SECONDS - other.age, RENEWAL_SECONDS * 4 / 3)
    say(f"Another driver was last seen {other.age:.0f} s ago, waiting up to {seconds:.0f} s for it: {other.driver}")
    deadline = time.monotonic() + seconds
    path = paths.driver(other.driver.id)
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, RENEWAL_SECONDS / 5))
        if storage.list_times(paths.DRIVERS).get(path) != other.renewed:
            return


# ----------------------------------------------------------------------------------------------------------- keep


@final
class _Keeper(threading.Thread):
    """Renews a lease; `loss` says why it is lost."""

    def __init__(self, storage: Storage, lease: Driver, stop: Callable[[], object]) -> None:
        super().__init__(name="pie_ray-lease", daemon=True)
        self.loss: str | None = None
        self._storage, self._lease, self._stop_sweep = storage.with_patience(0), lease, stop
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(RENEWAL_SECONDS):
            # A storage that is away is the members' trouble; the lease is renewed when it is back.
            with suppress(StoreError):
                self._renew()
            if self.loss is not None:
                self._stop_sweep()
                return

    def end(self) -> None:
        self._is_over.set()
        self.join()
        _withdraw(self._storage, self._lease)

    def _renew(self) -> None:
        own = paths.driver(self._lease.id)
        others = [other.driver for other in _others(self._storage, self._lease)]
        successor = next((driver for driver in others if self._lease.id in driver.succeeds), None)
        if successor is not None:
            self.loss = f"another driver took {self._storage} over while this one did not answer: {successor}"
        elif not self._storage.exists(own):
            self.loss = f"{own} is gone from {self._storage}: another driver was here, or somebody deleted it"
        else:
            _write(self._storage, self._lease)
