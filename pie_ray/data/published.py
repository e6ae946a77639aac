"""A data set as its publisher laid it out: labels read, images still encoded. What every source hands to `decode`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..config import TRAIN, AbstractNamedSplits
from ..errors import DataError
from .image_set import Int64Array, LabelArray

Encoded = bytes | Path | Image.Image | npt.NDArray[np.uint8]
"""One image: an image file's bytes, its path, or pixels [height, width] or [height, width, 3]."""


_MAX_UNNAMED_CLASSES = 100_000


@dataclass(frozen=True)
class PublishedSplit:
    """One split. `images` opens the given rows, lazily and in order; `locate` names the file and row of one.

    `labels` is int64 [rows] or bool [rows, attributes], `example_ids` int64 [rows]; `place` is what an error about the
    whole split names.
    """

    place: str
    labels: LabelArray
    example_ids: Int64Array
    keys: tuple[str, ...]
    images: Callable[[Int64Array], Iterator[Encoded]]
    locate: Callable[[int], str]
    groups: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    blocks: Int64Array | None = None
    """First rows of what is read as a whole, and the number of rows at the end; None where any image is as near."""
    sizes: Callable[[], Int64Array] | None = None
    """Bytes of each image, or of each block of images, without reading them; None where the source cannot be streamed,
    which also needs `images` and `locate` that travel to other processes."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Published:
    """All splits; DataError where one is empty, or has a label that no class name belongs to."""

    train: PublishedSplit
    test: PublishedSplit
    class_names: tuple[str, ...]
    """Of the classes, or of the attributes where the labels are bool."""
    validation: PublishedSplit | None = None

    def __post_init__(self) -> None:
        for split in (self.train, self.test, self.validation):
            if split is None:
                continue
            if len(split) == 0:
                raise DataError(f"{split.place}: the split is empty, found no examples")
            if split.labels.ndim == 1:
                _check_range(split, len(self.class_names))


def _check_range(split: PublishedSplit, num_classes: int) -> None:
    wrong = np.flatnonzero((split.labels < 0) | (split.labels >= num_classes))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(f"{split.locate(row)}: label {split.labels[row]}, accepted 0 to {num_classes - 1}")


@dataclass(frozen=True)
class Source:
    """Where a data set lies and how to read it.

    `files` are all that the decoded images depend on; where there are none, the images are not cached.
    """

    files: tuple[Path, ...]
    read: Callable[[], Published]


def numbered_names(split: PublishedSplit) -> tuple[str, ...]:
    """Class names where the publisher gives none: `0`, `1`, ... up to the largest label.

    Raises DataError for a label so large that it is something else, an id say.
    """
    largest = int(split.labels.max(initial=-1))
    if largest >= _MAX_UNNAMED_CLASSES:
        location = split.locate(int(split.labels.argmax()))
        raise DataError(f"{location}: label {largest}, accepted 0 to {_MAX_UNNAMED_CLASSES - 1} without class names")
    return tuple(str(label) for label in range(largest + 1))


def split_names(config: AbstractNamedSplits) -> tuple[str, ...]:
    """What the source calls the train and test split and, where there is one, the validation split."""
    return (TRAIN, config.test_split, *filter(None, [config.validation_split]))


def existing_folder(path: str, field_name: str = "data.path") -> Path:
    """The folder at `path`, `~` expanded; DataError where there is none."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{field_name}: {folder} {found}; a folder is needed (seen from {Path.cwd()})")
    return folder
