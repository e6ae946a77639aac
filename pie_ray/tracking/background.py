"""Jobs done in order on a daemon thread, so that a slow or absent service never holds up who hands them in.

A job that fails stays at the head of the queue and everything behind it waits: after a failure nothing is tried for
a while (a circuit breaker), then the same job again. `finish` tries the head at once, twice, in a bounded time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

COOL_DOWN_SECONDS = 60.0
_NUM_CHANCES_AT_THE_END = 2
_SECONDS_BETWEEN_CHANCES = 0.3


class RejectedError(Exception):
    """The service answered and refuses this one job for good; the jobs behind it go on."""


@dataclass(frozen=True)
class Job:
    kind: str
    do: Callable[[], None]


@final
class BackgroundQueue:
    """Counts what it did by kind of job; `error` is the last failure."""

    def __init__(self, cool_down_seconds: float = COOL_DOWN_SECONDS) -> None:
        self.num_done: Counter[str] = Counter()
        self.error: Exception | None = None
        self._cool_down_seconds = cool_down_seconds
        self._jobs: deque[Job] = deque()
        self._rejected: list[Job] = []
        self._changed = threading.Condition()
        self._num_chances: int | None = None
        self._retry_at = 0.0
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, kind: str, do: Callable[[], None]) -> None:
        """Add a job and return at once."""
        with self._changed:
            self._jobs.append(Job(kind, do))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="pie_ray-tracking", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def finish(self, seconds: float) -> Counter[str]:
        """Try what is left once more, for at most this long, stop, and return what is not done, by kind."""
        with self._changed:
            self._retry_at = 0.0
            self._num_chances = _NUM_CHANCES_AT_THE_END
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._jobs or self._closed, timeout=seconds)
            self._closed = True
            self._changed.notify_all()
            return Counter(job.kind for job in (*self._rejected, *self._jobs))

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job.do()
            except RejectedError as error:
                self._settle(job, error)
            except Exception as error:  # whatever a service's library raises must not reach the sweep
                self._postpone(error)
            else:
                self._settle(job, None)

    def _next(self) -> Job | None:
        with self._changed:
            while not self._closed:
                seconds = self._retry_at - time.monotonic()
                if self._jobs and seconds <= 0:
                    return self._jobs[0]
                self._changed.wait(timeout=seconds if self._jobs else None)
            return None

    def _settle(self, job: Job, error: RejectedError | None) -> None:
        with self._changed:
            self._jobs.popleft()
            if error is None:
                self.num_done[job.kind] += 1
            else:
                self.error = error
                self._rejected.append(job)
            if self._num_chances is not None:
                self._num_chances = _NUM_CHANCES_AT_THE_END
            self._changed.notify_all()

    def _postpone(self, error: Exception) -> None:
        with self._changed:
            self.error = error
            if self._num_chances is None:
                self._retry_at = time.monotonic() + self._cool_down_seconds
            else:
                self._num_chances -= 1
                self._retry_at = time.monotonic() + _SECONDS_BETWEEN_CHANCES
                self._closed = self._num_chances == 0
            self._changed.notify_all()
