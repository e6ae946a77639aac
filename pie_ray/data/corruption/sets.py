"""The evaluation sets of a suite of corruptions, whose pixels are made when they are asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType

import numpy as np
import torch

from ...config import CorruptionSuite
from ...errors import DataError
from ..decode import choose_rows
from ..evaluation_images import EvaluationImages, Pixels, fingerprint_of
from ..image_set import ImageSet, Int64Array, Splits
from .as_rgb import LEAST_SIZE, corrupt_as_rgb

FORMAT = 1
"""Raised when the same suite comes to mean other pixels."""

LEAST_SIZE_OF_IMAGENET_C = 96
"""`auto` takes CIFAR-10-C's parameters for smaller images, in pixels."""

_HOW_TO_GET_IT = (
    "get it with `pip install imagecorruptions-imaug`; where a library such as libGL.so.1 is missing, "
    "opencv-python-headless in the place of opencv-python needs none"
)


def corruption_sets(name: str, config: CorruptionSuite, splits: Splits) -> list[EvaluationImages]:
    """A set `corruption/<corruption>/<severity>` of the test images, or of some of them, for each that `config` names.

    Raises DataError where the images are neither gray nor RGB; reading a set raises it where imagecorruptions is not
    installed.
    """
    test = splits.test
    if test.num_channels not in (1, 3):
        raise DataError(
            f"evaluation.suites.{name}: images of {test.num_channels} channels cannot be corrupted; "
            "accepted are 1 (gray) and 3 (RGB)"
        )
    chosen = _choose(test, config.num_examples)
    return [
        _one_set(chosen, config, corruption, severity)
        for corruption in config.corruptions
        for severity in config.severities
    ]


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The test images that a suite corrupts: `rows` of them, and what is known of these."""

    test: ImageSet
    rows: Int64Array
    labels: torch.Tensor
    keys: tuple[str, ...]


def _choose(test: ImageSet, num_wanted: int | None) -> _Chosen:
    rows = choose_rows(len(test), num_wanted)
    return _Chosen(test, rows, test.labels[torch.from_numpy(rows)], tuple(test.keys[row] for row in rows))


def _one_set(chosen: _Chosen, config: CorruptionSuite, corruption: str, severity: int) -> EvaluationImages:
    test, rows = chosen.test, chosen.rows
    corrupted = _CorruptedImages(
        images=test.images,
        rows=rows,
        example_ids=test.example_ids[rows],
        corruption=corruption,
        severity=severity,
        parameters=_parameters(config, test.image_size),
        small_images=config.small_images,
        seed=config.seed,
    )
    return EvaluationImages(
        name=f"corruption/{corruption}/{severity}",
        labels=chosen.labels,
        example_ids=corrupted.example_ids,
        keys=chosen.keys,
        class_names=test.class_names,
        image_shape=(test.num_channels, test.image_size, test.image_size),
        fingerprint=_fingerprint(test, corrupted),
        read=corrupted.read,
        groups={group: values[rows] for group, values in test.groups.items()},
    )


def _parameters(config: CorruptionSuite, image_size: int) -> str:
    """`imagenet_c` or `cifar10_c`."""
    if config.parameters != "auto":
        return config.parameters
    return "cifar10_c" if image_size < LEAST_SIZE_OF_IMAGENET_C else "imagenet_c"


@dataclass(frozen=True, eq=False)
class _CorruptedImages:
    """One corruption at one severity: `rows` of `images`, uint8 [examples, channels, height, width]."""

    images: torch.Tensor = field(repr=False)
    rows: Int64Array = field(repr=False)
    example_ids: Int64Array = field(repr=False)
    corruption: str
    severity: int
    parameters: str
    small_images: str
    seed: int

    def read(self, start: int, stop: int) -> Pixels:
        """Corrupted pixels of consecutive examples, uint8 [stop - start, channels, height, width]."""
        generate = _imported_generate()
        corrupt = generate.GENERATORS[self.parameters]
        images = self.images[torch.from_numpy(self.rows[start:stop])].numpy()
        corrupted = np.empty_like(images)
        with generate.surroundings_kept():
            for position, example_id in enumerate(self.example_ids[start:stop].tolist()):
                seed = _seed_of(self.seed, self.corruption, self.severity, example_id)
                corrupt_one = partial(corrupt, corruption=self.corruption, severity=self.severity, seed=seed)
                corrupted[position] = corrupt_as_rgb(images[position], self.small_images, corrupt_one)
        return corrupted


def _fingerprint(test: ImageSet, corrupted: _CorruptedImages) -> str:
    return fingerprint_of(
        {
            "format": FORMAT,
            "images": test.fingerprint,
            "num_examples": len(corrupted.rows),
            "corruption": corrupted.corruption,
            "severity": corrupted.severity,
            "parameters": corrupted.parameters,
            "small_images": corrupted.small_images if test.image_size < LEAST_SIZE else None,
            "seed": corrupted.seed,
        }
    )


def _seed_of(suite_seed: int, corruption: str, severity: int, example_id: int) -> int:
    """32 bits that belong to one corrupted image, so that it is the same in any order, part and process."""
    text = f"{suite_seed} {corruption} {severity} {example_id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _imported_generate() -> ModuleType:
    """Not before an image is made: OpenCV, numba and scikit-image take a second to load, and few processes use them."""
    try:
        from . import generate
    except ImportError as error:
        raise DataError(
            f"corruptions need imagecorruptions, which cannot be used: {error}; {_HOW_TO_GET_IT}"
        ) from error
    return generate
