"""A sweep in MLflow: a parent, a child a variant, a grandchild a member. Every call completes what is missing.

What MLflow calls a run is an entry here. All are found again by tags of ours, so that nothing doubles: a parent that
was renamed in the UI is continued, a member that was created but never finished is filled in place, and members that
an earlier version put right below the parent move to their variants.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, final

from ..progress import SweepProgress
from ..records import MemberRecord
from .connection import connect, find_or_create_experiment, refusals_named
from .contract import Status, SweepInfo, TrackedNetwork, TrackedVariant, VariantMetrics
from .datasets import dataset_inputs
from .entries import NOTE, PARENT, Entries, now_in_ms
from .fields import NUM_SETS, curves, finite, member_metrics, member_params, progress_metrics, variant_params
from .logged_networks import log_network
from .notes import ended_text, progress_text, sweep_note, variant_note
from .pages import FOR_TRAINING, page_of, sweep_tags
from .saved_view import save_view, view_address

_STATUSES: dict[Status, str] = {"complete": "FINISHED", "incomplete": "KILLED", "failed": "FAILED"}

_ROLE, _SWEEP, _TOP, _VARIANT, _MEMBER = (
    f"pie_ray.{name}" for name in ("role", "sweep", "sweep_run_id", "variant_id", "member_id")
)


@final
class MlflowView:
    """Speaks to one store and waits for it; MlflowTracker is the one that does not wait."""

    def __init__(self, uri: str, experiment: str) -> None:
        self._uri = uri
        self._experiment = experiment
        self._variants: dict[str, Any] = {}
        self._members: dict[str, Any] = {}
        """Entries that were found when the sweep was opened, by id."""
        self._num_sets: dict[str, int] = {}
        """Evaluation sets that a member is logged whole with."""
        self._whole: dict[str, set[str]] = defaultdict(set)
        """Ids of the members that are logged whole, by variant."""
        self._figures: dict[str, dict[str, float]] = {}
        self._has_new_members = False
        self._state = "**Running.**"
        self._progress: SweepProgress | None = None
        self.page = ""
        """The sweep's page below the server's address, once it is known."""

    # ------------------------------------------------------------------------------------------------- the sweep

    def open(self, sweep: SweepInfo) -> None:
        """Find or create the sweep's parent and its variants, and see which members they have."""
        client = connect(self._uri)
        self._sweep = sweep
        self._entries = Entries(client, find_or_create_experiment(client, self._uri, self._experiment))
        identity = sweep_tags(sweep.sweep_id, sweep.name)
        parent = self._entries.find(identity)
        if parent is None:
            parent = self._entries.create(sweep.name, identity)
        elif parent.info.status != "RUNNING":
            client.update_run(parent.info.run_id, status="RUNNING")
        self._parent, self.page = parent, page_of(parent)
        self._find_below()
        tags = {**sweep.tags, _ROLE: "sweep", _SWEEP: sweep.name, "pie_ray.status": "running", NOTE: self._note()}
        self._entries.fill(parent, params=sweep.params, tags=tags)
        if sweep.datasets:
            client.log_inputs(parent.info.run_id, datasets=dataset_inputs(sweep.datasets))
        save_view(self._entries, parent, sweep.name)
        if sweep.recipe_text:
            self._entries.upload(parent.info.run_id, "recipe.yaml", sweep.recipe_text.encode())

    def add_progress(self, progress: SweepProgress) -> None:
        self._progress, self._state = progress, progress_text(progress)
        self._tell(metrics=progress_metrics(progress), step=progress.num_done)

    def add_analysis(self, metrics: VariantMetrics, artifacts: Mapping[str, bytes]) -> None:
        with refusals_named("the analysis"):
            for variant in self._sweep.variants:
                self._add_figures(variant, finite(metrics.get(variant.variant_id, {})))
            self._entries.draw(self._parent.info.run_id, curves(self._sweep.variants, self._figures))
            self._tell()
            for path, content in artifacts.items():
                self._entries.upload(self._parent.info.run_id, path, content)

    def close(self, status: Status, message: str) -> None:
        if status == "running":
            return
        for variant in self._sweep.variants:
            run = self._variants[variant.variant_id]
            ended = _STATUSES["complete" if self._is_whole(variant) else "incomplete"]
            if run.info.status != ended:
                self._entries.end(run.info.run_id, ended)
        self._state = ended_text(status, message, self._progress)
        self._tell({"pie_ray.status": status})
        # a log that was only completed keeps the sweep's duration
        end_time = None if self._has_new_members else self._parent.info.end_time
        self._entries.end(self._parent.info.run_id, _STATUSES[status], end_time)

    def _tell(
        self, tags: Mapping[str, str] | None = None, metrics: Mapping[str, float] | None = None, step: int = 0
    ) -> None:
        self._entries.set(
            self._parent.info.run_id, tags={**(tags or {}), NOTE: self._note()}, metrics=metrics, step=step
        )

    def _note(self) -> str:
        links = {
            "variants": view_address(self._entries, self._parent),
            "report": f"#/{self.page}/artifacts/report/index.html?{FOR_TRAINING}",
        }
        return sweep_note(self._sweep, self._state, self._parent.data.params, self._figures, links)

    # ------------------------------------------------------------------------------------------------ its variants

    def _find_below(self) -> None:
        top = self._parent.info.run_id
        below = [*self._entries.search({PARENT: top}), *self._entries.search({_TOP: top, _ROLE: "member"})]
        for run in sorted(below, key=lambda run: run.info.start_time):
            tags, params = run.data.tags, run.data.params
            if _MEMBER in tags:
                self._members.setdefault(tags[_MEMBER], run)
                if run.info.status == "FINISHED":
                    self._num_sets[tags[_MEMBER]] = round(run.data.metrics.get(NUM_SETS, -1))
                    self._whole[params.get("variant_id", "")].add(tags[_MEMBER])
            elif _VARIANT in tags:
                self._variants.setdefault(tags[_VARIANT], run)
        now = now_in_ms()
        for place, variant in enumerate(self._sweep.variants):
            # MLflow shows the latest first: the reference is to stand on top
            self._find_variant(variant, now - place)

    def _find_variant(self, variant: TrackedVariant, start_time: int) -> None:
        run = self._variants.get(variant.variant_id)
        if run is None:
            run = self._entries.create(
                variant.variant_id, self._tags("variant", variant.variant_id, self._parent), start_time
            )
        elif run.info.status == "FINISHED" and not self._is_whole(variant):
            self._entries.client.update_run(run.info.run_id, status="RUNNING")
            run = self._entries.client.get_run(run.info.run_id)
        self._variants[variant.variant_id] = run
        self._figures[variant.variant_id] = dict(run.data.metrics)
        note = {NOTE: variant_note(self._sweep, variant, run.data.metrics)}
        self._entries.fill(run, params=variant_params(variant), tags=note)

    def _add_figures(self, variant: TrackedVariant, metrics: Mapping[str, float]) -> None:
        figures = self._figures[variant.variant_id]
        changed = {name: value for name, value in metrics.items() if figures.get(name) != value}
        if changed:
            figures |= changed
            note = {NOTE: variant_note(self._sweep, variant, figures)}
            self._entries.set(self._variants[variant.variant_id].info.run_id, tags=note, metrics=changed)

    def add_network(self, network: TrackedNetwork) -> None:
        with refusals_named(f"the network of {network.variant_id}"):
            log_network(self._entries, self._variants[network.variant_id], network)

    def _is_whole(self, variant: TrackedVariant) -> bool:
        return len(self._whole[variant.variant_id]) >= variant.num_members

    # ------------------------------------------------------------------------------------------------- its members

    def add_member(self, record: MemberRecord) -> None:
        member_id, variant = record.member_id, self._variants[record.variant_id]
        tags = self._tags("member", record.variant_id, variant) | {_MEMBER: member_id}
        with refusals_named(f"member {member_id}"):
            run = self._members.get(member_id) or self._entries.find(
                {_TOP: self._parent.info.run_id, _MEMBER: member_id}
            )
            # A member that was evaluated on further sets has more to tell than when it was logged.
            if self._num_sets.get(member_id) == len(record.top1):
                self._entries.fill(run, tags=tags)
                return
            if run is None:
                # so that the duration MLflow shows is the member's own, whenever it is logged
                start_time = now_in_ms() - int(1000 * ((record.train_seconds or 0) + record.evaluate_seconds))
                run = self._entries.create(f"{record.variant_id}/seed-{record.seed}", tags, start_time)
            self._entries.fill(run, params=member_params(record), metrics=member_metrics(record), tags=tags)
            self._entries.end(run.info.run_id, "FINISHED")
        self._num_sets[member_id] = len(record.top1)
        self._has_new_members = True
        self._whole[record.variant_id].add(member_id)

    def _tags(self, role: str, variant_id: str, parent: Any) -> dict[str, str]:
        return {
            PARENT: parent.info.run_id,
            _TOP: self._parent.info.run_id,
            _ROLE: role,
            _SWEEP: self._sweep.name,
            _VARIANT: variant_id,
        }
