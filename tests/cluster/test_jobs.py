"""The jobs, as `ray job submit` runs them on a cluster."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pie_ray.analysis.tables import TABLES
from tests.cluster.nodes import Cluster, cluster

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def head(tmp_path, request):
    with cluster(tmp_path, num_cpus=2, token=request.param) as started:
        yield started


def submit(head: Cluster, working_dir: Path, *entrypoint: str) -> subprocess.CompletedProcess[str]:
    options = ["--address", head.job_address, "--working-dir", str(working_dir)]
    return head.run_on_head("ray", "job", "submit", *options, "--", "python", *entrypoint)


@pytest.mark.parametrize("head", [True], ids=["token"], indirect=True)
def test_sweep_and_analysis_as_ray_jobs(head, tmp_path, tiny_text):
    working_dir = tmp_path / "job"
    shutil.copytree(ROOT / "jobs", working_dir / "jobs")
    (working_dir / "tiny.yaml").write_text(tiny_text)
    results = tmp_path / "results"
    swept = submit(head, working_dir, "jobs/sweep.py", "tiny.yaml", "--storage", str(results))
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert "[6/6]" in swept.stdout
    assert len(list(results.glob("tiny/members/*/*.json"))) == 6
    assert not (results / "tiny/analysis").exists()

    analysed = submit(head, working_dir, "jobs/analyze.py", str(results / "tiny"))
    assert analysed.returncode == 0, analysed.stdout + analysed.stderr
    assert "magnitude-0.50" in analysed.stdout
    assert {path.stem for path in results.glob("tiny/analysis/*.parquet")} == set(TABLES)
    assert (results / "tiny/report/index.html").exists()


@pytest.mark.parametrize("head", [False], ids=["no token"], indirect=True)
def test_a_mistaken_recipe_fails_the_job_with_one_message(head, tmp_path, tiny_text):
    working_dir = tmp_path / "job"
    shutil.copytree(ROOT / "jobs", working_dir / "jobs")
    (working_dir / "tiny.yaml").write_text(tiny_text.replace("epochs: 2", "epochs: 0"))
    done = submit(head, working_dir, "jobs/sweep.py", "tiny.yaml")
    assert done.returncode != 0
    assert "training.epochs: found 0" in done.stdout
    assert "Traceback" not in done.stdout


def test_without_an_address_a_cluster_on_the_same_machine_is_left_alone(tmp_path, start_sweep, tiny_text):
    with cluster(tmp_path) as started:
        # Where Ray notes the cluster that was last started on a machine.
        note = start_sweep.ray_folder / "0" / "ray" / "ray_current_cluster"
        note.parent.mkdir(parents=True)
        note.write_text(started.address)
        sweep = start_sweep(tiny_text)
        assert sweep.finish() == 0, sweep.output
        assert started.listed("actors") == []
