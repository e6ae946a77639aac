"""The tracker that shows a sweep in MLflow and never holds it up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import final

from ..records import MemberRecord
from ..redaction import without_secrets
from .background import BackgroundQueue
from .connection import root_cause
from .contract import Status, SweepInfo, TrackingOutcome, VariantMetrics
from .view import MlflowView

PATIENCE_SECONDS = 20.0
SECONDS_A_PENDING_MEMBER = 1.0
"""A member takes about .1 s on sqlite and .3 s through a server, so a store that answers is never cut off."""


@final
class MlflowTracker:
    """Hands every call to a background thread; `finish` tells what did not get through and how to log it later."""

    def __init__(self, uri: str, experiment: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._uri = uri
        self._view = MlflowView(uri, experiment)
        self._queue = BackgroundQueue()
        self._patience_seconds = patience_seconds
        self._sweep: SweepInfo | None = None
        self._num_sets: dict[str, int] = {}
        """Evaluation sets by the id of a member that was handed on."""

    def start(self, sweep: SweepInfo) -> None:
        self._sweep = sweep
        self._queue.submit("sweep", lambda: self._view.open(sweep))

    def log_member(self, record: MemberRecord) -> None:
        if self._num_sets.get(record.member_id) != len(record.top1):
            self._num_sets[record.member_id] = len(record.top1)
            self._queue.submit("member", lambda: self._view.add_member(record))

    def log_analysis(self, metrics: VariantMetrics, artifacts: Mapping[str, bytes]) -> None:
        self._queue.submit("analysis", lambda: self._view.add_analysis(metrics, artifacts))

    def finish(self, status: Status, message: str) -> TrackingOutcome:
        if self._sweep is None:
            return TrackingOutcome(ok=True, num_logged=0, num_pending=0, message="Nothing was started, nothing logged.")
        self._queue.submit("end", lambda: self._view.close(status, message))
        pending = self._queue.finish(self._patience_seconds + SECONDS_A_PENDING_MEMBER * len(self._num_sets))
        num_logged = len(self._num_sets) - pending["member"]
        return TrackingOutcome(
            ok=not pending,
            num_logged=num_logged,
            num_pending=pending["member"],
            message=self._explain(num_logged, pending, self._sweep),
            ui_hint=self._view.link,
        )

    def _explain(self, num_logged: int, pending: Counter[str], sweep: SweepInfo) -> str:
        if not pending:
            return f"MLflow has all {num_logged:,} members of {sweep.name}."
        lacks = [f"{pending['member']:,} of {len(self._num_sets):,} members"] if pending["member"] else []
        lacks += ["the analysis"] if pending["analysis"] else []
        lacks = lacks or ["the sweep" if pending["sweep"] else "how the sweep ended"]
        cause = "it took too long" if self._queue.error is None else root_cause(self._queue.error)
        return without_secrets(
            f"MLflow at {self._uri} lacks {' and '.join(lacks)}: {cause}\n"
            f"The results do not depend on it. Log what is missing later: pie-ray track {sweep.results}"
        )
