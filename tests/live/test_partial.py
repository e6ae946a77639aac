"""An analysis of what is complete, while the driver goes on: neither its lease nor its log is disturbed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pie_ray import stages
from pie_ray.analysis import open_results
from pie_ray.store import hold_lease, paths
from pie_ray.tracking import MlflowTracker, RecordingTracker, SweepInfo

from .conftest import complete


@pytest.mark.parametrize("is_driven", [True, False])
def test_the_log_of_a_sweep_that_goes_on_is_added_to_and_not_ended(begun, monkeypatch, is_driven):
    complete(begun, begun.plan.members[:2])
    tracker = RecordingTracker()
    monkeypatch.setattr(stages, "make_tracker", lambda config, default_uri: tracker)

    def track():
        stages.track(open_results(begun.storage), None, {"report/index.html": b""}, Console(file=io.StringIO()))

    if is_driven:
        with hold_lease(begun.storage, print):
            drivers = begun.storage.list_files(paths.DRIVERS)
            track()
            assert begun.storage.list_files(paths.DRIVERS) == drivers
    else:
        track()
    assert tracker.status == ("running" if is_driven else "incomplete")
    assert len(tracker.members) == 2 and list(tracker.artifacts) == ["report/index.html"]


def test_mlflow_goes_on_calling_it_running(tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for status, expected in (("running", "RUNNING"), ("incomplete", "KILLED"), ("running", "RUNNING")):
        tracker = MlflowTracker(uri, "live")
        tracker.start(SweepInfo("tiny", "abc", {}))
        outcome = tracker.finish(status, "2 of 6 members")
        assert outcome.ok, outcome.message
        client = MlflowClient(uri)
        [experiment] = [e for e in client.search_experiments() if e.name == "live"]
        [sweep] = client.search_runs([experiment.experiment_id])
        assert sweep.info.status == expected
