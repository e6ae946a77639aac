"""Any classification set of torchvision's by its class name, read through torchvision itself."""

from __future__ import annotations

import difflib
import inspect
import operator
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..config import TorchvisionData
from ..errors import DataError
from .image_set import Int64Array
from .published import Encoded, Published, PublishedSplit, Source, numbered_names

# Some sets keep their labels only under the private name.
_LABEL_ATTRIBUTES = ("targets", "labels", "_labels")
_SPLIT_NAMES = {"train": ("train", "trainval"), "test": ("test", "val")}
_GET_IT = "set data.download: true to let torchvision fetch it"


def torchvision_source(config: TorchvisionData) -> Source:
    """Sets whose class takes `train=` or `split=`; one without a `test` split is evaluated on its `val`.

    Raises DataError for an unknown name, and where files are missing or damaged or labels are not whole numbers.
    """
    kind = _find_class(config.name)
    root = Path(config.path).expanduser()
    if config.download:
        root.mkdir(parents=True, exist_ok=True)
    elif not root.is_dir():
        raise DataError(f"data.path: the folder {root} does not exist; {_GET_IT}")
    files = tuple(sorted(path for path in root.rglob("*") if path.is_file()))
    return Source(files=files, read=partial(_read, kind, config))


def _find_class(name: str) -> Any:
    import torchvision.datasets

    known = torchvision.datasets.__all__
    if name == "CelebA":
        raise DataError("data.name: CelebA has attributes and no classes; set data.kind to celeba")
    if name not in known:
        close = difflib.get_close_matches(name, known, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
        raise DataError(f"data.name: torchvision has no data set {name}; {hint}")
    kind = getattr(torchvision.datasets, name)
    parameters = inspect.signature(kind).parameters.values()
    names = {parameter.name for parameter in parameters}
    plain = (parameter for parameter in parameters if parameter.kind != parameter.VAR_KEYWORD)
    required = {parameter.name for parameter in plain if parameter.default is parameter.empty}
    if not names & {"train", "split"} or required - {"root", "train", "split"}:
        raise DataError(f"data.name: torchvision's {name} does not divide into splits by train= or split= alone")
    return kind


def _read(kind: Any, config: TorchvisionData) -> Published:
    dataset = _make(kind, config, "train")
    train = _published(dataset, f"{config.name} in {config.path}", "train")
    test = _published(_make(kind, config, "test"), f"{config.name} in {config.path}", "test")
    names = tuple(_class_name(name) for name in getattr(dataset, "classes", ()))
    return Published(train, test, names or numbered_names(train))


def _class_name(name: str | tuple[str, ...]) -> str:
    """ImageNet gives each class several names."""
    return name if isinstance(name, str) else name[0]


def _make(kind: Any, config: TorchvisionData, split: str) -> Any:
    """The data set's object for `train` or `test`."""
    parameters = inspect.signature(kind).parameters
    options: dict[str, Any] = {"root": str(Path(config.path).expanduser())}
    if config.download:
        options["download"] = True
    if "train" in parameters:
        choices = [options | {"train": split == "train"}]
    else:
        choices = [options | {"split": name} for name in _SPLIT_NAMES[split]]
    failures: list[Exception] = []
    for choice in choices:
        try:
            return kind(**choice)
        except ValueError as error:  # torchvision's answer to a split that it does not know
            failures.append(error)
        except Exception as error:
            failures.insert(0, error)
            break
    reason = str(failures[0]).rstrip(".")
    hint = "" if config.download else f"; {_GET_IT}"
    raise DataError(f"torchvision's {config.name} in {config.path}: {reason}{hint}") from failures[0]


def _published(dataset: Any, place: str, split: str) -> PublishedSplit:
    def locate(row: int) -> str:
        return f"{place}, {split} row {row}"

    def images(rows: Int64Array) -> Iterator[Encoded]:
        return (_item(dataset, row, locate(row))[0] for row in rows.tolist())

    return PublishedSplit(
        place=f"{place} ({split})",
        labels=_read_labels(dataset, locate),
        example_ids=np.arange(len(dataset)),
        keys=tuple(f"{split}[{row}]" for row in range(len(dataset))),
        images=images,
        locate=locate,
    )


def _item(dataset: Any, row: int, location: str) -> tuple[Any, Any]:
    try:
        image, label = dataset[row][:2]
    except Exception as error:
        raise DataError(f"{location}: torchvision cannot read it: {error}") from error
    return image, label


def _read_labels(dataset: Any, locate: Callable[[int], str]) -> Int64Array:
    """Labels from the data set's own list; where it keeps none, from its items, which decodes every image once more."""
    lists = (getattr(dataset, name, None) for name in _LABEL_ATTRIBUTES)
    labels = next((found for found in lists if found is not None and len(found) == len(dataset)), None)
    if labels is None:
        labels = []
        for row in range(len(dataset)):
            labels.append(_whole_number(_item(dataset, row, locate(row))[1], locate(row)))
    values = np.asarray(labels)
    if values.dtype.kind not in "iu" or values.ndim != 1:
        values = np.array([_whole_number(label, locate(row)) for row, label in enumerate(labels)], dtype=np.int64)
    return values.astype(np.int64)


def _whole_number(label: Any, location: str) -> int:
    try:
        return operator.index(label)
    except TypeError as error:
        raise DataError(f"{location}: label {label!r} is no whole number") from error
