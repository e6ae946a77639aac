"""Publishes a sweep's progress from a thread of its own: neither storage nor tracker ever holds the sweep up."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self, final

from ..errors import PieRayError, StoreError, SweepError
from ..progress import State, SweepProgress
from ..store import Storage, read_progress, write_progress
from ..tracking import Tracker
from .keeper import ProgressKeeper

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_WRITES = 10.0
SECONDS_BETWEEN_LOGS = 15.0
SECONDS_FOR_THE_END = 10.0


@final
class ProgressPublisher:
    """For the length of a `with` block; what leaves the block is how the sweep ended.

    Whatever a person would want to know at once (a failure, a wait, the end) is written at once, all else now and then.
    """

    def __init__(self, keeper: ProgressKeeper, storage: Storage, tracker: Tracker) -> None:
        self._keeper, self._storage, self._tracker = keeper, storage.with_patience(0), tracker
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pie_ray-progress", daemon=True)
        self._written_at = self._logged_at = float("-inf")
        self._written_news: object = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.ended(*_ending(self._keeper.progress, error))
        self._over.set()
        self._thread.join(SECONDS_FOR_THE_END)

    def _work(self) -> None:
        while True:
            is_over = self._over.is_set()
            self._publish(self._keeper.snapshot(), is_last=is_over)
            if is_over:
                return
            self._over.wait(SECONDS_BETWEEN_LOOKS)

    def _publish(self, progress: SweepProgress, *, is_last: bool) -> None:
        now = time.monotonic()
        news = (progress.state, progress.note, progress.num_failed, progress.num_retried, progress.images is None)
        if is_last or news != self._written_news or now - self._written_at >= SECONDS_BETWEEN_WRITES:
            self._written_at, self._written_news = now, news
            with suppress(StoreError):
                write_progress(self._storage, progress)
        if is_last or now - self._logged_at >= SECONDS_BETWEEN_LOGS:
            self._logged_at = now
            self._tracker.log_progress(progress)


def _ending(progress: SweepProgress, error: BaseException | None) -> tuple[State, str]:
    """The state that a sweep ends in, and why."""
    match error:
        case None:
            return ("complete" if progress.num_done == progress.num_members else "incomplete"), ""
        case KeyboardInterrupt():
            return "stopped", ""
        case SweepError():
            return "failed", ""  # the failures say it
        case PieRayError():
            return "failed", str(error)
        case _:
            return "failed", f"{type(error).__name__}: {error}"


def settle_progress(storage: Storage, keeper: ProgressKeeper) -> None:
    """Where a driver found nothing to do, what is stored says so too; it keeps the figures of the last one's work."""
    found = keeper.progress
    over = {"note": "", "num_running": 0, "num_failed": 0, "images": None, "seconds_left": None, "cluster": None}
    counts = {name: getattr(found, name) for name in ("num_members", "num_members_at_most", "num_done", "variants")}
    with suppress(StoreError):
        storage = storage.with_patience(0)
        stored = read_progress(storage)
        settled = (stored or found).model_copy(update={"state": _ending(found, None)[0], **counts, **over})
        if settled != stored:
            write_progress(storage, settled.model_copy(update={"updated_at": found.updated_at}))
