"""Predictions stream from trials to writer actors; a writer holds a member's rows until they are all there.

A writer's memory of an unfinished file dies with it: the trial's commit then fails, the trial is tried again from its
checkpoint, and the rows are sent anew. So nothing is lost, and nothing can be written twice.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any, Self, final

import pyarrow as pa
import ray

from ..errors import PieRayError
from ..identity import MemberSpec
from ..store import PredictionCollector, Storage, write_predictions

NUM_IN_FLIGHT = 8
"""Batches that a trial may have on their way to a writer before it waits."""

NUM_ROWS_A_MESSAGE = 10_000


class Writer:
    """The actor's class: collects each attempt's rows apart, writes a file when its attempt commits."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.attempts: dict[str, PredictionCollector] = {}
        self.newest: dict[tuple[str, str], str] = {}

    def open(self, attempt: str, spec: MemberSpec, suite: str, num_rows: int) -> None:
        # An earlier attempt at the same file was killed; its rows are of no use to anyone.
        self.abort(self.newest.get((spec.member_id, suite), ""))
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
        if attempt not in self.attempts:
            raise PieRayError("the writer was restarted or another attempt took over; the rows are sent again")
        return self.attempts[attempt]


def start_writers(storage: Storage, num_writers: int) -> list[Any]:
    """Writer actors that are restarted, empty, when they die."""
    writer = ray.remote(num_cpus=0, max_restarts=-1)(Writer)
    return [writer.remote(storage) for _ in range(num_writers)]


@final
class ActorSink:
    """A sink that streams to writer actors; a member always goes to the same one."""

    def __init__(self, writers: list[Any]) -> None:
        self.writers = writers

    def open(self, spec: MemberSpec, suite: str, num_rows: int) -> ActorSuiteSink:
        writer = self.writers[int(spec.member_id, 16) % len(self.writers)]
        return ActorSuiteSink(writer, spec, suite, num_rows)


@final
class ActorSuiteSink:
    """Rows of one member and one suite on their way to a writer."""

    def __init__(self, writer: Any, spec: MemberSpec, suite: str, num_rows: int) -> None:
        self.writer, self.attempt = writer, uuid.uuid4().hex
        self.buffer: list[pa.RecordBatch] = []
        self.in_flight = [writer.open.remote(self.attempt, spec, suite, num_rows)]

    def write(self, batch: pa.RecordBatch) -> None:
        self.buffer.append(batch)
        if sum(part.num_rows for part in self.buffer) >= NUM_ROWS_A_MESSAGE:
            self._send()

    def commit(self) -> None:
        """Return when the file is on storage; raises what the writer raised."""
        self._send()
        self.in_flight.append(self.writer.commit.remote(self.attempt))
        ray.get(self.in_flight)

    def _send(self) -> None:
        if not self.buffer:
            return
        if len(self.in_flight) >= NUM_IN_FLIGHT:
            done, self.in_flight = ray.wait(self.in_flight)
            ray.get(done)
        self.in_flight.append(self.writer.write.remote(self.attempt, pa.concat_batches(self.buffer)))
        self.buffer = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.writer.abort.remote(self.attempt)
