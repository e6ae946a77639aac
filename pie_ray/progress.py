"""What a sweep tells about itself while it runs, and how much time it has left."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, final

from .config import Config
from .identity import MemberSpec, Plan
from .records import MemberRecord

State = Literal["running", "complete", "incomplete", "failed", "stopped"]


class VariantProgress(Config):
    """How far one population is."""

    num_members: int
    num_done: int = 0
    num_failed: int = 0


def variants_progress(plan: Plan, complete: Collection[str]) -> dict[str, VariantProgress]:
    """By variant id, where `complete` has the ids of the members that are done."""
    populations = {variant.variant_id: plan.population(variant.variant_id) for variant in plan.variants}
    return {
        variant_id: VariantProgress(
            num_members=len(members), num_done=sum(spec.member_id in complete for spec in members)
        )
        for variant_id, members in populations.items()
    }


class Failure(Config):
    """A member's attempt that failed; `is_final` where it is not tried again."""

    variant_id: str
    seed: int
    reason: str
    at: str
    is_final: bool


class ClusterUse(Config):
    """What a cluster has and how much of it is taken."""

    num_nodes: int
    cpus: float
    cpus_used: float
    gpus: float = 0.0
    gpus_used: float = 0.0


class ImagesProgress(Config):
    """How far the images of evaluation sets are, which are made before the members."""

    num_images: int
    num_done: int = 0


class SweepProgress(Config):
    """How far a sweep is; what its driver writes down while it works. Times are ISO 8601 in UTC."""

    state: State
    started_at: str
    """When this driver began; what was complete before counts as done."""
    updated_at: str
    driver: str = ""
    """Who drives or drove: user, machine, process, job."""
    note: str = ""
    """What the sweep waits for, or why it ended."""
    num_members: int
    num_members_at_most: int | None = None
    """Of an adaptive population, what `num_members` may grow to; None of a fixed one, and where it is final."""
    num_done: int = 0
    num_running: int = 0
    num_failed: int = 0
    """Members given up, and those derived from them."""
    num_retried: int = 0
    """Attempts that failed and were followed by another."""
    variants: dict[str, VariantProgress] = {}
    images: ImagesProgress | None = None
    """None where none are being made."""
    failures: tuple[Failure, ...] = ()
    """The latest, oldest first."""
    members_per_hour: float | None = None
    """Since the driver's first member began; None until one is done."""
    seconds_left: float | None = None
    cluster: ClusterUse | None = None


class Observer(Protocol):
    """Told of everything that happens in a sweep; called in the driver."""

    def planned(self, plan: Plan, missing: Sequence[MemberSpec]) -> None: ...

    def started(self, spec: MemberSpec) -> None: ...

    def done(self, spec: MemberSpec, record: MemberRecord) -> None: ...

    def retried(self, spec: MemberSpec, reason: str) -> None: ...

    def failed(self, spec: MemberSpec, reason: str) -> None: ...

    def waiting(self, reason: str) -> None: ...

    def cluster_used(self, use: ClusterUse) -> None: ...


@final
class Observers:
    """Several observers as one, told in their order."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers

    def planned(self, plan: Plan, missing: Sequence[MemberSpec]) -> None:
        for observer in self.observers:
            observer.planned(plan, missing)

    def started(self, spec: MemberSpec) -> None:
        for observer in self.observers:
            observer.started(spec)

    def done(self, spec: MemberSpec, record: MemberRecord) -> None:
        for observer in self.observers:
            observer.done(spec, record)

    def retried(self, spec: MemberSpec, reason: str) -> None:
        for observer in self.observers:
            observer.retried(spec, reason)

    def failed(self, spec: MemberSpec, reason: str) -> None:
        for observer in self.observers:
            observer.failed(spec, reason)

    def waiting(self, reason: str) -> None:
        for observer in self.observers:
            observer.waiting(reason)

    def cluster_used(self, use: ClusterUse) -> None:
        for observer in self.observers:
            observer.cluster_used(use)


@dataclass
class Estimate:
    """Time left, from the members that are done: trained and derived ones cost differently.

    What is pruned from the dense member and trained on counts as trained; what is only converted or cut, as derived.

    `num_slots` is the number of members at once; the most that were seen running is taken for it.
    """

    num_trained_left: int
    num_derived_left: int
    num_slots: int = 1
    trained_seconds: list[float] = field(default_factory=list)
    derived_seconds: list[float] = field(default_factory=list)

    def add(self, spec: MemberSpec, seconds: float) -> None:
        """Take note of a member that took `seconds`."""
        if spec.variant.trains:
            self.trained_seconds.append(seconds)
            self.num_trained_left -= 1
        else:
            self.derived_seconds.append(seconds)
            self.num_derived_left -= 1

    def drop(self, spec: MemberSpec) -> None:
        """Take note of a member that will not be made."""
        if spec.variant.trains:
            self.num_trained_left -= 1
        else:
            self.num_derived_left -= 1

    def seconds_left(self) -> float | None:
        """None until the first member is in."""
        if not self.trained_seconds and not self.derived_seconds:
            return None
        trained = _mean(self.trained_seconds or self.derived_seconds)
        # A derived member is not trained: until one is in, its cost is taken as a tenth of training.
        derived = _mean(self.derived_seconds) if self.derived_seconds else trained / 10
        return (self.num_trained_left * trained + self.num_derived_left * derived) / max(self.num_slots, 1)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def clock(seconds: float) -> str:
    """45 s, 12 min 05 s, 3 h 20 min."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    return f"{total // 3600} h {total % 3600 // 60:02d} min"
