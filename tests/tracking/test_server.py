"""A sweep through a real `mlflow server`: with logins, and with one that is not there, hangs or comes back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pie_ray.records import MemberRecord
from pie_ray.tracking import MlflowTracker
from pie_ray.tracking.connection import find_or_create_experiment
from tests.cluster.mlflow_server import mlflow_server
from tests.cluster.nodes import free_port
from tests.tracking.logged import ARTIFACTS, METRICS, RECORDS, Logged, log_all, make_sweep

PASSWORD = "a-long-pass-word"


def test_a_sweep_through_a_server(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = log_all(MlflowTracker(server, "served"))
    assert outcome.ok, outcome.message
    assert log_all(MlflowTracker(server, "served")).num_logged == 4
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err == ""
    logged = Logged(server, "served")
    assert (len(logged.variants), len(logged.members)) == (2, 4) and logged.nothing_doubled()
    assert logged.artifacts("report") == {"report/index.html"}
    page = f"/#/experiments/{logged.experiment.experiment_id}/runs/{logged.parent.info.run_id}"
    assert outcome.ui_hint == f"{server}{page}?workflowType=machine_learning"


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
    assert len(Logged(server, "later").members) == 4


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
    assert len(Logged(server, "back").members) == 4


def test_a_hung_server_is_given_up_in_time() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        tracker = MlflowTracker(f"http://127.0.0.1:{listener.getsockname()[1]}", "hung", patience_seconds=1)
        begin = time.monotonic()
        outcome = log_all(tracker, [])
        assert time.monotonic() - begin < 2
    assert not outcome.ok and "it took too long" in outcome.message


# ----------------------------------------------------------------------------------------------------------- logins


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that asks for a user and a password."""
    pytest.importorskip("flask_wtf", reason="needs mlflow[auth]")
    folder: Path = tmp_path_factory.mktemp("guarded")
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
        f"database_uri = sqlite:///{folder}/auth.db\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    variables = {"MLFLOW_AUTH_CONFIG_PATH": f"{folder}/auth.ini", "MLFLOW_FLASK_SERVER_SECRET_KEY": "only a test"}
    with mlflow_server(folder, ["--app-name", "basic-auth"], variables) as found:
        yield found.uri


def test_logins_come_from_the_environment(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    # one member: the server takes a quarter of a second for the password at each request
    outcome = log_all(MlflowTracker(guarded, "guarded"), RECORDS[:1])
    assert outcome.ok, outcome.message
    logged = Logged(guarded, "guarded")
    assert len(logged.members) == 1 and logged.artifacts("report") == {"report/index.html"}
    assert PASSWORD not in str([run.to_dictionary() for run in logged.all]) + outcome.ui_hint


@pytest.mark.parametrize("password", ["not-the-password", None])
def test_a_wrong_or_absent_password_is_one_clear_message(
    guarded: str, password: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    if password is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    begin = time.monotonic()
    outcome = log_all(MlflowTracker(guarded, "guarded"))
    assert time.monotonic() - begin < 15
    what, later = outcome.message.splitlines()
    assert "asks for a user and a password, or refuses those in MLFLOW_TRACKING_USERNAME" in what
    assert "pie-ray track" in later and "not-the-password" not in outcome.message
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err == ""
