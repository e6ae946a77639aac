"""Class impact: which classes does compression hit harder, or less, than the whole (Hooker et al., arXiv 1911.05248)?

Null hypothesis of each class: its recall moves exactly as the overall accuracy does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from ._arrays import BoolArray, FloatArray, IntArray
from ._validation import check_alpha, check_count, check_labels, check_populations


@dataclass(frozen=True, eq=False)
class ClassImpact:
    """One test a class. Arrays are [classes]; a class without examples is NaN everywhere and not significant."""

    num_examples: NDArray[np.int64]
    reference_recall: FloatArray
    """Mean recall over the reference's members, in [0, 1]."""
    variant_recall: FloatArray
    """Mean recall over the variant's members, in [0, 1]."""
    change: FloatArray
    """variant_recall - reference_recall."""
    normalised_change: FloatArray
    """change - overall_change: below 0 where compression hits the class harder than the whole."""
    statistic: FloatArray
    """Welch's t, with the sign of normalised_change."""
    p_value: FloatArray
    """Two-sided, not corrected for the number of classes."""
    significant: BoolArray
    """p_value <= alpha; False where there is no p_value."""
    reference_accuracy: float
    """Mean top-1 of the reference's members."""
    variant_accuracy: float
    """Mean top-1 of the variant's members."""
    alpha: float

    @property
    def overall_change(self) -> float:
        """variant_accuracy - reference_accuracy."""
        return self.variant_accuracy - self.reference_accuracy

    @property
    def num_significant(self) -> int:
        """Number of significant classes; about alpha times the number of classes when nothing changed."""
        return int(self.significant.sum())


def class_impact(
    reference: ArrayLike, variant: ArrayLike, labels: ArrayLike, *, num_classes: int, alpha: float = 0.05
) -> ClassImpact:
    """Test each class's recall against the change of the overall accuracy (arXiv 1911.05248).

    For class c, {recall_c(m) - a : members m} of the variant is held against that of the reference by a two-sided Welch
    t-test, where a is the population's mean top-1, one constant each. Significant at p <= alpha; like the published
    code, without correction for multiple tests.

    `reference` and `variant` are integer labels [members, examples], `labels` the true ones [examples], all in
    [0, num_classes). With fewer than two members in either population there is no test (NaN). Where no member's recall
    differs from the next in either population, the test takes its limit: infinite and p = 0 for a normalised change
    other than 0, NaN for 0. Read such a p of small populations with care.

    Raises InputError for arrays of another shape, type or range, different numbers of examples, and alpha outside
    (0, 1).
    """
    num_classes = check_count("num_classes", num_classes)
    alpha = check_alpha(alpha)
    checked = check_populations(reference, variant, num_classes=num_classes)
    truth = check_labels(labels, num_examples=checked[0].shape[1], num_classes=num_classes)
    return _class_impact(*checked, truth, num_classes, alpha)


def _class_impact(
    reference: IntArray, variant: IntArray, labels: IntArray, num_classes: int, alpha: float
) -> ClassImpact:
    num_examples = np.bincount(labels, minlength=num_classes)
    before, after = _Recalls.of(reference, labels, num_examples), _Recalls.of(variant, labels, num_examples)
    change = after.mean - before.mean
    normalised_change = change - (after.accuracy - before.accuracy)
    statistic, p_value = _welch(normalised_change, after, before)
    return ClassImpact(
        num_examples=num_examples,
        reference_recall=before.mean,
        variant_recall=after.mean,
        change=change,
        normalised_change=normalised_change,
        statistic=statistic,
        p_value=p_value,
        significant=p_value <= alpha,
        reference_accuracy=before.accuracy,
        variant_accuracy=after.accuracy,
        alpha=alpha,
    )


@dataclass(frozen=True, eq=False)
class _Recalls:
    """Moments of one population's recalls, [classes]; taking the constant a from them would not change `variance`."""

    mean: FloatArray
    variance: FloatArray
    accuracy: float
    num_members: int

    @classmethod
    def of(cls, predictions: IntArray, labels: IntArray, num_examples: NDArray[np.int64]) -> _Recalls:
        hits = np.stack([np.bincount(labels[row == labels], minlength=num_examples.size) for row in predictions])
        num_members = len(predictions)
        # Moments of whole numbers: equal recalls come out exactly equal, constant ones with a variance of exactly 0.
        sizes = np.where(num_examples > 0, num_examples, np.nan)
        variance = hits.var(axis=0, ddof=1) if num_members > 1 else np.full(num_examples.size, np.nan)
        return cls(
            mean=hits.sum(axis=0) / (num_members * sizes),
            variance=variance / sizes**2,
            accuracy=int(hits.sum()) / predictions.size,
            num_members=num_members,
        )


def _welch(difference: FloatArray, first: _Recalls, second: _Recalls) -> tuple[FloatArray, FloatArray]:
    """Welch's t and its two-sided p-value, as scipy's `ttest_ind(equal_var=False)`; [classes] each."""
    if min(first.num_members, second.num_members) < 2:
        return np.full_like(difference, np.nan), np.full_like(difference, np.nan)
    first_error, second_error = first.variance / first.num_members, second.variance / second.num_members
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = difference / np.sqrt(first_error + second_error)
        degrees = (first_error + second_error) ** 2 / (
            first_error**2 / (first.num_members - 1) + second_error**2 / (second.num_members - 1)
        )
    degrees = np.where(np.isnan(degrees), 1.0, degrees)
    return statistic, 2 * stdtr(degrees, -np.abs(statistic))
