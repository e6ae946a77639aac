"""A real `mlflow server` that can die and come back on the same store and port."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pie_ray.tracking.connection import connect
from tests.cluster.nodes import free_port
from tests.cluster.processes import end_session

START_SECONDS = 120


class MlflowServer:
    """`options` and `variables` are further ones of the command line and the environment."""

    def __init__(self, folder: Path, options: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.variables = dict(variables or {})
        port = free_port()
        self.uri = f"http://127.0.0.1:{port}"
        self.command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/mlflow",
            *options,
        ]  # fmt: skip

    def start(self) -> None:
        """It answers when this returns."""
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        environment |= self.variables
        with (self.folder / "mlflow.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            log_text = (self.folder / "mlflow.log").read_text()
            assert self.process.poll() is None and time.monotonic() < deadline, f"MLflow did not start:\n{log_text}"
            time.sleep(0.2)

    def kill(self) -> None:
        end_session(self.process)

    def parents(self) -> list[Any]:
        return [run for run in self._runs() if "mlflow.parentRunId" not in run.data.tags]

    def num_logged(self) -> Counter[str]:
        """How many finished entries each member has, by member id."""
        runs = (run for run in self._runs() if run.info.status == "FINISHED")
        return Counter(run.data.tags["pie_ray.member_id"] for run in runs if "pie_ray.member_id" in run.data.tags)

    def _runs(self) -> list[Any]:
        client = connect(self.uri)
        experiment = client.get_experiment_by_name("pie_ray")
        return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
        except OSError:
            return False
        return True


@contextmanager
def mlflow_server(
    folder: Path, options: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Iterator[MlflowServer]:
    server = MlflowServer(folder, options, variables)
    try:
        server.start()
        yield server
    finally:
        server.kill()
