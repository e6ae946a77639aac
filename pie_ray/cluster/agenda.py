"""Which members of a sweep are to be completed next, who is at which, and how often each was tried. No Ray in here."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import NamedTuple, final

from ..identity import MemberSpec, Pack

NUM_TRIALS_OF_THE_REST = 1000
"""A trial takes this share of the members that nobody has taken yet, so that the last ones are evenly spread."""

MOST_MEMBERS = 32
"""That a trial takes by itself: beyond it a trial's start is no longer what costs."""


def automatic_size(num_left: int) -> int:
    """Members that the next trial takes, of `num_left` that none has taken: 1 below 2,000, a thousandth of more."""
    return max(1, min(MOST_MEMBERS, num_left // NUM_TRIALS_OF_THE_REST))


class Breakdown(NamedTuple):
    """What became of the members that a broken trial was at."""

    again: Pack
    given_up: Pack


@final
class Agenda:
    """Hands out the missing members of a plan, in the order of their `packs`, several packs a trial.

    A member waits for its parent where that one is missing as well; where the parent failed for good it ends up in
    `unreachable`. `members_per_trial` None is `automatic_size`. A trial that breaks down costs an attempt to the
    members of the pack that it was at; what it had not come to is handed out again as if nothing had been.
    """

    def __init__(self, packs: Iterable[Pack], *, max_retries: int, members_per_trial: int | None = None) -> None:
        packs = tuple(packs)
        missing = {spec.member_id for pack in packs for spec in pack}
        self._max_retries, self._members_per_trial = max_retries, members_per_trial
        self._num_left = len(missing)
        self._ready: deque[Pack] = deque()
        self._children: dict[str, list[Pack]] = defaultdict(list)
        for pack in packs:
            parent_id = pack[0].parent_id
            if parent_id is not None and parent_id in missing:
                self._children[parent_id].append(pack)
            else:
                self._ready.append(pack)
        self._taken: dict[str, deque[dict[str, MemberSpec]]] = {}
        """By trial id its packs that are not settled; of these the members that are not, by member id."""
        self._num_failures: Counter[str] = Counter()
        self.unreachable: list[MemberSpec] = []

    @property
    def is_done(self) -> bool:
        """Whether every member is complete, failed or unreachable."""
        return not (self._ready or self._taken or self._children)

    @property
    def has_live_trials(self) -> bool:
        return bool(self._taken)

    def take(self, trial_id: str) -> tuple[Pack, ...]:
        """The packs of a new trial; none where nothing is ready."""
        size = self._members_per_trial or automatic_size(self._num_left)
        packs: list[Pack] = []
        while self._ready and sum(map(len, packs)) < size:
            packs.append(self._ready.popleft())
        if packs:
            self._num_left -= sum(map(len, packs))
            self._taken[trial_id] = deque({spec.member_id: spec for spec in pack} for pack in packs)
        return tuple(packs)

    def current(self, trial_id: str) -> Pack:
        """The members that a trial is at; none where it has come to its end."""
        packs = self._taken.get(trial_id)
        return tuple(packs[0].values()) if packs else ()

    def settle(self, trial_id: str, member_id: str, *, is_complete: bool) -> MemberSpec | None:
        """Note that a member is complete, or failed for good; None where that is nothing new."""
        packs = self._taken.get(trial_id)
        spec = packs[0].pop(member_id, None) if packs else None
        if packs is None or spec is None:
            return None
        if not packs[0]:
            packs.popleft()
        if not packs:
            del self._taken[trial_id]
        self._release_children(spec, is_complete=is_complete)
        return spec

    def broke_down(self, trial_id: str) -> Breakdown:
        """Note that a trial ended at its current pack, whose members are tried again or given up.

        The last attempt is each member's own: what breaks a trial may be but one of its pack.
        """
        packs = [tuple(members.values()) for members in self._taken.pop(trial_id, ())]
        if not packs:
            return Breakdown((), ())
        broken, *untouched = packs
        self._put_back(untouched)
        self._num_failures.update(spec.member_id for spec in broken)
        again = tuple(spec for spec in broken if self._num_failures[spec.member_id] <= self._max_retries)
        given_up = tuple(spec for spec in broken if self._num_failures[spec.member_id] > self._max_retries)
        is_last = any(self._num_failures[spec.member_id] == self._max_retries for spec in again)
        self._put_back([(spec,) for spec in again] if is_last else [again] if again else [])
        for spec in given_up:
            self._release_children(spec, is_complete=False)
        return Breakdown(again, given_up)

    def _put_back(self, packs: list[Pack]) -> None:
        self._ready.extendleft(reversed(packs))
        self._num_left += sum(map(len, packs))

    def _release_children(self, parent: MemberSpec, *, is_complete: bool) -> None:
        packs = self._children.pop(parent.member_id, [])
        if is_complete:
            # First, so that the populations grow evenly.
            self._ready.extendleft(reversed(packs))
            return
        for pack in packs:
            self._num_left -= len(pack)
            self.unreachable += pack
            for spec in pack:
                self._release_children(spec, is_complete=False)
