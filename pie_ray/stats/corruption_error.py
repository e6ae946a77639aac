"""Corruption errors of a population relative to the reference's, over many evaluation sets, with bootstrap intervals.

Hendrycks & Dietterich (arXiv 1903.12261) divide a network's error on a corruption, summed over its severities, by
AlexNet's, and take the mean over corruptions: mCE. The relative mCE does so with the errors less the clean error: with
what is lost rather than with what is wrong. Here the reference population takes AlexNet's place, so that 1 means as
robust as before compression. `normalised_change` is the change of accuracy that Hooker et al. (arXiv 1911.05248) tell.

Intervals are percentiles over members drawn anew, with replacement. One draw holds for all sets, as a member that is
better on one set is better on the next. `is_paired` draws the same rows of both populations, for variants derived from
the reference's members (row m of both is the same seed). Percentiles are too short for few members (`groups` has
figures). Fewer than two members in either population, and draws that do not differ at all, have no interval (NaN).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ._arrays import FloatArray
from ._counting import ratio
from ._intervals import draw_counts, percentiles
from ._validation import check_alpha, check_count, check_rng
from .robustness import RESOLUTION, check_two, is_steady


@dataclass(frozen=True, eq=False)
class Resampled:
    """A figure of two populations with its interval over members. Arrays are [sets], or hold one number."""

    value: FloatArray
    low: FloatArray
    """Lower end of the interval; NaN where there is none."""
    high: FloatArray
    """Infinite where some draws' denominator is so close to 0 that the ratio has no upper bound."""


def normalised_change(
    reference: ArrayLike,
    variant: ArrayLike,
    *,
    rng: np.random.Generator,
    num_resamples: int = 1000,
    alpha: float = 0.05,
    is_paired: bool = False,
) -> Resampled:
    """(x_variant - x_reference) / x_reference of the mean accuracies on one set (arXiv 1911.05248), for each set.

    Both are accuracies [members] or [members, sets]. NaN where the reference's is 0. A draw whose reference accuracy
    is 0 counts as -1 for the lower end and as infinite for the upper one.

    Raises InputError for values of another shape or type, different sets, paired populations of different size, and
    options outside their range.
    """
    before, after = check_two("reference", reference, "variant", variant, is_paired=is_paired)
    draws = _Draws.of(len(before), len(after), num_resamples, alpha, rng, is_paired)
    _check_not_negative("reference", before)
    return draws.interval(
        _over(after.mean(axis=0), before.mean(axis=0)) - 1,
        _over(draws.variant @ after, draws.reference @ before) - 1,
        least=-1.0,
    )


def mean_corruption_error(
    reference: ArrayLike,
    variant: ArrayLike,
    corruptions: Sequence[str],
    *,
    rng: np.random.Generator,
    num_resamples: int = 1000,
    alpha: float = 0.05,
    is_paired: bool = False,
) -> Resampled:
    """mCE with the reference in AlexNet's place (arXiv 1903.12261): mean over corruptions c of CE_c.

    CE_c = sum over c's sets of E_variant / sum over them of E_reference, with E the mean error of the members. Both
    arguments are errors [members, sets]; `corruptions` names each set's corruption, whose sets are its severities. One
    corruption alone gives CE_c. NaN where the reference makes no errors on one of the corruptions: a mean of the others
    would be another figure. A draw in which it makes none counts as 0 for the lower end, as infinite for the upper one.

    Raises InputError for values of another shape or type or below 0, different sets, another number of corruptions,
    paired populations of different size, and options outside their range.
    """
    before, after = check_two("reference", reference, "variant", variant, is_paired=is_paired)
    for name, errors in (("reference", before), ("variant", after)):
        _check_not_negative(name, errors)
    draws = _Draws.of(len(before), len(after), num_resamples, alpha, rng, is_paired)
    return _mean_ratio(before, after, _members_of(corruptions, before), draws, least=0.0)


def relative_mean_corruption_error(
    reference_drop: ArrayLike,
    variant_drop: ArrayLike,
    corruptions: Sequence[str],
    *,
    rng: np.random.Generator,
    num_resamples: int = 1000,
    alpha: float = 0.05,
    is_paired: bool = False,
) -> Resampled:
    """Relative mCE (arXiv 1903.12261): `mean_corruption_error` of what each set adds to the clean error.

    Relative CE_c = sum of (E_variant - E_variant,clean) / sum of (E_reference - E_reference,clean) over c's sets. Both
    arguments are these differences, what each member loses on each set, [members, sets]. NaN where the reference loses
    nothing by one of the corruptions. A draw in which it loses nothing says nothing of the ratio: it counts as minus
    infinite for the lower end, and as infinite for the upper one.

    Raises InputError as `mean_corruption_error` does, but for drops below 0.
    """
    before, after = check_two("reference_drop", reference_drop, "variant_drop", variant_drop, is_paired=is_paired)
    draws = _Draws.of(len(before), len(after), num_resamples, alpha, rng, is_paired)
    return _mean_ratio(before, after, _members_of(corruptions, before), draws, least=-np.inf)


@dataclass(frozen=True, eq=False)
class _Draws:
    """The weight of each member in each draw, [resamples, members]: the same for all sets."""

    reference: FloatArray
    variant: FloatArray
    alpha: float

    @classmethod
    def of(
        cls,
        num_reference: int,
        num_variant: int,
        num_resamples: int,
        alpha: float,
        rng: np.random.Generator,
        is_paired: bool,
    ) -> _Draws:
        check_rng(rng)
        num_resamples, alpha = check_count("num_resamples", num_resamples), check_alpha(alpha)
        reference = draw_counts(num_reference, num_resamples, rng) / num_reference
        if is_paired:
            return cls(reference, reference, alpha)
        return cls(reference, draw_counts(num_variant, num_resamples, rng) / num_variant, alpha)

    def interval(self, value: FloatArray, drawn: FloatArray, *, least: float) -> Resampled:
        """Percentiles of `drawn` [resamples, ...], the draws next outside of them; undefined draws are at both ends."""
        low, high = percentiles(drawn, alpha=self.alpha, least=least)
        says_nothing = np.isnan(drawn)
        has_none = np.isnan(value) | (is_steady(np.where(says_nothing, 0.0, drawn)) & ~says_nothing.any(axis=0))
        if min(self.reference.shape[1], self.variant.shape[1]) < 2:
            has_none = np.ones(value.shape, np.bool_)
        return Resampled(value=value, low=np.where(has_none, np.nan, low), high=np.where(has_none, np.nan, high))


def _over(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Their ratio; NaN where the denominator is not above 0."""
    return ratio(numerator, np.where(denominator > RESOLUTION, denominator, 0.0))


def _mean_ratio(
    before: FloatArray, after: FloatArray, membership: FloatArray, draws: _Draws, *, least: float
) -> Resampled:
    """Mean over corruptions of the ratio of sums; `membership` is [sets, corruptions]."""
    before, after = before @ membership, after @ membership
    value = _over(after.mean(axis=0), before.mean(axis=0)).mean()
    drawn = _over(draws.variant @ after, draws.reference @ before).mean(axis=1)
    return draws.interval(np.asarray(value), drawn, least=least)


def _members_of(corruptions: Sequence[str], errors: FloatArray) -> FloatArray:
    """1 where a set is of a corruption, else 0, [sets, corruptions]."""
    if errors.ndim != 2:
        raise InputError(f"reference: found shape {errors.shape}; accepted is [members, sets]")
    if isinstance(corruptions, str) or len(corruptions) != errors.shape[1]:
        raise InputError(f"corruptions: found {corruptions!r}; accepted is one name for each of {errors.shape[1]} sets")
    names = list(dict.fromkeys(corruptions))
    return np.array([[float(name == each) for each in names] for name in corruptions])


def _check_not_negative(name: str, values: FloatArray) -> None:
    if values.min() < 0:
        raise InputError(f"{name}: found {values.min():g}; accepted are numbers of at least 0")
