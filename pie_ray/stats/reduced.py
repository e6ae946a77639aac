"""Accuracy on all examples, on PIEs only, and on the evaluation set without its PIEs (Hooker et al., arXiv 1911.05248).

Each member is scored by itself, not the population's vote: the figure is the mean over members, with its spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import BoolArray, FloatArray, spread
from ._counting import num_true
from ._validation import check_correct, check_labels, check_mask, check_predictions


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Accuracy of each member on one set of examples; NaN throughout where the set is empty."""

    per_member: FloatArray
    """[members], each a fraction in [0, 1]."""
    num_examples: int

    @property
    def mean(self) -> float:
        """Mean over the members."""
        return float(self.per_member.mean())

    @property
    def std(self) -> float:
        """Standard deviation over the members (divisor members - 1); NaN for one member."""
        return spread(self.per_member)


@dataclass(frozen=True, eq=False)
class ReducedAccuracy:
    """One population's accuracy on three sets of examples."""

    on_all: Accuracy
    on_pies: Accuracy
    without_pies: Accuracy


def reduced_accuracy(predictions: ArrayLike, labels: ArrayLike, is_pie: ArrayLike) -> ReducedAccuracy:
    """Top-1 of a population on all examples, on PIEs only, and without them.

    `predictions` are integer labels [members, examples], `labels` the true ones [examples], `is_pie` booleans
    [examples]. Where there are no PIEs, `on_pies` is NaN; where all are, `without_pies` is.

    Raises InputError for arrays of another shape or type.
    """
    checked = check_predictions("predictions", predictions)
    num_examples = checked.shape[1]
    truth = check_labels(labels, num_examples=num_examples)
    mask = check_mask("is_pie", is_pie, num_examples=num_examples)
    return _reduced(checked == truth, mask)


def reduced_accuracy_from_correct(correct: ArrayLike, is_pie: ArrayLike) -> ReducedAccuracy:
    """`reduced_accuracy` for any notion of a correct prediction, such as top-5.

    `correct` are booleans [members, examples], `is_pie` booleans [examples].

    Raises InputError for arrays of another shape or type.
    """
    checked = check_correct(correct)
    return _reduced(checked, check_mask("is_pie", is_pie, num_examples=checked.shape[1]))


def _reduced(correct: BoolArray, is_pie: BoolArray) -> ReducedAccuracy:
    on_all, on_pies = num_true(correct), num_true(correct.take(np.flatnonzero(is_pie), axis=1))
    num_examples, num_pies = is_pie.size, int(np.count_nonzero(is_pie))
    return ReducedAccuracy(
        on_all=_accuracy(on_all, num_examples),
        on_pies=_accuracy(on_pies, num_pies),
        without_pies=_accuracy(on_all - on_pies, num_examples - num_pies),
    )


def _accuracy(num_correct: NDArray[np.int64], num_examples: int) -> Accuracy:
    if num_examples == 0:
        return Accuracy(per_member=np.full(num_correct.shape, np.nan), num_examples=0)
    return Accuracy(per_member=num_correct / num_examples, num_examples=num_examples)
