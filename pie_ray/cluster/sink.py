"""Predictions stream from trials to writer actors; a writer holds a member's rows until they are all there.

Writers live on the head node, wherever the driver is. They need next to no processor, the head is no spot instance
and cannot be lost without the sweep's end, and a worker node that has no member left holds nothing else that is needed.

A writer's memory of an unfinished file dies with it. Ray starts it anew, empty; the trial hears of it as
WriterLostError and predicts again from the member's checkpoint. A file is a member's rows on one suite, published
whole under a name of its own: one that was published just before the writer died is replaced by the same bits. So
nothing is lost, and nothing can be there twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, final

import pyarrow as pa
import ray
from ray.exceptions import RayActorError

from ..errors import PieRayError
from ..identity import MemberSpec
from ..store import PredictionCollector, Storage, write_predictions

NUM_IN_FLIGHT = 8
"""Batches that a trial may have on their way to a writer before it waits."""

NUM_ROWS_A_MESSAGE = 50_000

RESTART_SECONDS = 60.0
"""How long a trial waits for a writer that died to be back."""


class WriterLostError(PieRayError):
    """A writer died with rows that were not on storage yet: they must be sent again."""


class Writer:
    """The actor's class: collects each attempt's rows apart, writes a file when its attempt commits."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.attempts: dict[str, PredictionCollector] = {}
        self.newest: dict[tuple[str, str], str] = {}
        self.replaced: set[str] = set()

    def open(self, attempt: str, spec: MemberSpec, suite: str, num_rows: int) -> None:
        # An earlier attempt at the same file was killed; its rows are of no use to anyone.
        earlier = self.newest.get((spec.member_id, suite))
        if earlier in self.attempts:
            self.abort(earlier)
            self.replaced.add(earlier)
        self.newest[spec.member_id, suite] = attempt
        publish = partial(write_predictions, self.storage, spec, suite)
        self.attempts[attempt] = PredictionCollector(spec, suite, num_rows, publish)

    def write(self, attempt: str, batch: pa.RecordBatch) -> None:
        self._collector(attempt).write(batch)

    def commit(self, attempt: str) -> None:
        self._collector(attempt).commit()
        self.abort(attempt)

    def abort(self, attempt: str) -> None:
        self.attempts.pop(attempt, None)

    def _collector(self, attempt: str) -> PredictionCollector:
        if attempt in self.replaced:
            raise PieRayError("another attempt at this member took over")
        if attempt not in self.attempts:
            raise WriterLostError("the writer was restarted with none of the rows sent so far")
        return self.attempts[attempt]


def start_writers(storage: Storage, num_writers: int) -> list[Any]:
    """Writer actors on the head node that are restarted, empty, when they die."""
    # Tune comes with it, which a writer has no use for and would wait for at its start.
    from .capacity import HEAD

    writer = ray.remote(num_cpus=0, max_restarts=-1, resources={HEAD: 0.001})(Writer)
    return [writer.remote(storage) for _ in range(num_writers)]


@final
class ActorSink:
    """A sink that streams to writer actors; a member always goes to the same one."""

    def __init__(self, writers: list[Any]) -> None:
        self.writers = writers

    def open(self, spec: MemberSpec, suite: str, num_rows: int) -> ActorSuiteSink:
        """Waits for a writer that is being restarted; WriterLostError where it does not come back."""
        writer = self.writers[int(spec.member_id, 16) % len(self.writers)]
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                return ActorSuiteSink(writer, spec, suite, num_rows)
            except WriterLostError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)


@final
class ActorSuiteSink:
    """Rows of one member and one suite on their way to a writer; everything here raises WriterLostError."""

    def __init__(self, writer: Any, spec: MemberSpec, suite: str, num_rows: int) -> None:
        self.writer, self.attempt = writer, uuid.uuid4().hex
        self.buffer: list[pa.RecordBatch] = []
        self.in_flight: list[Any] = []
        # At once, so that a writer that is not there is noticed before anything is predicted.
        with _losses_named():
            ray.get(writer.open.remote(self.attempt, spec, suite, num_rows))

    def write(self, batch: pa.RecordBatch) -> None:
        self.buffer.append(batch)
        if sum(part.num_rows for part in self.buffer) >= NUM_ROWS_A_MESSAGE:
            self._send()

    def commit(self) -> None:
        """Return when the file is on storage; raises what the writer raised."""
        self._send()
        self.in_flight.append(self.writer.commit.remote(self.attempt))
        with _losses_named():
            ray.get(self.in_flight)

    def _send(self) -> None:
        if not self.buffer:
            return
        if len(self.in_flight) >= NUM_IN_FLIGHT:
            done, self.in_flight = ray.wait(self.in_flight)
            with _losses_named():
                ray.get(done)
        self.in_flight.append(self.writer.write.remote(self.attempt, pa.concat_batches(self.buffer)))
        self.buffer = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.writer.abort.remote(self.attempt)


@contextmanager
def _losses_named() -> Iterator[None]:
    try:
        yield
    except RayActorError as error:
        raise WriterLostError("a writer died with rows that were not on storage yet") from error
