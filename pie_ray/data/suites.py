"""Every kind of suite: the evaluation sets that a recipe adds to its test images.

To add one: a config `kind` in `config/suites.py`, a maker, and its line in `SUITES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..config import CLEAN, TEST, VALIDATION, Suite
from ..errors import DataError
from .corruption import corruption_sets
from .evaluation_images import EvaluationImages, as_they_are, fingerprint_of
from .image_set import Splits
from .ready_made import cifar10_1_sets, cifar10_c_sets, class_folder_sets, imagenet_c_sets, natural_sets

Suites = Mapping[str, tuple[EvaluationImages, ...]]
"""Evaluation sets by suite."""

SUITES: dict[str, Callable[[str, Any, Splits], list[EvaluationImages]]] = {
    "corruptions": corruption_sets,
    "cifar10_1": cifar10_1_sets,
    "cifar10_c": cifar10_c_sets,
    "imagenet_a": class_folder_sets,
    "imagenet_c": imagenet_c_sets,
    "imagenet_r": class_folder_sets,
    "natural": natural_sets,
}


def open_suites(configs: Mapping[str, Suite], splits: Splits) -> Suites:
    """The suites of a study on these splits, the test images first; no image is made or decoded yet.

    Validation images, for choosing thresholds, are a suite of their own. Raises DataError, naming the suite, for files
    that are not as they should be, and where two suites have an evaluation set of one name.
    """
    suites: dict[str, tuple[EvaluationImages, ...]] = {CLEAN: (as_they_are(TEST, splits.test),)}
    if splits.validation is not None:
        suites[VALIDATION] = (as_they_are(VALIDATION, splits.validation),)
    for name, config in configs.items():
        suites[name] = tuple(SUITES[config.kind](name, config, splits))
    _check_names(suites)
    return suites


def suite_fingerprint(sets: Iterable[EvaluationImages]) -> str:
    """Sixteen hexadecimal digits that stand for all images of a suite, and for what is asked about them."""
    return fingerprint_of({images.name: [images.fingerprint, images.among] for images in sets})


def _check_names(suites: Suites) -> None:
    owners: dict[str, str] = {}
    for suite, sets in suites.items():
        for images in sets:
            other = owners.setdefault(images.name, suite)
            if other != suite:
                raise DataError(
                    f"evaluation.suites: {other} and {suite} both have the evaluation set {images.name}; "
                    "leave it out of one of them"
                )
