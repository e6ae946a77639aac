"""The jobs, as `ray job submit` runs them on a cluster."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from tests.cluster.conftest import end_session

ROOT = Path(__file__).parent.parent.parent
RAY = str(Path(sys.executable).parent / "ray")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=2).status == 200)
    except OSError:
        return False


@pytest.fixture
def cluster(tmp_path):
    """A head node of this test's own: address of its job server and the environment to speak to it."""
    ports = {name: free_port() for name in ("port", "dashboard-port", "dashboard-agent-listen-port")}
    address = f"http://127.0.0.1:{ports['dashboard-port']}"
    environment = os.environ | {
        "RAY_AUTH_MODE": "disabled",
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    with (
        tempfile.TemporaryDirectory(prefix="pr", ignore_cleanup_errors=True) as folder,
        open(tmp_path / "head.log", "w") as log,
    ):
        options = [f"--{name}={port}" for name, port in ports.items()]
        head = subprocess.Popen(
            [RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=2",
             "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--temp-dir={folder}", *options],
            env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not answers(f"{address}/api/version"):
                assert head.poll() is None and time.monotonic() < deadline, (tmp_path / "head.log").read_text()
                time.sleep(0.2)
            yield address, environment
        finally:
            end_session(head)


def submit(cluster, working_dir: Path, *entrypoint: str) -> subprocess.CompletedProcess[str]:
    address, environment = cluster
    command = [RAY, "job", "submit", "--address", address, "--working-dir", str(working_dir), "--", "python"]
    return subprocess.run(
        [*command, *entrypoint], env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_sweep_and_analysis_as_ray_jobs(cluster, tmp_path, tiny_text):
    working_dir = tmp_path / "job"
    shutil.copytree(ROOT / "jobs", working_dir / "jobs")
    (working_dir / "tiny.yaml").write_text(tiny_text)
    results = tmp_path / "results"
    swept = submit(cluster, working_dir, "jobs/sweep.py", "tiny.yaml", "--storage", str(results))
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert "[6/6]" in swept.stdout
    assert len(list(results.glob("tiny/members/*/*.json"))) == 6
    assert not (results / "tiny/analysis").exists()

    analysed = submit(cluster, working_dir, "jobs/analyze.py", str(results / "tiny"))
    assert analysed.returncode == 0, analysed.stdout + analysed.stderr
    assert "magnitude-0.50" in analysed.stdout
    assert {path.name for path in results.glob("tiny/analysis/*.parquet")} == {
        "summary.parquet", "pies.parquet", "classes.parquet",
    }  # fmt: skip
    assert (results / "tiny/report/index.html").exists()


def test_a_mistaken_recipe_fails_the_job_with_one_message(cluster, tmp_path, tiny_text):
    working_dir = tmp_path / "job"
    shutil.copytree(ROOT / "jobs", working_dir / "jobs")
    (working_dir / "tiny.yaml").write_text(tiny_text.replace("epochs: 2", "epochs: 0"))
    done = submit(cluster, working_dir, "jobs/sweep.py", "tiny.yaml")
    assert done.returncode != 0
    assert "training.epochs: found 0" in done.stdout
    assert "Traceback" not in done.stdout
