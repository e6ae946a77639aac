"""The tracker that shows a sweep in MLflow and never holds it up."""

from __future__ import annotations

import shlex
import threading
from collections import Counter
from collections.abc import Mapping
from typing import final

from ..progress import SweepProgress
from ..records import MemberRecord
from ..redaction import without_secrets
from .background import BackgroundQueue
from .connection import root_cause, sqlite_folder
from .contract import Status, SweepInfo, TrackedNetwork, TrackingOutcome, VariantMetrics
from .pages import full_address
from .view import MlflowView

PATIENCE_SECONDS = 20.0
SECONDS_A_PENDING_MEMBER = 3.0
"""A member takes about .1 s on sqlite, .3 s through a server and 1 s where that checks a password at each request."""
SECONDS_A_NETWORK = 60.0
"""Its checkpoint is uploaded."""


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
        self._num_networks = 0
        self._progress: SweepProgress | None = None
        """What waits to be shown."""
        self._lock = threading.Lock()

    def start(self, sweep: SweepInfo) -> None:
        self._sweep = sweep
        self._queue.submit("sweep", lambda: self._view.open(sweep))

    def log_member(self, record: MemberRecord) -> None:
        if self._num_sets.get(record.member_id) != len(record.top1):
            self._num_sets[record.member_id] = len(record.top1)
            self._queue.submit("member", lambda: self._view.add_member(record))

    def log_progress(self, progress: SweepProgress) -> None:
        with self._lock:
            is_waiting = self._progress is not None
            self._progress = progress
        if not is_waiting:
            self._queue.submit("progress", self._show_progress)

    def _show_progress(self) -> None:
        """The latest: where MLflow is slow, those in between are left out."""
        with self._lock:
            progress, self._progress = self._progress, None
        if progress is not None:
            self._view.add_progress(progress)

    def log_analysis(self, metrics: VariantMetrics, artifacts: Mapping[str, bytes]) -> None:
        self._queue.submit("analysis", lambda: self._view.add_analysis(metrics, artifacts))

    def log_network(self, network: TrackedNetwork) -> None:
        self._num_networks += 1
        self._queue.submit("network", lambda: self._view.add_network(network))

    def finish(self, status: Status, message: str) -> TrackingOutcome:
        if self._sweep is None:
            return TrackingOutcome(ok=True, num_logged=0, num_pending=0, message="Nothing was started, nothing logged.")
        self._queue.submit("end", lambda: self._view.close(status, message))
        patience = self._patience_seconds + SECONDS_A_PENDING_MEMBER * len(self._num_sets)
        pending = self._queue.finish(patience + SECONDS_A_NETWORK * self._num_networks)
        # of a sweep that is over, nobody misses how far it was
        pending.pop("progress", None)
        num_logged = len(self._num_sets) - pending["member"]
        return TrackingOutcome(
            ok=not pending,
            num_logged=num_logged,
            num_pending=pending["member"],
            message=self._explain(num_logged, pending, self._sweep),
            ui_hint=self._link(self._sweep),
        )

    def _link(self, sweep: SweepInfo) -> str:
        """The sweep's page, or the command that shows it."""
        if sqlite_folder(self._uri) is not None:
            return f"pie-ray ui {shlex.quote(sweep.results)}"
        is_known = self._uri.startswith("http") and self._view.page
        return without_secrets(full_address(self._uri, self._view.page) if is_known else self._uri)

    def _explain(self, num_logged: int, pending: Counter[str], sweep: SweepInfo) -> str:
        if not pending:
            return f"MLflow has all {num_logged:,} members of {sweep.name}."
        lacks = [f"{pending['member']:,} of {len(self._num_sets):,} members"] if pending["member"] else []
        lacks += ["the analysis"] if pending["analysis"] else []
        lacks += [f"{pending['network']:,} of {self._num_networks:,} networks"] if pending["network"] else []
        lacks = lacks or ["the sweep" if pending["sweep"] else "how the sweep ended"]
        cause = "it took too long" if self._queue.error is None else root_cause(self._queue.error)
        return without_secrets(
            f"MLflow at {self._uri} lacks {' and '.join(lacks)}: {cause}\n"
            f"The results do not depend on it. Log what is missing later: pie-ray track {sweep.results}"
        )
