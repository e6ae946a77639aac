"""From a published data set to images in memory: choose rows, decode them in threads, resize, agree on channels."""

from __future__ import annotations

import io
import math
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
_MAX_MEMORY = 1024**3
"""Bytes of pixels that are decoded into memory; more go through a file."""


@dataclass(frozen=True)
class ImageFormat:
    """What every image of a data set is made into; `image_size` None keeps sizes."""

    mode: str
    image_size: int | None


def decode_splits(published: Published, config: AbstractData, scratch: Path | None = None) -> Splits:
    """Decode what `config` asks for; the first images of the train split decide between grey and colour.

    Pixels that would fill memory are decoded into a nameless file in the folder `scratch`, where there is one.

    Raises DataError for an image that cannot be read or is of another size than the first (with file and row), and
    where more examples are asked for than there are; of validation images there may be fewer.
    """
    image_format = format_of(published, config)
    rows = wanted_rows(published.train, config.num_train, "data.num_train")
    train = decode_split(published.train, rows, published.class_names, image_format, scratch)
    return Splits(train, *decode_evaluated(published, config, image_format, scratch))


def decode_evaluated(
    published: Published, config: AbstractData, image_format: ImageFormat, scratch: Path | None
) -> list[ImageSet]:
    """The test images and, where there are any, the validation images that `config` asks for."""

    def decode(split: PublishedSplit, num_wanted: int | None) -> ImageSet:
        rows = wanted_rows(split, num_wanted, "data.num_test")
        return decode_split(split, rows, published.class_names, image_format, scratch)

    test, validation = decode(published.test, config.num_test), published.validation
    if validation is None:
        return [test]
    return [test, decode(validation, None if config.num_test is None else min(config.num_test, len(validation)))]


def format_of(published: Published, config: AbstractData) -> ImageFormat:
    """What the images of all splits are made into."""
    return ImageFormat(_common_mode(published.train), config.image_size)


def decode_rows(split: PublishedSplit, rows: Int64Array, image_shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """uint8 [rows, channels, size, size]: the split's images in another data set's shape, channels x size x size.

    Colour becomes grey or grey colour; the shorter side is made `size`, from larger or smaller, and the centre cropped.
    Raises DataError for an image that cannot be read (with file and row).
    """
    channels, size, _ = image_shape
    if len(rows) == 0:
        return np.empty((0, *image_shape), dtype=np.uint8)
    return _decode_images(split, rows, ImageFormat("L" if channels == 1 else "RGB", size))


def choose_rows(num_rows: int, num_wanted: int | None) -> Int64Array:
    """A fixed random subset of 0 .. num_rows - 1, ascending; a smaller one is part of a larger one.

    All rows where no more are wanted than there are.
    """
    if num_wanted is None or num_wanted >= num_rows:
        return np.arange(num_rows)
    # RandomState: numpy promises never to change its numbers, and a member's name stands for its training images.
    return np.sort(np.random.RandomState(SUBSET_SEED).permutation(num_rows)[:num_wanted])


def wanted_rows(split: PublishedSplit, num_wanted: int | None, field_name: str) -> Int64Array:
    """`choose_rows` of a split; DataError, naming the recipe's field, where it has fewer."""
    if num_wanted is not None and num_wanted > len(split):
        raise DataError(f"{field_name} is {num_wanted}, but {split.place} has {len(split)} examples")
    return choose_rows(len(split), num_wanted)


def decode_split(
    split: PublishedSplit,
    rows: Int64Array,
    class_names: tuple[str, ...],
    image_format: ImageFormat,
    scratch: Path | None = None,
) -> ImageSet:
    """The examples in `rows` of a split."""
    return ImageSet(
        images=torch.from_numpy(_decode_images(split, rows, image_format, scratch)),
        labels=torch.from_numpy(split.labels[rows]),
        example_ids=split.example_ids[rows],
        keys=tuple(split.keys[row] for row in rows),
        class_names=class_names,
        groups={name: values[rows] for name, values in split.groups.items()},
    )


def _decode_images(
    split: PublishedSplit, rows: Int64Array, image_format: ImageFormat, scratch: Path | None = None
) -> npt.NDArray[np.uint8]:
    """uint8 [rows, channels, height, width]."""
    shape = _first_shape(split, rows, image_format)
    images = _room_for((len(rows), *shape), scratch)

    def check_shape(row: int, pixels: npt.NDArray[np.uint8]) -> None:
        if pixels.shape != shape:
            raise DataError(
                f"{split.locate(row)}: {_size_text(pixels)} pixels where the first image has "
                f"{shape[1]} x {shape[2]}; set data.image_size to make all images one size"
            )

    def decode_chunk(chunk: list[tuple[int, tuple[int, Encoded]]]) -> None:
        for position, (row, encoded) in chunk:
            pixels = decode_image(encoded, image_format, name=partial(split.locate, row))
            check_shape(row, pixels)
            images[position] = pixels

    numbered = enumerate(zip(rows.tolist(), split.images(rows), strict=True))
    in_threads(decode_chunk, numbered)
    return images


def _room_for(shape: tuple[int, ...], scratch: Path | None) -> npt.NDArray[np.uint8]:
    if scratch is None or int(np.prod(shape)) <= _MAX_MEMORY:
        return np.empty(shape, dtype=np.uint8)
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=scratch) as file:
            if hasattr(os, "posix_fallocate"):  # Linux: a mapped page that the disk has no room for ends the process
                os.posix_fallocate(file.fileno(), 0, math.prod(shape))
            # The mapping keeps the file, which no name leads to: nothing is left behind, however this process ends.
            return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
    except OSError:
        return np.empty(shape, dtype=np.uint8)


def in_threads(function: Callable[[list[T]], None], items: Iterable[T]) -> None:
    """Hand `items` to `function`, some at a time, in as many threads as torch has here; the first failure is raised."""
    num_threads = torch.get_num_threads()
    with ThreadPoolExecutor(num_threads) as pool:
        for _ in _map_in_order(pool, function, _chunks(items), num_ahead=2 * num_threads):
            pass


def _first_shape(split: PublishedSplit, rows: Int64Array, image_format: ImageFormat) -> tuple[int, ...]:
    row = int(rows[0])
    pixels = decode_image(next(split.images(rows[:1])), image_format, name=partial(split.locate, row))
    if pixels.shape[1] != pixels.shape[2]:
        raise DataError(
            f"{split.locate(row)}: {_size_text(pixels)} pixels, and images must be square; "
            "set data.image_size to resize and crop them"
        )
    return pixels.shape


def _common_mode(split: PublishedSplit) -> str:
    rows = np.arange(min(_NUM_MODE_IMAGES, len(split)))
    for row, encoded in zip(rows.tolist(), split.images(rows), strict=True):
        with _named(partial(split.locate, row)), _open(encoded) as image:
            if image.mode in _COLOUR_MODES:
                return "RGB"
    return "L"


def decode_image(encoded: Encoded, image_format: ImageFormat, *, name: Callable[[], str]) -> npt.NDArray[np.uint8]:
    """uint8 [channels, height, width]; DataError with the image's `name` where it cannot be read."""
    with _named(name), _open(encoded) as image:
        upright = ImageOps.exif_transpose(image) if "exif" in image.info else image
        converted = _convert(upright, image_format.mode)
        if image_format.image_size is not None:
            converted = _resize(converted, image_format.image_size)
        return _channels_first(converted)


def decode_part(
    encoded: Encoded,
    image_format: ImageFormat,
    box_of: Callable[[int, int], tuple[float, float, float, float]],
    *,
    name: Callable[[], str],
) -> npt.NDArray[np.uint8]:
    """uint8 [channels, size, size]: a part of an image, resized; DataError as `decode_image` raises.

    `box_of` gives left, top, right and bottom from an image's height and width. A JPEG of which a part four times as
    large as the result or more is wanted is decoded at a half, quarter or eighth of its size, as its format allows.
    """
    size = image_format.image_size
    assert size is not None
    with _named(name), _open(encoded) as image:
        upright = ImageOps.exif_transpose(image) if "exif" in image.info else image
        width, height = upright.size
        box = box_of(height, width)
        if upright is image:
            # Twice what is needed, as Pillow's own thumbnails are made: resized from there it looks the same.
            enlargement = 2 * max(size / (box[2] - box[0]), size / (box[3] - box[1]))
            image.draft(image.mode, (math.ceil(width * enlargement), math.ceil(height * enlargement)))
        across, down = upright.width / width, upright.height / height
        scaled = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        part = _convert(upright, image_format.mode).resize((size, size), Image.Resampling.BILINEAR, box=scaled)
        return _channels_first(part)


def _channels_first(image: Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@contextmanager
def _named(name: Callable[[], str]) -> Iterator[None]:
    """Turn whatever Pillow raises on damaged data, which is of many types, into a DataError with file and row."""
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{name()}: the image cannot be read: {reason}") from error


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
