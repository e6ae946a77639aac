"""Where a member's predictions go: the seam between making them and keeping them.

A sink opens one `SuiteSink` for each member and suite; what it was given is kept once `commit` returns, and nothing of
it where the `with` block is left without. `ParquetSink` writes files, `MemorySink` keeps tables.
"""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Protocol, Self, final

import pyarrow as pa

from ..identity import MemberSpec
from .prediction_file import write_predictions
from .storage import Storage
from .writer import PredictionCollector


class SuiteSink(Protocol):
    """Takes the batches of one member on one suite."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def write(self, batch: pa.RecordBatch) -> None: ...

    def commit(self) -> None: ...


class Sink(Protocol):
    """Opens a `SuiteSink`; `num_rows` is the sum over the suite's evaluation sets and must be met at its commit."""

    def open(self, spec: MemberSpec, suite: str, num_rows: int) -> SuiteSink: ...


@final
class ParquetSink:
    """Writes each member and suite as one file, in the process that calls it."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def open(self, spec: MemberSpec, suite: str, num_rows: int) -> PredictionCollector:
        return PredictionCollector(spec, suite, num_rows, partial(write_predictions, self.storage, spec, suite))


@final
class MemorySink:
    """Keeps predictions in `tables`, by member id and suite; for tests and for looking at a member by hand."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], pa.Table] = {}

    def open(self, spec: MemberSpec, suite: str, num_rows: int) -> PredictionCollector:
        return PredictionCollector(spec, suite, num_rows, partial(self.tables.__setitem__, (spec.member_id, suite)))
