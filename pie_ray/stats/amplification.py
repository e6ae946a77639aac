"""Bias amplification: does a member tie an attribute to a category more than the labels do (arXiv 2304.12622)?

For attribute a and category g (Male, Young), let g* be the side of g on which a was more frequent in training. Then

    BA = #(predicted a & g = g*) / #(predicted a) - #(labelled a & g = g*) / #(labelled a)

over the evaluation set: above 0 where the predicted positives lie on that side more than the true ones do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import BoolArray, FloatArray, blocks
from ._counting import joint_counts, ratio
from ._validation import check_attributes, check_count, check_rng, check_table
from .attributes import (
    interdependence,
    predict_attributes,
    rarer_values,
    threshold_calibration_bias,
    uncertainty_share,
)
from .foretelling import auroc

SAME_ATTRIBUTE = "same attribute"
FEW_POSITIVES = "fewer than 10 positives on a side"
ALIKE = "training rates differ by less than 10 %"
ONE_SIDED = "a side without training examples"

MIN_POSITIVES = 10
MIN_RELATIVE_GAP = 0.1


@dataclass(frozen=True, eq=False)
class TrainingRates:
    """How frequent each attribute is among the training examples, on either side of each category."""

    attributes: tuple[str, ...]
    categories: tuple[str, ...]
    with_category: FloatArray
    """Share of the category's examples that have the attribute, [attributes, categories]; NaN where it has none."""
    without_category: FloatArray
    """The same of all other examples."""
    rarer: BoolArray
    """The value of each attribute that fewer examples have, [attributes]."""

    @property
    def side(self) -> BoolArray:
        """g*: whether the attribute is more frequent with the category than without, [attributes, categories]."""
        return self.with_category > self.without_category

    @property
    def relative_gap(self) -> FloatArray:
        """|with - without| / min(with, without), as in the published code, [attributes, categories].

        Infinite where one of the rates is 0, 0 where both are, NaN where a side has no examples.
        """
        gap = np.abs(self.with_category - self.without_category)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(gap == 0, 0.0, gap / np.minimum(self.with_category, self.without_category))


@dataclass(frozen=True, eq=False)
class BiasAmplification:
    """Bias amplification of every member, attribute and category."""

    attributes: tuple[str, ...]
    categories: tuple[str, ...]
    value: FloatArray
    """BA, [members, attributes, categories], in [-1, 1]; NaN where there is a reason, and where a member predicts the
    attribute on no example."""
    reason: NDArray[np.str_]
    """Why it is undefined, [attributes, categories]; empty where it is defined."""
    side: BoolArray
    """Whether g* is the category rather than its complement, [attributes, categories]."""

    @property
    def mean(self) -> FloatArray:
        """Mean over the members that predict the attribute at all, [attributes, categories]; NaN where none does."""
        is_known = ~np.isnan(self.value)
        return ratio(np.where(is_known, self.value, 0.0).sum(axis=0), is_known.sum(axis=0))


@dataclass(frozen=True, eq=False)
class AmplificationForetold:
    """How well measures of the dense population foretell which attributes' bias grows; [criteria, categories] each."""

    criteria: tuple[str, ...]
    categories: tuple[str, ...]
    num_attributes: NDArray[np.int64]
    """Attributes on which both the criterion and the change are known."""
    num_amplified: NDArray[np.int64]
    """Those of them that change by more than `more_than`."""
    correlation: FloatArray
    """Spearman's, of the criterion and the change over the attributes; NaN below three, or where one is constant."""
    p_value: FloatArray
    """Two-sided, by permuting the attributes; not corrected for the number of criteria and categories."""
    auroc: FloatArray
    """Probability that the criterion is larger on an attribute that amplifies; NaN without one of either kind. Below .5
    a *small* value foretells amplification, as may be of the threshold calibration bias."""
    more_than: float


def training_rates(
    labels: ArrayLike,
    categories: ArrayLike,
    *,
    attribute_names: Sequence[str],
    category_names: Sequence[str],
) -> TrainingRates:
    """Rates of every attribute on either side of every category, from the training labels.

    `labels` are booleans [examples, attributes], `categories` booleans [examples, categories]; a category of the same
    name as an attribute *is* that attribute.

    Raises InputError for arrays of another shape or type, and names that repeat or do not fit their array.
    """
    rarer = rarer_values(labels)
    truth = np.asarray(labels)
    sides = check_table("categories", categories, num_examples=len(truth))
    num_with, num_without = joint_counts(truth, sides), joint_counts(truth, ~sides)
    return TrainingRates(
        attributes=_names("attribute_names", attribute_names, truth.shape[1]),
        categories=_names("category_names", category_names, sides.shape[1]),
        with_category=ratio(num_with, np.count_nonzero(sides, axis=0)),
        without_category=ratio(num_without, np.count_nonzero(~sides, axis=0)),
        rarer=rarer,
    )


def bias_amplification(
    predictions: ArrayLike, labels: ArrayLike, categories: ArrayLike, *, training: TrainingRates
) -> BiasAmplification:
    """Bias amplification of each member, as the module says, with the exclusions of arXiv 2304.12622.

    Undefined, with its reason: a category's own attribute; fewer than 10 labelled positives with or without the
    category; training rates whose relative gap |r1 - r0| / min(r1, r0) is below 10 %, so that there is no telling side
    (the smaller rate below the line is the published code's); a side without training examples.

    `predictions` are booleans [members, examples, attributes], `labels` booleans [examples, attributes], `categories`
    booleans [examples, categories], attributes and categories as in `training`.

    Raises InputError for arrays of another shape or type.
    """
    checked, truth, sides = _check_data(predictions, labels, categories, training)
    side = training.side
    labelled, num_labelled = joint_counts(truth, sides), np.count_nonzero(truth, axis=0)[:, None]
    true_share = _share_on_side(labelled, num_labelled, side)
    value = np.stack(
        [
            _share_on_side(joint_counts(member, sides), np.count_nonzero(member, axis=0)[:, None], side) - true_share
            for member in checked
        ]
    )
    reason = _reasons(training, np.minimum(labelled, num_labelled - labelled))
    value[:, reason != ""] = np.nan
    return BiasAmplification(
        attributes=training.attributes, categories=training.categories, value=value, reason=reason, side=side
    )


def amplification_criteria(
    logits: ArrayLike,
    labels: ArrayLike,
    categories: ArrayLike,
    *,
    training: TrainingRates,
    threshold: ArrayLike = 0.0,
    within: float = 0.4,
) -> dict[str, FloatArray]:
    """What the dense population alone tells of each attribute, by name: the candidates to foretell amplification.

    `uncertainty`, `interdependence`, `threshold_calibration_bias` and `positive_rate` (predicted) are means over the
    members, [attributes], without those of whom a measure is undefined; `bias_amplification` is [attributes,
    categories]. Arguments as in `bias_amplification` and `predict_attributes`, of the dense population; `within` as in
    `uncertainty_share`.

    Raises InputError as they do.
    """
    predictions = predict_attributes(logits, threshold)
    amplification = bias_amplification(predictions, labels, categories, training=training)
    bias = threshold_calibration_bias(predictions, labels, training.rarer)
    return {
        "uncertainty": uncertainty_share(logits, within=within).mean(axis=0),
        "interdependence": _known_mean(interdependence(predictions)),
        "threshold_calibration_bias": _known_mean(bias),
        "positive_rate": np.count_nonzero(predictions, axis=(0, 1)) / (predictions.shape[0] * predictions.shape[1]),
        "bias_amplification": amplification.mean,
    }


def foretell_amplification(
    criteria: Mapping[str, ArrayLike],
    change: ArrayLike,
    *,
    category_names: Sequence[str],
    more_than: float = 0.0,
    rng: np.random.Generator,
    num_permutations: int = 10_000,
) -> AmplificationForetold:
    """Hold each criterion against the change of bias amplification, over the attributes of each category.

    `criteria` are numbers [attributes] or [attributes, categories] by name, as of `amplification_criteria`; `change` is
    the variant's mean bias amplification minus the reference's, [attributes, categories], NaN where undefined. An
    attribute counts where both are known. The p-value is that of |Spearman's correlation| over `num_permutations`
    random orders of the attributes, (1 + as large) / (1 + permutations): exact for any number of attributes, where the
    t-approximation needs many. `more_than` parts the attributes that amplify for the AUROC.

    Categories share attributes and labels, so their tests are not independent; none is pooled over them.

    Raises InputError for arrays of another shape or type, infinite criteria, and options outside their range.
    """
    check_rng(rng)
    num_permutations = check_count("num_permutations", num_permutations)
    if isinstance(more_than, bool) or not isinstance(more_than, int | float | np.number) or np.isnan(more_than):
        raise InputError(f"more_than: found {more_than!r}; accepted is a number")
    grown = _numbers("change", change)
    if grown.ndim != 2 or 0 in grown.shape:
        raise InputError(f"change: found shape {grown.shape}; accepted is [attributes, categories]")
    names = _names("category_names", category_names, grown.shape[1])
    scores = np.stack([_criterion(name, value, grown.shape) for name, value in criteria.items()]) if criteria else None
    if scores is None:
        raise InputError("criteria: found none; accepted is a mapping from names to numbers")
    cells = [
        [_foretell(*columns, more_than, rng, num_permutations) for columns in zip(score.T, grown.T, strict=True)]
        for score in scores
    ]
    num_attributes, num_amplified, correlation, p_value, area = np.moveaxis(np.array(cells, np.float64), -1, 0)
    return AmplificationForetold(
        criteria=tuple(criteria),
        categories=names,
        num_attributes=num_attributes.astype(np.int64),
        num_amplified=num_amplified.astype(np.int64),
        correlation=correlation,
        p_value=p_value,
        auroc=area,
        more_than=float(more_than),
    )


def _names(argument: str, value: Sequence[str], length: int) -> tuple[str, ...]:
    names = tuple(value)
    if isinstance(value, str) or len(names) != length or len(set(names)) != length:
        raise InputError(f"{argument}: found {names!r}; accepted are {length} different names")
    return names


def _check_data(
    predictions: ArrayLike, labels: ArrayLike, categories: ArrayLike, training: TrainingRates
) -> tuple[BoolArray, BoolArray, BoolArray]:
    if not isinstance(training, TrainingRates):
        raise InputError(f"training: found {type(training).__name__}; accepted is the result of training_rates")
    checked = check_attributes("predictions", predictions)
    _, num_examples, num_attributes = checked.shape
    if num_attributes != len(training.attributes):
        raise InputError(
            f"predictions: found {num_attributes} attributes; accepted are the {len(training.attributes)} of training"
        )
    truth = check_table("labels", labels, num_examples=num_examples, num_columns=num_attributes)
    num_categories = len(training.categories)
    return checked, truth, check_table("categories", categories, num_examples=num_examples, num_columns=num_categories)


def _share_on_side(num_with: NDArray[np.int64], num_positives: NDArray[np.int64], side: BoolArray) -> FloatArray:
    """Share of the positives that lie on g*, [attributes, categories]; NaN where there are none."""
    return ratio(np.where(side, num_with, num_positives - num_with), num_positives)


def _reasons(training: TrainingRates, fewest_positives: NDArray[np.int64]) -> NDArray[np.str_]:
    """The first reason that holds, [attributes, categories]."""
    same = np.array([[name == category for category in training.categories] for name in training.attributes])
    gap = training.relative_gap
    return np.select(
        [same, fewest_positives < MIN_POSITIVES, np.isnan(gap), gap < MIN_RELATIVE_GAP],
        [SAME_ATTRIBUTE, FEW_POSITIVES, ONE_SIDED, ALIKE],
        default="",
    )


def _known_mean(values: FloatArray) -> FloatArray:
    """Mean over the members without NaN, [attributes]."""
    is_known = ~np.isnan(values)
    return ratio(np.where(is_known, values, 0.0).sum(axis=0), is_known.sum(axis=0))


def _numbers(name: str, value: ArrayLike) -> FloatArray:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or np.isinf(array).any():
        raise InputError(f"{name}: found {array.dtype} {array.shape}; accepted are finite numbers, or NaN for unknown")
    return array.astype(np.float64)


def _criterion(name: str, value: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """[attributes, categories]."""
    score = _numbers(f"criteria[{name!r}]", value)
    if score.shape not in (shape, shape[:1]):
        raise InputError(f"criteria[{name!r}]: found shape {score.shape}; accepted are {shape} and {shape[:1]}")
    return np.broadcast_to(score[:, None] if score.ndim == 1 else score, shape)


def _foretell(
    score: FloatArray, change: FloatArray, more_than: float, rng: np.random.Generator, num_permutations: int
) -> tuple[float, float, float, float, float]:
    """Of one criterion and category: the fields of `AmplificationForetold`, in their order."""
    is_known = ~np.isnan(score) & ~np.isnan(change)
    score, change = score[is_known], change[is_known]
    amplified = change > more_than
    area = float(auroc(score, amplified)) if score.size else float("nan")
    return score.size, int(amplified.sum()), *_spearman(score, change, rng, num_permutations), area


def _spearman(
    first: FloatArray, second: FloatArray, rng: np.random.Generator, num_permutations: int
) -> tuple[float, float]:
    """Rank correlation and its two-sided permutation p-value."""
    if first.size < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan"), float("nan")
    own, other = _standard_ranks(first), _standard_ranks(second)
    correlation = float(own @ other)
    num_as_large = sum(
        np.count_nonzero(np.abs(orders @ own) >= abs(correlation) - 1e-12)
        for orders in _permuted(other, rng, num_permutations)
    )
    return float(np.clip(correlation, -1.0, 1.0)), (1 + num_as_large) / (1 + num_permutations)


def _standard_ranks(values: FloatArray) -> FloatArray:
    """Ranks, the mean rank where values are equal, shifted to mean 0 and scaled to length 1."""
    _, place, num_equal = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(num_equal) - (num_equal + values.size) / 2)[place]
    return ranks / np.sqrt(ranks @ ranks)


def _permuted(values: FloatArray, rng: np.random.Generator, num_permutations: int) -> Iterator[FloatArray]:
    """Random orders of `values`, [some permutations, values] at a time."""
    for block in blocks(num_permutations, values.size):
        yield rng.permuted(np.tile(values, (block.stop - block.start, 1)), axis=1)
