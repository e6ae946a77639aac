"""A tree of image files, one folder a class: `train/<class>/<image>` and `test/<class>/<image>`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ..config import ImageFolderData
from ..errors import DataError
from .image_set import Int64Array
from .published import Encoded, Published, PublishedSplit, Source, existing_folder

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def image_folder_source(config: ImageFolderData) -> Source:
    """Classes are the train split's folders; images may lie deeper. Hidden files and other suffixes are passed over.

    Raises DataError where a folder is missing or empty, and for a class of the test split that the train split lacks.
    """
    folder = existing_folder(config.path)
    train, test = _files_by_class(folder / "train"), _files_by_class(folder / config.test_split)
    unknown = sorted(set(test) - set(train))
    if unknown:
        raise DataError(f"{folder / config.test_split} has classes that {folder / 'train'} lacks: {', '.join(unknown)}")
    for name, files in train.items():
        if not files:
            raise DataError(f"{folder / 'train' / name} holds no image; accepted suffixes: {' '.join(SUFFIXES)}")
    all_files = tuple(path for by_class in (train, test) for files in by_class.values() for path in files)
    return Source(files=all_files, read=partial(_read, folder, config.test_split, train, test))


def _files_by_class(split_folder: Path) -> dict[str, list[Path]]:
    """The image files of each class folder, both sorted by name."""
    if not split_folder.is_dir():
        raise DataError(f"{split_folder} does not exist; data.path must hold it")
    with os.scandir(split_folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"{split_folder} holds no folder; each class needs one")
    return {name: _image_files(split_folder / name) for name in names}


def _image_files(class_folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(class_folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        kept = (name for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES))
        found += [Path(parent, name) for name in kept]
    return sorted(found)


def _read(folder: Path, test_split: str, train: dict[str, list[Path]], test: dict[str, list[Path]]) -> Published:
    class_names = tuple(train)
    return Published(
        train=_split(folder, "train", train, class_names),
        test=_split(folder, test_split, test, class_names),
        class_names=class_names,
    )


def _split(folder: Path, name: str, by_class: dict[str, list[Path]], class_names: tuple[str, ...]) -> PublishedSplit:
    files = [path for class_name in class_names for path in by_class.get(class_name, [])]
    counts = [len(by_class.get(class_name, [])) for class_name in class_names]

    def images(rows: Int64Array) -> Iterator[Encoded]:
        return (files[row] for row in rows)

    return PublishedSplit(
        place=str(folder / name),
        labels=np.repeat(np.arange(len(class_names)), counts),
        example_ids=np.arange(len(files)),
        keys=tuple(path.relative_to(folder).as_posix() for path in files),
        images=images,
        locate=lambda row: f"{files[row]} (row {row})",
    )
