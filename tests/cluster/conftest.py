"""A sweep in a process of its own, with a Ray of its own that is gone when the test is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pie_ray.store import Storage, paths
from tests.cluster.nodes import Cluster
from tests.cluster.processes import command_line, end_session, session

TRAINING, WRITING = "Trainable.train", "ray::Writer"
"""How Ray titles the process of a trial that is at work, and of a writer."""


class Sweep:
    """`pie-ray sweep` or `run` as a person starts it; `storage` is what holds the sweep's folder."""

    def __init__(self, recipe: Path, storage: Path | str, ray_folder: Path) -> None:
        self.recipe, self.storage, self.ray_folder = recipe, storage, ray_folder
        self.results = Storage(str(storage)).child("tiny")
        self.log = recipe.with_suffix(".log")

    def start(self, command: str, options: Sequence[str], cluster: Cluster | None) -> None:
        environment = os.environ | {"RAY_TMPDIR": str(self.ray_folder), "COLUMNS": "200"}
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "MLFLOW_TRACKING_URI"):
            environment.pop(name, None)
        prefix: list[str] = []
        if cluster is not None:
            environment, prefix, options = cluster.environment, cluster.head.prefix, ("--address", "auto", *options)
        arguments = [command, str(self.recipe), "--storage", str(self.storage), *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "pie_ray", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def num_complete(self) -> int:
        return len(self.results.list_files(paths.MEMBERS))

    def wait_until(self, condition: Callable[[], bool], seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            if condition():
                return
            assert not ended, f"the sweep ended early:\n{self.output}"
            assert time.monotonic() < deadline, f"nothing happened for {seconds} s:\n{self.output}"
            time.sleep(0.02)

    def wait_for(self, num_complete: int, seconds: float = 240) -> None:
        self.wait_until(lambda: self.num_complete >= num_complete, seconds)

    def kill_a_worker(self) -> None:
        """Kill -9 a process that is bringing a member to completion."""

        def kill() -> bool:
            for process in self.processes(TRAINING)[:1]:
                process.kill()
                return True
            return False

        self.wait_until(kill)

    def processes(self, title: str) -> list[psutil.Process]:
        """Those that the sweep started and Ray titled so."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if title in command_line(child)]

    def press_ctrl_c(self) -> None:
        """As a terminal does it: to the whole foreground process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def finish(self, seconds: float = 240) -> int:
        code = self.process.wait(seconds)
        assert not self.leftovers(), "processes are left behind"
        return code

    def leftovers(self, seconds: float = 60) -> list[psutil.Process]:
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

    def __call__(
        self,
        text: str,
        storage: Path | str | None = None,
        *options: str,
        command: str = "sweep",
        cluster: Cluster | None = None,
    ) -> Sweep:
        """On the head of `cluster`, where one is given."""
        name = f"{len(self.sweeps)}"
        recipe = self.folder / f"{name}.yaml"
        recipe.write_text(text)
        (self.ray_folder / name).mkdir(exist_ok=True)
        sweep = Sweep(recipe, storage or self.folder / name, self.ray_folder / name)
        sweep.start(command, options, cluster)
        self.sweeps.append(sweep)
        return sweep


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
