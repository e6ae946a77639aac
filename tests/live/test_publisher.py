"""Progress reaches storage and tracker, and neither can hold a sweep up."""

from __future__ import annotations

import threading
import time

import pytest

from pie_ray.errors import PieRayError, StorageError, SweepError
from pie_ray.identity import make_plan
from pie_ray.live import publisher
from pie_ray.live.keeper import ProgressKeeper
from pie_ray.live.publisher import ProgressPublisher, settle_progress
from pie_ray.store import Storage, paths, read_progress, write_progress

from .conftest import record


class Listener:
    """Of a tracker, the call that matters here."""

    def __init__(self) -> None:
        self.told = []

    def log_progress(self, progress) -> None:
        self.told.append(progress)


class Watched(Storage):
    """Remembers what is written; with a `gate`, writing waits for it."""

    def __init__(self, folder, gate=None):
        super().__init__(folder)
        self.written, self.gate = [], gate

    def with_patience(self, seconds):
        return self

    def write_bytes(self, path, data):
        if self.gate is not None:
            self.gate.wait(30)
        super().write_bytes(path, data)
        self.written.append((path, bytes(data)))


@pytest.fixture
def plan(tiny_recipe):
    return make_plan(tiny_recipe)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(publisher, "SECONDS_BETWEEN_LOOKS", 0.02)


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_news_is_written_at_once_and_the_rest_now_and_then(plan, tmp_path, quick):
    storage, tracker, keeper = Watched(tmp_path), Listener(), ProgressKeeper(plan, ())
    with ProgressPublisher(keeper, storage, tracker):
        wait_until(lambda: len(storage.written) == 1)
        keeper.planned(plan, plan.members)
        for spec in plan.members[:5]:
            keeper.started(spec)
            keeper.done(spec, record(spec))
            time.sleep(0.04)
        assert len(storage.written) == 1 and len(tracker.told) == 1
        keeper.failed(plan.members[5], "why")
        wait_until(lambda: len(storage.written) == 2)
        assert read_progress(storage).num_done == 5 and read_progress(storage).failures[0].reason == "why"
    assert len(storage.written) == 3 and {path for path, _ in storage.written} == {paths.PROGRESS}
    assert [progress.state for progress in tracker.told] == ["running", "incomplete"]
    assert read_progress(storage) == tracker.told[-1]


def test_progress_is_told_again_after_a_while(plan, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(publisher, "SECONDS_BETWEEN_WRITES", 0.1)
    monkeypatch.setattr(publisher, "SECONDS_BETWEEN_LOGS", 0.1)
    storage, tracker = Watched(tmp_path), Listener()
    with ProgressPublisher(ProgressKeeper(plan, ()), storage, tracker):
        wait_until(lambda: len(storage.written) >= 3 and len(tracker.told) >= 3)


@pytest.mark.parametrize(
    ("error", "state", "note"),
    [
        (KeyboardInterrupt(), "stopped", ""),
        (SweepError("1 of 6 members failed\n  dense seed 0: why"), "failed", ""),
        (PieRayError("the storage failed: no space"), "failed", "the storage failed: no space"),
        (ZeroDivisionError("division by zero"), "failed", "ZeroDivisionError: division by zero"),
    ],
)
def test_how_a_sweep_ended(plan, tmp_path, error, state, note):
    storage = Storage(tmp_path)
    with (
        pytest.raises(type(error)),
        ProgressPublisher(ProgressKeeper(plan, [m.member_id for m in plan.members]), storage, Listener()),
    ):
        raise error
    assert (read_progress(storage).state, read_progress(storage).note) == (state, note)


def test_all_members_done_is_complete(plan, tmp_path):
    with ProgressPublisher(ProgressKeeper(plan, [m.member_id for m in plan.members]), Storage(tmp_path), Listener()):
        pass
    assert read_progress(Storage(tmp_path)).state == "complete"


def test_a_storage_that_hangs_or_fails_does_not_hold_the_sweep(plan, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(publisher, "SECONDS_FOR_THE_END", 0.1)
    gate, tracker = threading.Event(), Listener()
    started = time.monotonic()
    with ProgressPublisher(ProgressKeeper(plan, ()), Watched(tmp_path, gate), tracker):
        pass
    assert time.monotonic() - started < 5
    gate.set()

    def refuse(storage, progress):
        raise StorageError("no space is left")

    monkeypatch.setattr(publisher, "write_progress", refuse)
    with ProgressPublisher(ProgressKeeper(plan, ()), Storage(tmp_path / "full"), tracker):
        wait_until(lambda: tracker.told)


def test_what_is_stored_is_settled_where_nothing_was_to_do(plan, tmp_path, clock):
    storage = Watched(tmp_path)
    complete = ProgressKeeper(plan, [m.member_id for m in plan.members], now=clock)
    settle_progress(storage, complete)
    first = read_progress(storage)
    assert (first.state, first.num_done, first.updated_at) == ("complete", 6, "2026-03-01T12:00:00+00:00")

    # What a driver told that was killed after its last member.
    killed = {"state": "running", "num_done": 5, "members_per_hour": 99.0, "num_running": 1, "seconds_left": 3.0}
    write_progress(storage, first.model_copy(update=killed))
    clock.pass_seconds(60)
    settle_progress(storage, ProgressKeeper(plan, [m.member_id for m in plan.members], now=clock))
    settled = first.model_copy(update={"members_per_hour": 99.0, "updated_at": "2026-03-01T12:01:00+00:00"})
    assert read_progress(storage) == settled

    num_written = len(storage.written)
    clock.pass_seconds(60)
    settle_progress(storage, ProgressKeeper(plan, [m.member_id for m in plan.members], now=clock))
    assert len(storage.written) == num_written and read_progress(storage) == settled
