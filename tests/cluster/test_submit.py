"""The job commands as a person types them: against a real head that wants a token, and against what is no cluster."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from pie_ray.cli import main
from tests.cluster.nodes import Cluster, cluster

pytestmark = pytest.mark.long

SECONDS = 300


class Commands:
    """`pie-ray` on a machine that reaches the cluster's dashboard, in a folder with recipes."""

    def __init__(self, head: Cluster, folder: Path) -> None:
        self.head, self.folder = head, folder

    def __call__(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.head.run_on_head(*self.line(name, *arguments), seconds=SECONDS)

    def line(self, name: str, *arguments: str) -> list[str]:
        return ["python", "-m", "pie_ray", name, *arguments, "--address", self.head.job_address]

    def write(self, name: str, text: str, folder: Path | None = None) -> str:
        path = (folder or self.folder) / f"{name}.yaml"
        path.write_text(text.replace("name: tiny", f"name: {name}"))
        return str(path)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] = self.head.popen(  # type: ignore[assignment]
            self.line(name, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return process


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("home"), num_cpus=2, token=True) as started:
        yield started


@pytest.fixture
def pie_ray(head, tmp_path) -> Commands:
    return Commands(head, tmp_path)


HELD_NETWORK = """
import pathlib, time
from torch import nn

def make(num_classes, num_channels, image_size, results, hold):
    while pathlib.Path(hold).exists() and any(pathlib.Path(results).glob("members/*/*.json")):
        time.sleep(0.1)
    features = nn.Conv2d(num_channels, 4, 3)
    return nn.Sequential(features, nn.Flatten(), nn.Linear(4 * (image_size - 2) ** 2, num_classes))
"""


class Held:
    """A sweep, one member at a time, whose members but the first wait until `release`."""

    def __init__(self, pie_ray: Commands, name: str, storage: Path, text: str) -> None:
        self.results, self.hold = storage / name, storage / "hold"
        modules = storage / "modules"
        modules.mkdir(parents=True)
        (modules / "held_network.py").write_text(HELD_NETWORK)
        self.hold.touch()
        arguments = f"{{results: {self.results}, hold: {self.hold}}}"
        text = text.replace(
            "{kind: small_resnet, width: 4}", f"{{kind: custom, factory: 'held_network:make', arguments: {arguments}}}"
        )
        # Of its own folder: another sweep may have the same name.
        recipe = pie_ray.write(name, text.replace("execution: {", "execution: {max_concurrent: 1, "), storage)
        self.options = [recipe, "--storage", str(storage), "--working-dir", str(modules)]

    def wait_for_the_first(self) -> None:
        wait_until(lambda: bool(records(self.results)))

    def release(self) -> None:
        self.hold.unlink()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def records(folder: Path) -> dict[str, int]:
    """When each member's record was written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("members/*/*.json")}


def state_of(pie_ray: Commands, name: str) -> str:
    rows = [line.split() for line in pie_ray("status", name).stdout.splitlines()]
    return next(row[1] for row in rows if row and row[0] == name)


# ------------------------------------------------------------------------------------------------ a real cluster


def test_a_sweep_runs_to_its_end_and_again_trains_nothing(pie_ray, tmp_path, tiny_text):
    recipe, storage = pie_ray.write("whole", tiny_text), str(tmp_path / "results")
    first = pie_ray("submit", recipe, "--storage", storage, "--follow")
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stderr == ""
    assert "whole-1 is submitted" in first.stdout and "[6/6]" in first.stdout
    assert first.stdout.splitlines()[-1].startswith("whole-1 has succeeded after")
    assert (tmp_path / "results/whole/report/index.html").exists()
    assert (tmp_path / "results/whole/analysis/pies.parquet").exists()
    written = records(tmp_path / "results/whole")
    assert len(written) == 6

    again = pie_ray("submit", recipe, "--storage", storage, "--follow")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "whole-2 is submitted" in again.stdout and "nothing to train" in again.stdout
    assert records(tmp_path / "results/whole") == written

    assert "[6/6]" in pie_ray("logs", "whole-1").stdout
    assert "nothing to train" in pie_ray("logs", "whole").stdout
    status = pie_ray("status", "whole").stdout
    assert [line.split()[:2] for line in status.splitlines() if "whole-" in line] == [
        ["whole-1", "succeeded"],
        ["whole-2", "succeeded"],
    ]
    assert f"{storage}/whole" in status
    assert "whole-2 has ended before: succeeded" in pie_ray("stop", "whole").stdout


def test_a_stopped_sweep_goes_on_when_submitted_again(pie_ray, tmp_path, tiny_text):
    sweep = Held(pie_ray, "halted", tmp_path / "results", tiny_text)
    assert pie_ray("submit", *sweep.options).returncode == 0
    sweep.wait_for_the_first()

    second = pie_ray("submit", *sweep.options)
    assert second.returncode == 2
    assert "error: halted-1 is running already" in second.stderr and "pie-ray logs halted" in second.stderr

    stopped = pie_ray("stop", "halted")
    assert stopped.returncode == 0, stopped.stderr
    assert "halted-1 is stopped" in stopped.stdout
    assert state_of(pie_ray, "halted-1") == "stopped"
    # The driver was not killed: it had the time to say so.
    assert pie_ray("logs", "halted").stdout.splitlines()[-1].startswith("Stopped. What is complete is kept")
    kept = records(sweep.results)
    assert len(kept) == 1

    sweep.release()
    again = pie_ray("submit", *sweep.options, "--follow")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "1 of 6 members are complete" in again.stdout
    complete = records(sweep.results)
    assert len(complete) == 6
    assert kept.items() <= complete.items()


def test_two_sweeps_of_one_name_run_at_once_and_ctrl_c_leaves_them_running(pie_ray, tmp_path, tiny_text):
    sweeps = [Held(pie_ray, "pair", tmp_path / storage, tiny_text) for storage in ("a", "b")]
    following = [pie_ray.start("submit", *sweep.options, "--follow") for sweep in sweeps]
    for sweep in sweeps:
        sweep.wait_for_the_first()
    for process in following:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 130, output
        assert "goes on without you" in output and "Traceback" not in output
    assert [state_of(pie_ray, name) for name in ("pair-1", "pair-2")] == ["running", "running"]
    # The results lie where this machine can read them.
    wait_until(lambda: len(re.findall(r" \d/6\b", pie_ray("status", "pair").stdout)) == 2)

    for sweep in sweeps:
        sweep.release()
    for name in ("pair-1", "pair-2"):
        followed = pie_ray("logs", name, "--follow")
        assert followed.returncode == 0, followed.stdout + followed.stderr
    assert [len(records(sweep.results)) for sweep in sweeps] == [6, 6]


def test_modules_of_the_users_own_go_along(pie_ray, tmp_path, tiny_text):
    modules = tmp_path / "modules"
    (modules / "parts").mkdir(parents=True)
    network = "from parts.body import body\n\n\ndef make(**sizes):\n    return body(sizes)\n"
    (modules / "own_network.py").write_text(network)
    (modules / "parts/body.py").write_text(
        "from torch import nn\n\n\ndef body(sizes):\n"
        "    width = sizes['num_channels'] * sizes['image_size'] ** 2\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(width, 8), nn.Linear(8, sizes['num_classes']))\n"
    )
    # The recipe is sent whatever the folder's own rules are.
    (modules / ".gitignore").write_text("*.yaml\nsecrets\n")
    (modules / "secrets").write_text("not for the cluster")
    text = tiny_text.replace("{kind: small_resnet, width: 4}", "{kind: custom, factory: 'own_network:make'}")
    recipe = pie_ray.write("own", text.replace("sparsities: [0.5]", "sparsities: [0.5], scopes: [global]"))
    options = ["--storage", str(tmp_path / "results"), "--working-dir", str(modules), "--follow"]
    done = pie_ray("submit", recipe, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(records(tmp_path / "results/own")) == 6
    assert (modules / "secrets").exists() and not (modules / "own.yaml").exists()


def test_a_failed_job_says_why(pie_ray, tmp_path, tiny_text):
    recipe, nowhere = pie_ray.write("lost", tiny_text), str(tmp_path / "nowhere")
    data = f"data={{kind: parquet, path: {nowhere}}}"
    done = pie_ray("submit", recipe, "--storage", str(tmp_path), "--set", data, "--follow")
    assert done.returncode == 1
    assert "lost-1 has failed" in done.stdout and nowhere in done.stdout
    status = pie_ray("status", "lost-1").stdout
    assert state_of(pie_ray, "lost-1") == "failed"
    assert "lost-1 error: " in status and nowhere in status


@pytest.mark.parametrize("command", ["status", "logs", "stop"])
def test_a_name_that_is_not_there(pie_ray, command):
    done = pie_ray(command, "nobody")
    assert done.returncode == 2
    assert "found no job or sweep 'nobody'" in done.stderr and "its latest jobs: " in done.stderr


def test_a_token_that_is_missing_or_wrong(head, pie_ray):
    without = {name: value for name, value in head.environment.items() if not name.startswith("RAY_AUTH")}
    for environment, message in (
        (without, "wants one and none was found"),
        (without | {"RAY_AUTH_TOKEN": "guessed"}, "refuses the one from RAY_AUTH_TOKEN"),
        (without | {"RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE=disabled sends none"),
    ):
        process = head.popen(
            pie_ray.line("status"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 2
        assert str(err).startswith("error: token: ") and message in str(err) and len(str(err).splitlines()) == 1
        assert out == "" and "guessed" not in str(err)


# ------------------------------------------------------------------------------------------ what is no cluster


class Fake:
    """A web server of two routes' worth of Ray, which remembers the token that it was sent."""

    def __init__(self, status: int, body: str) -> None:
        self.authorization: str | None = None
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.authorization = self.headers.get("Authorization")
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Nothing to the terminal."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def fake(status: int, body: object) -> Iterator[Fake]:
    made = Fake(status, body if isinstance(body, str) else json.dumps(body))
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()


@pytest.fixture(autouse=True)
def no_token(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def status(capsys, *arguments: str) -> str:
    """The one message of a `pie-ray status` that the user's input fails."""
    assert main(["status", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    return str(captured.err)


def test_a_cluster_of_another_ray_version(capsys):
    with fake(200, {"version": "4", "ray_version": "2.9.3", "ray_commit": "x"}) as server:
        message = status(capsys, "--address", server.url)
    assert f"runs Ray 2.9.3, here is Ray {metadata.version('ray')}: pip install 'ray[default,tune]==2.9.3'" in message


@pytest.mark.parametrize(
    ("code", "body"), [(200, "<html>Welcome</html>"), (404, "not found"), (200, "[]"), (200, {"version": 4}), (502, "")]
)
def test_a_web_server_that_is_no_ray_dashboard(capsys, code, body):
    with fake(code, body) as server:
        message = status(capsys, "--address", server.url)
    assert f"what answers at {server.url} is no Ray dashboard (HTTP {code}" in message


def test_nothing_answers(capsys):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: refused
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        assert f"nothing answers at {url} (" in status(capsys, "--address", url)
    assert "nothing answers at http://nowhere.invalid:8265" in status(
        capsys, "--address", "http://nowhere.invalid:8265"
    )


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "auto", "ray://host:10001", "http://", "ftp://host"])
def test_an_address_of_another_kind(capsys, address):
    assert f"--address: found {address!r}; accepted: " in status(capsys, "--address", address)


def test_an_address_with_a_password_is_not_repeated(capsys):
    message = status(capsys, "--address", "http://me:hunter2@127.0.0.1:1")
    assert "--address: " in message and "hunter2" not in message


def test_the_address_may_stand_in_the_environment(capsys, monkeypatch):
    assert "--address: missing" in status(capsys)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert "--address: missing" in status(capsys)
    with fake(404, "") as server:
        monkeypatch.setenv("RAY_ADDRESS", server.url)
        assert server.url in status(capsys)
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
        assert "http://127.0.0.1:1" in status(capsys)


def test_the_token_is_the_one_that_ray_would_read(capsys, monkeypatch, tmp_path):
    def sent() -> str | None:
        with fake(403, "Forbidden") as server:
            status(capsys, "--address", server.url)
        return server.authorization

    assert sent() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("of-home\n")
    assert sent() == "Bearer of-home"
    (tmp_path / "elsewhere").write_text("of-path\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "elsewhere"))
    assert sent() == "Bearer of-path"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-variable")
    assert sent() == "Bearer of-variable"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert sent() is None


def test_a_token_file_that_is_not_there(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "nothing"))
    assert "RAY_AUTH_TOKEN_PATH: found no token in" in status(capsys, "--address", "http://127.0.0.1:1")
