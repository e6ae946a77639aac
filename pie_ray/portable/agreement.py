"""Does an exported file give the predictions that its member was audited by?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..records import Arithmetic
from ..stats import predict_attributes
from .predicting import Predict

_FIRST_BATCHES = (1, 7)
_BATCH = 64
"""Images at once: batches of several sizes, since a file takes any number."""


@dataclass(frozen=True)
class Tolerance:
    """How far a file may be from the stored predictions."""

    logit: float
    """Share of the largest logit; of confidences, absolute."""
    share_off: float
    """Of the examples that may be further off."""


def tolerance_of(arithmetic: Arithmetic, precision: str) -> Tolerance:
    """Of a member that computes so, and whose predictions were made with this `evaluation.precision`.

    Float layers add in another order, which moves logits by a millionth. Where inputs are rounded to 256 levels, such a
    move may fall on the next level; predictions in bfloat16 are rounded themselves.
    """
    is_rounded = arithmetic != "native" or precision != "float32"
    return Tolerance(0.05, 0.01) if is_rounded else Tolerance(1e-3, 0.0)


@dataclass(frozen=True)
class Agreement:
    """Of a file and the stored predictions, on the first examples of the test set."""

    num_examples: int
    num_answers: int
    """As many; of attributes learned jointly, times the attributes."""
    num_equal: int
    """Answers that are the stored ones."""
    largest_difference: float
    compared: str
    """What the difference is of: `logit`, or `confidence` where no logits are stored."""
    share_off: float
    tolerance: Tolerance

    @property
    def holds(self) -> bool:
        return self.share_off <= self.tolerance.share_off

    def __str__(self) -> str:
        return (
            f"{self.num_equal:,} of {self.num_answers:,} answers on {self.num_examples:,} test images are the stored "
            f"ones, the largest {self.compared} difference is {self.largest_difference:.2g}"
        )


def compare(
    predict: Predict,
    images: npt.NDArray[np.uint8],
    stored: Mapping[str, npt.NDArray[np.generic]],
    tolerance: Tolerance,
    *,
    is_multilabel: bool = False,
) -> Agreement:
    """Predict on uint8 `images` [examples, channels, height, width], and hold it against what is stored of them.

    `stored` has logits [examples, outputs], or, of classes, prediction and confidence [examples].
    """
    logits = np.concatenate([predict(images[rows]) for rows in _batches(len(images))])
    found = _answers(logits, is_multilabel)
    if "logits" in stored:
        known = np.asarray(stored["logits"], np.float32)
        answers = _answers(known, is_multilabel)
        difference = np.abs(logits - known).max(axis=1)
        allowed = tolerance.logit * float(np.abs(known).max())
    else:
        answers = stored["prediction"]
        difference = np.abs(_confidence(logits) - np.asarray(stored["confidence"], np.float64))
        allowed = tolerance.logit
    # A NaN is off, too.
    is_off = ~(difference <= allowed)
    return Agreement(
        num_examples=len(images),
        num_answers=answers.size,
        num_equal=int((found == answers).sum()),
        largest_difference=float(difference.max()),
        compared="logit" if "logits" in stored else "confidence",
        share_off=float(is_off.mean()),
        tolerance=tolerance,
    )


def _batches(num_images: int) -> Iterator[slice]:
    start, sizes = 0, iter(_FIRST_BATCHES)
    while start < num_images:
        size = next(sizes, _BATCH)
        yield slice(start, start + size)
        start += size


def _answers(logits: npt.NDArray[np.float32], is_multilabel: bool) -> npt.NDArray[np.generic]:
    """Classes [examples], or yes and no [examples, attributes]."""
    return predict_attributes(logits[None])[0] if is_multilabel else logits.argmax(axis=1)


def _confidence(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(1 / np.exp(shifted).sum(axis=1))
