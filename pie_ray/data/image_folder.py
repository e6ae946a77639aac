"""A tree of image files: `train/<class>/<image>`, or images anywhere under `train` whose attributes a table tells.

The table is the split's `metadata.csv`; its other columns of few values become groups.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..config import TRAIN, ImageFolderData
from ..errors import DataError
from . import metadata_csv
from .columns import attribute_groups, check_attributes, descriptive_columns, read_attributes, read_groups
from .image_set import Int64Array, LabelArray
from .published import Encoded, Published, PublishedSplit, Source, existing_folder, split_names

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_NO_GROUP = "label"
"""Many a metadata.csv repeats the class under this name, which examples' tables keep for it."""


def image_folder_source(config: ImageFolderData, *, train_name: str = TRAIN) -> Source:
    """Classes are the train split's folders; images may lie deeper. Hidden files and other suffixes are passed over.

    `train_name` is the folder that is read as the train split.

    Raises DataError where a folder is missing or empty, for a class of another split that the train split lacks, and
    where attributes are to be learned of a split without metadata.csv.
    """
    folder = existing_folder(config.path)
    names = (train_name, *split_names(config)[1:])
    if config.attributes:
        splits, class_names = _attribute_splits(folder, names), config.attributes
    else:
        splits, class_names = _class_splits(folder, names)
    files = tuple(path for split in splits for path in (*split.files, *split.metadata_files))
    return Source(files=files, read=partial(_read, splits, class_names, config.attributes))


@dataclass(frozen=True)
class _Split:
    """One split's files; `classes` is int64 [files], None where attributes are learned."""

    root: Path
    name: str
    files: list[Path]
    classes: Int64Array | None

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def metadata_files(self) -> list[Path]:
        path = self.folder / metadata_csv.NAME
        return [path] if path.is_file() else []

    def read_metadata(self) -> Any:
        """Table with a row a file, without columns where there is no metadata.csv."""
        import pyarrow

        if not self.metadata_files:
            return pyarrow.table({})
        return metadata_csv.read_metadata(self.metadata_files[0], self.files)

    def published(
        self, metadata: Any, groups: dict[str, npt.NDArray[np.generic]], attributes: tuple[str, ...]
    ) -> PublishedSplit:
        labels: LabelArray
        if self.classes is not None:
            labels = self.classes
        else:
            check_attributes(attributes, metadata.column_names, str(self.metadata_files[0]))
            labels = read_attributes(metadata, attributes, lambda row: f"{self.files[row]} (row {row})")
            groups = groups | attribute_groups(attributes, labels)
        keys = tuple(path.relative_to(self.root).as_posix() for path in self.files)
        files = _ImageFiles.of(self.root, keys)
        return PublishedSplit(
            place=str(self.folder),
            labels=labels,
            example_ids=np.arange(len(self.files)),
            keys=keys,
            images=files.images,
            locate=files.locate,
            groups=groups,
            sizes=files.sizes,
        )


@dataclass(frozen=True)
class _ImageFiles:
    """Files by row; a million of them travel to other processes as one array of text, `names` below `root`."""

    root: str
    names: Any

    @classmethod
    def of(cls, root: Path, names: Sequence[str]) -> _ImageFiles:
        import pyarrow

        return cls(str(root), pyarrow.array(names, pyarrow.large_string()))

    def images(self, rows: Int64Array) -> Iterator[Encoded]:
        return (self._path(row) for row in rows)

    def locate(self, row: int) -> str:
        return f"{self._path(row)} (row {row})"

    def sizes(self) -> Int64Array:
        """Bytes of each file."""
        return np.array([self._path(row).stat().st_size for row in range(len(self.names))], dtype=np.int64)

    def _path(self, row: int) -> Path:
        return Path(self.root, self.names[int(row)].as_py())


def _read(splits: list[_Split], class_names: tuple[str, ...], attributes: tuple[str, ...]) -> Published:
    tables = [split.read_metadata() for split in splits]
    groups = read_groups(*map(_described, tables))
    train, test, *validation = (
        split.published(table, of_split, attributes)
        for split, table, of_split in zip(splits, tables, groups, strict=True)
    )
    return Published(train, test, class_names, *validation)


def _described(table: Any) -> Any:
    return table.select([name for name in descriptive_columns(table.schema) if name != _NO_GROUP])


# ----------------------------------------------------------------------------------------------- finding the files


def _attribute_splits(root: Path, names: tuple[str, ...]) -> list[_Split]:
    splits = [_Split(root, name, _image_files(_existing(root / name)), None) for name in names]
    for split in splits:
        if not split.files:
            raise _no_image(split.folder)
        if not split.metadata_files:
            raise DataError(
                f"{split.folder} holds no {metadata_csv.NAME}; data.attributes are columns of it, beside file_name"
            )
    return splits


def _class_splits(root: Path, names: tuple[str, ...]) -> tuple[list[_Split], tuple[str, ...]]:
    by_split = {name: _files_by_class(root / name) for name in names}
    train_name, *other_names = names
    train = by_split[train_name]
    for name in other_names:
        unknown = sorted(set(by_split[name]) - set(train))
        if unknown:
            raise DataError(f"{root / name} has classes that {root / train_name} lacks: {', '.join(unknown)}")
    for name, files in train.items():
        if not files:
            raise _no_image(root / train_name / name)
    return [_class_split(root, name, by_split[name], list(train)) for name in names], tuple(train)


def _class_split(root: Path, name: str, by_class: dict[str, list[Path]], class_names: list[str]) -> _Split:
    files_of = [by_class.get(class_name, []) for class_name in class_names]
    classes = np.repeat(np.arange(len(class_names)), [len(files) for files in files_of])
    return _Split(root, name, [path for files in files_of for path in files], classes)


def _files_by_class(split_folder: Path) -> dict[str, list[Path]]:
    """The image files of each class folder, both sorted by name."""
    with os.scandir(_existing(split_folder)) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"{split_folder} holds no folder; each class needs one")
    return {name: _image_files(split_folder / name) for name in names}


def _existing(split_folder: Path) -> Path:
    if not split_folder.is_dir():
        raise DataError(f"{split_folder} does not exist; data.path must hold it")
    return split_folder


def _no_image(folder: Path) -> DataError:
    return DataError(f"{folder} holds no image; accepted suffixes: {' '.join(SUFFIXES)}")


def _image_files(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        kept = (name for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES))
        found += [Path(parent, name) for name in kept]
    return sorted(found)
