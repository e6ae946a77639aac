"""Tracking against real stores: an sqlite file, a server, and one that is not there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from pie_ray.config import MlflowTracking, NoTracking, Tracking
from pie_ray.records import MemberRecord
from pie_ray.tracking import (
    TRACKERS,
    MlflowTracker,
    NoTracker,
    RecordingTracker,
    SweepInfo,
    Tracker,
    TrackingOutcome,
    make_tracker,
)
from pie_ray.tracking.background import BackgroundQueue, RejectedError
from pie_ray.tracking.connection import find_or_create_experiment
from pie_ray.tracking.fields import member_metrics, metric_name
from pie_ray.tracking.view import MlflowView

ARTIFACTS = {"report/index.html": b"<p>page</p>", "accuracy.png": b"\x89PNG"}
METRICS = {"dense": {"top1": 0.95}, "magnitude-0.90+static_int8": {"top1": 0.91, "num_pies": 12.0}}


def make_record(seed: int, variant_id: str = "dense", **changes: Any) -> MemberRecord:
    values: dict[str, Any] = {
        "member_id": f"{variant_id}-{seed}",
        "variant_id": variant_id,
        "seed": seed,
        "num_parameters": 1000,
        "num_prunable": 900,
        "num_nonzero": 1000,
        "achieved_sparsity": 0.0,
        "checkpoint_bytes": 4000,
        "train_loss": 0.25,
        "top1": {"test": 0.9 + seed / 100},
        "train_seconds": 5.0,
        "evaluate_seconds": 1.0,
    }
    return MemberRecord(**(values | changes))


def make_sweep(**changes: Any) -> SweepInfo:
    values: dict[str, Any] = {
        "name": "digits",
        "sweep_id": "abc123",
        "params": {"training.epochs": "3", "population.num_members": "2"},
        "tags": {"pie_ray.version": "0"},
        "recipe_text": "name: digits\n",
        "num_members": 4,
        "results": "results/digits",
    }
    return SweepInfo(**(values | changes))


RECORDS = [make_record(seed, variant_id) for variant_id in ("dense", "magnitude-0.90") for seed in (0, 1)]


def log_all(tracker: Tracker, records: list[MemberRecord] = RECORDS) -> TrackingOutcome:
    tracker.start(make_sweep())
    for record in records:
        tracker.log_member(record)
    tracker.log_analysis(METRICS, ARTIFACTS)
    return tracker.finish("complete", "4 of 4 members.")


class Logged:
    """What a store holds, read with a client of its own."""

    def __init__(self, uri: str, experiment: str = "pie_ray") -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = self.client.get_experiment_by_name(experiment)
        runs = list(self.client.search_runs([self.experiment.experiment_id], max_results=500))
        self.children = sorted(
            (run for run in runs if "mlflow.parentRunId" in run.data.tags), key=lambda run: run.info.run_name
        )
        self.parents = [run for run in runs if run not in self.children]

    @property
    def parent(self) -> Any:
        (parent,) = self.parents
        return parent

    def artifacts(self, path: str | None = None) -> set[str]:
        return {item.path for item in self.client.list_artifacts(self.parent.info.run_id, path)}

    def num_points(self, run: Any) -> set[int]:
        """How many values each metric of a run has had."""
        return {len(self.client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics}


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty sqlite store: copied, because making one takes two seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowView(f"sqlite:///{path}", "pie_ray").open(make_sweep(name="other"))
    return path.read_bytes()


@pytest.fixture
def sqlite_uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_for_server(f"http://127.0.0.1:{port}", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_server(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"mlflow server did not start: {log.read_text()[-2000:]}")


# --------------------------------------------------------------------------------------------------------- choice


def test_every_kind_of_tracking_has_a_tracker() -> None:
    configs = get_args(get_args(Tracking)[0])
    assert set(TRACKERS) == {get_args(config.model_fields["kind"].annotation)[0] for config in configs}
    assert isinstance(make_tracker(NoTracking(kind="none"), "sqlite:///x.db"), NoTracker)


def test_recipe_then_environment_then_default_choose_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def link(uri: str | None) -> str:
        tracker = make_tracker(MlflowTracking(kind="mlflow", uri=uri), "http://default")
        assert isinstance(tracker, MlflowTracker)
        return tracker._view.link

    assert link(None) == "http://default"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert link(None) == "http://environment"
    assert link("http://recipe") == "http://recipe"


@pytest.mark.parametrize("heavy", ["mlflow", "sqlalchemy", "requests"])
def test_importing_the_room_loads_no_mlflow(heavy: str) -> None:
    code = f"import sys, pie_ray.tracking; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_recording_tracker_keeps_what_it_is_told() -> None:
    tracker = RecordingTracker()
    outcome = log_all(tracker, RECORDS[:1])
    assert outcome.ok and outcome.num_logged == 1
    assert tracker.calls == ["start", "log_member dense-0", "log_analysis", "finish complete"]
    assert tracker.members == RECORDS[:1] and tracker.artifacts == ARTIFACTS and tracker.metrics == METRICS


# --------------------------------------------------------------------------------------------------------- sqlite


def test_a_sweep_in_sqlite_reads_as_one_parent_and_a_child_a_member(
    sqlite_uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = log_all(MlflowTracker(sqlite_uri, "pie_ray"))
    printed = capfd.readouterr()
    assert outcome == TrackingOutcome(
        ok=True,
        num_logged=4,
        num_pending=0,
        message="MLflow has all 4 members of digits.",
        ui_hint=f"mlflow ui --backend-store-uri {sqlite_uri}",
    )
    assert printed.out == "" and printed.err == ""

    logged = Logged(sqlite_uri)
    parent = logged.parent
    assert parent.info.run_name == "digits" and parent.info.status == "FINISHED"
    assert parent.data.params == {"training.epochs": "3", "population.num_members": "2"}
    assert parent.data.metrics == {
        "top1.dense": 0.95,
        "top1.magnitude-0.90__static_int8": 0.91,
        "num_pies.magnitude-0.90__static_int8": 12.0,
    }
    assert parent.data.tags["pie_ray.status"] == "complete"
    assert "4 networks" in parent.data.tags["mlflow.note.content"]
    assert "**Complete.** 4 of 4 members." in parent.data.tags["mlflow.note.content"]
    assert logged.artifacts() == {"recipe.yaml", "accuracy.png", "report"}
    assert logged.artifacts("report") == {"report/index.html"}
    assert list((tmp_path / "mlflow-artifacts").rglob("recipe.yaml"))

    names = [child.info.run_name for child in logged.children]
    assert names == ["dense/seed-0", "dense/seed-1", "magnitude-0.90/seed-0", "magnitude-0.90/seed-1"]
    child = logged.children[1]
    assert child.info.status == "FINISHED" and child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["pie_ray.member_id"] == "dense-1"
    assert child.data.params == {
        "variant_id": "dense",
        "sparsity": "0",
        "quantization": "none",
        "seed": "1",
        "arithmetic": "native",
        "precision": "float32",
        "device": "cpu",
    }
    assert child.data.metrics == {
        "top1.test": 0.91,
        "num_evaluation_sets": 1.0,
        "achieved_sparsity": 0.0,
        "num_parameters": 1000.0,
        "num_nonzero": 1000.0,
        "checkpoint_bytes": 4000.0,
        "train_seconds": 5.0,
        "evaluate_seconds": 1.0,
        "train_loss": 0.25,
    }
    assert 6000 <= child.info.end_time - child.info.start_time < 16000


def test_logging_everything_again_doubles_nothing(sqlite_uri: str, tmp_path: Path, migrated: bytes) -> None:
    (tmp_path / "mlflow.db").write_bytes(migrated)
    log_all(MlflowTracker(sqlite_uri, "again"), RECORDS[:2])
    outcome = log_all(MlflowTracker(sqlite_uri, "again"))
    assert outcome.ok and outcome.num_logged == 4
    logged = Logged(sqlite_uri, "again")
    assert len(logged.children) == 4
    assert all(logged.num_points(run) == {1} for run in [logged.parent, *logged.children])


def test_a_member_that_was_evaluated_further_is_logged_again(sqlite_uri: str, tmp_path: Path, migrated: bytes) -> None:
    (tmp_path / "mlflow.db").write_bytes(migrated)
    log_all(MlflowTracker(sqlite_uri, "further"), RECORDS[:1])
    further = {"test": 0.9, "corruption/fog/1": 0.5}
    outcome = log_all(MlflowTracker(sqlite_uri, "further"), [RECORDS[0].model_copy(update={"top1": further})])
    assert outcome.ok
    (child,) = Logged(sqlite_uri, "further").children
    assert child.data.metrics["top1.corruption/fog/1"] == 0.5
    assert child.data.metrics["num_evaluation_sets"] == 2


def test_changed_figures_and_recipe_are_shown(sqlite_uri: str, tmp_path: Path, migrated: bytes) -> None:
    (tmp_path / "mlflow.db").write_bytes(migrated)
    log_all(MlflowTracker(sqlite_uri, "changed"))
    tracker = MlflowTracker(sqlite_uri, "changed")
    tracker.start(make_sweep(params={"population.num_members": "5", "training.epochs": "3", "new": "x" * 9000}))
    tracker.log_analysis({"dense": {"top1": 0.5, "unmeasured": float("nan")}}, {})
    assert tracker.finish("incomplete", "1 member failed.").ok
    parent = Logged(sqlite_uri, "changed").parent
    assert parent.data.metrics["top1.dense"] == 0.5 and "unmeasured.dense" not in parent.data.metrics
    assert parent.info.status == "KILLED" and parent.data.tags["pie_ray.status"] == "incomplete"
    assert len(parent.data.params["new"]) == 500
    assert "`population.num_members`: 2 → 5" in parent.data.tags["mlflow.note.content"]
    assert "epochs" not in parent.data.tags["mlflow.note.content"]


def test_many_params_and_metrics_exceed_no_limit(sqlite_uri: str, tmp_path: Path, migrated: bytes) -> None:
    (tmp_path / "mlflow.db").write_bytes(migrated)
    tracker = MlflowTracker(sqlite_uri, "many")
    tracker.start(make_sweep(params={f"p{number}": str(number) for number in range(230)}))
    tracker.log_analysis({f"variant-{number}": {"top1": 0.5} for number in range(1100)}, {})
    assert tracker.finish("complete", "").ok
    parent = Logged(sqlite_uri, "many").parent
    assert len(parent.data.params) == 230 and len(parent.data.metrics) == 1100


@pytest.mark.parametrize("killed_after", ["create_run", "log_batch"])
def test_a_child_left_half_way_is_repaired(
    sqlite_uri: str, tmp_path: Path, migrated: bytes, killed_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    (tmp_path / "mlflow.db").write_bytes(migrated)
    view = MlflowView(sqlite_uri, "half")
    view.open(make_sweep())
    next_call = {"create_run": "log_batch", "log_batch": "set_terminated"}[killed_after]
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, next_call, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            view.add_member(RECORDS[0])
    assert Logged(sqlite_uri, "half").children[0].info.status == "RUNNING"

    assert log_all(MlflowTracker(sqlite_uri, "half"), RECORDS[:1]).ok
    logged = Logged(sqlite_uri, "half")
    (child,) = logged.children
    assert child.info.status == "FINISHED" and child.data.metrics["train_loss"] == 0.25
    assert child.data.params["device"] == "cpu" and logged.num_points(child) == {1}


def test_a_deleted_experiment_is_named(sqlite_uri: str, tmp_path: Path, migrated: bytes) -> None:
    (tmp_path / "mlflow.db").write_bytes(migrated)
    log_all(MlflowTracker(sqlite_uri, "gone"), [])
    logged = Logged(sqlite_uri, "gone")
    logged.client.delete_experiment(logged.experiment.experiment_id)
    outcome = log_all(MlflowTracker(sqlite_uri, "gone"))
    assert not outcome.ok and "mlflow experiments restore -x" in outcome.message


def test_a_refused_member_does_not_hold_up_the_others(sqlite_uri: str, tmp_path: Path, migrated: bytes) -> None:
    (tmp_path / "mlflow.db").write_bytes(migrated)
    refused = make_record(7, top1={"a//b": 0.5})
    outcome = log_all(MlflowTracker(sqlite_uri, "refused"), [refused, *RECORDS])
    assert (outcome.ok, outcome.num_logged, outcome.num_pending) == (False, 4, 1)
    assert "refuses member dense-7" in outcome.message and "pie-ray track results/digits" in outcome.message


# --------------------------------------------------------------------------------------------- a server, or none


def test_a_sweep_through_a_server(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = log_all(MlflowTracker(server, "served"))
    assert outcome.ok, outcome.message
    assert log_all(MlflowTracker(server, "served")).num_logged == 4
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err == ""
    logged = Logged(server, "served")
    assert len(logged.children) == 4
    assert all(logged.num_points(run) == {1} for run in [logged.parent, *logged.children])
    assert logged.artifacts("report") == {"report/index.html"}
    page = f"/#/experiments/{logged.experiment.experiment_id}/runs/{logged.parent.info.run_id}"
    assert outcome.ui_hint == server + page


def test_drivers_that_start_together_share_the_experiment(server: str) -> None:
    from mlflow.tracking import MlflowClient

    found: list[str] = []
    together = threading.Barrier(4)

    def find() -> None:
        client = MlflowClient(tracking_uri=server)
        together.wait()
        found.append(find_or_create_experiment(client, server, "raced"))

    threads = [threading.Thread(target=find) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1


def test_a_dead_server_costs_nothing_and_is_completed_later(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    tracker = MlflowTracker(f"http://user:secret@127.0.0.1:{free_port()}", "later")
    begin = time.monotonic()
    tracker.start(make_sweep())
    for record in RECORDS:
        tracker.log_member(record)
    tracker.log_analysis(METRICS, ARTIFACTS)
    assert time.monotonic() - begin < 0.1
    outcome = tracker.finish("complete", "")
    assert time.monotonic() - begin < 20
    assert (outcome.ok, outcome.num_logged, outcome.num_pending) == (False, 0, 4)
    assert "lacks 4 of 4 members and the analysis: [Errno 111] Connection refused\n" in outcome.message
    assert "pie-ray track results/digits" in outcome.message
    assert "secret" not in outcome.message + outcome.ui_hint
    assert capfd.readouterr().err == ""

    assert log_all(MlflowTracker(server, "later")).ok
    assert len(Logged(server, "later").children) == 4


def test_a_server_that_comes_back_gets_everything_at_the_end(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = MlflowTracker(server, "back")
    tracker.start(make_sweep())
    tracker.log_member(RECORDS[0])
    opened = tracker._view.add_member
    failures = iter([ConnectionError("down")])

    def flaky(record: MemberRecord) -> None:
        for failure in failures:
            raise failure
        opened(record)

    monkeypatch.setattr(tracker._view, "add_member", flaky)
    for record in RECORDS[1:]:
        tracker.log_member(record)
    assert tracker.finish("complete", "").ok
    assert len(Logged(server, "back").children) == 4


def test_a_hung_server_is_given_up_in_time() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        tracker = MlflowTracker(f"http://127.0.0.1:{listener.getsockname()[1]}", "hung", patience_seconds=1)
        begin = time.monotonic()
        outcome = log_all(tracker, [])
        assert time.monotonic() - begin < 2
    assert not outcome.ok and "it took too long" in outcome.message


# ------------------------------------------------------------------------------------------------------ the queue


def test_after_a_failure_nothing_is_tried_until_the_end() -> None:
    queue = BackgroundQueue()
    attempts: list[str] = []

    def fail() -> None:
        attempts.append("fail")
        raise ConnectionError("down")

    queue.submit("member", fail)
    queue.submit("member", lambda: attempts.append("next"))
    wait_until(lambda: attempts == ["fail"])
    time.sleep(0.05)
    assert attempts == ["fail"]
    assert queue.finish(5) == {"member": 2}
    assert attempts == ["fail", "fail", "fail"] and str(queue.error) == "down"


def test_a_long_sweep_tries_again_after_a_while() -> None:
    queue = BackgroundQueue(cool_down_seconds=0.02)
    attempts: list[int] = []

    def fail_twice() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("down")

    queue.submit("member", fail_twice)
    wait_until(lambda: len(attempts) == 3)
    assert queue.finish(5) == {} and queue.num_done == {"member": 1}


def test_an_attempt_under_way_at_the_end_leaves_one_more() -> None:
    queue = BackgroundQueue()
    under_way, go_on = threading.Event(), threading.Event()
    attempts: list[int] = []

    def slow_then_fine() -> None:
        attempts.append(1)
        under_way.set()
        go_on.wait(5)
        if len(attempts) == 1:
            raise ConnectionError("down")

    queue.submit("member", slow_then_fine)
    under_way.wait(5)
    threading.Timer(0.05, go_on.set).start()
    assert queue.finish(5) == {} and len(attempts) == 2


def test_a_rejected_job_is_set_aside() -> None:
    queue = BackgroundQueue()

    def reject() -> None:
        raise RejectedError("no")

    queue.submit("member", reject)
    queue.submit("analysis", lambda: None)
    assert queue.finish(5) == {"member": 1} and queue.num_done == {"analysis": 1}


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


# ---------------------------------------------------------------------------------------------------------- names


def test_names_fit_mlflow() -> None:
    assert metric_name("magnitude-0.90+static_int8") == "magnitude-0.90__static_int8"
    assert metric_name("corruption/fog/3") == "corruption/fog/3"
    assert metric_name("größe%") == "größe_"


def test_many_evaluation_sets_become_the_mean_of_each_suite() -> None:
    top1 = {f"corruption/{number}": number / 100 for number in range(41)} | {"test": 0.9}
    metrics = member_metrics(make_record(0, top1=top1, train_seconds=None))
    assert {name: value for name, value in metrics.items() if name.startswith("top1")} == {
        "top1.corruption": pytest.approx(0.2),
        "top1.test": 0.9,
    }
    assert "train_seconds" not in metrics
