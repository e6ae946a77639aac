"""`pie-ray run` from recipe to table, MLflow and report; the jobs; a tracking server that is down."""

from __future__ import annotations

import re

import pytest

from pie_ray.store import Storage

pytestmark = pytest.mark.long

WITH_MLFLOW = "execution.tracking={kind: mlflow}"


@pytest.fixture(scope="module")
def finished(start_module_sweep, tiny_module_text):
    sweep = start_module_sweep(tiny_module_text, None, "--set", WITH_MLFLOW, command="run")
    assert sweep.finish() == 0, sweep.output
    return sweep


@pytest.fixture(scope="module")
def tiny_module_text():
    from tests.conftest import TINY

    return TINY


def mlflow_client(storage):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{storage}/mlflow.db")


def mlflow_children(client):
    experiment = client.get_experiment_by_name("pie_ray")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    return parents[0], [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]


def test_the_output_tells_plan_progress_table_and_places(finished):
    output = finished.output
    assert "6 = 2 seeds x 3 variants; 4 trained, 2 derived from them" in output
    assert "[6/6]" in output
    assert re.search(r"magnitude-0\.50\s.*→.*→", output)
    assert f"{finished.storage}/tiny/report/index.html" in output
    assert "Traceback" not in output and "(MemberTrainable" not in output


def test_mlflow_has_one_parent_and_a_child_a_member(finished):
    client = mlflow_client(finished.storage)
    parent, children = mlflow_children(client)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["training.epochs"] == "2"
    assert parent.data.metrics["top1.dense"] > 0
    assert "num_pies.magnitude-0.50" in parent.data.metrics
    names = {child.info.run_name for child in children}
    assert names == {f"{v}/seed-{s}" for v in ("dense", "magnitude-0.50", "static_int8") for s in (0, 1)}
    child = next(child for child in children if child.info.run_name == "magnitude-0.50/seed-0")
    assert child.data.params["sparsity"] == "0.5"
    assert child.data.metrics["achieved_sparsity"] == pytest.approx(0.5, abs=0.01)
    assert child.data.metrics["checkpoint_bytes"] > 1000
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"recipe.yaml", "figures", "tables", "report"} <= artifacts


def test_a_second_run_trains_nothing_and_logs_nothing_twice(finished, start_sweep, tiny_text):
    again = start_sweep(tiny_text, finished.storage, "--set", WITH_MLFLOW, command="run")
    assert again.finish() == 0, again.output
    assert "All 6 members are complete: nothing to train." in again.output
    assert len(mlflow_children(mlflow_client(finished.storage))[1]) == 6


def test_a_grown_population_trains_only_the_new_members(finished, start_sweep, tiny_text):
    grown = start_sweep(tiny_text, finished.storage, "--set", WITH_MLFLOW, "--set", "population.num_members=3")
    assert grown.finish() == 0, grown.output
    assert "6 of 9 members are complete; 3 to do." in grown.output
    assert len(mlflow_children(mlflow_client(finished.storage))[1]) == 9


def test_a_tracking_server_that_is_down_fails_nothing_and_the_log_is_completed_later(start_sweep, tiny_text):
    down = "execution.tracking={kind: mlflow, uri: 'http://127.0.0.1:9'}"
    sweep = start_sweep(tiny_text, None, "--set", down, command="run")
    assert sweep.finish() == 0, sweep.output
    assert "pie-ray track" in sweep.output
    assert (sweep.storage / "tiny/report/index.html").exists()
    # The same results, logged where a store answers.
    later = start_sweep(tiny_text, sweep.storage, "--set", WITH_MLFLOW, command="run")
    assert later.finish() == 0, later.output
    assert len(mlflow_children(mlflow_client(sweep.storage))[1]) == 6


def test_analysis_on_a_ray_cluster_gives_the_same_tables(finished):
    import pandas as pd

    from pie_ray.analysis import analyze, open_results
    from pie_ray.cluster.local import ray_session
    from pie_ray.cluster.stats_job import ray_map

    results = open_results(Storage(finished.storage).child("tiny"))
    here = analyze(results)
    with ray_session(None):
        there = analyze(results, mapper=ray_map)
    pd.testing.assert_frame_equal(here.summary, there.summary)
    pd.testing.assert_frame_equal(here.pies, there.pies)
