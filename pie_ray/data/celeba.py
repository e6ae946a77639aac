"""CelebA (Liu, Luo, Wang & Tang, arXiv 1411.7766): aligned faces with forty binary attributes, in torchvision's layout.

`img_align_celeba/000001.jpg` and on; `list_attr_celeba.txt`: the number of images, a line of attributes' names, then
`000001.jpg -1  1 ...`; `list_eval_partition.txt`: `000001.jpg 0`, where 0 is to train, 1 to validate and 2 to test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..config import TEST, TRAIN, VALIDATION, CelebaData
from ..errors import DataError
from .columns import attribute_groups, check_attributes
from .image_set import BoolArray, Int64Array
from .published import Encoded, Published, PublishedSplit, Source, existing_folder

IMAGES = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"

_SUBFOLDER = "celeba"
_SPLITS = {"0": TRAIN, "1": VALIDATION, "2": TEST}
_VALUES = {"-1", "1"}


def celeba_source(config: CelebaData) -> Source:
    """Every attribute of the file is a group, learned or not; images of the partition 1 are the validation split.

    Raises DataError, with file and line, where files or images are missing and where the two lists are damaged or do
    not name the same images.
    """
    folder = _find(existing_folder(config.path))
    with os.scandir(folder / IMAGES) as entries:
        images = sorted(Path(entry.path) for entry in entries if not entry.name.startswith("."))
    files = (folder / ATTRIBUTES, folder / PARTITION, *images)
    return Source(files=files, read=partial(_read, folder, {path.name for path in images}, config.attributes))


def _find(folder: Path) -> Path:
    places = (folder, folder / _SUBFOLDER)
    needed = (IMAGES, ATTRIBUTES, PARTITION)
    lacking = {place: [name for name in needed if not (place / name).exists()] for place in places}
    found = next((place for place, names in lacking.items() if not names), None)
    if found is None:
        raise DataError("; ".join(f"{place} lacks {', '.join(names)}" for place, names in lacking.items()))
    return found


@dataclass(frozen=True)
class _List:
    """The list of attributes: `values` is bool [images, attributes], `first_line` the line of the first image."""

    path: Path
    attributes: tuple[str, ...]
    names: list[str]
    values: BoolArray
    first_line: int

    def split(self, name: str, rows: Int64Array, learned: list[int]) -> PublishedSplit:
        """The images at `rows`, in the order of the file."""
        names = tuple(self.names[row] for row in rows)
        images = self.path.parent / IMAGES

        def encoded(chosen: Int64Array) -> Iterator[Encoded]:
            return (images / names[row] for row in chosen)

        return PublishedSplit(
            place=f"{self.path.parent} ({name})",
            labels=self.values[rows][:, learned],
            example_ids=np.arange(len(rows)),
            keys=names,
            images=encoded,
            locate=lambda row: f"{images / names[row]} ({self.path.name}, line {self.first_line + rows[row]})",
            groups=attribute_groups(self.attributes, self.values[rows]),
        )


def _read(folder: Path, there: set[str], wanted: tuple[str, ...]) -> Published:
    listed = _read_attributes(folder / ATTRIBUTES, there)
    splits = _read_partition(folder / PARTITION, listed)
    check_attributes(wanted, listed.attributes, str(listed.path))
    learned = [listed.attributes.index(name) for name in wanted or listed.attributes]
    published = {name: listed.split(name, np.flatnonzero(splits == name), learned) for name in _SPLITS.values()}
    return Published(
        train=published[TRAIN],
        test=published[TEST],
        class_names=wanted or listed.attributes,
        validation=published[VALIDATION] if len(published[VALIDATION]) else None,
    )


def _read_attributes(path: Path, there: set[str]) -> _List:
    """`there` is the names of the image files."""
    lines = _lines(path)
    if len(lines) < 2 or not lines[0].strip().isdigit():
        raise DataError(f"{path}, line 1: found {_shown(lines, 0)}, needs the number of images, then attributes' names")
    attributes = tuple(lines[1].split())
    doubled = sorted({name for name in attributes if attributes.count(name) > 1})
    if doubled or not attributes:
        raise DataError(f"{path}, line 2: needs names of attributes, each once, found {', '.join(doubled) or 'none'}")
    names: list[str] = []
    values = np.empty((len(lines) - 2, len(attributes)), dtype=np.bool_)
    for number, name, fields in _rows(path, lines, first=3):
        if len(fields) != len(attributes):
            raise DataError(f"{path}, line {number}: {len(fields)} values for {len(attributes)} attributes")
        if not _VALUES.issuperset(fields):
            attribute, value = next(pair for pair in zip(attributes, fields, strict=True) if pair[1] not in _VALUES)
            raise DataError(f"{path}, line {number}: attribute {attribute} is {value}, accepted -1 and 1")
        if name not in there:
            raise DataError(f"{path}, line {number}: {path.parent / IMAGES} has no image {name}")
        values[len(names)] = [field == "1" for field in fields]
        names.append(name)
    if len(names) != int(lines[0]):
        raise DataError(f"{path}, line 1: promises {int(lines[0])} images, there are {len(names)}")
    return _List(path, attributes, names, values[: len(names)], first_line=3)


def _read_partition(path: Path, listed: _List) -> np.ndarray:
    """Split of each image of the list, text [images]."""
    rows = {name: row for row, name in enumerate(listed.names)}
    splits = np.full(len(rows), "", dtype=object)
    for number, name, fields in _rows(path, _lines(path), first=1):
        if len(fields) != 1 or fields[0] not in _SPLITS:
            raise DataError(f"{path}, line {number}: split {' '.join(fields) or 'missing'}, accepted 0, 1 and 2")
        if name not in rows:
            raise DataError(f"{path}, line {number}: {listed.path.name} has no image {name}")
        splits[rows[name]] = _SPLITS[fields[0]]
    left_out = np.flatnonzero(splits == "")
    if len(left_out):
        row = int(left_out[0])
        raise DataError(f"{listed.path}, line {listed.first_line + row}: {path.name} has no image {listed.names[row]}")
    return splits


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()


def _rows(path: Path, lines: list[str], first: int) -> Iterator[tuple[int, str, list[str]]]:
    """Line number, image name and the other fields of each line from number `first` on; a name stands once."""
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[first - 1 :], start=first):
        name, *fields = line.split() or [""]
        if not name:
            raise DataError(f"{path}, line {number}: the line is empty")
        if name in seen:
            raise DataError(f"{path}, line {number}: {name} stands in line {seen[name]} too")
        seen[name] = number
        yield number, name, fields


def _shown(lines: list[str], index: int) -> str:
    return repr(lines[index][:40]) if index < len(lines) else "nothing"
