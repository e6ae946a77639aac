"""Keeps how far a sweep is, from what its driver is told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, final

from ..identity import MemberSpec, Plan
from ..progress import (
    ClusterUse,
    Estimate,
    Failure,
    ImagesProgress,
    State,
    SweepProgress,
    VariantProgress,
    variants_progress,
)
from ..records import MemberRecord
from ..redaction import without_secrets

NUM_FAILURES_KEPT = 50
"""The rest are counted: progress is written again and again."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@final
class ProgressKeeper:
    """An Observer whose `progress` is a whole new value after each event, so that any thread may read it.

    `done` are the ids of members of the plan that are complete already; `num_members_at_most` is what the plan may grow
    to, None where it does not grow.
    """

    def __init__(
        self,
        plan: Plan,
        done: Collection[str],
        *,
        num_members_at_most: int | None = None,
        driver: str = "",
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._now = now
        self._started_at: dict[str, datetime] = {}
        self._first_start: datetime | None = None
        self._num_done_here = 0
        self._missing: Sequence[MemberSpec] = ()
        self._estimate = Estimate(0, 0)
        self._estimated: tuple[datetime, float | None] = (now(), None)
        """When the time left was last estimated, and to how much."""
        self.last_seconds = 0.0
        """How long the latest finished member took, from its start."""
        self.progress = SweepProgress(
            state="running",
            started_at=_text(now()),
            updated_at=_text(now()),
            driver=driver,
            num_members=len(plan.members),
            num_members_at_most=num_members_at_most,
            num_done=sum(spec.member_id in done for spec in plan.members),
            variants=variants_progress(plan, done),
        )

    def snapshot(self) -> SweepProgress:
        """`progress` at this moment: between events the time that is left runs on."""
        now = self._now()
        return self.progress.model_copy(update={"updated_at": _text(now), "seconds_left": self._seconds_left(now)})

    def images(self, num_done: int, num_images: int) -> None:
        """Images of evaluation sets are being made."""
        self._tell(images=ImagesProgress(num_images=num_images, num_done=num_done))

    def planned(self, plan: Plan, missing: Sequence[MemberSpec]) -> None:
        num_derived = sum(not spec.variant.trains for spec in missing)
        self._missing = missing
        self._estimate = Estimate(len(missing) - num_derived, num_derived)
        self._tell(images=None)

    def grown(self, plan: Plan, done: Collection[str]) -> None:
        """The plan has more members of the same variants; `done` are the ids of those that are complete."""
        told = self.progress.variants
        variants = {
            variant_id: variant.model_copy(update={"num_failed": told[variant_id].num_failed})
            for variant_id, variant in variants_progress(plan, done).items()
        }
        num_done = sum(variant.num_done for variant in variants.values())
        self._tell(num_members=len(plan.members), num_done=num_done, variants=variants)

    def started(self, spec: MemberSpec) -> None:
        now = self._now()
        self._first_start = self._first_start or now
        self._started_at[spec.member_id] = now
        self._estimate.num_slots = max(self._estimate.num_slots, len(self._started_at))
        self._tell(note="")

    def done(self, spec: MemberSpec, record: MemberRecord) -> None:
        now = self._now()
        self.last_seconds = (now - self._started_at.pop(spec.member_id, now)).total_seconds()
        self._estimate.add(spec, self.last_seconds)
        self._estimated = (now, self._estimate.seconds_left())
        self._num_done_here += 1
        hours = (now - (self._first_start or now)).total_seconds() / 3600
        self._tell(
            num_done=self.progress.num_done + 1,
            variants=self._counted(spec, "num_done"),
            members_per_hour=self._num_done_here / hours if hours else None,
        )

    def retried(self, spec: MemberSpec, reason: str) -> None:
        self._started_at.pop(spec.member_id, None)
        self._tell(num_retried=self.progress.num_retried + 1, failures=self._with_failure(spec, reason, is_final=False))

    def failed(self, spec: MemberSpec, reason: str) -> None:
        self._started_at.pop(spec.member_id, None)
        self._give_up(spec, reason)
        for child in self._missing:
            if child.parent_id == spec.member_id:
                self._give_up(child, "its parent failed")

    def waiting(self, reason: str) -> None:
        self._tell(note=reason)

    def cluster_used(self, use: ClusterUse) -> None:
        self._tell(cluster=use)

    def ended(self, state: State, note: str = "") -> None:
        """Nothing runs any more."""
        self._started_at.clear()
        self._estimated = (self._now(), None)
        most = None if state == "complete" else self.progress.num_members_at_most
        self._tell(state=state, note=note, images=None, cluster=None, num_members_at_most=most)

    def _give_up(self, spec: MemberSpec, reason: str) -> None:
        self._estimate.drop(spec)
        self._estimated = (self._now(), self._estimate.seconds_left())
        self._tell(
            num_failed=self.progress.num_failed + 1,
            variants=self._counted(spec, "num_failed"),
            failures=self._with_failure(spec, reason, is_final=True),
        )

    def _counted(self, spec: MemberSpec, field: str) -> dict[str, VariantProgress]:
        variants = self.progress.variants
        variant = variants[spec.variant_id]
        return variants | {spec.variant_id: variant.model_copy(update={field: getattr(variant, field) + 1})}

    def _with_failure(self, spec: MemberSpec, reason: str, *, is_final: bool) -> tuple[Failure, ...]:
        failure = Failure(
            variant_id=spec.variant_id,
            seed=spec.seed,
            reason=without_secrets(reason),
            at=_text(self._now()),
            is_final=is_final,
        )
        return (*self.progress.failures, failure)[-NUM_FAILURES_KEPT:]

    def _seconds_left(self, now: datetime) -> float | None:
        then, seconds = self._estimated
        return None if seconds is None else max(0.0, seconds - (now - then).total_seconds())

    def _tell(self, **changes: Any) -> None:
        current = {"num_running": len(self._started_at), **changes}
        self.progress = self.snapshot().model_copy(update=current)


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
