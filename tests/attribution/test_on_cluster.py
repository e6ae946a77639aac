"""Attribution on Ray gives what it gives in one process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from pie_ray.attribution_stage import attribute
from pie_ray.stages import recipe_with_suites
from tests.swept import sweep_here

pytestmark = pytest.mark.long

SETTINGS = ["evaluation.attribution={num_examples: 10, num_steps: 3}"]
SCRIPT = """
import sys
from rich.console import Console
from pie_ray.attribution_stage import attribute
from pie_ray.stages import recipe_with_suites
attribute(recipe_with_suites(sys.argv[1], None, sys.argv[2:]), Console(), address="local")
"""


def attributions(folder):
    """Bytes by path; removed, so that they are made again."""
    found = {}
    for path in sorted(folder.glob("attributions/*/*.parquet")):
        found[str(path.relative_to(folder))] = path.read_bytes()
        path.unlink()
    return found


def test_ray_tasks_make_the_same_files(tmp_path):
    folder = Path(sweep_here(tmp_path, "training.epochs=1").storage.uri.removeprefix("file://"))
    attribute(recipe_with_suites(str(folder), None, SETTINGS), Console(quiet=True))
    here = attributions(folder)
    assert len(here) == 5
    with tempfile.TemporaryDirectory(prefix="pr", ignore_cleanup_errors=True) as ray_folder:
        environment = {name: os.environ[name] for name in os.environ.keys() - {"RAY_ADDRESS"}}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder), *SETTINGS],
            env=environment | {"RAY_TMPDIR": ray_folder},
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert attributions(folder) == here
