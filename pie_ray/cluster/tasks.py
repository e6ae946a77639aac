"""Ray tasks that are awaited one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.exceptions import RayTaskError

from ..errors import PieRayError

T = TypeVar("T")


def await_each(running: dict[Any, T], on_done: Callable[[T], None]) -> None:
    """Wait for tasks, given by their object reference with what each does; `on_done` hears of each that is done.

    The others are cancelled where one fails. Raises the task's own error where it is one of ours.
    """
    try:
        while running:
            done, _ = ray.wait(list(running))
            for reference in done:
                ray.get(reference)
                on_done(running.pop(reference))
    except RayTaskError as error:
        if isinstance(error.cause, PieRayError):
            raise error.cause from error
        raise
    finally:
        for reference in running:
            ray.cancel(reference)
