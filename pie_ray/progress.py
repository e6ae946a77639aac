"""What a sweep tells about itself while it runs, and how much time it has left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .identity import MemberSpec, Plan
from .records import MemberRecord


class Observer(Protocol):
    """Told of everything that happens in a sweep; called in the driver."""

    def planned(self, plan: Plan, missing: Sequence[MemberSpec]) -> None: ...

    def started(self, spec: MemberSpec) -> None: ...

    def done(self, spec: MemberSpec, record: MemberRecord) -> None: ...

    def retried(self, spec: MemberSpec, reason: str) -> None: ...

    def failed(self, spec: MemberSpec, reason: str) -> None: ...

    def waiting(self, reason: str) -> None: ...


@dataclass
class Estimate:
    """Time left, from the members that are done: trained and derived ones cost differently.

    `num_slots` is the number of members at once; the most that were seen running is taken for it.
    """

    num_trained_left: int
    num_derived_left: int
    num_slots: int = 1
    trained_seconds: list[float] = field(default_factory=list)
    derived_seconds: list[float] = field(default_factory=list)

    def add(self, spec: MemberSpec, seconds: float) -> None:
        """Take note of a member that took `seconds`."""
        if spec.parent_id is None:
            self.trained_seconds.append(seconds)
            self.num_trained_left -= 1
        else:
            self.derived_seconds.append(seconds)
            self.num_derived_left -= 1

    def drop(self, spec: MemberSpec) -> None:
        """Take note of a member that will not be made."""
        if spec.parent_id is None:
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
