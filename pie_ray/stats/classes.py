"""Class impact: which classes does compression hit harder, or less, than the whole (Hooker et al., arXiv 1911.05248)?

Null hypothesis of each class: its recall moves exactly as the overall accuracy does. `class_impact` tests it as
published, for one variant; `class_impacts` does so for many variants at once, `class_anova` asks of all populations
together whether a class differs between any of them. q-values, effect sizes and intervals are not in the paper.

Every test takes its members to be independent. Variants derived from the reference's members, as quantized ones are,
share the members' luck with them, which the tests do not use: they are then conservative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc, gammaln, stdtr, stdtrit

from ._arrays import BoolArray, FloatArray, IntArray
from ._validation import (
    check_alpha,
    check_count,
    check_labels,
    check_population_mapping,
    check_populations,
    check_predictions,
)
from .multiplicity import benjamini_hochberg


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
    effect_size: FloatArray
    """Hedges' g, normalised_change in standard deviations of a member's recall; with the sign of normalised_change."""
    low: FloatArray
    """Lower end of the confidence interval of normalised_change, at the level 1 - alpha, for each class by itself."""
    high: FloatArray
    """Upper end of that interval: it leaves 0 out where the class is significant."""
    q_value: FloatArray
    """Benjamini and Hochberg's, over the classes of this variant, or of all variants of one `class_impacts`."""
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

    @property
    def num_discoveries(self) -> int:
        """Number of classes with q_value <= alpha; of those, about a fraction alpha at most is expected to be false."""
        return int((self.q_value <= self.alpha).sum())


@dataclass(frozen=True, eq=False)
class ClassAnova:
    """One test a class over all populations. A class without examples is NaN everywhere."""

    populations: tuple[str, ...]
    num_examples: NDArray[np.int64]
    """[classes]."""
    normalised_recall: FloatArray
    """Mean recall less the population's mean top-1, [populations, classes]."""
    statistic: FloatArray
    """Welch's F, [classes]."""
    degrees_between: int
    """Numerator's degrees of freedom: populations - 1."""
    degrees_within: FloatArray
    """Denominator's degrees of freedom, [classes]."""
    p_value: FloatArray
    """Not corrected for the number of classes, [classes]."""
    q_value: FloatArray
    """Benjamini and Hochberg's, over the classes, [classes]."""
    alpha: float

    @property
    def num_significant(self) -> int:
        """Number of classes with p_value <= alpha; about alpha times the number of classes when nothing changed."""
        return int((self.p_value <= self.alpha).sum())

    @property
    def num_discoveries(self) -> int:
        """Number of classes with q_value <= alpha; of those, about a fraction alpha at most is expected to be false."""
        return int((self.q_value <= self.alpha).sum())


def class_impact(
    reference: ArrayLike, variant: ArrayLike, labels: ArrayLike, *, num_classes: int, alpha: float = 0.05
) -> ClassImpact:
    """Test each class's recall against the change of the overall accuracy (arXiv 1911.05248).

    For class c, {recall_c(m) - a : members m} of the variant is held against that of the reference by a two-sided Welch
    t-test, where a is the population's mean top-1, one constant each. Significant at p <= alpha; like the published
    code, without correction for multiple tests.

    Beside it, with s the standard deviation of either sample of recalls (divisor members - 1), n its members and
    m = n_variant + n_reference - 2:

    - effect_size, Hedges' g = J normalised_change / s_pooled, with m s_pooled^2 = (n_variant - 1) s_variant^2 +
      (n_reference - 1) s_reference^2 and J = Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)), the exact correction for
      few members (Hedges, 1981);
    - low, high = normalised_change -+ t(1 - alpha / 2; v) sqrt(s_variant^2 / n_variant + s_reference^2 / n_reference),
      with v degrees of freedom by Welch and Satterthwaite. Like the test, it takes the overall change as known;
    - q_value (Benjamini & Hochberg, 1995) over the classes that have a p-value.

    `reference` and `variant` are integer labels [members, examples], `labels` the true ones [examples], all in
    [0, num_classes). With fewer than two members in either population there is no test, effect size or interval (NaN).
    Where no member's recall differs from the next in either population, the test takes its limit: statistic and effect
    size infinite and p = 0 for a normalised change other than 0, NaN for 0; the interval is the change itself. Read
    such a p of small populations with care.

    Raises InputError for arrays of another shape, type or range, different numbers of examples, and alpha outside
    (0, 1).
    """
    num_classes = check_count("num_classes", num_classes)
    alpha = check_alpha(alpha)
    checked = check_populations(reference, variant, num_classes=num_classes)
    truth = check_labels(labels, num_examples=checked[0].shape[1], num_classes=num_classes)
    num_examples = np.bincount(truth, minlength=num_classes)
    before, after = (_Recalls.of(population, truth, num_examples) for population in checked)
    return _class_impact(before, after, num_examples, alpha)


def class_impacts(
    reference: ArrayLike,
    variants: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    num_classes: int,
    alpha: float = 0.05,
) -> dict[str, ClassImpact]:
    """`class_impact` of each variant, whose q-values are over all classes of all variants together.

    `variants` are the populations by name, each as the reference: integer labels [members, examples]; all but the
    q-values is as `class_impact` gives it for each. No variants give no results. The tests share the reference's
    members; q-values are proven for independent and for positively dependent tests.

    Raises InputError as `class_impact` does, and for variants that are no mapping.
    """
    num_classes = check_count("num_classes", num_classes)
    alpha = check_alpha(alpha)
    checked = check_predictions("reference", reference, num_classes=num_classes)
    others = check_population_mapping("variants", variants, num_classes=num_classes, num_examples=checked.shape[1])
    truth = check_labels(labels, num_examples=checked.shape[1], num_classes=num_classes)
    num_examples = np.bincount(truth, minlength=num_classes)
    before = _Recalls.of(checked, truth, num_examples)
    impacts = {
        name: _class_impact(before, _Recalls.of(variant, truth, num_examples), num_examples, alpha)
        for name, variant in others.items()
    }
    q_values = benjamini_hochberg([impact.p_value for impact in impacts.values()])
    return {
        name: replace(impact, q_value=q_value)
        for (name, impact), q_value in zip(impacts.items(), q_values, strict=True)
    }


def class_anova(
    populations: Mapping[str, ArrayLike], labels: ArrayLike, *, num_classes: int, alpha: float = 0.05
) -> ClassAnova:
    """Test for each class whether any of the populations treats it differently: Welch's one-way analysis of variance.

    Of each class the values recall_c(m) - a, over the members m of each population, a being its mean top-1, are held
    against each other (Welch, 1951, variances unequal). With k populations of n_j members, means x_j and variances
    s_j^2, w_j = n_j / s_j^2, W = sum of w_j, x = sum of w_j x_j / W and L = sum of (1 - w_j / W)^2 / (n_j - 1):

        F = [sum of w_j (x_j - x)^2 / (k - 1)] / [1 + 2 (k - 2) L / (k^2 - 1)]

    with k - 1 and (k^2 - 1) / (3 L) degrees of freedom. For two populations, p is that of `class_impact`.

    `populations` are at least two by name, the reference among them: integer labels [members, examples]; `labels` the
    true ones [examples], all in [0, num_classes). Where any population has fewer than two members there is no test
    (NaN): leave it out. A population whose recall never varies has its limit, an infinite weight: where two such
    differ, F is infinite and p = 0; where the recall varies in none and differs between none, both are NaN.

    Raises InputError for fewer than two populations, arrays of another shape, type or range, different numbers of
    examples, and alpha outside (0, 1).
    """
    num_classes = check_count("num_classes", num_classes)
    alpha = check_alpha(alpha)
    checked = check_population_mapping("populations", populations, num_classes=num_classes, at_least=2)
    truth = check_labels(labels, num_examples=next(iter(checked.values())).shape[1], num_classes=num_classes)
    num_examples = np.bincount(truth, minlength=num_classes)
    recalls = [_Recalls.of(population, truth, num_examples) for population in checked.values()]
    statistic, degrees_within = _welch_anova(recalls)
    p_value = fdtrc(len(recalls) - 1, degrees_within, statistic)
    return ClassAnova(
        populations=tuple(checked),
        num_examples=num_examples,
        normalised_recall=np.stack([recall.normalised for recall in recalls]),
        statistic=statistic,
        degrees_between=len(recalls) - 1,
        degrees_within=degrees_within,
        p_value=p_value,
        q_value=benjamini_hochberg(p_value),
        alpha=alpha,
    )


@dataclass(frozen=True, eq=False)
class _Recalls:
    """Moments of one population's recalls, [classes]."""

    mean: FloatArray
    normalised: FloatArray
    """mean - accuracy."""
    variance: FloatArray
    """Over the members; NaN for one member. Taking the constant `accuracy` from the recalls would not change it."""
    accuracy: float
    num_members: int

    @classmethod
    def of(cls, predictions: IntArray, labels: IntArray, num_examples: NDArray[np.int64]) -> _Recalls:
        hits = np.stack([np.bincount(labels[row == labels], minlength=num_examples.size) for row in predictions])
        num_members = len(predictions)
        num_hits, num_all_hits = hits.sum(axis=0), int(hits.sum())
        # From whole numbers: equal recalls come out exactly equal, constant ones with a variance of exactly 0, and
        # recalls that moved exactly as the whole with a normalised change of exactly 0.
        sizes = np.where(num_examples > 0, num_examples, np.nan)
        variance = hits.var(axis=0, ddof=1) if num_members > 1 else np.full(num_examples.size, np.nan)
        return cls(
            mean=num_hits / (num_members * sizes),
            normalised=(num_hits * labels.size - num_all_hits * num_examples) / (predictions.size * sizes),
            variance=variance / sizes**2,
            accuracy=num_all_hits / predictions.size,
            num_members=num_members,
        )

    @property
    def squared_error(self) -> FloatArray:
        """Of the mean, as an estimate of the expected recall."""
        return self.variance / self.num_members


def _class_impact(before: _Recalls, after: _Recalls, num_examples: NDArray[np.int64], alpha: float) -> ClassImpact:
    normalised_change = after.normalised - before.normalised
    error, degrees = _welch_error(after, before)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = normalised_change / error
        effect_size = _small_sample_correction(after, before) * normalised_change / _pooled_deviation(after, before)
    p_value = 2 * stdtr(degrees, -np.abs(statistic))
    half_width = stdtrit(degrees, 1 - alpha / 2) * error
    return ClassImpact(
        num_examples=num_examples,
        reference_recall=before.mean,
        variant_recall=after.mean,
        change=after.mean - before.mean,
        normalised_change=normalised_change,
        statistic=statistic,
        p_value=p_value,
        significant=p_value <= alpha,
        effect_size=effect_size,
        low=normalised_change - half_width,
        high=normalised_change + half_width,
        q_value=benjamini_hochberg(p_value),
        reference_accuracy=before.accuracy,
        variant_accuracy=after.accuracy,
        alpha=alpha,
    )


def _welch_error(first: _Recalls, second: _Recalls) -> tuple[FloatArray, FloatArray]:
    """Standard error of the difference of two means and its degrees of freedom, [classes] each.

    Degrees of freedom are 1 where nothing varies: any number will do in the limit.
    """
    first_error, second_error = first.squared_error, second.squared_error
    squared = first_error + second_error
    if min(first.num_members, second.num_members) < 2:
        return squared, squared  # NaN
    with np.errstate(invalid="ignore"):
        degrees = squared**2 / (first_error**2 / (first.num_members - 1) + second_error**2 / (second.num_members - 1))
    return np.sqrt(squared), np.where(squared == 0, 1.0, degrees)


def _pooled_deviation(first: _Recalls, second: _Recalls) -> FloatArray:
    """Standard deviation of a member's recall about its population's mean, [classes]; NaN for one member in either."""
    degrees = first.num_members + second.num_members - 2
    squares = (first.num_members - 1) * first.variance + (second.num_members - 1) * second.variance
    return np.sqrt(squares / max(degrees, 1))


def _small_sample_correction(first: _Recalls, second: _Recalls) -> float:
    """Hedges' J, by which a standardised difference of few members is too large."""
    degrees = max(first.num_members + second.num_members - 2, 2)  # fewer have no standard deviation to divide by
    return float(np.exp(gammaln(degrees / 2) - gammaln((degrees - 1) / 2)) / np.sqrt(degrees / 2))


def _welch_anova(recalls: Sequence[_Recalls]) -> tuple[FloatArray, FloatArray]:
    """Welch's F and the denominator's degrees of freedom, [classes] each."""
    num_populations = len(recalls)
    num_members = np.array([[recall.num_members] for recall in recalls])
    squared_error = np.stack([recall.squared_error for recall in recalls])
    # Measured from the first population: what differs nowhere is then exactly 0.
    offset = np.stack([recall.normalised - recalls[0].normalised for recall in recalls])
    weight, share, centre = _weights(offset, squared_error, num_members)
    between = (weight * (offset - centre) ** 2).sum(axis=0) / (num_populations - 1)
    excess = ((1 - share) ** 2 / np.maximum(num_members - 1, 1)).sum(axis=0)
    correction = 1 + 2 * (num_populations - 2) / (num_populations**2 - 1) * excess
    steady = squared_error == 0
    torn = (steady & (offset != centre)).any(axis=0)
    statistic = np.where(torn, np.inf, between / correction)
    statistic[steady.all(axis=0) & ~torn] = np.nan
    return statistic, (num_populations**2 - 1) / (3 * excess)


def _weights(
    offset: FloatArray, squared_error: FloatArray, num_members: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Finite weights and shares of the weight [populations, classes], and the weighted mean [classes].

    Populations without variance share all the weight, in the limit of variances that are small and equal; their own
    deviation from the mean then needs another look, so their finite weight is 0.
    """
    steady = squared_error == 0
    with np.errstate(divide="ignore"):
        weight = np.where(steady, 0.0, 1 / squared_error)
    pull = np.where(steady.any(axis=0), steady * num_members, weight)
    share = pull / pull.sum(axis=0)
    first_steady = np.take_along_axis(offset, steady.argmax(axis=0)[None], axis=0)[0]
    return weight, share, np.where(steady.any(axis=0), first_steady, (share * offset).sum(axis=0))
