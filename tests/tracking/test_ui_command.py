"""`pie-ray ui`: the right server, the right page, and one line where there is none."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pie_ray.cli import main
from pie_ray.commands import ui
from pie_ray.recipe import parse_recipe
from pie_ray.study import prepare
from pie_ray.tracking import LocalServer
from tests.cluster.nodes import free_port
from tests.cluster.processes import session
from tests.conftest import TINY


def begun(folder: Path, tracking: str) -> str:
    """A results folder without members."""
    overrides = [f"execution.storage={folder / 'results'}", f"execution.tracking={tracking}"]
    return prepare(parse_recipe(TINY, overrides)).storage.uri


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def track_quietly(results: str) -> None:
    """Log the sweep as it is, without members."""
    from rich.console import Console

    from pie_ray.commands.analysis import open_folder
    from pie_ray.stages import track

    assert track(open_folder(results), None, {}, Console(quiet=True)).ok


def test_the_server_of_a_local_log_is_started_and_ends_with_the_command(tmp_path: Path) -> None:
    results = begun(tmp_path, "{kind: mlflow}")
    track_quietly(results)
    command = [sys.executable, "-m", "pie_ray", "ui", results, "--no-browser", "--port", str(free_port())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    children: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert process.stdout.readline() == "Ctrl-C ends the server.\n"
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/#/experiments/1/runs/(\w+)\?workflowType=.*", address)
        assert found is not None, address
        server, run_id = found.groups()
        with urllib.request.urlopen(f"{server}/api/2.0/mlflow/runs/get?run_id={run_id}") as answer:
            assert b'"run_name": "tiny"' in answer.read()
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stdout.read() == "The server has ended.\n"
        deadline = time.monotonic() + 10
        while any(child.is_running() for child in children) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not [child for child in children if child.is_running()]
    finally:
        for child in [*children, *session(process.pid)]:
            with suppress(psutil.NoSuchProcess):
                child.kill()


def test_the_page_on_a_server_is_shown_and_opened(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = begun(tmp_path, f"{{kind: mlflow, uri: '{server}'}}")
    assert main(["ui", results]) == 2
    assert f"knows nothing of tiny: `pie-ray track {results}`" in capsys.readouterr().err
    track_quietly(results)
    opened: list[str] = []
    monkeypatch.setattr(ui.webbrowser, "open", opened.append)
    monkeypatch.setenv("BROWSER", "true")
    assert main(["ui", results]) == 0
    address = capsys.readouterr().out.strip()
    assert opened == [address] and address.startswith(f"{server}/#/experiments/")
    assert main(["ui", results, "--no-browser"]) == 0
    assert len(opened) == 1


def test_no_browser_takes_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not ui._has_desktop()


# ---------------------------------------------------------------------------------------------------------- mistakes


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(arguments)
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    return code, printed.err


def test_without_tracking_the_report_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = begun(tmp_path, "{kind: none}")
    code, text = error_of(["ui", results], capsys)
    assert code == 2 and "execution.tracking none" in text and f"{results}/report/index.html" in text


def test_without_a_log_the_command_that_makes_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = begun(tmp_path, "{kind: mlflow}")
    code, text = error_of(["ui", results], capsys)
    assert code == 2 and "mlflow.db is not there yet" in text and f"pie-ray track {results}" in text
    assert not (tmp_path / "results" / "mlflow.db").exists()


def test_a_server_that_is_down_is_told_without_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = begun(tmp_path, "{kind: mlflow}")
    os.environ["MLFLOW_TRACKING_URI"] = "http://me:hunter2@127.0.0.1:9"
    try:
        code, text = error_of(["ui", results], capsys)
    finally:
        del os.environ["MLFLOW_TRACKING_URI"]
    assert code == 1 and "Connection refused" in text and "hunter2" not in text


def test_a_taken_port_and_a_folder_without_results_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = begun(tmp_path, "{kind: mlflow}")
    track_quietly(results)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        code, text = error_of(["ui", results, "--port", str(port)], capsys)
    assert code == 2 and f"--port: found {port}, which is not free" in text
    code, text = error_of(["ui", str(tmp_path)], capsys)
    assert code == 2 and "holds no results" in text


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(Exception, match=r"MLflow's server does not start: .+"), LocalServer("nonsense://x"):
        pass
