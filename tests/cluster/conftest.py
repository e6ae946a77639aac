"""A sweep in a process of its own, with a Ray of its own that is gone when the test is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.cluster.processes import command_line, end_session, session


class Sweep:
    """`pie-ray sweep` or `run` as a person starts it."""

    def __init__(self, recipe: Path, storage: Path, ray_folder: Path, options: Sequence[str], command: str) -> None:
        self.storage = storage
        self.ray_folder = ray_folder
        self.log = recipe.with_suffix(".log")
        environment = os.environ | {"RAY_TMPDIR": str(ray_folder), "COLUMNS": "200"}
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "MLFLOW_TRACKING_URI"):
            environment.pop(name, None)
        arguments = [sys.executable, "-m", "pie_ray", command, str(recipe), "--storage", str(storage), *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                arguments, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    @property
    def num_complete(self) -> int:
        return len(list(self.storage.glob("tiny/members/*/*.json")))

    def wait_until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"the sweep ended early:\n{self.output}"
            assert time.monotonic() < deadline, f"nothing happened for {seconds} s:\n{self.output}"
            time.sleep(0.02)

    def kill_a_worker(self) -> None:
        """Kill -9 a process that is bringing a member to completion."""

        def kill() -> bool:
            for process in self._busy()[:1]:
                process.kill()
                return True
            return False

        self.wait_until(kill)

    def _busy(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "Trainable.train" in command_line(child)]

    def finish(self, seconds: float = 240) -> int:
        code = self.process.wait(seconds)
        assert not self.leftovers(), "processes are left behind"
        return code

    def leftovers(self, seconds: float = 15) -> list[psutil.Process]:
        """Processes of the sweep's session that outlive it."""
        deadline = time.monotonic() + seconds
        while (left := session(self.process.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    @property
    def output(self) -> str:
        return self.log.read_text()

    def end(self) -> None:
        end_session(self.process)


class SweepStarter:
    """Starts sweeps, each with a recipe file and a Ray folder of its own; ends all of them."""

    def __init__(self, folder: Path, ray_folder: Path) -> None:
        self.folder, self.ray_folder = folder, ray_folder
        self.sweeps: list[Sweep] = []

    def __call__(self, text: str, storage: Path | None = None, *options: str, command: str = "sweep") -> Sweep:
        name = f"{len(self.sweeps)}"
        recipe = self.folder / f"{name}.yaml"
        recipe.write_text(text)
        (self.ray_folder / name).mkdir()
        self.sweeps.append(Sweep(recipe, storage or self.folder / name, self.ray_folder / name, options, command))
        return self.sweeps[-1]


@contextmanager
def starter(folder: Path) -> Iterator[SweepStarter]:
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="pr", ignore_cleanup_errors=True) as ray_folder:
        start = SweepStarter(folder, Path(ray_folder))
        try:
            yield start
        finally:
            for sweep in start.sweeps:
                sweep.end()


@pytest.fixture
def start_sweep(tmp_path) -> Iterator[SweepStarter]:
    """Start a sweep of a recipe's text: `start_sweep(text, storage=None, *options)`."""
    with starter(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_module_sweep(tmp_path_factory) -> Iterator[SweepStarter]:
    """The same for what a whole module looks at."""
    with starter(tmp_path_factory.mktemp("sweeps")) as start:
        yield start
