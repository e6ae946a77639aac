"""What every tracker does, and what passes in and out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ..records import MemberRecord

Status = Literal["complete", "incomplete", "failed"]

VariantMetrics = Mapping[str, Mapping[str, float]]
"""Variant id -> name -> value."""


@dataclass(frozen=True)
class SweepInfo:
    """A sweep as a tracker shows it; the same `sweep_id` and `name` continue what was logged before."""

    name: str
    sweep_id: str
    params: Mapping[str, str]
    """The recipe, flattened: `training.epochs` -> `30`."""
    tags: Mapping[str, str] = field(default_factory=dict)
    recipe_text: str = ""
    num_members: int = 0
    results: str = "RESULTS"
    """Where the results lie; named in the command that completes the log later."""


@dataclass(frozen=True)
class TrackingOutcome:
    """How much of what was handed over is logged; `ok` where all of it is."""

    ok: bool
    num_logged: int
    """Members handed over that the tracker now has, whether logged this time or before."""
    num_pending: int
    """Members handed over that it does not have."""
    message: str
    ui_hint: str = ""
    """How a person looks at it: an address or a command."""


class Tracker(Protocol):
    """Called by the driver in this order; no call raises, and only `finish` may wait, for a bounded time."""

    def start(self, sweep: SweepInfo) -> None: ...

    def log_member(self, record: MemberRecord) -> None: ...

    def log_analysis(self, metrics: VariantMetrics, artifacts: Mapping[str, bytes]) -> None:
        """Log a handful of figures a variant, and files by the path they get; what is there already is replaced."""

    def finish(self, status: Status, message: str) -> TrackingOutcome: ...
