"""How many members does a claim about single examples need: do two repetitions of a study find the same PIEs?

Not in the papers, which take 30 members an arm (arXiv 1911.05248). Disjoint subsets of the members stand for
repetitions; what they share is measured up to half of the members, and a curve goes on from there.

    stability = pie_stability(reference, variant, num_classes=10, rng=np.random.default_rng(0))
    print(members_needed(stability, 0.8))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import BoolArray, FloatArray, blocks, spread
from ._jaccard_curve import candidate_overlaps
from ._subsets import Arm
from ._validation import Tie, check_count, check_fraction, check_paired, check_populations, check_rng, check_tie

MOST_SIZES = 12
"""Sizes measured of large populations."""
FEWEST_SIZES = 3
"""Measured sizes that a curve of two parameters takes."""
FARTHEST = 20
"""Numbers of members are given up to this many times the largest measured size."""
LEFT_OUT = 0.1
"""What the curves leave out (ties, third labels), for one member; half of it for two, and so on."""
RESOLUTION = 0.003
"""Of the curves considered."""

Basis = Literal["measured", "extrapolated", "out of reach", "too few sizes"]


@dataclass(frozen=True, eq=False)
class PieStability:
    """What PIE sets of two repetitions with k members share, for several k. All arrays are [sizes], ascending in k."""

    num_members: NDArray[np.int64]
    """k, in each of the four subsets compared; the largest is half of the smaller population."""
    jaccard_mean: FloatArray
    """Mean Jaccard similarity of the two PIE sets, in [0, 1]; NaN where no pair of repetitions found a PIE."""
    jaccard_std: FloatArray
    """Standard deviation over the resamples (divisor resamples - 1; NaN for fewer than two)."""
    pie_fraction: FloatArray
    """Mean PIE fraction at k members, over all resamples."""
    num_resamples: NDArray[np.int64]
    """Resamples with a PIE, whose similarity is defined: its mean and deviation are over these."""
    is_paired: bool = False
    """Whether both populations' subsets were the same seeds."""


@dataclass(frozen=True, eq=False)
class MembersNeeded:
    """How many members the PIE sets of two repetitions take to be that similar."""

    target: float
    """Jaccard similarity asked for."""
    num_members: int | None
    """The fewest members of each population that reach it; None where the measurements do not support a number."""
    low: int | None
    """The fewest by any curve that fits; None where every such curve stays below the target."""
    high: int | None
    """The most by any curve that fits; None where some stay below the target."""
    basis: Basis
    """Where num_members comes from, or why there is none."""
    num_members_now: int | None
    """Twice the largest measured size: the members each population has, less one of an odd number."""
    jaccard_now: float
    """Similarity to be expected between two repetitions with `num_members_now` each; NaN with too few sizes."""
    jaccard_now_low: float
    """The least by any curve that fits."""
    jaccard_now_high: float
    """The most by any curve that fits."""


@dataclass(frozen=True)
class ExpectedJaccard:
    """Similarity to be expected between the PIE sets of two repetitions with some number of members each."""

    best: float
    """By the curve that fits best; NaN, as the ends, with too few measured sizes."""
    low: float
    """The least by any curve that fits."""
    high: float
    """The most by any curve that fits."""


def pie_stability(
    reference: ArrayLike,
    variant: ArrayLike,
    *,
    num_classes: int,
    rng: np.random.Generator,
    tie: Tie = "largest",
    num_resamples: int = 50,
    is_paired: bool = False,
) -> PieStability:
    """Compare the PIE sets of disjoint subsets of k members, for k from 2 to half of the smaller population.

    Both are integer labels [members, examples] in [0, num_classes), on the same examples in the same order; the numbers
    of members may differ. A resample draws two disjoint subsets of k members from each population and finds the PIEs
    (arXiv 1911.05248, with the rule `tie`) of the first two and of the second two; the Jaccard similarity of these sets
    is what they share as a fraction of what either has. Two empty sets have none, and are left out. With `is_paired`,
    for a variant derived from the reference's members, row m of both is one seed and both are drawn the same seeds.

    At most 12 sizes are measured, at equal ratios; with fewer than four members there are none. Resamples share
    members, the more the larger k is, so that their deviation is not the error of the mean.

    Raises InputError for predictions of another shape, type or range, different numbers of examples (with `is_paired`,
    of members), another tie rule, num_resamples below 1, and an rng that is no numpy Generator.
    """
    check_tie(tie)
    check_rng(rng)
    num_classes, num_resamples = check_count("num_classes", num_classes), check_count("num_resamples", num_resamples)
    checked = check_populations(reference, variant, num_classes=num_classes)
    check_paired(is_paired, *checked)
    before, after = (Arm.of(predictions, num_classes, tie) for predictions in checked)
    sizes = _sizes(min(map(len, checked)) // 2)
    overlaps = []
    for size in sizes.tolist():
        first = _disjoint_subsets(len(checked[0]), size, num_resamples, rng)
        second = first if is_paired else _disjoint_subsets(len(checked[1]), size, num_resamples, rng)
        overlaps.append(_overlaps(before, after, first, second))
    return PieStability(
        num_members=sizes,
        jaccard_mean=np.array([each.mean() if each.size else np.nan for each, _ in overlaps]),
        jaccard_std=np.array([spread(each) for each, _ in overlaps]),
        pie_fraction=np.array([pie_fraction for _, pie_fraction in overlaps]),
        num_resamples=np.array([each.size for each, _ in overlaps], np.int64),
        is_paired=is_paired,
    )


def members_needed(stability: PieStability, target: float) -> MembersNeeded:
    """The fewest members with which PIE sets of two repetitions are expected to have a Jaccard similarity of `target`.

    Where the target is reached at a measured size and every larger one, that size ("measured"). Otherwise from the
    curve that fits best, of a family in which PIEs that are all noise never become stable (`_jaccard_curve`), if it
    gets there within 20 times the largest measured size ("extrapolated"; else "out of reach"). A curve takes three
    measured sizes, so eight members ("too few sizes"). Targets up to 1/3 tell nothing: PIEs that are all noise reach
    them with few members.

    `low` and `high` are the extremes of all curves that fit nearly as well: whose mean squared deviation is at most
    1 + 2 times the best one's, in units of an error that adds up the standard error and .1 / k, as the curves know
    neither ties nor third labels, which few members have. The standard error is taken for jaccard_std divided by
    sqrt(floor(K / 2k)), since K members hold so many repetitions that share none; between populations of small
    networks the mean varied half as much. Of 20 or 30 members, held against the truth from 100 and 200, the interval
    contained it in 239 of 240 trials on such populations; it fails where examples avoid the boundaries between classes.

    Raises InputError for anything but a PieStability, and for a target outside (0, 1].
    """
    if not isinstance(stability, PieStability):
        raise InputError(f"stability: found {type(stability).__name__}; accepted is the result of pie_stability")
    target = check_fraction("target", target)
    sizes, reached = stability.num_members, stability.jaccard_mean >= target
    measured = int(sizes[_first_for_good(reached)]) if reached.size and reached[-1] else None
    num_members_now = 2 * int(sizes[-1]) if sizes.size else None
    curves = _Curves.of(stability)
    basis: Basis
    if curves is None:
        basis = "too few sizes" if measured is None else "measured"
        return MembersNeeded(target, measured, None, None, basis, num_members_now, np.nan, np.nan, np.nan)
    num_members, low, high = curves.members(target)
    if measured is not None:
        basis, num_members = "measured", measured
    elif num_members is not None:
        basis, num_members = "extrapolated", max(num_members, int(sizes[-1]) + 1)
    else:
        basis = "out of reach"
    if num_members is not None:
        low = num_members if low is None else min(low, num_members)
        high = None if high is None else max(high, num_members)
    now = curves.overlaps(np.array([num_members_now]))[:, 0]
    return MembersNeeded(
        target=target,
        num_members=num_members,
        low=low,
        high=high,
        basis=basis,
        num_members_now=num_members_now,
        jaccard_now=float(now[curves.best]),
        jaccard_now_low=float(now.min()),
        jaccard_now_high=float(now.max()),
    )


def expected_jaccard(stability: PieStability, num_members: int) -> ExpectedJaccard:
    """What repetitions with `num_members` each would share, by the curves of `members_needed`.

    Raises InputError for anything but a PieStability, and for num_members below 2.
    """
    if not isinstance(stability, PieStability):
        raise InputError(f"stability: found {type(stability).__name__}; accepted is the result of pie_stability")
    if check_count("num_members", num_members) < 2:
        raise InputError(f"num_members: found {num_members}; accepted is 2 or more")
    curves = _Curves.of(stability)
    if curves is None:
        return ExpectedJaccard(np.nan, np.nan, np.nan)
    found = curves.overlaps(np.array([num_members]))[:, 0]
    return ExpectedJaccard(best=float(found[curves.best]), low=float(found.min()), high=float(found.max()))


def _first_for_good(reached: BoolArray) -> int:
    """Where the last run of True begins, which reaches the end."""
    return int(reached.size - np.argmin(np.append(reached[::-1], False)))


@dataclass(frozen=True, eq=False)
class _Curves:
    """The curves that fit what was measured, and which of them does best."""

    accepted: NDArray[np.int64]
    best: int
    largest_size: int
    is_paired: bool

    @classmethod
    def of(cls, stability: PieStability) -> _Curves | None:
        """None where too few sizes were measured."""
        known = np.isfinite(stability.jaccard_mean) & np.isfinite(stability.jaccard_std)
        if known.sum() < FEWEST_SIZES:
            return None
        curves = candidate_overlaps(stability.num_members[known], is_paired=stability.is_paired)
        deviation = (curves - stability.jaccard_mean[known]) / _errors(stability)[known]
        misfit = (deviation**2).mean(axis=1)
        accepted = np.flatnonzero(misfit <= 1 + 2 * misfit.min())
        return cls(accepted, int(misfit[accepted].argmin()), int(stability.num_members[-1]), stability.is_paired)

    def overlaps(self, num_members: NDArray[np.int64]) -> FloatArray:
        """[accepted curves, numbers]."""
        return candidate_overlaps(num_members, is_paired=self.is_paired, chosen=self.accepted)

    def members(self, target: float) -> tuple[int | None, int | None, int | None]:
        """The fewest members that reach the target for good: by the best curve, by any, and by every one."""
        numbers = np.unique(np.rint(np.geomspace(2, FARTHEST * self.largest_size, 150)).astype(np.int64))
        reached = self.overlaps(numbers) >= target
        first = np.array([_first_for_good(row) for row in reached])
        found = [
            int(numbers[place]) if place < numbers.size else None
            for place in (first[self.best], first.min(), first.max())
        ]
        return found[0], found[1], found[2]


def _errors(stability: PieStability) -> FloatArray:
    """How far a mean may be from the curve that is true, [sizes]."""
    sizes, num_resamples = stability.num_members, np.maximum(stability.num_resamples, 1)
    num_independent = sizes[-1] // sizes
    variance = stability.jaccard_std**2 * (1 / num_independent + 1 / num_resamples)
    return np.sqrt(variance + (LEFT_OUT / sizes) ** 2 + RESOLUTION**2)


def _sizes(largest: int) -> NDArray[np.int64]:
    if largest - 1 <= MOST_SIZES:
        return np.arange(2, largest + 1)
    return np.unique(np.rint(np.geomspace(2, largest, MOST_SIZES)).astype(np.int64))


def _disjoint_subsets(num_members: int, size: int, num_resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Members of two disjoint subsets, [2 x resamples, members of a subset]: the first of all resamples come first."""
    orders = rng.permuted(np.tile(np.arange(num_members), (num_resamples, 1)), axis=1)
    return np.concatenate([orders[:, :size], orders[:, size : 2 * size]])


def _overlaps(
    reference: Arm, variant: Arm, reference_subsets: NDArray[np.int64], variant_subsets: NDArray[np.int64]
) -> tuple[FloatArray, float]:
    """Jaccard similarity of the two PIE sets of each resample that has any, and the mean PIE fraction."""
    num_subsets, size = reference_subsets.shape
    num_resamples = num_subsets // 2
    is_settled = reference.settled(size) & variant.settled(size)
    always = (is_settled & (reference.mode != variant.mode)).sum()
    num_shared, num_found = np.full(num_resamples, always), np.full(num_resamples, 2 * always)
    unsettled = np.flatnonzero(~is_settled)
    for block in blocks(unsettled.size, len(reference.predictions) + num_subsets):
        before = reference.modes(unsettled[block], reference_subsets)
        is_pie = before != variant.modes(unsettled[block], variant_subsets)
        first, second = is_pie[:num_resamples], is_pie[num_resamples:]
        num_shared += (first & second).sum(axis=1)
        num_found += first.sum(axis=1) + second.sum(axis=1)
    has_pies = num_found > 0
    jaccard = num_shared[has_pies] / (num_found - num_shared)[has_pies]
    return jaccard, float(num_found.mean() / (2 * is_settled.size))
