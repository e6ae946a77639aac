"""A tree `<class>/<image>` whose folders have the names of the study's classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..image_folder import SUFFIXES
from ..image_set import Int64Array
from ..published import Encoded, PublishedSplit
from .classes import find_classes, shown


@dataclass(frozen=True)
class ClassTree:
    """`files` are `<class>/<image>` in order of the classes' names and then their own; `labels` is int64 [files]."""

    folder: Path
    files: tuple[str, ...] = field(repr=False)
    labels: Int64Array = field(repr=False)

    def published(self, example_ids: Int64Array) -> PublishedSplit:
        # Joined as text: Path's own way takes several times as long, and there are millions of them.
        parent = f"{self.folder}{os.sep}"

        def encoded(rows: Int64Array) -> Iterator[Encoded]:
            return (Path(parent + self.files[row]) for row in rows)

        return PublishedSplit(
            place=str(self.folder),
            labels=self.labels,
            example_ids=example_ids,
            keys=self.files,
            images=encoded,
            locate=lambda row: parent + self.files[row],
        )


def list_class_tree(folder: Path, class_names: tuple[str, ...]) -> ClassTree:
    """Files beside the folders are passed over, as are hidden ones and other suffixes than images have.

    Raises DataError for a folder that no class of the study has the name of, and where one holds no image.
    """
    names = _subfolders(folder)
    if not names:
        raise DataError(f"{folder} holds no folder; each class needs one")
    indices = _class_indices(folder, names, class_names)
    by_class = {name: _image_files(folder / name) for name in names}
    labels = np.repeat(np.array(indices, dtype=np.int64), [len(files) for files in by_class.values()])
    files = tuple(f"{name}/{file}" for name, files in by_class.items() for file in files)
    return ClassTree(folder, files, labels)


def _class_indices(folder: Path, names: list[str], class_names: tuple[str, ...]) -> list[int]:
    """The study's index of each folder."""
    indices = []
    for name, index in zip(names, find_classes(names, class_names), strict=True):
        if index is None:
            raise DataError(
                f"{folder / name}: the study has no class {name}; a class's folder needs the class's name, "
                f"and the study's are {shown(class_names)}"
            )
        indices.append(index)
    return indices


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def _image_files(folder: Path) -> list[str]:
    names = sorted(name for name in os.listdir(folder) if not name.startswith(".") and name.lower().endswith(SUFFIXES))
    if not names:
        raise DataError(f"{folder} holds no image; accepted suffixes: {' '.join(SUFFIXES)}")
    return names
