"""Images and labels as .npy files, in which CIFAR's variations are published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from ..evaluation_images import Pixels
from ..image_set import Int64Array, LabelArray
from ..published import Encoded, PublishedSplit


def map_images(path: Path) -> Pixels:
    """uint8 [rows, height, width, 3], mapped: a row is read when it is looked at; DataError for any other array."""
    images = _map(path)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise DataError(f"{path}: found {_text(images)}, accepted are images as uint8 [rows, height, width, 3]")
    return images


def read_labels(path: Path, num_classes: int) -> Int64Array:
    """int64 [rows]; DataError for other than whole numbers below `num_classes`, with the row."""
    labels = _map(path)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(f"{path}: found {_text(labels)}, accepted are labels as whole numbers [rows]")
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(f"{path}, row {row}: label {labels[row]}, accepted 0 to {num_classes - 1}")
    return labels.astype(np.int64)


def check_lengths(image_path: Path, images: Pixels, label_path: Path, labels: Int64Array) -> None:
    """DataError where there is not one label an image."""
    if len(images) != len(labels):
        raise DataError(f"{image_path} has {len(images)} images, but {label_path} has {len(labels)} labels")


def split_of_arrays(
    path: Path, images: Pixels, labels: LabelArray, keys: tuple[str, ...], first_row: int = 0
) -> PublishedSplit:
    """`labels` [rows] and the file's images from `first_row` on; ids are numbered from 0."""

    def encoded(rows: Int64Array) -> Iterator[Encoded]:
        return (images[first_row + row] for row in rows)

    return PublishedSplit(
        place=str(path),
        labels=labels,
        example_ids=np.arange(len(labels)),
        keys=keys,
        images=encoded,
        locate=lambda row: f"{path}, row {first_row + row}",
    )


def _map(path: Path) -> npt.NDArray[Any]:
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    try:
        # Unlike np.load it takes no archives, and never unpickles: what holds objects is refused.
        mapped = np.lib.format.open_memmap(path, mode="r")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read as .npy: {error}") from error
    # A plain array over the mapping: numpy's own kind for it is slow to take a row of.
    return np.asarray(mapped)


def _text(values: npt.NDArray[Any]) -> str:
    return f"{values.dtype} {list(values.shape)}"
