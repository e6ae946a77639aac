"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017) from its four IDX files, gzipped or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..config import FashionMnistData
from ..errors import DataError
from .image_set import Int64Array
from .published import Encoded, Published, PublishedSplit, Source, existing_folder

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

_PREFIXES = {"train": "train", "test": "t10k"}
_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
_HOW_TO_GET_IT = (
    "get it with `apt install dataset-fashion-mnist`, or with "
    "`python -c \"import torchvision; torchvision.datasets.FashionMNIST('data', download=True)\"`"
)


def fashion_mnist_source(config: FashionMnistData) -> Source:
    """60,000 and 10,000 images of 28 x 28 pixels; DataError lists the folders looked in and what they lack."""
    files = _files_in(existing_folder(config.path)) if config.path is not None else _find_files()
    return Source(files=tuple(files.values()), read=partial(_read, files))


def _places() -> tuple[Path, ...]:
    """Debian's dataset-fashion-mnist, then the roots that torchvision is commonly given."""
    roots = (Path("data"), Path("~/data").expanduser(), Path("~/.cache/torchvision").expanduser())
    return (Path("/usr/share/datasets/fashion-mnist"), *(root / "FashionMNIST" / "raw" for root in roots))


def _find_files() -> dict[str, Path]:
    for place in _places():
        if place.is_dir():
            return _files_in(place)
    looked_in = ", ".join(str(place) for place in _places())
    raise DataError(f"Fashion-MNIST was not found; looked in {looked_in}. Set data.path, or {_HOW_TO_GET_IT}")


def _files_in(folder: Path) -> dict[str, Path]:
    """The four files by `train-images-idx3-ubyte` and so on."""
    names = [f"{prefix}-{part}" for prefix in _PREFIXES.values() for part in (_IMAGES, _LABELS)]
    choices = {name: [folder / name, folder / f"{name}.gz"] for name in names}
    found = {name: path for name, paths in choices.items() for path in reversed(paths) if path.is_file()}
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)} (plain or .gz); {_HOW_TO_GET_IT}")
    return {name: found[name] for name in names}


def _read(files: dict[str, Path]) -> Published:
    return Published(train=_read_split(files, "train"), test=_read_split(files, "test"), class_names=CLASS_NAMES)


def _read_split(files: dict[str, Path], name: str) -> PublishedSplit:
    image_file, label_file = (files[f"{_PREFIXES[name]}-{part}"] for part in (_IMAGES, _LABELS))
    pixels, labels = _read_idx(image_file, num_axes=3), _read_idx(label_file, num_axes=1).astype(np.int64)
    if len(pixels) != len(labels):
        raise DataError(f"{image_file} has {len(pixels)} images, but {label_file} has {len(labels)} labels")

    def images(rows: Int64Array) -> Iterator[Encoded]:
        return (pixels[row] for row in rows)

    return PublishedSplit(
        place=str(image_file),
        labels=labels,
        example_ids=np.arange(len(labels)),
        keys=tuple(f"{name}[{row}]" for row in range(len(labels))),
        images=images,
        locate=lambda row: f"{label_file}, row {row}",
    )


def _read_idx(path: Path, num_axes: int) -> npt.NDArray[np.uint8]:
    """An IDX file of unsigned bytes: magic 0x0800 + axes, a big-endian uint32 length an axis, then the values."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    num_header_bytes = 4 * (1 + num_axes)
    if len(content) < num_header_bytes:
        raise DataError(f"{path} is truncated: {len(content)} bytes, less than its header")
    magic, *shape = np.frombuffer(content, dtype=">u4", count=1 + num_axes).tolist()
    if magic != 0x800 + num_axes:
        raise DataError(f"{path} is no IDX file of {num_axes}-axis bytes: magic {magic}, expected {0x800 + num_axes}")
    num_expected, num_found = int(np.prod(shape, dtype=object)), len(content) - num_header_bytes
    if num_found != num_expected:
        state = "truncated" if num_found < num_expected else "too long"
        raise DataError(f"{path} is {state}: {num_found} bytes of values, its header promises {num_expected}")
    return np.frombuffer(content, dtype=np.uint8, offset=num_header_bytes).reshape(shape)
