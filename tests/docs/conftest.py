"""A folder as the documentation has it: examples, and results that the real command line made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.cluster.processes import end_session
from tests.docs.blocks import ROOT

FEWER_EPOCHS = ("training.epochs=6", "training.batch_size=100")
SECONDS = 240


@dataclass(frozen=True)
class Workshop:
    """Runs a page's commands in `folder`."""

    folder: Path
    environment: dict[str, str]

    def copy(self, folder: Path) -> Workshop:
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)

    def run(self, *command: str, accepted: tuple[int, ...] = (0,)) -> str:
        """What it prints. Raises AssertionError with all of its output where it fails."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end after {SECONDS} s") from None
        finally:
            end_session(process)
        assert process.returncode in accepted, f"exit code {process.returncode}\n{output}\n{errors}"
        return output


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """`results/digits` as `pie-ray run` leaves it, after fewer epochs; `examples/`, `jobs/` and `cluster.yaml`."""
    folder = tmp_path_factory.mktemp("workshop")
    for name in ("examples", "jobs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "cluster.yaml", folder)
    with tempfile.TemporaryDirectory(prefix="pr", ignore_cleanup_errors=True) as ray_folder:
        made = Workshop(folder, _environment(tmp_path_factory.mktemp("home"), ray_folder))
        made.run("pie-ray", "run", *(part for field in FEWER_EPOCHS for part in ("--set", field)))
        yield made


def _environment(home: Path, ray_folder: str) -> dict[str, str]:
    """Of a person with this Python first on the path, a home folder of its own, and no cluster."""
    of_a_cluster = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI")
    kept = {name: value for name, value in os.environ.items() if name not in of_a_cluster}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"HOME": str(home), "PATH": path, "RAY_TMPDIR": ray_folder, "COLUMNS": "120"}
