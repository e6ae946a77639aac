"""Trackers that speak to no one: none at all, and the fake that keeps what it was told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from ..progress import SweepProgress
from ..records import MemberRecord
from .contract import Status, SweepInfo, TrackedNetwork, TrackingOutcome, VariantMetrics


@final
class NoTracker:
    """Logs nothing."""

    def start(self, sweep: SweepInfo) -> None:
        pass

    def log_member(self, record: MemberRecord) -> None:
        pass

    def log_progress(self, progress: SweepProgress) -> None:
        pass

    def log_analysis(self, metrics: VariantMetrics, artifacts: Mapping[str, bytes]) -> None:
        pass

    def log_network(self, network: TrackedNetwork) -> None:
        pass

    def finish(self, status: Status, message: str) -> TrackingOutcome:
        return TrackingOutcome(ok=True, num_logged=0, num_pending=0, message="Nothing is tracked.")


@final
class RecordingTracker:
    """Keeps every call, in order in `calls` and sorted by kind, for tests and debugging."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.sweep: SweepInfo | None = None
        self.members: list[MemberRecord] = []
        self.progress: list[SweepProgress] = []
        self.networks: list[TrackedNetwork] = []
        self.metrics: dict[str, dict[str, float]] = {}
        self.artifacts: dict[str, bytes] = {}
        self.status: Status | None = None
        self.message = ""

    def start(self, sweep: SweepInfo) -> None:
        self.calls.append("start")
        self.sweep = sweep

    def log_member(self, record: MemberRecord) -> None:
        self.calls.append(f"log_member {record.member_id}")
        self.members.append(record)

    def log_progress(self, progress: SweepProgress) -> None:
        self.calls.append(f"log_progress {progress.num_done}")
        self.progress.append(progress)

    def log_analysis(self, metrics: VariantMetrics, artifacts: Mapping[str, bytes]) -> None:
        self.calls.append("log_analysis")
        self.metrics = {variant_id: dict(values) for variant_id, values in metrics.items()}
        self.artifacts = dict(artifacts)

    def log_network(self, network: TrackedNetwork) -> None:
        self.calls.append(f"log_network {network.variant_id}")
        self.networks.append(network)

    def finish(self, status: Status, message: str) -> TrackingOutcome:
        self.calls.append(f"finish {status}")
        self.status, self.message = status, message
        num_members = len({record.member_id for record in self.members})
        return TrackingOutcome(ok=True, num_logged=num_members, num_pending=0, message=f"{num_members} recorded.")
