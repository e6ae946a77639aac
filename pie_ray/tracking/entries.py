"""Entries of one MLflow experiment (MLflow calls them runs): found by tags of ours, completed, never doubled."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar, final

from .fields import clip

_NUM_PARAMS_A_BATCH = 100
_NUM_METRICS_A_BATCH = 800
_MAX_TAG_LENGTH = 5000
_SOURCE = {"mlflow.source.name": "pie-ray", "mlflow.source.type": "JOB"}

PARENT = "mlflow.parentRunId"
"""Tag that makes one entry the child of another."""
NOTE = "mlflow.note.content"
"""Tag that holds an entry's description, in Markdown."""

T = TypeVar("T")


@final
class Entries:
    """Of one experiment, through a client that waits."""

    def __init__(self, client: Any, experiment_id: str) -> None:
        self.client = client
        self.experiment_id = experiment_id

    def search(self, tags: Mapping[str, str]) -> Iterator[Any]:
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def find(self, tags: Mapping[str, str]) -> Any:
        """The oldest match, so that two drivers that raced agree from then on; None where there is none."""
        return min(self.search(tags), key=lambda run: (run.info.start_time, run.info.run_id), default=None)

    def create(self, name: str, tags: Mapping[str, str], start_time: int | None = None) -> Any:
        """`start_time` in milliseconds; MLflow shows an entry's duration from there to its end."""
        tags = {**tags, **_SOURCE}
        return self.client.create_run(self.experiment_id, run_name=name, tags=tags, start_time=start_time)

    def fill(
        self,
        run: Any,
        *,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log what is missing or differs from `run`, in one call where the limits allow.

        MLflow never changes a parameter.
        """
        from mlflow.entities import Metric, Param, RunTag

        known, now = run.data, now_in_ms()
        new_params = [Param(key, clip(value)) for key, value in (params or {}).items() if key not in known.params]
        new_metrics = [
            Metric(key, value, now, 0) for key, value in (metrics or {}).items() if known.metrics.get(key) != value
        ]
        clipped = {key: value[:_MAX_TAG_LENGTH] for key, value in (tags or {}).items()}
        new_tags = [RunTag(key, value) for key, value in clipped.items() if known.tags.get(key) != value]
        self._log(run.info.run_id, new_params, new_metrics, new_tags)

    def set(
        self, run_id: str, *, tags: Mapping[str, str], metrics: Mapping[str, float] | None = None, step: int = 0
    ) -> None:
        """Set tags, and log each metric once more, at a step of its own."""
        from mlflow.entities import Metric, RunTag

        now = now_in_ms()
        entities = [RunTag(key, value[:_MAX_TAG_LENGTH]) for key, value in tags.items()]
        self._log(run_id, [], [Metric(key, value, now, step) for key, value in (metrics or {}).items()], entities)

    def draw(self, run_id: str, curves: Mapping[str, Mapping[int, float]]) -> None:
        """Log metrics by step; a point is added where a step has none, or another value."""
        from mlflow.entities import Metric

        now, new = now_in_ms(), []
        for key, curve in curves.items():
            history = sorted(self.client.get_metric_history(run_id, key), key=lambda point: point.timestamp)
            known = {point.step: point.value for point in history}
            new += [Metric(key, value, now, step) for step, value in curve.items() if known.get(step) != value]
        self._log(run_id, [], new, [])

    def end(self, run_id: str, status: str, end_time: int | None = None) -> None:
        self.client.set_terminated(run_id, status, end_time)

    def upload(self, run_id: str, path: str, content: bytes) -> None:
        *folders, name = path.split("/")
        with tempfile.TemporaryDirectory(prefix="pie_ray-") as folder:
            file = Path(folder) / name
            file.write_bytes(content)
            self.client.log_artifact(run_id, str(file), "/".join(folders) or None)

    def _log(self, run_id: str, params: Sequence[Any], metrics: Sequence[Any], tags: Sequence[Any]) -> None:
        batches = zip_longest(
            _chunks(params, _NUM_PARAMS_A_BATCH), _chunks(metrics, _NUM_METRICS_A_BATCH), [tags] if tags else []
        )
        for some_params, some_metrics, some_tags in batches:
            self.client.log_batch(
                run_id,
                params=some_params or (),
                metrics=some_metrics or (),
                tags=some_tags or (),
                synchronous=True,
            )


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def now_in_ms() -> int:
    return int(1000 * time.time())
