"""Countermeasures against bias of compressed networks (Iofinova et al., arXiv 2304.12622), and what they do.

Thresholds adjusted on validation data, so that a member predicts each attribute as often as it occurs; and override:
the dense population, or a person, decides the examples on which the dense population is uncertain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import BoolArray, FloatArray
from ._counting import ratio
from ._validation import check_attributes, check_logits, check_same_shape, check_table
from .amplification import BiasAmplification, TrainingRates, bias_amplification


@dataclass(frozen=True, eq=False)
class Override:
    """Predictions of which some were decided by another."""

    predictions: NDArray[Any]
    """[members, examples, ...], of the variant's type."""
    share_overridden: FloatArray
    """Share of the examples that the other decided, whether alike or not, [members, ...]."""
    share_changed: FloatArray
    """Share of the examples whose prediction that changed, [members, ...]."""


@dataclass(frozen=True, eq=False)
class CountermeasureEffect:
    """A population before and after a countermeasure. Arrays are [attributes]."""

    accuracy_before: FloatArray
    """Mean over the members."""
    accuracy_after: FloatArray
    amplification_before: BiasAmplification
    amplification_after: BiasAmplification
    share_changed: FloatArray
    """Share of the predictions that the countermeasure changed, over members and examples."""
    share_overridden: FloatArray
    """Share of the predictions that another decided; 0 throughout for thresholds, that override nothing."""

    @property
    def accuracy_change(self) -> FloatArray:
        """accuracy_after - accuracy_before."""
        return self.accuracy_after - self.accuracy_before

    @property
    def amplification_change(self) -> FloatArray:
        """Mean bias amplification after minus before, [attributes, categories]; NaN where it is undefined."""
        return self.amplification_after.mean - self.amplification_before.mean


def adjusted_thresholds(validation_logits: ArrayLike, validation_labels: ArrayLike) -> FloatArray:
    """Thresholds at which a member predicts each attribute as often as it is true in validation.

    With k validation positives, tau lies half-way between the k-th and the (k+1)-th largest validation logit, so that
    logit > tau predicts exactly k of them, fewer only where logits tie across the line. arXiv 2304.12622 takes the k-th
    largest itself, which the strict comparison leaves out: one positive too few, and none at all where k = 1. For k = 0
    tau is infinite, for k = all examples minus infinite.

    `validation_logits` are floats [members, examples, attributes], of validation examples only: thresholds set on the
    evaluation set would report themselves. `validation_labels` are booleans [examples, attributes]. Returns
    [members, attributes] in float64, for `predict_attributes`.

    Raises InputError for arrays of another shape or type, and NaN.
    """
    logits = check_logits("validation_logits", validation_logits)
    _, num_examples, num_attributes = logits.shape
    truth = check_table("validation_labels", validation_labels, num_examples=num_examples, num_columns=num_attributes)
    num_positives = np.count_nonzero(truth, axis=0)
    return np.stack([_half_way(np.sort(member, axis=0), num_positives) for member in logits])


def override(deciding: ArrayLike, variant: ArrayLike, is_uncertain: ArrayLike) -> Override:
    """Let `deciding` decide where `is_uncertain` says so, and the variant everywhere else.

    `variant` are predictions [members, examples] or [members, examples, attributes], of labels or booleans. `deciding`
    and `is_uncertain` (booleans) have its shape, or that shape without the members, for all members alike:

    - dense member m decides for variant member m: `deciding` the reference's predictions, `is_uncertain` its own doubt;
    - the dense population decides for all: `deciding` its modes, `is_uncertain` where most of its members are.

    Raises InputError for arrays of another shape or type.
    """
    own = np.asarray(variant)
    if own.ndim not in (2, 3) or 0 in own.shape or own.dtype.kind not in "biu":
        raise InputError(
            f"variant: found {own.dtype} {own.shape}; accepted are booleans or integers [members, examples] or "
            "[members, examples, attributes]"
        )
    other, flags = _for_members("deciding", deciding, own.shape), _for_members("is_uncertain", is_uncertain, own.shape)
    if (other.dtype == np.bool_) != (own.dtype == np.bool_) or other.dtype.kind not in "biu":
        raise InputError(f"deciding: found dtype {other.dtype}; accepted are predictions such as variant's {own.dtype}")
    if flags.dtype != np.bool_:
        raise InputError(f"is_uncertain: found dtype {flags.dtype}; accepted are booleans")
    predictions = np.where(flags, other, own)
    return Override(
        predictions=predictions,
        share_overridden=np.count_nonzero(flags, axis=1) / own.shape[1],
        share_changed=np.count_nonzero(predictions != own, axis=1) / own.shape[1],
    )


def countermeasure_effect(
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    categories: ArrayLike,
    *,
    training: TrainingRates,
    share_overridden: ArrayLike | None = None,
) -> CountermeasureEffect:
    """Accuracy and bias amplification of the same members before and after a countermeasure.

    `before` and `after` are booleans [members, examples, attributes]; the other arguments as in `bias_amplification`.
    `share_overridden`, [members, attributes], is `Override`'s; None where nobody else decided.

    Raises InputError for arrays of another shape or type.
    """
    first, second = check_attributes("before", before), check_attributes("after", after)
    check_same_shape("after", second, "before", first, first_axis=0)
    num_members, num_examples, num_attributes = first.shape
    amplification = [bias_amplification(each, labels, categories, training=training) for each in (first, second)]
    truth = np.asarray(labels)
    shares = np.zeros((num_members, num_attributes)) if share_overridden is None else np.asarray(share_overridden)
    if shares.shape != (num_members, num_attributes) or not np.all((shares >= 0) & (shares <= 1)):
        raise InputError(
            f"share_overridden: found {shares.dtype} {shares.shape}; accepted are shares in [0, 1], "
            f"({num_members}, {num_attributes})"
        )
    return CountermeasureEffect(
        accuracy_before=1 - _share_different(first, truth),
        accuracy_after=1 - _share_different(second, truth),
        amplification_before=amplification[0],
        amplification_after=amplification[1],
        share_changed=ratio(
            sum(np.count_nonzero(old != new, axis=0) for old, new in zip(first, second, strict=True)),
            num_members * num_examples,
        ),
        share_overridden=shares.mean(axis=0),
    )


def _half_way(ascending: NDArray[np.floating[Any]], num_positives: NDArray[np.int64]) -> FloatArray:
    """Between the k-th and the (k+1)-th largest of each column, [attributes]."""
    num_examples, num_attributes = ascending.shape
    unbounded = np.full((1, num_attributes), np.inf)
    padded = np.concatenate([-unbounded, ascending.astype(np.float64), unbounded])
    column = np.arange(num_attributes)
    below = padded[num_examples - num_positives, column]
    above = padded[num_examples - num_positives + 1, column]
    with np.errstate(invalid="ignore"):  # infinite logits have no middle
        middle = below / 2 + above / 2
    # Rounding may put the middle of two neighbours on the upper one, which would be left out.
    tau = np.where((below < middle) & (middle < above), middle, below)
    return np.where(num_positives == 0, np.inf, tau)


def _for_members(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """`value` in `shape`, the same for all members where it has none."""
    array = np.asarray(value)
    if array.shape not in (shape, shape[1:]):
        raise InputError(f"{name}: found shape {array.shape}; accepted are {shape} and {shape[1:]}")
    return np.broadcast_to(array, shape)


def _share_different(predictions: BoolArray, labels: BoolArray) -> FloatArray:
    """Share of the predictions that differ from the labels, over members and examples, [attributes]."""
    num_different = sum(np.count_nonzero(member != labels, axis=0) for member in predictions)
    return ratio(num_different, predictions.shape[0] * predictions.shape[1])
