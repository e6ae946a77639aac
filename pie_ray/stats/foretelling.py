"""How well a score, such as the reference population's disagreement, foretells the PIEs before anything is compressed.

Not in the papers, which look at PIEs after the fact (Hooker et al., arXiv 1911.05248), or hold the examples on which
the dense population is uncertain against those whose vote flips (Iofinova et al., arXiv 2304.12622).

Only the order of the scores counts, the highest to be the likeliest PIEs; the order in which examples are given never
does: each figure says what it makes of equal scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import FloatArray
from ._validation import check_fraction, check_mask, check_scores


@dataclass(frozen=True, eq=False)
class Foretelling:
    """How well one score foretells the PIEs; all is NaN but the counts where there are none, or only PIEs."""

    num_examples: int
    num_pies: int
    auroc: float
    """Probability that a PIE scores above another example, a tie counting half: .5 for a score that knows nothing."""
    average_precision: float
    """Area under the curve of precision against recall: `base_rate` for a score that knows nothing."""
    top: tuple[float, ...]
    """Fractions of the examples, those with the highest scores."""
    recall_at_top: FloatArray
    """Of the PIEs, the fraction that is among them, [top]: `top` itself for a score that knows nothing."""

    @property
    def base_rate(self) -> float:
        """PIEs as a fraction of all examples."""
        return self.num_pies / self.num_examples


def foretell(scores: ArrayLike, is_pie: ArrayLike, *, top: Sequence[float] = (0.01, 0.05, 0.1)) -> Foretelling:
    """`auroc`, `average_precision` and `recall_at_top` of a score for the PIEs.

    `scores` are numbers [examples], the higher the likelier a PIE; `is_pie` booleans [examples]; `top` fractions in
    (0, 1].

    Raises InputError as these three do.
    """
    fractions = tuple(check_fraction(f"top[{index}]", fraction) for index, fraction in enumerate(top))
    ranks = _Ranks.of(*_check("is_pie", scores, is_pie))
    return Foretelling(
        num_examples=ranks.num_examples,
        num_pies=ranks.num_positives,
        auroc=ranks.auroc(),
        average_precision=ranks.average_precision(),
        top=fractions,
        recall_at_top=np.array([ranks.recall_at_top(fraction) for fraction in fractions], np.float64),
    )


def auroc(scores: ArrayLike, positives: ArrayLike) -> float:
    """Area under the ROC curve: the probability that a positive example scores above another, a tie counting half.

    That is Mann and Whitney's U over the number of pairs, by mid-ranks. `scores` are numbers [examples], `positives`
    booleans [examples]. NaN where none or all are positive.

    Raises InputError for arrays of another shape or type, and for a score that is NaN.
    """
    return _Ranks.of(*_check("positives", scores, positives)).auroc()


def average_precision(scores: ArrayLike, positives: ArrayLike) -> float:
    """Mean over the positive examples of the precision at each one's score, as scikit-learn defines it.

    Precision at a score is the fraction of positives among all examples that score as much or more: examples of equal
    score are taken together. No interpolation. Arguments, errors and NaN as those of `auroc`.
    """
    return _Ranks.of(*_check("positives", scores, positives)).average_precision()


def recall_at_top(scores: ArrayLike, positives: ArrayLike, fraction: float) -> float:
    """Fraction of the positive examples that are among the `fraction` of all examples with the highest scores.

    Where examples at the border tie, the mean over all their orders; where `fraction` is not a whole number of
    examples, the last counts in part. A constant score has exactly `fraction`. `fraction` is in (0, 1]; other
    arguments, errors and NaN as those of `auroc`.
    """
    fraction = check_fraction("fraction", fraction)
    return _Ranks.of(*_check("positives", scores, positives)).recall_at_top(fraction)


def _check(name: str, scores: ArrayLike, positives: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    checked = check_scores("scores", scores)
    return checked, check_mask(name, positives, num_examples=checked.size)


@dataclass(frozen=True, eq=False)
class _Ranks:
    """Examples and positives that score as much as each distinct score or more, the highest score first, [scores]."""

    num_above: NDArray[np.int64]
    positives_above: NDArray[np.int64]

    @classmethod
    def of(cls, scores: NDArray[np.generic], positives: NDArray[np.bool_]) -> _Ranks:
        order = np.argsort(scores)[::-1]
        descending = scores[order]
        last_of_score = np.append(descending[1:] != descending[:-1], True)
        return cls(
            num_above=np.flatnonzero(last_of_score) + 1,
            positives_above=positives[order].cumsum(dtype=np.int64)[last_of_score],
        )

    @property
    def num_examples(self) -> int:
        return int(self.num_above[-1])

    @property
    def num_positives(self) -> int:
        return int(self.positives_above[-1])

    @property
    def is_of_one_kind(self) -> bool:
        """Whether there are none or only positives, which no score can tell apart."""
        return self.num_positives in (0, self.num_examples)

    def auroc(self) -> float:
        if self.is_of_one_kind:
            return float("nan")
        num_positives, num_negatives = self.num_positives, self.num_examples - self.num_positives
        here = np.diff(self.positives_above, prepend=0)
        negatives_above = self.num_above - self.positives_above
        negatives_here = np.diff(negatives_above, prepend=0)
        # In halves of pairs, whole numbers.
        halves = int((here * (2 * (num_negatives - negatives_above) + negatives_here)).sum())
        return halves / (2 * num_positives * num_negatives)

    def average_precision(self) -> float:
        if self.is_of_one_kind:
            return float("nan")
        here = np.diff(self.positives_above, prepend=0)
        return float((here * (self.positives_above / self.num_above)).sum() / self.num_positives)

    def recall_at_top(self, fraction: float) -> float:
        if self.is_of_one_kind:
            return float("nan")
        found = np.interp(
            fraction * self.num_examples, np.append(0, self.num_above), np.append(0, self.positives_above)
        )
        return float(found / self.num_positives)
