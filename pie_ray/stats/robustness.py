"""Robustness: does a compressed population lose more accuracy on other images than the reference does?

Hooker et al. (arXiv 1911.05248) report for each set of corrupted or naturally other images the change of top-1,
relative to the reference's on the same set, beside that on the clean set (`normalised_change`). The *excess drop* asks
the question by itself: each member's own drop, clean less other accuracy, against the drops of the reference's members.
Intervals and tests are over members and take these to be independent draws of a training; they are about these very
examples. `corruption_error` has the errors over many sets at once.

What an array has after its first axis, the members, is up to the caller: nothing, or one value an evaluation set, which
then stands for [sets] below. A mean over one member, or over members that do not differ at all, has no interval (NaN).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from ..errors import InputError
from ._arrays import BoolArray, FloatArray, IntArray
from ._counting import ratio
from ._validation import check_alpha, check_labels, check_mask
from .significance import smallest_p_value

RESOLUTION = 1e-13
"""Differences of two accuracies that differ by less are equal: fractions of 10^6 examples differ by more."""


@dataclass(frozen=True, eq=False)
class MemberMean:
    """A mean over members. Arrays are [sets]."""

    mean: FloatArray
    std: FloatArray
    """Over members (divisor members - 1); NaN for one member."""
    low: FloatArray
    """Lower end of the confidence interval of the mean; NaN where there is none."""
    high: FloatArray
    num_members: int


@dataclass(frozen=True, eq=False)
class ExcessDrop:
    """How much more a variant's members lose than the reference's. Arrays are [sets]."""

    excess: FloatArray
    """Mean drop of the variant's members minus that of the reference's: above 0 where compression costs robustness."""
    low: FloatArray
    """Lower end of the confidence interval of `excess`; NaN where there is none."""
    high: FloatArray
    statistic: FloatArray
    """Student's t, with the sign of `excess`."""
    p_value: FloatArray
    """Two-sided, not corrected for the number of sets."""
    is_paired: bool


@dataclass(frozen=True)
class BreakRates:
    """Share of the examples that break, of those whose mode is right on the clean set; NaN where there are none."""

    on_pies: float
    elsewhere: float
    num_on_pies: int
    """Clean PIEs whose mode is right on the clean set."""
    num_elsewhere: int
    """All other such examples."""


def member_mean(values: ArrayLike, *, alpha: float = 0.05) -> MemberMean:
    """Mean over members with Student's interval: mean -+ t(1 - alpha / 2; K - 1) std / sqrt(K) for K members.

    `values` are numbers [members] or [members, sets], such as accuracies. The interval is not cut off where a share
    ends, at 0 and 1.

    Raises InputError for values of another shape or type, and alpha outside (0, 1).
    """
    checked, alpha = check_members("values", values), check_alpha(alpha)
    num_members = len(checked)
    std = _deviation(checked)
    half_width = _half_width(std / np.sqrt(num_members), num_members - 1, alpha)
    mean = checked.mean(axis=0)
    return MemberMean(mean=mean, std=std, low=mean - half_width, high=mean + half_width, num_members=num_members)


def accuracy_drop(clean: ArrayLike, other: ArrayLike, *, alpha: float = 0.05) -> MemberMean:
    """`member_mean` of what each member loses: its accuracy on clean examples minus that on others.

    `clean` and `other` are accuracies [members] or [members, sets], row m of both being one member.

    Raises InputError for values of another shape or type, different shapes, and alpha outside (0, 1).
    """
    before, after = check_members("clean", clean), check_members("other", other)
    if before.shape != after.shape:
        raise InputError(f"other: found shape {after.shape} where clean has {before.shape}; accepted are the same")
    return member_mean(before - after, alpha=alpha)


def excess_drop(
    reference_drop: ArrayLike, variant_drop: ArrayLike, *, is_paired: bool = False, alpha: float = 0.05
) -> ExcessDrop:
    """Whether a variant's members lose more accuracy than the reference's: Welch's t-test of the members' own drops.

    Both are drops [members] or [members, sets]; the numbers of members may differ. With d the difference of the means,
    s the standard deviation of either sample and n its members, t = d / e where e^2 = s_v^2 / n_v + s_r^2 / n_r, with
    degrees of freedom by Welch and Satterthwaite; low, high = d -+ t(1 - alpha / 2) e. `is_paired`, for variants
    derived from the reference's members (row m of both is the same seed), is Student's t-test of the differences.

    Fewer than two members in either have neither test nor interval (NaN), nor have samples that do not vary and do not
    differ. Where they do not vary and differ, such as every pair by the same amount, t is infinite, there is no
    interval, and p is that of the permutation test, which alone says something there: 2^(1 - n) for n pairs, and 2 (of
    unequal sizes 1) of the comb(n_v + n_r, n_v) ways to choose the variant's members.

    Raises InputError for values of another shape or type, different sets, paired populations of different size, and
    alpha outside (0, 1).
    """
    alpha = check_alpha(alpha)
    before, after = check_two("reference_drop", reference_drop, "variant_drop", variant_drop, is_paired=is_paired)
    excess = after.mean(axis=0) - before.mean(axis=0)
    error, degrees = _paired_error(after - before) if is_paired else _welch_error(before, after)
    differs, steady = np.abs(excess) > RESOLUTION, error == 0
    limit = np.where(differs, np.copysign(np.inf, excess), np.nan)
    statistic = np.where(steady, limit, ratio(excess, error))
    p_value = 2 * stdtr(degrees, -np.abs(statistic))
    p_value = np.where(steady & differs, smallest_p_value(len(before), len(after), is_paired=is_paired), p_value)
    half_width = _half_width(error, degrees, alpha)
    return ExcessDrop(
        excess=np.where(differs, excess, 0.0),
        low=excess - half_width,
        high=excess + half_width,
        statistic=statistic,
        p_value=p_value,
        is_paired=bool(is_paired),
    )


def break_rates(clean_modes: ArrayLike, modes: ArrayLike, labels: ArrayLike, is_pie: ArrayLike) -> BreakRates:
    """Which examples *break*: their mode is right on the clean set, and wrong on another set of the same examples.

    `clean_modes` and `modes` are one population's modal labels on either set, `labels` the true ones, `is_pie` whether
    an example is a PIE of the clean set; all [examples]. Not in the papers, which tell the PIEs' accuracy: that one
    counts examples that were lost before the corruption.

    Raises InputError for arrays of another shape or type, and different numbers of examples.
    """
    num_examples = np.size(is_pie)
    mask = check_mask("is_pie", is_pie, num_examples=num_examples)
    truth = check_labels(labels, num_examples=num_examples)
    before = _check_modes("clean_modes", clean_modes, num_examples)
    after = _check_modes("modes", modes, num_examples)
    was_right = before == truth
    breaks = was_right & (after != truth)
    num_right = np.array([np.count_nonzero(was_right & mask), np.count_nonzero(was_right & ~mask)])
    rates = ratio(np.array([np.count_nonzero(breaks & mask), np.count_nonzero(breaks & ~mask)]), num_right)
    return BreakRates(
        on_pies=float(rates[0]),
        elsewhere=float(rates[1]),
        num_on_pies=int(num_right[0]),
        num_elsewhere=int(num_right[1]),
    )


def check_members(name: str, value: ArrayLike) -> FloatArray:
    """Finite numbers [members] or [members, sets], at least one of each, as float64."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name}: found rows of different lengths; accepted is a full array") from error
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise InputError(
            f"{name}: found shape {array.shape}; accepted is [members] or [members, sets], at least one of each"
        )
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise InputError(f"{name}: found dtype {array.dtype}; accepted are numbers")
    if not np.isfinite(array).all():
        raise InputError(f"{name}: found infinite ones or NaN; accepted are finite numbers")
    return array.astype(np.float64)


def check_two(
    name: str, value: ArrayLike, other_name: str, other: ArrayLike, *, is_paired: bool
) -> tuple[FloatArray, FloatArray]:
    """Two populations on the same sets, of equally many members where they are paired."""
    first, second = check_members(name, value), check_members(other_name, other)
    if first.shape[1:] != second.shape[1:]:
        raise InputError(
            f"{other_name}: found shape {second.shape} where {name} has {first.shape}; accepted are the same sets"
        )
    if is_paired and len(first) != len(second):
        raise InputError(
            f"{other_name}: found {len(second)} members where {name} has {len(first)}; "
            "accepted are equally many for a paired comparison"
        )
    return first, second


def is_steady(values: FloatArray) -> BoolArray:
    """Whether all of the first axis are the same but for rounding, [sets]."""
    return np.asarray(np.ptp(values, axis=0) <= RESOLUTION)


def _check_modes(name: str, value: ArrayLike, num_examples: int) -> IntArray:
    array = np.asarray(value)
    if array.shape != (num_examples,) or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"{name}: found {array.dtype} {array.shape}; accepted are integer labels ({num_examples},), one an example"
        )
    return array


def _deviation(values: FloatArray) -> FloatArray:
    """Standard deviation over the members, [sets]; NaN for one member, exactly 0 where they do not differ."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.where(is_steady(values), 0.0, values.std(axis=0, ddof=1))


def _half_width(error: FloatArray, degrees: FloatArray | int, alpha: float) -> FloatArray:
    """Of an interval, [sets]; NaN where nothing varied."""
    return np.where(error > 0, stdtrit(degrees, 1 - alpha / 2) * error, np.nan)


def _paired_error(difference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Standard error of the mean difference and its degrees of freedom, [sets] each."""
    num_pairs = len(difference)
    error = _deviation(difference) / np.sqrt(num_pairs)
    return error, np.full(error.shape, float(num_pairs - 1))


def _welch_error(before: FloatArray, after: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Standard error of the difference of two means and its degrees of freedom, [sets] each.

    Degrees of freedom are 1 where nothing varies: there, they are not used.
    """
    first, second = (_deviation(values) ** 2 / len(values) for values in (before, after))
    squared = first + second
    fourth = first**2 / max(len(before) - 1, 1) + second**2 / max(len(after) - 1, 1)
    return np.sqrt(squared), np.where(squared == 0, 1.0, ratio(squared**2, fourth))
