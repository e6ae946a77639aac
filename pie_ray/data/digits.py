"""scikit-learn's handwritten digits: real images inside the package, for tests and the first study."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..config import DigitsData
from .image_set import Int64Array
from .published import Encoded, Published, PublishedSplit, Source

NUM_TRAIN = 1000

_SPLIT_SEED = 0
_LARGEST_VALUE = 16


def digits_source(config: DigitsData) -> Source:
    """1,797 images of 8 x 8 pixels. Both splits keep scikit-learn's row numbers as their example ids."""
    return Source(files=(), read=_read)


def _read() -> Published:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * 255 / _LARGEST_VALUE).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    order = _stratified_order(labels)
    return Published(
        train=_split(pixels, labels, np.sort(order[:NUM_TRAIN]), "the train split of digits"),
        test=_split(pixels, labels, np.sort(order[NUM_TRAIN:]), "the test split of digits"),
        class_names=tuple(str(label) for label in range(10)),
    )


def _stratified_order(labels: Int64Array) -> Int64Array:
    """A shuffled order any prefix of which holds each class in proportion.

    Each example stands at the quantile that its shuffled rank within its class gives it. RandomState, because its
    numbers never change between versions of numpy.
    """
    shuffled = np.random.RandomState(_SPLIT_SEED).permutation(len(labels))
    quantiles = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = shuffled[labels[shuffled] == label]
        quantiles[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    return shuffled[np.argsort(quantiles[shuffled], kind="stable")]


def _split(pixels: npt.NDArray[np.uint8], labels: Int64Array, rows: Int64Array, place: str) -> PublishedSplit:
    def images(chosen: Int64Array) -> Iterator[Encoded]:
        return iter(pixels[rows[chosen]])

    return PublishedSplit(
        place=place,
        labels=labels[rows],
        example_ids=rows,
        keys=tuple(f"digits[{row}]" for row in rows),
        images=images,
        locate=lambda row: f"scikit-learn's digits, row {rows[row]}",
    )
