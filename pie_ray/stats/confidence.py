"""How far a stored value of an example moves from one population to another, on average.

Values are what is stored a member and example: the *confidence* (probability of the prediction), the *label
probability*, and the *margin*, which is the probability of the label minus the largest of another class, in [-1, 1]:
above 0 where the prediction is right. They move where labels do not: on an example that all members of both populations
get right, and on one that all get wrong. Not in the papers on PIEs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import FloatArray, blocks
from ._validation import check_values


@dataclass(frozen=True, eq=False)
class ValueChange:
    """Two populations' mean values of each example. Arrays are [examples], in the unit of the values."""

    reference_mean: FloatArray
    variant_mean: FloatArray
    standard_error: FloatArray
    """Of `change`: how much it would vary over populations of as many members; NaN for one member in either."""

    @property
    def change(self) -> FloatArray:
        """variant_mean - reference_mean, [examples]."""
        return self.variant_mean - self.reference_mean


def mean_change(reference: ArrayLike, variant: ArrayLike) -> FloatArray:
    """Mean of a value over the variant's members minus its mean over the reference's, [examples].

    `reference` and `variant` are finite numbers [members, examples] of any unit and precision, on the same examples in
    the same order; the numbers of members may differ. Sums are in double precision.

    Raises InputError for arrays of another shape or type, values that are not finite, and different numbers of
    examples.
    """
    before, after = _check(reference, variant)
    return after.mean(axis=0, dtype=np.float64) - before.mean(axis=0, dtype=np.float64)


def value_change(reference: ArrayLike, variant: ArrayLike) -> ValueChange:
    """`mean_change` with both means and the change's standard error.

    The error is Welch's, sqrt(s_variant^2 / n_variant + s_reference^2 / n_reference), s being the standard deviation
    over n members (divisor n - 1). It is for members trained apart: a variant derived from the reference's members
    moves with them, and its change is then surer than this.

    Raises InputError as `mean_change` does.
    """
    before, after = _check(reference, variant)
    return ValueChange(
        reference_mean=before.mean(axis=0, dtype=np.float64),
        variant_mean=after.mean(axis=0, dtype=np.float64),
        standard_error=np.sqrt(_squared_error(before) + _squared_error(after)),
    )


def _check(reference: ArrayLike, variant: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    before, after = check_values("reference", reference), check_values("variant", variant)
    if after.shape[1] != before.shape[1]:
        raise InputError(
            f"variant: found {after.shape[1]} examples where reference has {before.shape[1]}; "
            "accepted are the same examples in the same order"
        )
    return before, after


def _squared_error(values: NDArray[Any]) -> FloatArray:
    """Of the mean over the members, [examples]."""
    num_members, num_examples = values.shape
    if num_members == 1:
        return np.full(num_examples, np.nan)
    variance = np.empty(num_examples, np.float64)
    for block in blocks(num_examples, num_members):
        variance[block] = values[:, block].var(axis=0, ddof=1, dtype=np.float64)
    return variance / num_members
