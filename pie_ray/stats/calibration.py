"""Calibration: is a member right as often as its confidence says?

Expected calibration error as Guo et al. (arXiv 1706.04599) define it, in the 10 equal-width bins of Iofinova et al.
(arXiv 2304.12622). Confidence is the probability of the prediction. In a binary task that is the probability of the
predicted side, from 1/2, so that half of the bins stay empty; the probability of the positive side, against whether the
label is positive, fills them all and is another question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import BoolArray, FloatArray
from ._validation import check_correct, check_count, check_probabilities


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy by bins of confidence, over all members' predictions; NaN in an empty bin."""

    edges: FloatArray
    """[bins + 1], from 0 to 1: bin b holds the confidences above edges[b] up to edges[b + 1], the first also 0."""
    num_predictions: NDArray[np.int64]
    """[bins]; an example counts once for each member."""
    mean_confidence: FloatArray
    """[bins]."""
    accuracy: FloatArray
    """Fraction of the predictions that are right, [bins]."""

    @property
    def gap(self) -> FloatArray:
        """accuracy - mean_confidence, [bins]: below 0 where members are overconfident."""
        return self.accuracy - self.mean_confidence


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, *, num_bins: int = 10) -> FloatArray:
    """Expected calibration error of each member, [members], in [0, 1] (arXiv 1706.04599).

    Of N predictions, n_b fall in bin b: sum over the bins of n_b / N |accuracy_b - mean confidence_b|. Bins are equally
    wide and open on the left, (b / num_bins, (b + 1) / num_bins], with edges of the precision of `confidence`; a
    confidence of 0 is in the first. It is never negative, so a calibrated member of few examples has some as well.

    `confidence` are numbers in [0, 1], `correct` booleans, [members, examples] both.

    Raises InputError for arrays of another, or of different, shape or type, confidences outside [0, 1], and num_bins
    below 1.
    """
    _, total_confidence, num_correct = _bins(*_check(confidence, correct, num_bins))
    return np.abs(num_correct - total_confidence).sum(axis=1) / np.shape(confidence)[1]


def reliability(confidence: ArrayLike, correct: ArrayLike, *, num_bins: int = 10) -> Reliability:
    """Confidence and accuracy in the bins of `expected_calibration_error`, over the predictions of all members.

    What a reliability diagram shows. The error of these bins is at most the mean of the members' errors, in which
    deviations of different members cannot cancel.

    Arguments and errors as those of `expected_calibration_error`.
    """
    num_predictions, total_confidence, num_correct = (
        counts.sum(axis=0) for counts in _bins(*_check(confidence, correct, num_bins))
    )
    present = np.where(num_predictions > 0, num_predictions, np.nan)
    return Reliability(
        edges=_edges(num_bins),
        num_predictions=num_predictions,
        mean_confidence=total_confidence / present,
        accuracy=num_correct / present,
    )


def _check(confidence: ArrayLike, correct: ArrayLike, num_bins: int) -> tuple[NDArray[Any], BoolArray, int]:
    checked, right = check_probabilities("confidence", confidence), check_correct(correct)
    if right.shape != checked.shape:
        raise InputError(f"correct: found shape {right.shape}; accepted is {checked.shape}, that of confidence")
    return checked, right, check_count("num_bins", num_bins)


def _edges(num_bins: int) -> FloatArray:
    return np.arange(num_bins + 1) / num_bins


def _bins(
    confidence: NDArray[Any], correct: BoolArray, num_bins: int
) -> tuple[NDArray[np.int64], FloatArray, NDArray[np.int64]]:
    """Predictions, the sum of their confidences and how many are right, [members, bins] each."""
    num_members = len(confidence)
    num_predictions, num_correct = np.empty((2, num_members, num_bins), np.int64)
    total_confidence = np.empty((num_members, num_bins), np.float64)
    # Compared in the confidences' own precision: float32's .3 is above the double .3, and would be in the next bin.
    inner_edges = _edges(num_bins)[1:-1].astype(np.result_type(confidence, np.float16))
    for member, (values, right) in enumerate(zip(confidence, correct, strict=True)):
        places = np.searchsorted(inner_edges, values, side="left")
        num_predictions[member] = np.bincount(places, minlength=num_bins)
        num_correct[member] = np.bincount(places[right], minlength=num_bins)
        total_confidence[member] = np.bincount(places, weights=values, minlength=num_bins)
    return num_predictions, total_confidence, num_correct
