"""A clock that tests turn, and results of sweeps that nobody ran."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from pie_ray.records import MemberRecord
from pie_ray.store import paths, write_record
from pie_ray.study import prepare


class Clock:
    """Stands still between `pass_seconds`."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def in_utc(monkeypatch):
    """People read times by their own clock, which is at Greenwich here."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def record(spec) -> MemberRecord:
    return MemberRecord(
        member_id=spec.member_id,
        variant_id=spec.variant_id,
        seed=spec.seed,
        parent_id=spec.parent_id,
        num_parameters=1,
        num_prunable=1,
        num_nonzero=1,
        achieved_sparsity=0.0,
        checkpoint_bytes=0,
        top1={"test": 0.875},
    )


@pytest.fixture
def begun(tiny_recipe):
    """A sweep that was begun and has no member."""
    return prepare(tiny_recipe)


def complete(study, specs) -> None:
    """Members as they are listed: a record, and a file of predictions."""
    for spec in specs:
        study.storage.write_bytes(paths.predictions("clean", spec.variant_id, spec.seed), b"")
        write_record(study.storage, record(spec))
