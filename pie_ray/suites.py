"""Which evaluation sets a study makes predictions on: the only place that says so."""

from __future__ import annotations

from collections.abc import Mapping

from .config import Evaluation
from .data import ImageSet, Splits

MAX_CLASSES_OF_KEPT_LOGITS = 100
"""Up to here the logits take no more room than a few hundred bytes a prediction."""

Suites = Mapping[str, Mapping[str, ImageSet]]
"""Evaluation sets by suite and name."""


def evaluation_suites(splits: Splits) -> Suites:
    """The suites of a study on these splits."""
    return {"clean": {"test": splits.test}}


def keeps_logits(evaluation: Evaluation, suite: str, num_classes: int) -> bool:
    """Whether a suite's logits are stored: what the recipe says, else the clean ones of few classes."""
    if evaluation.store_logits is not None:
        return evaluation.store_logits
    return suite == "clean" and num_classes <= MAX_CLASSES_OF_KEPT_LOGITS
