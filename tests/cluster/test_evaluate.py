"""`pie-ray evaluate`: further suites for a finished sweep, on a Ray of its own and as a job; images made once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from pie_ray.analysis import open_results
from pie_ray.store import Storage
from tests.cluster.nodes import cluster
from tests.conftest import TINY

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent.parent
SUITES = "fog: {kind: corruptions, corruptions: [fog, contrast], severities: [2, 4], num_examples: 40}\n"
SETS = {f"corruption/{name}/{severity}" for name in ("fog", "contrast") for severity in (2, 4)}
WITH_FOG = "evaluation.suites.fog=" + SUITES.removeprefix("fog: ").strip()


@pytest.fixture(scope="module")
def finished_once(start_module_sweep):
    sweep = start_module_sweep(TINY)
    assert sweep.finish() == 0, sweep.output
    return sweep.storage


@pytest.fixture
def finished(finished_once, tmp_path):
    """The storage of a sweep without suites."""
    return shutil.copytree(finished_once, tmp_path / "results")


def evaluate(folder, *arguments):
    with tempfile.TemporaryDirectory(prefix="pr", ignore_cleanup_errors=True) as ray_folder:
        environment = {name: os.environ[name] for name in os.environ.keys() - {"RAY_ADDRESS", "RAY_AUTH_MODE"}}
        return subprocess.run(
            [sys.executable, "-m", "pie_ray", "evaluate", str(folder), *map(str, arguments)],
            env=environment | {"RAY_TMPDIR": ray_folder, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=240,
        )


def image_files(storage):
    return {path: path.stat().st_mtime_ns for path in Path(storage).glob("_images/*/*")}


def test_a_finished_sweep_gets_suites_and_only_what_is_missing_is_done(finished, tmp_path, start_sweep, tiny_text):
    folder = finished / "tiny"
    (tmp_path / "suites.yaml").write_text(SUITES)
    checkpoints = {path: path.stat().st_mtime_ns for path in folder.glob("checkpoints/*/*")}
    clean = {path: path.stat().st_mtime_ns for path in folder.glob("predictions/clean/*/*")}

    done = evaluate(folder, tmp_path / "suites.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Making the images of 4 evaluation sets, 160 in all, once for all members" in done.stdout
    assert "[6/6]" in done.stdout and "Traceback" not in done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in checkpoints} == checkpoints
    assert {path: path.stat().st_mtime_ns for path in clean} == clean
    results = open_results(Storage(folder))
    assert results.missing == () and set(results.evaluation_sets) == {"test"} | SETS
    assert set(pd.read_parquet(folder / "analysis/robustness.parquet")["evaluation_set"]) == SETS
    assert (folder / "report/index.html").exists()

    made = image_files(finished)
    assert len(made) == 4
    again = evaluate(folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "All 6 members are complete: nothing to predict." in again.stdout
    other = start_sweep(tiny_text.replace("name: tiny", "name: other"), finished, "--set", WITH_FOG)
    assert other.finish() == 0, other.output
    assert "The images of 4 further evaluation sets are there." in other.output
    assert image_files(finished) == made


def test_members_that_are_not_trained_are_left_to_the_sweep(finished, tmp_path):
    folder = finished / "tiny"
    (folder / "members/dense/1.json").unlink()
    (folder / "checkpoints/dense/1.safetensors").unlink()
    (tmp_path / "suites.yaml").write_text(SUITES)
    done = evaluate(folder, tmp_path / "suites.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not trained yet: 1 of 6 members" in done.stdout
    assert not (folder / "checkpoints/dense/1.safetensors").exists()
    assert len(list(folder.glob("predictions/fog/*/*.parquet"))) == 5


def test_what_is_no_sweep_and_no_suites_is_one_message(finished, tmp_path):
    folder = finished / "tiny"
    nothing = evaluate(tmp_path / "nowhere")
    assert (nothing.returncode, nothing.stderr.count("\n")) == (2, 1)
    assert "holds no results" in nothing.stderr
    (tmp_path / "suites.yaml").write_text("fog: {kind: corruptions, severities: [6]}\n")
    mistaken = evaluate(folder, tmp_path / "suites.yaml")
    assert mistaken.returncode == 2 and "Traceback" not in mistaken.stderr
    assert "evaluation.suites.fog.severities.0: found 6" in mistaken.stderr
    assert list(open_results(Storage(folder)).evaluation_sets) == ["test"]
    (tmp_path / "suites.yaml").write_text("c: {kind: cifar10_c, path: nowhere}\n")
    absent = evaluate(folder, tmp_path / "suites.yaml")
    assert absent.returncode == 2 and "Traceback" not in absent.stderr
    assert "evaluation.suites.c" in absent.stderr
    assert list(open_results(Storage(folder)).evaluation_sets) == ["test"]


def test_evaluation_as_a_ray_job(finished, tmp_path):
    folder = finished / "tiny"
    working_dir = tmp_path / "job"
    shutil.copytree(ROOT / "jobs", working_dir / "jobs")
    (working_dir / "suites.yaml").write_text(SUITES)
    with cluster(tmp_path / "cluster", num_cpus=2, token=True) as head:
        options = ["--address", head.job_address, "--working-dir", str(working_dir)]
        entrypoint = ["python", "jobs/evaluate.py", str(folder), "suites.yaml"]
        done = head.run_on_head("ray", "job", "submit", *options, "--", *entrypoint)
        assert done.returncode == 0, done.stdout + done.stderr
    assert open_results(Storage(folder)).missing == ()
    assert set(pd.read_parquet(folder / "analysis/robustness.parquet")["evaluation_set"]) == SETS
