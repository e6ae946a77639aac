"""From a published data set to images in memory: choose rows, decode them in threads, resize, agree on channels."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from ..config import AbstractData
from ..errors import DataError
from .image_set import ImageSet, Int64Array, Splits
from .published import Encoded, Published, PublishedSplit

T = TypeVar("T")
R = TypeVar("R")

SUBSET_SEED = 0

_GRAY_MODES = {"1", "L", "LA", "La", "I;16", "I;16L", "I;16B"}
_COLOUR_MODES = {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
_NUM_MODE_IMAGES = 16
_CHUNK = 64


@dataclass(frozen=True)
class _Format:
    """What every image of a data set is made into; `image_size` None keeps sizes."""

    mode: str
    image_size: int | None


def decode_splits(published: Published, config: AbstractData) -> Splits:
    """Decode what `config` asks for; the first images of the train split decide between grey and colour.

    Raises DataError for an image that cannot be read or is of another size than the first (with file and row), and
    where more examples are asked for than there are; of validation images there may be fewer.
    """
    image_format = _Format(_common_mode(published.train), config.image_size)

    def decode(split: PublishedSplit, num_wanted: int | None, field_name: str) -> ImageSet:
        rows = _choose_rows(split, num_wanted, field_name)
        return _decode_split(split, rows, published.class_names, image_format)

    train = decode(published.train, config.num_train, "data.num_train")
    test = decode(published.test, config.num_test, "data.num_test")
    if published.validation is None:
        return Splits(train, test)
    num_validation = None if config.num_test is None else min(config.num_test, len(published.validation))
    return Splits(train, test, decode(published.validation, num_validation, "data.num_test"))


def decode_rows(split: PublishedSplit, rows: Int64Array, image_shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """uint8 [rows, channels, size, size]: the split's images in another data set's shape, channels x size x size.

    Colour becomes grey or grey colour; the shorter side is made `size`, from larger or smaller, and the centre cropped.
    Raises DataError for an image that cannot be read (with file and row).
    """
    channels, size, _ = image_shape
    if len(rows) == 0:
        return np.empty((0, *image_shape), dtype=np.uint8)
    return _decode_images(split, rows, _Format("L" if channels == 1 else "RGB", size))


def choose_rows(num_rows: int, num_wanted: int | None) -> Int64Array:
    """A fixed random subset of 0 .. num_rows - 1, ascending; a smaller one is part of a larger one.

    All rows where no more are wanted than there are.
    """
    if num_wanted is None or num_wanted >= num_rows:
        return np.arange(num_rows)
    # RandomState: numpy promises never to change its numbers, and a member's name stands for its training images.
    return np.sort(np.random.RandomState(SUBSET_SEED).permutation(num_rows)[:num_wanted])


def _choose_rows(split: PublishedSplit, num_wanted: int | None, field_name: str) -> Int64Array:
    if num_wanted is not None and num_wanted > len(split):
        raise DataError(f"{field_name} is {num_wanted}, but {split.place} has {len(split)} examples")
    return choose_rows(len(split), num_wanted)


def _decode_split(
    split: PublishedSplit, rows: Int64Array, class_names: tuple[str, ...], image_format: _Format
) -> ImageSet:
    return ImageSet(
        images=torch.from_numpy(_decode_images(split, rows, image_format)),
        labels=torch.from_numpy(split.labels[rows]),
        example_ids=split.example_ids[rows],
        keys=tuple(split.keys[row] for row in rows),
        class_names=class_names,
        groups={name: values[rows] for name, values in split.groups.items()},
    )


def _decode_images(split: PublishedSplit, rows: Int64Array, image_format: _Format) -> npt.NDArray[np.uint8]:
    """uint8 [rows, channels, height, width]."""
    shape = _first_shape(split, rows, image_format)
    images = np.empty((len(rows), *shape), dtype=np.uint8)

    def decode_chunk(chunk: list[tuple[int, tuple[int, Encoded]]]) -> None:
        for position, (row, encoded) in chunk:
            pixels = _decode_row(split, row, encoded, image_format)
            if pixels.shape != shape:
                raise DataError(
                    f"{split.locate(row)}: {_size_text(pixels)} pixels where the first image has "
                    f"{shape[1]} x {shape[2]}; set data.image_size to make all images one size"
                )
            images[position] = pixels

    numbered = enumerate(zip(rows.tolist(), split.images(rows), strict=True))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in _map_in_order(pool, decode_chunk, _chunks(numbered), num_ahead=2 * torch.get_num_threads()):
            pass
    return images


def _first_shape(split: PublishedSplit, rows: Int64Array, image_format: _Format) -> tuple[int, ...]:
    pixels = _decode_row(split, int(rows[0]), next(split.images(rows[:1])), image_format)
    if pixels.shape[1] != pixels.shape[2]:
        raise DataError(
            f"{split.locate(int(rows[0]))}: {_size_text(pixels)} pixels, and images must be square; "
            "set data.image_size to resize and crop them"
        )
    return pixels.shape


def _common_mode(split: PublishedSplit) -> str:
    rows = np.arange(min(_NUM_MODE_IMAGES, len(split)))
    for row, encoded in zip(rows.tolist(), split.images(rows), strict=True):
        with _named(split, row), _open(encoded) as image:
            if image.mode in _COLOUR_MODES:
                return "RGB"
    return "L"


def _decode_row(split: PublishedSplit, row: int, encoded: Encoded, image_format: _Format) -> npt.NDArray[np.uint8]:
    """uint8 [channels, height, width]."""
    with _named(split, row), _open(encoded) as image:
        upright = ImageOps.exif_transpose(image) if "exif" in image.info else image
        converted = _convert(upright, image_format.mode)
        if image_format.image_size is not None:
            converted = _resize(converted, image_format.image_size)
        pixels = np.asarray(converted)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@contextmanager
def _named(split: PublishedSplit, row: int) -> Iterator[None]:
    """Turn whatever Pillow raises on damaged data, which is of many types, into a DataError with file and row."""
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{split.locate(row)}: the image cannot be read: {reason}") from error


def _open(encoded: Encoded) -> Image.Image:
    if isinstance(encoded, Image.Image):
        return encoded
    if isinstance(encoded, np.ndarray):
        return Image.fromarray(encoded)
    return Image.open(encoded if isinstance(encoded, Path) else io.BytesIO(encoded))


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode:
        return image
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 instead of scaling.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode not in _GRAY_MODES | _COLOUR_MODES:
        raise ValueError(f"pixels of Pillow's mode {image.mode} have no known range")
    return image.convert(mode)


def _resize(image: Image.Image, size: int) -> Image.Image:
    """Shorter side to `size` (Pillow's bilinear averages when it shrinks), then the centre."""
    shorter = min(image.size)
    width, height = (size * side // shorter for side in image.size)
    resized = image if shorter == size else image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _map_in_order(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], num_ahead: int
) -> Iterator[R]:
    """Like `pool.map`, but draws only `num_ahead` items before their turn; the first failure in order is raised."""
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > num_ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _size_text(pixels: npt.NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[2]}"
