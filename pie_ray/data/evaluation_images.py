"""The images of one evaluation set beside the clean ones: made, or decoded, when they are asked for.

Corrupted images come from the study's test images (`corruption`), others from files (`ready_made`). Either way a
maker is a function of a suite's configuration and the study's splits that returns the suite's sets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .image_set import ImageSet, Int64Array, TrainingSet

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class EvaluationImages:
    """One evaluation set: what is known of its examples, and how to come by their pixels.

    `labels` is int64 [examples] or bool [examples, attributes], in the study's own classes; `example_ids` int64
    [examples]; `groups` maps attributes to values [examples]. `image_shape` is channels, height, width of
    the study's images. `read(start, stop)` gives uint8 [stop - start, channels, height, width] of consecutive
    examples, the same whenever, wherever and however often it is called. `fingerprint` stands for all of it: sixteen
    hexadecimal digits of whatever decides pixels, labels and ids, and of nothing else (no path, no time).
    """

    name: str
    labels: torch.Tensor = field(repr=False)
    example_ids: Int64Array = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)
    image_shape: tuple[int, int, int]
    fingerprint: str
    read: Callable[[int, int], Pixels] = field(repr=False)
    groups: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict, repr=False)
    among: tuple[int, ...] | None = field(default=None, repr=False)
    """The classes that an answer is chosen among; None is all."""
    is_in_memory: bool = False
    """Whether reading costs nothing, so that nobody need keep what was read."""

    def __post_init__(self) -> None:
        assert len(self.labels) == len(self.example_ids) == len(self.keys) > 0, self.name

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_multilabel(self) -> bool:
        return self.labels.ndim == 2


def as_they_are(name: str, images: TrainingSet) -> EvaluationImages:
    """A study's split as an evaluation set."""
    return EvaluationImages(
        name=name,
        labels=images.labels,
        example_ids=images.example_ids,
        keys=images.keys,
        class_names=images.class_names,
        image_shape=(images.num_channels, images.image_size, images.image_size),
        fingerprint=images.fingerprint,
        read=partial(_read, images),
        groups=images.groups,
        is_in_memory=isinstance(images, ImageSet),
    )


def _read(images: TrainingSet, start: int, stop: int) -> Pixels:
    if isinstance(images, ImageSet):
        return images.images[start:stop].numpy()
    return images.pixels.read(np.arange(start, stop)).numpy()


def fingerprint_of(description: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits of a JSON description."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
