"""A sweep in MLflow: one parent, and a child a member. Every call completes what is missing and doubles nothing.

What MLflow calls a run is the sweep (the parent) or a member (a child). Both are found again by tags of ours, so a
parent that was renamed in the UI is continued, and a child that was created but never finished is filled in place.
"""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar, final

from ..records import MemberRecord
from ..redaction import without_secrets
from .connection import connect, find_or_create_experiment, refusals_named, sqlite_folder
from .contract import Status, SweepInfo, VariantMetrics
from .fields import NUM_SETS, analysis_metrics, clip, describe, member_metrics, member_params

_NUM_PARAMS_A_BATCH = 100
_NUM_METRICS_A_BATCH = 800
_STATUSES: dict[Status, str] = {"complete": "FINISHED", "incomplete": "KILLED", "failed": "FAILED"}
_SOURCE = {"mlflow.source.name": "pie-ray", "mlflow.source.type": "JOB"}

T = TypeVar("T")


@final
class MlflowView:
    """Speaks to one store and waits for it; MlflowTracker is the one that does not wait."""

    def __init__(self, uri: str, experiment: str) -> None:
        self._uri = uri
        self._experiment = experiment
        self._client: Any = None
        self._experiment_id = ""
        self._parent_id = ""
        self._num_sets: dict[str, float | None] = {}
        self._note = ""

    @property
    def link(self) -> str:
        """The sweep's page, or the command that shows it."""
        if sqlite_folder(self._uri) is not None:
            return f"mlflow ui --backend-store-uri {shlex.quote(self._uri)}"
        if not self._uri.startswith("http"):
            return without_secrets(self._uri)
        page = f"/#/experiments/{self._experiment_id}/runs/{self._parent_id}" if self._parent_id else ""
        return without_secrets(self._uri.rstrip("/") + page)

    def open(self, sweep: SweepInfo) -> None:
        """Find or create the sweep's parent, and see which members it has."""
        self._client = connect(self._uri)
        self._experiment_id = find_or_create_experiment(self._client, self._uri, self._experiment)
        tags = {"pie_ray.sweep_id": sweep.sweep_id, "pie_ray.sweep_name": sweep.name}
        parent = self._find(tags)
        if parent is None:
            parent = self._client.create_run(self._experiment_id, run_name=sweep.name, tags=tags | _SOURCE)
        elif parent.info.status != "RUNNING":
            self._client.update_run(parent.info.run_id, status="RUNNING")
        self._parent_id = parent.info.run_id
        self._fill(parent, params=sweep.params)
        self._note = describe(sweep, parent.data.params)
        self._tag({**sweep.tags, "pie_ray.status": "running", "mlflow.note.content": self._note})
        if sweep.recipe_text:
            self._upload("recipe.yaml", sweep.recipe_text.encode())
        finished = self._search({"mlflow.parentRunId": self._parent_id}, "attributes.status = 'FINISHED'")
        self._num_sets = {
            child.data.tags.get("pie_ray.member_id", ""): child.data.metrics.get(NUM_SETS) for child in finished
        }

    def add_member(self, record: MemberRecord) -> None:
        # A member that was evaluated on further sets has more to tell than when it was logged.
        if self._num_sets.get(record.member_id) == len(record.top1):
            return
        tags = {"mlflow.parentRunId": self._parent_id, "pie_ray.member_id": record.member_id}
        with refusals_named(f"member {record.member_id}"):
            child = self._find(tags)
            if child is None:
                child = self._client.create_run(
                    self._experiment_id,
                    # so that the duration MLflow shows is the member's own, whenever it is logged
                    start_time=_now() - int(1000 * ((record.train_seconds or 0) + record.evaluate_seconds)),
                    run_name=f"{record.variant_id}/seed-{record.seed}",
                    tags=tags | _SOURCE,
                )
            self._fill(child, params=member_params(record), metrics=member_metrics(record))
            self._client.set_terminated(child.info.run_id, "FINISHED")
        self._num_sets[record.member_id] = len(record.top1)

    def add_analysis(self, metrics: VariantMetrics, artifacts: Mapping[str, bytes]) -> None:
        with refusals_named("the analysis"):
            self._fill(self._client.get_run(self._parent_id), metrics=analysis_metrics(metrics))
            for path, content in artifacts.items():
                self._upload(path, content)

    def close(self, status: Status, message: str) -> None:
        note = f"{self._note}\n\n**{status.capitalize()}.** {message}"
        self._tag({"pie_ray.status": status, "mlflow.note.content": note})
        self._client.set_terminated(self._parent_id, _STATUSES[status])

    def _find(self, tags: Mapping[str, str]) -> Any:
        """The oldest match, so that two drivers that raced agree from then on; None where there is none."""
        return min(self._search(tags), key=lambda run: (run.info.start_time, run.info.run_id), default=None)

    def _search(self, tags: Mapping[str, str], *conditions: str) -> Iterator[Any]:
        query = " and ".join([*(f"tags.`{key}` = '{value}'" for key, value in tags.items()), *conditions])
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], query, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _fill(
        self, run: Any, *, params: Mapping[str, str] | None = None, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Log what is missing or differs, in one call where the limits allow; MLflow never changes a parameter."""
        from mlflow.entities import Metric, Param

        known, now = run.data, _now()
        new_params = [Param(key, clip(value)) for key, value in (params or {}).items() if key not in known.params]
        new_metrics = [
            Metric(key, value, now, 0) for key, value in (metrics or {}).items() if known.metrics.get(key) != value
        ]
        for some_params, some_metrics in zip_longest(
            _chunks(new_params, _NUM_PARAMS_A_BATCH), _chunks(new_metrics, _NUM_METRICS_A_BATCH), fillvalue=()
        ):
            self._client.log_batch(run.info.run_id, params=some_params, metrics=some_metrics, synchronous=True)

    def _tag(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        entities = [RunTag(key, value[:5000]) for key, value in tags.items()]
        self._client.log_batch(self._parent_id, tags=entities, synchronous=True)

    def _upload(self, path: str, content: bytes) -> None:
        *folders, name = path.split("/")
        with tempfile.TemporaryDirectory(prefix="pie_ray-") as folder:
            file = Path(folder) / name
            file.write_bytes(content)
            self._client.log_artifact(self._parent_id, str(file), "/".join(folders) or None)


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _now() -> int:
    return int(1000 * time.time())
