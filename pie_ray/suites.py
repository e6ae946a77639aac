"""What is kept of a suite's predictions."""

from __future__ import annotations

from .config import CLEAN, VALIDATION, Evaluation

MAX_CLASSES_OF_KEPT_LOGITS = 100
"""Up to here the logits take no more room than a few hundred bytes a prediction."""

_OF_CLEAN_IMAGES = (CLEAN, VALIDATION)


def keeps_logits(evaluation: Evaluation, suite: str, num_classes: int) -> bool:
    """Whether a suite's logits are stored: what the recipe says, else the clean ones of few classes.

    Of attributes learned jointly they are stored in any case (`store.prediction_batch`): nothing else is.
    """
    if evaluation.store_logits is not None:
        return evaluation.store_logits
    return suite in _OF_CLEAN_IMAGES and num_classes <= MAX_CLASSES_OF_KEPT_LOGITS
