"""Training images that are decoded when a batch needs them, for data larger than memory and disk.

Only the first of them, and what was measured of all, are kept in the cache, beside the decoded test images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..config import AbstractNamedSplits
from ..errors import DataError
from .decode import (
    SUBSET_SEED,
    ImageFormat,
    decode_evaluated,
    decode_image,
    decode_part,
    decode_split,
    format_of,
    in_threads,
    wanted_rows,
)
from .image_set import Int64Array, Measured, Splits, StreamedSet, statistics_of
from .published import Encoded, Published, PublishedSplit

_NUM_KEPT = 100
"""First images that are kept decoded: those that static int8 is calibrated on."""
_NUM_MEASURED = 10_000
"""Images that channel statistics and the fingerprint are computed from."""
_CHUNK = 256

BoxOf = Callable[[int, int, int], tuple[float, float, float, float]]
"""From an image's place in `rows`, height and width: the left, top, right and bottom of what is cut of it."""


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """The images in `rows` of a published split, at one size; travels to other processes.

    `blocks` [blocks + 1] are the first images of what is read as a whole, None where any image is as near.
    """

    encoded: Callable[[Int64Array], Iterator[Encoded]]
    locate: Callable[[int], str]
    rows: Int64Array
    blocks: Int64Array | None
    image_format: ImageFormat

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        size = self.image_format.image_size
        assert size is not None
        return (1 if self.image_format.mode == "L" else 3), size, size

    def read(self, rows: Int64Array, box_of: BoxOf | None = None) -> torch.Tensor:
        """uint8 [rows, channels, size, size] of these images, channels_last, in as many threads as torch has here.

        With `box_of` a part of each is cut and resized, else the shorter side is resized and the centre cropped. Raises
        DataError for an image that cannot be read (with file and row), and OSError for a disk or network that fails.
        """
        channels, height, width = self.image_shape
        # As an image is decoded and as training takes it: in another order each pixel would be moved twice.
        pixels = np.empty((len(rows), height, width, channels), dtype=np.uint8).transpose(0, 3, 1, 2)
        published = self.rows[rows]
        order = np.argsort(published, kind="stable")

        def decode(chunk: list[tuple[int, Encoded]]) -> None:
            for place, encoded in chunk:
                pixels[place] = self._decode(encoded, int(published[place]), place, box_of)

        try:
            in_threads(decode, zip(order.tolist(), self.encoded(published[order]), strict=True))
        except DataError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno is not None:
                # The system's trouble and not the image's: another attempt may read it.
                raise OSError(cause.errno, str(error)) from error
            raise
        return torch.from_numpy(pixels)

    def _decode(
        self, encoded: Encoded, row: int, place: int, box_of: BoxOf | None
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        def name() -> str:
            return self.locate(row)

        if box_of is None:
            return decode_image(encoded, self.image_format, name=name)
        return decode_part(encoded, self.image_format, lambda height, width: box_of(place, height, width), name=name)


def decode_kept(published: Published, config: AbstractNamedSplits, scratch: Path | None = None) -> Splits:
    """What is decoded beforehand: the first training images, with what was measured of all, and the test images.

    Raises what `decode_splits` raises.
    """
    image_format = format_of(published, config)
    rows = wanted_rows(published.train, config.num_train, "data.num_train")
    kept = decode_split(published.train, rows[:_NUM_KEPT], published.class_names, image_format)
    images = _streamed_images(published.train, rows, image_format)
    train = replace(kept, measured=measure(images, published.train))
    return Splits(train, *decode_evaluated(published, config, image_format, scratch))


def with_streamed_training(kept: Splits, published: Published, config: AbstractNamedSplits) -> Splits:
    """The splits whose training images are `published`, from what `decode_kept` decoded."""
    split, first = published.train, kept.train
    assert not isinstance(first, StreamedSet)
    rows = wanted_rows(split, config.num_train, "data.num_train")
    image_format = ImageFormat("L" if first.num_channels == 1 else "RGB", config.image_size)
    train = StreamedSet(
        pixels=_streamed_images(split, rows, image_format),
        kept=first,
        labels=torch.from_numpy(split.labels[rows]),
        example_ids=split.example_ids[rows],
        keys=tuple(split.keys[row] for row in rows),
        class_names=published.class_names,
        groups={name: values[rows] for name, values in split.groups.items()},
    )
    return Splits(train, kept.test, kept.validation)


def _streamed_images(split: PublishedSplit, rows: Int64Array, image_format: ImageFormat) -> StreamedImages:
    blocks = None if split.blocks is None else np.unique(np.searchsorted(rows, split.blocks))
    return StreamedImages(split.images, split.locate, rows, blocks, image_format)


def measure(images: StreamedImages, split: PublishedSplit) -> Measured:
    """Channel statistics, and a fingerprint, without decoding all images, which may take days.

    Both are of 10,000 images at random, or of all where there are fewer; of images that are read in blocks, all images
    of random blocks. The fingerprint also stands for the number of images, their labels and ids, and for the encoded
    size of every image or block: an image changed in place goes unnoticed only if it keeps its size and is not among
    the 10,000.
    """
    assert split.sizes is not None
    digest = hashlib.sha256(repr((len(images), images.image_shape, tuple(split.labels.shape[1:]))).encode())
    for values in (images.rows, split.labels[images.rows], split.example_ids[images.rows], split.sizes()):
        digest.update(np.ascontiguousarray(values).data)

    def pixels() -> Iterator[torch.Tensor]:
        rows = measured_rows(images)
        for start in range(0, len(rows), _CHUNK):
            chunk = images.read(rows[start : start + _CHUNK])
            digest.update(np.ascontiguousarray(chunk.numpy()).data)
            yield chunk

    mean, std = statistics_of(pixels())
    return Measured(digest.hexdigest()[:16], mean, std)


def measured_rows(images: StreamedImages) -> Int64Array:
    """The images that `measure` decodes, ascending."""
    random = np.random.RandomState(SUBSET_SEED)
    if len(images) <= _NUM_MEASURED:
        return np.arange(len(images))
    if images.blocks is None:
        return np.sort(random.permutation(len(images))[:_NUM_MEASURED])
    lengths = np.diff(images.blocks)
    order = random.permutation(len(lengths))
    num_blocks = int(np.searchsorted(np.cumsum(lengths[order]), _NUM_MEASURED)) + 1
    chosen = np.sort(order[:num_blocks])
    return np.concatenate([np.arange(images.blocks[block], images.blocks[block + 1]) for block in chosen])
