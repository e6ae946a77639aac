"""PIE rates between halves of populations: how many examples move when nothing, or only the variant, changed.

Not in the papers: two disjoint reference populations also disagree on borderline examples, so a count of PIEs
(arXiv 1911.05248) is not zero when nothing happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import FloatArray, IntArray, blocks, spread
from ._subsets import Arm
from ._validation import Tie, check_count, check_populations, check_predictions, check_rng, check_tie
from .modal import ModalVote


@dataclass(frozen=True, eq=False)
class HalfPies:
    """PIE rates between disjoint halves of the members, one for each way of halving them."""

    pie_fractions: FloatArray
    """[splits], each a fraction of all examples."""
    num_members_per_half: int
    exhaustive: bool
    """Whether these are all distinct halvings, each once, rather than random ones."""

    @property
    def num_splits(self) -> int:
        """Number of halvings compared."""
        return self.pie_fractions.size

    @property
    def mean(self) -> float:
        """Mean PIE fraction over the splits."""
        return float(self.pie_fractions.mean())

    @property
    def std(self) -> float:
        """Standard deviation over the splits (divisor splits - 1; NaN for one split).

        Splits share members, so this is how much one split tells, not the error of the mean.
        """
        return spread(self.pie_fractions)


def noise_floor(
    reference: ArrayLike,
    *,
    num_classes: int,
    rng: np.random.Generator,
    tie: Tie = "largest",
    num_splits: int = 100,
    vote: ModalVote | None = None,
) -> HalfPies:
    """PIE fraction between two disjoint halves of one population: what is found when nothing changed.

    `reference` are integer labels [members, examples] in [0, num_classes), of K >= 2 members. Each split takes two
    halves of floor(K/2) members; with an odd K one member, any of them, sits out. Where there are no more distinct
    halvings than `num_splits` (K <= 8 at the default of 100), each is compared once and `rng` is not used; otherwise
    `num_splits` random ones are, drawn independently of each other. `vote` is the population's `modal_vote` by the same
    tie rule, where it is known: it is then not counted again.

    The modes of K/2 members are noisier than those of K, so the floor is conservative: usually larger than the PIE
    fraction between two full populations of K unchanged members. `half_pies` is the variant's rate on the same footing.

    Raises InputError for predictions of another shape, type or range, fewer than two members, another tie rule,
    num_splits below 1, an rng that is no numpy Generator, and a vote of other members or examples.
    """
    num_classes, num_splits = _check_options(num_classes, num_splits, tie, rng)
    checked = _check_halvable(check_predictions("reference", reference, num_classes=num_classes))
    splits = _Splits.of(len(checked), num_splits, rng, ordered=False)
    arm = _arm("vote", checked, vote, num_classes, tie)
    return _half_pies(arm, arm, splits)


def half_pies(
    reference: ArrayLike,
    variant: ArrayLike,
    *,
    num_classes: int,
    rng: np.random.Generator,
    tie: Tie = "largest",
    num_splits: int = 100,
    votes: tuple[ModalVote, ModalVote] | None = None,
) -> HalfPies:
    """PIE fraction between one half of the reference and the *other* half of the variant.

    To be held against `noise_floor`, whose halves have as many members. The populations have equally many members;
    where the variant was derived from the reference's members, as quantized ones are, row m of both is the same seed:
    no seed is then on both sides, and a variant that changed nothing gives the noise floor itself. For populations
    trained apart the order plays no part.

    Halves, splits and options as in `noise_floor`; a halving counts twice here, as either half may be the reference's.
    `votes` are the `modal_vote` of both.

    Raises InputError as `noise_floor` does, and for different numbers of members or examples.
    """
    num_classes, num_splits = _check_options(num_classes, num_splits, tie, rng)
    checked_reference, checked_variant = check_populations(reference, variant, num_classes=num_classes)
    _check_halvable(checked_reference)
    if len(checked_variant) != len(checked_reference):
        raise InputError(
            f"variant: found {len(checked_variant)} members where reference has {len(checked_reference)}; "
            "accepted are equally many, such as the seeds that both have"
        )
    splits = _Splits.of(len(checked_reference), num_splits, rng, ordered=True)
    reference_vote, variant_vote = (None, None) if votes is None else votes
    before = _arm("votes[0]", checked_reference, reference_vote, num_classes, tie)
    after = _arm("votes[1]", checked_variant, variant_vote, num_classes, tie)
    return _half_pies(before, after, splits)


def _check_options(num_classes: int, num_splits: int, tie: Tie, rng: np.random.Generator) -> tuple[int, int]:
    check_tie(tie)
    check_rng(rng)
    return check_count("num_classes", num_classes), check_count("num_splits", num_splits)


def _check_halvable(reference: IntArray) -> IntArray:
    if len(reference) < 2:
        raise InputError("reference: found 1 member; accepted are at least 2, to be split in two halves")
    return reference


@dataclass(frozen=True, eq=False)
class _Splits:
    """Members of the two halves, [splits, members of a half] each."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    exhaustive: bool

    @classmethod
    def of(cls, num_members: int, num_splits: int, rng: np.random.Generator, *, ordered: bool) -> _Splits:
        half = num_members // 2
        num_distinct = comb(num_members, half) * comb(num_members - half, half) // (1 if ordered else 2)
        exhaustive = num_distinct <= num_splits
        if exhaustive:
            orders = _all_halvings(num_members, ordered=ordered)
        else:
            orders = rng.permuted(np.tile(np.arange(num_members), (num_splits, 1)), axis=1)
        return cls(first=orders[:, :half], second=orders[:, half : 2 * half], exhaustive=exhaustive)


def _all_halvings(num_members: int, *, ordered: bool) -> NDArray[np.int64]:
    """Every choice of two disjoint halves, the first then the second, [splits, members of both halves]."""
    half = num_members // 2
    return np.array(
        [
            [*first, *(member for member in chosen if member not in first)]
            for chosen in combinations(range(num_members), 2 * half)
            for first in combinations(chosen, half)
            if ordered or first[0] == chosen[0]
        ]
    )


def _arm(name: str, predictions: IntArray, vote: ModalVote | None, num_classes: int, tie: Tie) -> Arm:
    """Counted only where there is no vote. Raises InputError for a vote of others."""
    if vote is None:
        return Arm.of(predictions, num_classes, tie)
    if (vote.num_members, vote.labels.size) != predictions.shape:
        raise InputError(
            f"{name}: found {vote.num_members} members and {vote.labels.size} examples where the predictions have "
            f"{predictions.shape[0]} and {predictions.shape[1]}; accepted is the modal_vote of these predictions"
        )
    num_votes = np.rint(vote.agreement * vote.num_members).astype(np.int64)
    return Arm(predictions, vote.labels, num_votes, num_classes, tie)


def _half_pies(before: Arm, after: Arm, splits: _Splits) -> HalfPies:
    num_examples, (num_splits, half) = before.mode.size, splits.first.shape
    is_settled = before.settled(half) & after.settled(half)
    num_pies = np.full(num_splits, np.count_nonzero(is_settled & (before.mode != after.mode)))
    unsettled = np.flatnonzero(~is_settled)
    for block in blocks(unsettled.size, len(before.predictions) + num_splits):
        first, second = before.modes(unsettled[block], splits.first), after.modes(unsettled[block], splits.second)
        num_pies += (first != second).sum(axis=1)
    return HalfPies(pie_fractions=num_pies / num_examples, num_members_per_half=half, exhaustive=splits.exhaustive)
