"""Where a sweep's progress is shown: MLflow, nowhere, or a recording for tests. The only home of mlflow.

The results folder is the truth and a tracker is a view of it, which can be completed at any time by handing it
everything again: nothing doubles. The driver logs, never the workers, and a tracker neither raises nor waits.

    tracker = make_tracker(recipe.execution.tracking, default_uri="sqlite:////data/results/digits/mlflow.db")
    tracker.start(sweep)
    for record in records:
        tracker.log_member(record)
    tracker.log_analysis({"magnitude-0.90": {"top1": 0.93}}, {"report/index.html": page})
    outcome = tracker.finish("complete", "12 of 12 members")
    print(outcome.message)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..config import MlflowTracking, NoTracking, Tracking
from .connection import sqlite_file
from .contract import (
    NetworkFiles,
    Status,
    SweepInfo,
    TrackedDataset,
    TrackedNetwork,
    TrackedVariant,
    Tracker,
    TrackingOutcome,
)
from .local import NoTracker, RecordingTracker
from .mlflow_tracker import MlflowTracker
from .pages import find_page, full_address
from .server import LocalServer

__all__ = [
    "TRACKERS",
    "LocalServer",
    "MlflowTracker",
    "NetworkFiles",
    "NoTracker",
    "RecordingTracker",
    "Status",
    "SweepInfo",
    "TrackedDataset",
    "TrackedNetwork",
    "TrackedVariant",
    "Tracker",
    "TrackingOutcome",
    "find_page",
    "full_address",
    "make_tracker",
    "sqlite_file",
    "tracking_uri",
]


def tracking_uri(config: MlflowTracking, default_uri: str) -> str:
    """The recipe's store, else the environment's, else the default."""
    return config.uri or os.environ.get("MLFLOW_TRACKING_URI") or default_uri


def _make_mlflow_tracker(config: MlflowTracking, default_uri: str) -> Tracker:
    return MlflowTracker(tracking_uri(config, default_uri), config.experiment)


def _make_no_tracker(config: NoTracking, default_uri: str) -> Tracker:
    return NoTracker()


TRACKERS: dict[str, Callable[[Any, str], Tracker]] = {"mlflow": _make_mlflow_tracker, "none": _make_no_tracker}


def make_tracker(config: Tracking, default_uri: str) -> Tracker:
    """The tracker that a recipe asks for; `default_uri` serves where neither it nor MLFLOW_TRACKING_URI names one.

    Artifacts of an sqlite store lie in the folder `mlflow-artifacts` beside the database.
    """
    return TRACKERS[config.kind](config, default_uri)
