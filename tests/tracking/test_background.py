"""The queue between the sweep and a service that may be slow, absent or refuse."""

from __future__ import annotations

import threading
import time
from typing import Any

from pie_ray.tracking.background import BackgroundQueue, RejectedError


def test_after_a_failure_nothing_is_tried_until_the_end() -> None:
    queue = BackgroundQueue()
    attempts: list[str] = []

    def fail() -> None:
        attempts.append("fail")
        raise ConnectionError("down")

    queue.submit("member", fail)
    queue.submit("member", lambda: attempts.append("next"))
    wait_until(lambda: attempts == ["fail"])
    time.sleep(0.05)
    assert attempts == ["fail"]
    assert queue.finish(5) == {"member": 2}
    assert attempts == ["fail", "fail", "fail"] and str(queue.error) == "down"


def test_a_long_sweep_tries_again_after_a_while() -> None:
    queue = BackgroundQueue(cool_down_seconds=0.02)
    attempts: list[int] = []

    def fail_twice() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("down")

    queue.submit("member", fail_twice)
    wait_until(lambda: len(attempts) == 3)
    assert queue.finish(5) == {} and queue.num_done == {"member": 1}


def test_an_attempt_under_way_at_the_end_leaves_one_more() -> None:
    queue = BackgroundQueue()
    under_way, go_on = threading.Event(), threading.Event()
    attempts: list[int] = []

    def slow_then_fine() -> None:
        attempts.append(1)
        under_way.set()
        go_on.wait(5)
        if len(attempts) == 1:
            raise ConnectionError("down")

    queue.submit("member", slow_then_fine)
    under_way.wait(5)
    threading.Timer(0.05, go_on.set).start()
    assert queue.finish(5) == {} and len(attempts) == 2


def test_a_rejected_job_is_set_aside() -> None:
    queue = BackgroundQueue()

    def reject() -> None:
        raise RejectedError("no")

    queue.submit("member", reject)
    queue.submit("analysis", lambda: None)
    assert queue.finish(5) == {"member": 1} and queue.num_done == {"analysis": 1}


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()
