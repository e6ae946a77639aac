"""`pie-ray run` from recipe to table, MLflow and report; the jobs; a tracking server that is down."""

from __future__ import annotations

import re

import pytest

from pie_ray.store import Storage
from tests.tracking.logged import Logged

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


def logged(storage):
    return Logged(f"sqlite:///{storage}/mlflow.db")


def test_the_output_tells_plan_progress_table_and_places(finished):
    output = finished.output
    assert "6 = 2 seeds x 3 variants; 4 trained, 2 derived from them" in output
    assert "[6/6]" in output
    assert re.search(r"magnitude-0\.50\s.*→.*→", output)
    assert f"{finished.storage}/tiny/report/index.html" in output
    assert "Traceback" not in output and "(MemberTrainable" not in output


def test_mlflow_has_a_child_a_variant_and_below_it_its_members(finished):
    log = logged(finished.storage)
    assert log.parent.info.status == "FINISHED"
    assert log.parent.data.params["training.epochs"] == "2"
    variants = {variant.info.run_name: variant for variant in log.variants}
    assert set(variants) == {"dense", "magnitude-0.50", "static_int8"}
    assert {variant.data.tags["mlflow.parentRunId"] for variant in log.variants} == {log.parent.info.run_id}
    assert variants["dense"].data.metrics["top1"] > 0 and "num_pies" not in variants["dense"].data.metrics
    assert "num_pies" in variants["magnitude-0.50"].data.metrics
    assert {member.info.run_name for member in log.members} == {f"{v}/seed-{s}" for v in variants for s in (0, 1)}
    member = next(member for member in log.members if member.info.run_name == "magnitude-0.50/seed-0")
    assert member.data.tags["mlflow.parentRunId"] == variants["magnitude-0.50"].info.run_id
    assert member.data.params["sparsity"] == "0.5"
    assert member.data.metrics["achieved_sparsity"] == pytest.approx(0.5, abs=0.01)
    assert member.data.metrics["checkpoint_bytes"] > 1000
    progress = log.parent.data.metrics
    assert (progress["progress/num_done"], progress["progress/seconds_left"]) == (6, 0)
    assert {"recipe.yaml", "figures", "tables", "report"} <= log.artifacts()


def test_a_second_run_trains_nothing_and_logs_nothing_twice(finished, start_sweep, tiny_text):
    again = start_sweep(tiny_text, finished.storage, "--set", WITH_MLFLOW, command="run")
    assert again.finish() == 0, again.output
    assert "All 6 members are complete: nothing to train." in again.output
    assert len(logged(finished.storage).members) == 6


def test_a_grown_population_trains_only_the_new_members(finished, start_sweep, tiny_text):
    grown = start_sweep(tiny_text, finished.storage, "--set", WITH_MLFLOW, "--set", "population.num_members=3")
    assert grown.finish() == 0, grown.output
    assert "6 of 9 members are complete; 3 to do." in grown.output
    assert len(logged(finished.storage).members) == 9


def test_a_tracking_server_that_is_down_fails_nothing_and_the_log_is_completed_later(start_sweep, tiny_text):
    down = "execution.tracking={kind: mlflow, uri: 'http://127.0.0.1:9'}"
    sweep = start_sweep(tiny_text, None, "--set", down, command="run")
    assert sweep.finish() == 0, sweep.output
    assert "pie-ray track" in sweep.output
    assert (sweep.storage / "tiny/report/index.html").exists()
    # The same results, logged where a store answers.
    later = start_sweep(tiny_text, sweep.storage, "--set", WITH_MLFLOW, command="run")
    assert later.finish() == 0, later.output
    assert len(logged(sweep.storage).members) == 6


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
