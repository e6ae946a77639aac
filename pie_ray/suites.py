"""Which evaluation sets a study makes predictions on: the only place that says so."""

from __future__ import annotations

from collections.abc import Mapping

from .config import TEST, VALIDATION, Evaluation
from .data import ImageSet, Splits

MAX_CLASSES_OF_KEPT_LOGITS = 100
"""Up to here the logits take no more room than a few hundred bytes a prediction."""

_OF_CLEAN_IMAGES = ("clean", VALIDATION)

Suites = Mapping[str, Mapping[str, ImageSet]]
"""Evaluation sets by suite and name."""


def evaluation_suites(splits: Splits) -> Suites:
    """The suites of a study on these splits; validation images, for choosing thresholds, are a suite of their own."""
    suites = {"clean": {TEST: splits.test}}
    if splits.validation is not None:
        suites[VALIDATION] = {VALIDATION: splits.validation}
    return suites


def keeps_logits(evaluation: Evaluation, suite: str, num_classes: int) -> bool:
    """Whether a suite's logits are stored: what the recipe says, else the clean ones of few classes.

    Of attributes learned jointly they are stored in any case (`store.prediction_batch`): nothing else is.
    """
    if evaluation.store_logits is not None:
        return evaluation.store_logits
    return suite in _OF_CLEAN_IMAGES and num_classes <= MAX_CLASSES_OF_KEPT_LOGITS
