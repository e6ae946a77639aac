"""How many members has a variant enough of? Numbers in, decision out; nothing here reads, trains or waits.

A sweep with `population.adaptive` goes in rounds: every population gets `fewest` members; then each variant is judged
by how alike two repetitions of the study would find its PIEs (`stats.pie_stability`), those that stop keep the members
they have, and the others get `step` more while the budget lasts.

**A variant stops** at the first of

1. `no PIEs`: no two subsets of its members found one;
2. `stable`: the Jaccard similarity that two repetitions with as many members would have is at least `target` by every
   curve that fits what was measured (its lowest end, not its middle);
3. `no gain`: from the least that the similarity may be now to the most that it may be with `most` members is no more
   than `interval`: what more members could tell is known already, as where all that moves is noise;
4. `out of reach`: it has the `num_members` that it would have without adaptation, and the curve that fits best does not
   come to `target` with `most`: what others saved serves more where it makes a difference;
5. `most`: it has as many members as any variant may have;
6. `budget`: the members that it asks for next are spent.

**A family** is a variant that is trained, with those that are only converted or cut from it: one more member of the
first costs a training, of the others next to nothing. So a family grows as one, while any of its variants is open. A
member needs its parent and the comparison a reference: parents are never smaller than their children, the reference
never than any variant.

**The budget** is `num_members` a variant, as without adaptation: neither the trained members nor all members together
come to more. Where it does not serve all open families, those go first that lack the fewest members.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import stats

Reason = Literal["no PIEs", "stable", "no gain", "out of reach", "most", "budget"]


@dataclass(frozen=True)
class Rule:
    """When a variant has members enough; see the recipe's `population.adaptive`."""

    num_members: int
    """Members a variant that the sweep may spend on average."""
    target: float
    interval: float
    fewest: int
    step: int
    most: int


@dataclass(frozen=True)
class Kin:
    """A variant, what it is derived from and whether its members are trained. The first of several is the reference."""

    variant_id: str
    parent_id: str | None = None
    trains: bool = True


@dataclass(frozen=True)
class Verdict:
    """What the members that a variant has say of it."""

    num_members: int
    """That were judged."""
    jaccard: float
    """Similarity of the PIEs that two repetitions with as many would find; NaN where it is not known."""
    low: float
    high: float
    """Ends over all curves that fit."""
    num_needed: int | None
    """Members that reach the target, by the best curve; None where it does not get there."""
    because: Reason | None
    """Why it stops; None where it asks for more."""

    @property
    def num_lacking(self) -> float:
        """Members that it is short of."""
        return np.inf if self.num_needed is None else max(self.num_needed - self.num_members, 1)


def judge(stability: stats.PieStability, num_members: int, rule: Rule) -> Verdict:
    """Whether a variant of `num_members` stops, by the stability of its PIEs on one evaluation set."""
    found = stats.members_needed(stability, rule.target)
    return Verdict(
        num_members=num_members,
        jaccard=found.jaccard_now,
        low=found.jaccard_now_low,
        high=found.jaccard_now_high,
        num_needed=found.num_members,
        because=_reason(stability, found, num_members, rule),
    )


def _reason(stability: stats.PieStability, found: stats.MembersNeeded, num_members: int, rule: Rule) -> Reason | None:
    # What is NaN, with too few sizes, is no reason: no comparison with it is true.
    if stability.num_members.size and not stability.num_resamples.any():
        return "no PIEs"
    if found.jaccard_now_low >= rule.target:
        return "stable"
    if stats.expected_jaccard(stability, rule.most).high - found.jaccard_now_low <= rule.interval:
        return "no gain"
    if num_members >= rule.num_members and (found.num_members is None or found.num_members > rule.most):
        return "out of reach"
    return "most" if num_members >= rule.most else None


def first_sizes(kin: Sequence[Kin], rule: Rule) -> dict[str, int]:
    """Members of each variant before any is judged."""
    return {each.variant_id: rule.fewest for each in kin}


def family_of(kin: Sequence[Kin], head: str) -> tuple[str, ...]:
    """A trained variant and all that is converted or cut from it, from one to the next."""
    family = [head]
    for each in kin:  # parents before their children
        if not each.trains and each.parent_id in family:
            family.append(each.variant_id)
    return tuple(family)


def heads(kin: Sequence[Kin]) -> Iterator[str]:
    """The variants that are trained."""
    return (each.variant_id for each in kin if each.trains)


def next_sizes(
    sizes: Mapping[str, int], verdicts: Mapping[str, Verdict], kin: Sequence[Kin], rule: Rule
) -> tuple[dict[str, int], dict[str, Reason]]:
    """Members of each variant in the next round, and why those families got none that had asked for some.

    `verdicts` has the latest of every variant that was judged; one that is not in it asks for nothing. The reasons are
    by variant id: `budget`, or `most` where a family's head has as many members as it may.
    """
    reasons: dict[str, Reason] = {}
    now = dict(sizes)
    for head in _by_need(verdicts, kin):
        # Another family may have made it grow already, as its parent or its reference.
        most = min(sizes[head] + rule.step, rule.most)
        ways = (_grown(now, head, wanted, kin) for wanted in range(most, now[head], -1))
        now = next((grown for grown in ways if _is_within(grown, kin, rule)), now)
        if now[head] == sizes[head]:
            asking = (name for name in family_of(kin, head) if _asks(verdicts, name))
            reasons |= dict.fromkeys(asking, "most" if sizes[head] >= rule.most else "budget")
    return now, reasons


def _by_need(verdicts: Mapping[str, Verdict], kin: Sequence[Kin]) -> list[str]:
    """Heads of the families that ask for members, those that lack the fewest first."""
    lacking = {}
    for head in heads(kin):
        asked = [verdicts[name].num_lacking for name in family_of(kin, head) if _asks(verdicts, name)]
        if asked:
            lacking[head] = max(asked)
    return sorted(lacking, key=lambda head: lacking[head])


def _asks(verdicts: Mapping[str, Verdict], name: str) -> bool:
    return name in verdicts and verdicts[name].because is None


def _grown(sizes: Mapping[str, int], head: str, wanted: int, kin: Sequence[Kin]) -> dict[str, int]:
    """With `wanted` members of a family, and of those that it needs beside it."""
    grown = dict(sizes) | {head: wanted}
    parent_of = {each.variant_id: each.parent_id for each in kin}
    above = [kin[0].variant_id]
    parent = parent_of[head]
    while parent is not None:
        above.append(parent)
        parent = parent_of[parent]
    for name in above:
        grown[name] = max(grown[name], wanted)
    for each in kin:
        if not each.trains and each.parent_id is not None:
            grown[each.variant_id] = grown[each.parent_id]
    return grown


def _is_within(sizes: Mapping[str, int], kin: Sequence[Kin], rule: Rule) -> bool:
    trained = [sizes[name] for name in heads(kin)]
    return (
        max(sizes.values()) <= rule.most
        and sum(trained) <= rule.num_members * len(trained)
        and sum(sizes.values()) <= rule.num_members * len(kin)
    )
