"""The analysis spread over a Ray cluster: a task some corrupted sets, or a variant on another evaluation set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ray


def ray_map(function: Callable[[Any], Any], tasks: Iterable[Any]) -> list[Any]:
    """Like `map`, with every call a Ray task; results in order."""
    remote = ray.remote(num_cpus=1)(function)
    return ray.get([remote.remote(task) for task in tasks])
