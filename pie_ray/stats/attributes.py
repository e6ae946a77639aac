"""Multi-label data: binary attributes learned jointly, as in Iofinova et al. (arXiv 2304.12622) on CelebA.

Axes: logits and predictions are [members, examples, attributes], true labels [examples, attributes]. A member predicts
an attribute where its logit is above a threshold, 0 unless adjusted, and holds it likely by p = 1 / (1 + exp(-logit)).
One member's table of examples at a time is what the functions need beside their input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ..errors import InputError
from ._arrays import BoolArray, FloatArray, blocks
from ._counting import joint_counts, ratio
from ._validation import (
    Tie,
    check_attributes,
    check_count,
    check_logits,
    check_same_shape,
    check_table,
    check_tie,
    check_within,
)
from .calibration import expected_calibration_error
from .foretelling import auroc

_COLLINEAR = 1e-10
"""Directions of less of the variance than this are rounding: a table of booleans has none so small otherwise."""


@dataclass(frozen=True, eq=False)
class AttributeRates:
    """How each member fares on each attribute; [members, attributes] unless said otherwise."""

    accuracy: FloatArray
    predicted_rate: FloatArray
    """Share of the examples that the member predicts the attribute on."""
    true_rate: FloatArray
    """Share of the examples that have it, [attributes]."""
    false_positive_rate: FloatArray
    """Share of the examples without it that the member predicts it on; NaN where all have it."""
    false_negative_rate: FloatArray
    """Share of the examples with it that the member does not predict it on; NaN where none has it."""


@dataclass(frozen=True, eq=False)
class AttributePies:
    """Two populations' majorities by attribute and where they differ. All arrays are [examples, attributes]."""

    reference_mode: BoolArray
    variant_mode: BoolArray
    is_pie: BoolArray
    """Whether the two modes differ."""
    reference_agreement: FloatArray
    """Fraction of the reference's members that vote for the reference's mode, in [.5, 1]."""
    variant_agreement: FloatArray
    reference_tied: BoolArray
    """Whether the tie rule chose the reference's mode."""
    variant_tied: BoolArray

    @property
    def num_pies(self) -> NDArray[np.int64]:
        """Number of examples whose mode moved, [attributes]."""
        return np.count_nonzero(self.is_pie, axis=0)

    @property
    def pie_fraction(self) -> FloatArray:
        """PIEs as a fraction of all examples, [attributes]."""
        return self.num_pies / len(self.is_pie)


@dataclass(frozen=True, eq=False)
class SusceptibleExamples:
    """How well the dense population's uncertainty foretells which majorities flip. Arrays are [attributes]."""

    num_susceptible: NDArray[np.int64]
    num_pies: NDArray[np.int64]
    num_both: NDArray[np.int64]
    """Susceptible examples that are PIEs."""
    precision: FloatArray
    """num_both / num_susceptible; NaN where no example is susceptible."""
    recall: FloatArray
    """num_both / num_pies; NaN where there are no PIEs."""
    auroc: FloatArray
    """Probability that more members are uncertain on a PIE than on another example; NaN without one of either."""


def predict_attributes(logits: ArrayLike, threshold: ArrayLike = 0.0) -> BoolArray:
    """Whether each logit is above the threshold, [members, examples, attributes].

    `logits` are floats [members, examples, attributes]; `threshold` is one number, [attributes] or
    [members, attributes], such as `adjusted_thresholds` gives.

    Raises InputError for arrays of another shape or type, and NaN in either.
    """
    scores = check_logits("logits", logits)
    limits = _thresholds(threshold, scores)
    predictions = np.empty(scores.shape, np.bool_)
    for member, limit, row in zip(scores, limits, predictions, strict=True):
        np.greater(member, limit, out=row)
    return predictions


def attribute_rates(predictions: ArrayLike, labels: ArrayLike) -> AttributeRates:
    """Accuracy, FPR, FNR and predicted rate of every member and attribute.

    `predictions` are booleans [members, examples, attributes], `labels` booleans [examples, attributes].

    Raises InputError for arrays of another shape or type.
    """
    checked, truth = _check_predicted(predictions, labels)
    num_examples, num_positives = len(truth), np.count_nonzero(truth, axis=0)
    num_predicted = np.stack([np.count_nonzero(member, axis=0) for member in checked])
    num_hits = np.stack([np.count_nonzero(member & truth, axis=0) for member in checked])
    num_false = num_predicted - num_hits
    num_missed = num_positives - num_hits
    return AttributeRates(
        accuracy=1 - (num_false + num_missed) / num_examples,
        predicted_rate=num_predicted / num_examples,
        true_rate=num_positives / num_examples,
        false_positive_rate=ratio(num_false, num_examples - num_positives),
        false_negative_rate=ratio(num_missed, num_positives),
    )


def uncertainty_share(logits: ArrayLike, *, within: float = 0.4) -> FloatArray:
    """Share of the examples with |p - .5| < within, [members, attributes] (arXiv 2304.12622).

    .4 is the paper's uncertainty, .1 its high uncertainty. `logits` are floats [members, examples, attributes]; they
    are held against the logit of .5 + within, in their own precision.

    Raises InputError for logits of another shape or type or NaN, and `within` outside (0, .5).
    """
    scores, limit = _check_uncertainty(logits, within)
    return np.stack([np.count_nonzero(_is_uncertain(member, limit), axis=0) for member in scores]) / scores.shape[1]


def is_uncertain(logits: ArrayLike, *, within: float = 0.4) -> BoolArray:
    """Whether |p - .5| < within, for each member and example by itself, [members, examples, attributes].

    Raises InputError as `uncertainty_share` does.
    """
    scores, limit = _check_uncertainty(logits, within)
    return np.stack([_is_uncertain(member, limit) for member in scores])


def interdependence(predictions: ArrayLike) -> FloatArray:
    """R^2 of the linear regression of an attribute's predictions on the others', [members, attributes] in [0, 1].

    With c the correlations of attribute j to the others and C those among the others: R^2 = c' C^+ c, the same as of
    least squares with an intercept (arXiv 2304.12622). Attributes that a member predicts everywhere or nowhere tell
    nothing of the others and have none themselves: NaN. 0 where no other attribute varies. It is not adjusted for the
    number of attributes: of unrelated ones it is about (attributes - 1) / (examples - 1).

    `predictions` are booleans [members, examples, attributes].

    Raises InputError for predictions of another shape or type.
    """
    return np.stack([_interdependence(member) for member in check_attributes("predictions", predictions)])


def threshold_calibration_bias(predictions: ArrayLike, labels: ArrayLike, rarer: ArrayLike) -> FloatArray:
    """Predicted rate / true rate of the value that is rarer in training, [members, attributes] (arXiv 2304.12622).

    1 is calibrated, below 1 the member predicts the rarer value too rarely; NaN where no label has that value.
    `predictions` are booleans [members, examples, attributes], `labels` booleans [examples, attributes]; `rarer`, of
    booleans [attributes], is the rarer value of each, as `rarer_values` tells from the training labels.

    Raises InputError for arrays of another shape or type.
    """
    checked, truth = _check_predicted(predictions, labels)
    value = np.asarray(rarer)
    if value.shape != truth.shape[1:] or value.dtype != np.bool_:
        raise InputError(f"rarer: found {value.dtype} {value.shape}; accepted are booleans {truth.shape[1:]}")
    num_predicted = np.stack([np.count_nonzero(member == value, axis=0) for member in checked])
    return ratio(num_predicted, np.count_nonzero(truth == value, axis=0))


def rarer_values(training_labels: ArrayLike) -> BoolArray:
    """The value that fewer training examples have, [attributes]; True where both are as frequent.

    `training_labels` are booleans [examples, attributes].

    Raises InputError for labels of another shape or type.
    """
    truth = _check_training("training_labels", training_labels)
    return 2 * np.count_nonzero(truth, axis=0) <= len(truth)


def attribute_calibration_error(logits: ArrayLike, labels: ArrayLike, *, num_bins: int = 10) -> FloatArray:
    """Expected calibration error of p, the probability that an attribute is there, [members, attributes].

    Over `num_bins` bins of equal width of p in [0, 1]: the mean distance between a bin's mean p and the share of its
    examples that have the attribute, weighted by its examples. As in the code of arXiv 2304.12622 p is that of the
    positive value, not of the predicted one: over- and underestimating a rare attribute show alike.

    `logits` are floats [members, examples, attributes], `labels` booleans [examples, attributes].

    Raises InputError for arrays of another shape or type, NaN, and fewer than one bin.
    """
    num_bins = check_count("num_bins", num_bins)

    def error(scores: NDArray[np.floating[Any]], truth: BoolArray) -> float:
        probability = expit(scores.astype(np.float64))
        return float(expected_calibration_error(probability[None], truth[None], num_bins=num_bins)[0])

    return _of_each(logits, labels, error)


def attribute_auroc(logits: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Probability that an example with the attribute has the larger logit, [members, attributes]; ties count half.

    NaN where all or no examples have the attribute. `logits` are floats [members, examples, attributes], `labels`
    booleans [examples, attributes].

    Raises InputError for arrays of another shape or type, and NaN.
    """
    return _of_each(logits, labels, _auroc)


def attribute_pies(reference: ArrayLike, variant: ArrayLike, *, tie: Tie = "largest") -> AttributePies:
    """`find_pies` of every attribute at once: where the majority of members changes its mind.

    Both are booleans [members, examples, attributes] on the same examples; the numbers of members may differ. `tie`
    "largest", the published rule, has a tied attribute predicted, "smallest" not.

    Raises InputError for predictions of another shape or type, and another tie rule.
    """
    check_tie(tie)
    before, after = check_attributes("reference", reference), check_attributes("variant", variant)
    check_same_shape("variant", after, "reference", before, first_axis=1)
    reference_mode, reference_agreement, reference_tied = _majority(before, tie)
    variant_mode, variant_agreement, variant_tied = _majority(after, tie)
    return AttributePies(
        reference_mode=reference_mode,
        variant_mode=variant_mode,
        is_pie=reference_mode != variant_mode,
        reference_agreement=reference_agreement,
        variant_agreement=variant_agreement,
        reference_tied=reference_tied,
        variant_tied=variant_tied,
    )


def uncertain_members(logits: ArrayLike, *, within: float = 0.4) -> FloatArray:
    """Share of a population's members that are uncertain (|p - .5| < within) on an example, [examples, attributes].

    Of the dense population, those on which it is above 1/2 are the *susceptible* examples of arXiv 2304.12622. The
    paper does not say how a population is uncertain; members are counted, rather than their p averaged, because two
    camps that are sure of opposite answers have a mean p of one half without one uncertain member.

    `logits` are floats [members, examples, attributes].

    Raises InputError as `uncertainty_share` does.
    """
    scores, limit = _check_uncertainty(logits, within)
    num_uncertain = np.zeros(scores.shape[1:], np.int64)
    for member in scores:
        num_uncertain += _is_uncertain(member, limit)
    return num_uncertain / len(scores)


def susceptible_examples(uncertain: ArrayLike, is_pie: ArrayLike) -> SusceptibleExamples:
    """Hold the examples on which most dense members are uncertain against those whose majority flips.

    `uncertain` is the share of uncertain members of the dense population, [examples, attributes], as
    `uncertain_members` gives it: above 1/2 an example is susceptible, and the AUROC ranks by it. `is_pie` are booleans
    of the same shape, as of `attribute_pies`.

    Raises InputError for arrays of another shape or type, and shares outside [0, 1].
    """
    share = np.asarray(uncertain)
    if share.ndim != 2 or 0 in share.shape or share.dtype.kind != "f" or not np.all((share >= 0) & (share <= 1)):
        raise InputError(
            f"uncertain: found {share.dtype} {share.shape}; accepted are shares in [0, 1], [examples, attributes]"
        )
    flips = check_table("is_pie", is_pie, num_examples=len(share), num_columns=share.shape[1])
    susceptible = share > 0.5
    num_susceptible, num_pies = np.count_nonzero(susceptible, axis=0), np.count_nonzero(flips, axis=0)
    num_both = np.count_nonzero(susceptible & flips, axis=0)
    return SusceptibleExamples(
        num_susceptible=num_susceptible,
        num_pies=num_pies,
        num_both=num_both,
        precision=ratio(num_both, num_susceptible),
        recall=ratio(num_both, num_pies),
        auroc=np.array([_auroc(*columns) for columns in zip(share.T, flips.T, strict=True)]),
    )


def _check_predicted(predictions: ArrayLike, labels: ArrayLike) -> tuple[BoolArray, BoolArray]:
    checked = check_attributes("predictions", predictions)
    _, num_examples, num_attributes = checked.shape
    return checked, check_table("labels", labels, num_examples=num_examples, num_columns=num_attributes)


def _check_training(name: str, value: ArrayLike) -> BoolArray:
    return check_table(name, value, num_examples=max(len(np.atleast_1d(np.asarray(value))), 1))


def _check_uncertainty(logits: ArrayLike, within: float) -> tuple[NDArray[np.floating[Any]], float]:
    """The logits and the limit of their size: |p - .5| < within exactly where |logit| is below it."""
    distance = check_within(within)
    return check_logits("logits", logits), math.log((0.5 + distance) / (0.5 - distance))


def _is_uncertain(logits: NDArray[np.floating[Any]], limit: float) -> BoolArray:
    return (logits < limit) & (logits > -limit)


def _thresholds(threshold: ArrayLike, logits: NDArray[Any]) -> FloatArray:
    """[members, attributes]."""
    num_members, _, num_attributes = logits.shape
    limits = np.asarray(threshold)
    if limits.shape not in ((), (num_attributes,), (num_members, num_attributes)) or limits.dtype.kind not in "iuf":
        raise InputError(
            f"threshold: found {limits.dtype} {limits.shape}; accepted are a number, ({num_attributes},) and "
            f"({num_members}, {num_attributes}) numbers"
        )
    if np.isnan(limits).any():
        raise InputError("threshold: found NaN; accepted are numbers")
    return np.broadcast_to(limits.astype(np.float64), (num_members, num_attributes))


def _of_each(
    logits: ArrayLike, labels: ArrayLike, measure: Callable[[NDArray[np.floating[Any]], BoolArray], float]
) -> FloatArray:
    """`measure` of the logits and labels [examples] of each member and attribute, [members, attributes]."""
    scores = check_logits("logits", logits)
    truth = check_table("labels", labels, num_examples=scores.shape[1], num_columns=scores.shape[2])
    return np.array(
        [[measure(*columns) for columns in zip(member.T, truth.T, strict=True)] for member in scores], np.float64
    )


def _auroc(scores: NDArray[np.floating[Any]], positives: BoolArray) -> float:
    return float(auroc(scores, positives))


def _majority(predictions: BoolArray, tie: Tie) -> tuple[BoolArray, FloatArray, BoolArray]:
    num_members = len(predictions)
    num_votes = np.add.reduce(predictions, axis=0, dtype=np.int32)
    tied = 2 * num_votes == num_members
    mode = (2 * num_votes > num_members) | (tied if tie == "largest" else False)
    return mode, np.maximum(num_votes, num_members - num_votes) / num_members, tied


def _interdependence(predictions: BoolArray) -> FloatArray:
    """Of one member's predictions [examples, attributes]: [attributes]."""
    num_examples, num_attributes = predictions.shape
    counts = joint_counts(predictions, predictions)
    num_positives = counts.diagonal()
    # Whole numbers up to here: what does not vary has a covariance of exactly 0.
    covariance = (num_examples * counts - np.outer(num_positives, num_positives)).astype(np.float64)
    varies = covariance.diagonal() > 0
    deviation = np.sqrt(covariance.diagonal()[varies])
    explained = np.full(num_attributes, np.nan)
    explained[varies] = _explained(covariance[np.ix_(varies, varies)] / np.outer(deviation, deviation))
    return explained


def _explained(correlation: FloatArray) -> FloatArray:
    """R^2 of each variable on the others."""
    num_variables = len(correlation)
    if num_variables < 2:
        return np.zeros(num_variables)
    others = np.array([np.delete(np.arange(num_variables), own) for own in range(num_variables)])
    explained = np.empty(num_variables)
    for some in blocks(num_variables, num_variables**2):
        among = correlation[others[some][:, :, None], others[some][:, None, :]]
        own = np.take_along_axis(correlation[some], others[some], axis=1)
        coefficients = np.linalg.pinv(among, rcond=_COLLINEAR, hermitian=True) @ own[:, :, None]
        explained[some] = (own * coefficients[:, :, 0]).sum(axis=1)
    return np.clip(explained, 0.0, 1.0)
