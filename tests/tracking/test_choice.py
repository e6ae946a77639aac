"""Which tracker a recipe gets, and that it costs nothing before it is used."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from pie_ray.config import MlflowTracking, NoTracking, Tracking
from pie_ray.tracking import TRACKERS, MlflowTracker, NoTracker, RecordingTracker, make_tracker
from tests.tracking.logged import ARTIFACTS, METRICS, RECORDS, log_all


def test_every_kind_of_tracking_has_a_tracker() -> None:
    configs = get_args(get_args(Tracking)[0])
    assert set(TRACKERS) == {get_args(config.model_fields["kind"].annotation)[0] for config in configs}
    assert isinstance(make_tracker(NoTracking(kind="none"), "sqlite:///x.db"), NoTracker)


def test_recipe_then_environment_then_default_choose_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def store(uri: str | None) -> str:
        tracker = make_tracker(MlflowTracking(kind="mlflow", uri=uri), "http://default")
        assert isinstance(tracker, MlflowTracker)
        return tracker._uri

    assert store(None) == "http://default"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert store(None) == "http://environment"
    assert store("http://recipe") == "http://recipe"


@pytest.mark.parametrize("heavy", ["mlflow", "sqlalchemy", "requests", "torch"])
def test_importing_the_room_loads_nothing_heavy(heavy: str) -> None:
    code = f"import sys, pie_ray.tracking; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_recording_tracker_keeps_what_it_is_told() -> None:
    tracker = RecordingTracker()
    outcome = log_all(tracker, RECORDS[:1])
    assert outcome.ok and outcome.num_logged == 1
    assert tracker.calls == ["start", "log_member dense-0", "log_analysis", "finish complete"]
    assert tracker.members == RECORDS[:1] and tracker.artifacts == ARTIFACTS and tracker.metrics == METRICS
