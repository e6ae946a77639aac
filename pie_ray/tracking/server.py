"""MLflow's own server over an sqlite store, on this machine and for one person, for as long as it is looked at."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, final

from ..errors import InputError, PieRayError

START_SECONDS = 120.0
_SECONDS_TO_END = 5.0
_SECONDS_BETWEEN_LOOKS = 0.2
_ENVIRONMENT = {
    # it would start further processes, which sweeps have no use for
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@final
class LocalServer:
    """Answers within the `with` block. Raises InputError for a port that is taken, PieRayError where it does not start.

    `port` None takes a free one.
    """

    def __init__(self, uri: str, *, port: int | None = None) -> None:
        self._port = _free_port(port)
        self._folder = tempfile.TemporaryDirectory(prefix="pie_ray-ui-")
        self.address = f"http://127.0.0.1:{self._port}"
        self._command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port),
            "--workers", "1", "--backend-store-uri", uri,
        ]  # fmt: skip

    def __enter__(self) -> Self:
        log = Path(self._folder.name) / "log"
        environment = {**os.environ, **_ENVIRONMENT}
        environment.pop("MLFLOW_TRACKING_URI", None)
        with log.open("wb") as file:
            # a session of its own: Ctrl-C is ours to pass on
            self._process = subprocess.Popen(
                self._command, cwd=self._folder.name, env=environment, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        try:
            self._wait(log)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def wait(self) -> None:
        """Until the server ends, which it does not by itself.

        By looking: libraries that MLflow loads (polars) have system calls that wait go on after Ctrl-C.
        """
        while self._process.poll() is None:
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                lines = log.read_text(errors="replace").strip().splitlines() or ["it says nothing"]
                raise PieRayError(f"MLflow's server does not start: {lines[-1]}")
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.address}/health", timeout=2).close()
        except OSError:
            return False
        return True

    def _end(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_END)
        # its own processes may still wait for a browser that keeps its connection
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()


def _free_port(port: int | None) -> int:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port or 0))
        except (OSError, OverflowError) as error:
            raise InputError(
                f"--port: found {port}, which is not free; accepted is a free port, or none given"
            ) from error
        return int(listener.getsockname()[1])
