"""Images in memory with their labels, stable ids and groups, and the splits that a study is made on.

Axes: examples, channels, height, width. Pixels stay uint8; whoever trains on them makes floats of a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from ..config import TEST, TRAIN, VALIDATION
from ..errors import DataError

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
LabelArray = Int64Array | BoolArray
ChannelStatistics = tuple[tuple[float, ...], tuple[float, ...]]

_CHUNK = 1024


@dataclass(frozen=True)
class Measured:
    """Computed from an image set's pixels when it was first decoded, so that no process reads them all again."""

    fingerprint: str
    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square images of one size: `images` uint8 [examples, channels, height, width], and what each of them shows.

    `labels` is int64 [examples], one class an example, or bool [examples, attributes] where attributes are learned
    jointly; `class_names` are then the attributes' names. `example_ids` int64 [examples] are rows of the split as
    published, so a subset keeps the ids of the whole. `keys` are what a person finds an image by: a path, or
    `test[17]`. `groups` maps attributes to values [examples]. `measured` comes from the cache, and is computed when
    asked for where it is None.

    Raises DataError where shapes, types or labels do not fit; names the key and the row of a bad label.
    """

    images: torch.Tensor = field(repr=False)
    labels: torch.Tensor = field(repr=False)
    example_ids: Int64Array = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    class_names: tuple[str, ...]
    groups: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict, repr=False)
    measured: Measured | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_images(self.images)
        _check_lengths(self)
        _check_labels(self)
        if len(np.unique(self.example_ids)) < len(self.example_ids):
            raise DataError("example_ids must differ from each other")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of outputs that a network has for these labels."""
        return len(self.class_names)

    @property
    def is_multilabel(self) -> bool:
        """Whether the labels are attributes learned jointly, any number of which an example may have."""
        return self.labels.ndim == 2

    @property
    def pixels(self) -> torch.Tensor:
        """What training reads from: here the images."""
        return self.images

    def first(self, num_images: int) -> torch.Tensor:
        """The first images, or all where there are fewer: uint8 [num_images, channels, height, width]."""
        return self.images[:num_images]

    @property
    def num_channels(self) -> int:
        return self.images.shape[1]

    @property
    def image_size(self) -> int:
        """Height and width in pixels; images are square."""
        return self.images.shape[2]

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of shape, pixels, labels and ids."""
        if self.measured is not None:
            return self.measured.fingerprint
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for chunk in self.images.split(_CHUNK):
            digest.update(chunk.contiguous().numpy().data)
        if self.is_multilabel:
            # With their shape, because eight attributes have as many bytes as a class.
            digest.update(repr(tuple(self.labels.shape)).encode())
            digest.update(self.labels.contiguous().numpy().data)
        else:
            digest.update(np.ascontiguousarray(self.labels.numpy(), dtype="<i8").data)
        digest.update(np.ascontiguousarray(self.example_ids, dtype="<i8").data)
        return digest.hexdigest()[:16]

    @cached_property
    def channel_statistics(self) -> ChannelStatistics:
        """Mean and standard deviation [channels] of pixels scaled to [0, 1]; see `channel_statistics`."""
        if self.measured is not None:
            return self.measured.channel_mean, self.measured.channel_std
        return statistics_of(self.images.split(_CHUNK))


class StreamedPixels(Protocol):
    """Images that stay in their files until a batch needs them; travels to other processes."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""

    @property
    def blocks(self) -> Int64Array | None:
        """First images of what is read as a whole, and the number of images; None where any image is as near."""

    def __len__(self) -> int: ...

    def read(
        self, rows: Int64Array, box_of: Callable[[int, int, int], tuple[float, float, float, float]] | None = None
    ) -> torch.Tensor:
        """uint8 [rows, channels, height, width]; see `StreamedImages`."""


@dataclass(frozen=True, eq=False)
class StreamedSet:
    """Images to train on that are decoded when they are needed: all that an `ImageSet` tells, without its `images`.

    `kept` are the first of them, decoded, with what was measured of all.
    """

    pixels: StreamedPixels = field(repr=False)
    kept: ImageSet = field(repr=False)
    labels: torch.Tensor = field(repr=False)
    example_ids: Int64Array = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    class_names: tuple[str, ...]
    groups: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        assert self.kept.measured is not None and len(self.pixels) == len(self.labels)
        _check_labels(self)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of outputs that a network has for these labels."""
        return len(self.class_names)

    @property
    def is_multilabel(self) -> bool:
        """Whether the labels are attributes learned jointly, any number of which an example may have."""
        return self.labels.ndim == 2

    @property
    def num_channels(self) -> int:
        return self.kept.num_channels

    @property
    def image_size(self) -> int:
        """Height and width in pixels that images are made; they are square."""
        return self.kept.image_size

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits; see `measure`."""
        return self.kept.fingerprint

    @property
    def channel_statistics(self) -> ChannelStatistics:
        """Mean and standard deviation [channels] of pixels scaled to [0, 1], of those images that were measured."""
        return self.kept.channel_statistics

    def first(self, num_images: int) -> torch.Tensor:
        """The first images, or all where there are fewer: uint8 [num_images, channels, height, width]."""
        if num_images <= len(self.kept):
            return self.kept.first(num_images)
        return self.pixels.read(np.arange(min(num_images, len(self))))


TrainingSet = ImageSet | StreamedSet


@dataclass(frozen=True, eq=False)
class Splits:
    """The images to train on, those to evaluate on, and those to choose thresholds on, where there are any.

    Raises DataError where their classes or shapes differ.
    """

    train: TrainingSet
    test: ImageSet
    validation: ImageSet | None = None

    def __post_init__(self) -> None:
        for name, other in self.by_name.items():
            _check_alike(self.train, name, other)

    @property
    def by_name(self) -> dict[str, TrainingSet]:
        """The splits that there are."""
        splits: dict[str, TrainingSet | None] = {TRAIN: self.train, TEST: self.test, VALIDATION: self.validation}
        return {name: images for name, images in splits.items() if images is not None}

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that stand for all splits."""
        text = " ".join(images.fingerprint for images in self.by_name.values())
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def channel_statistics(images: TrainingSet) -> ChannelStatistics:
    """Mean and standard deviation [channels] of pixels scaled to [0, 1], to normalise with.

    A constant channel's deviation is given as 1, so that dividing by it is safe.
    """
    return images.channel_statistics


def statistics_of(chunks: Iterable[torch.Tensor]) -> ChannelStatistics:
    """Of images that come in chunks. From one histogram a channel: exact, and no float copy of the images."""
    counts = sum(_histograms(chunk) for chunk in chunks)
    assert isinstance(counts, np.ndarray), "there are no images"
    values = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    means = weights @ values
    deviations = np.sqrt((weights * (values - means[:, None]) ** 2).sum(axis=1))
    constant = (counts > 0).sum(axis=1) == 1
    return tuple(means.tolist()), tuple(np.where(constant, 1.0, deviations).tolist())


def _histograms(images: torch.Tensor) -> Int64Array:
    """How often each value occurs, by channel: [channels, 256]."""
    return np.stack([np.bincount(pixels.reshape(-1).numpy(), minlength=256) for pixels in images.unbind(1)])


def _check_images(images: torch.Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise DataError(
            f"images must be uint8 [examples, channels, height, width], found {images.dtype} {list(images.shape)}"
        )
    if len(images) == 0:
        raise DataError("an image set needs at least one example, found none")
    if images.shape[2] != images.shape[3]:
        raise DataError(f"images must be square, found {_shape_text(images)}: set data.image_size to crop them")


def _check_lengths(image_set: ImageSet) -> None:
    lengths = {
        "images": len(image_set.images),
        "labels": len(image_set.labels),
        "example_ids": len(image_set.example_ids),
        "keys": len(image_set.keys),
    } | {f"group {name}": len(values) for name, values in image_set.groups.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"an image set's parts must be of one length, found {found}")


def _check_alike(train: TrainingSet, name: str, other: TrainingSet) -> None:
    if train.is_multilabel != other.is_multilabel:
        raise DataError(f"{TRAIN} and {name} differ in kind: one has a label an example, the other attributes")
    if train.class_names != other.class_names:
        raise DataError(f"{TRAIN} and {name} differ in classes: {train.class_names} and {other.class_names}")
    if train.first(1).shape[1:] != other.first(1).shape[1:]:
        raise DataError(
            f"{TRAIN} images are {_shape_text(train.first(1))}, {name} images {_shape_text(other.first(1))}: "
            "set data.image_size to resize all"
        )


def _check_labels(image_set: TrainingSet) -> None:
    if image_set.is_multilabel:
        _check_attributes(image_set)
    else:
        _check_classes(image_set)
    if image_set.example_ids.dtype != np.int64:
        raise DataError(f"example_ids must be int64, found {image_set.example_ids.dtype}")


def _check_attributes(image_set: TrainingSet) -> None:
    found = image_set.labels
    if found.dtype != torch.bool or found.shape[1] != image_set.num_classes or image_set.num_classes == 0:
        raise DataError(
            f"labels of several attributes must be bool [examples, attributes] with a name each, found {found.dtype} "
            f"{list(found.shape)} and {image_set.num_classes} names"
        )


def _check_classes(image_set: TrainingSet) -> None:
    labels = image_set.labels
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise DataError(
            f"labels of one class an example must be int64 [examples], found {labels.dtype} {list(labels.shape)}"
        )
    wrong = ((labels < 0) | (labels >= image_set.num_classes)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{image_set.keys[row]} (row {row}): label {int(labels[row])}, accepted 0 to {image_set.num_classes - 1}"
        )


def _shape_text(images: torch.Tensor) -> str:
    channels, height, width = images.shape[1:]
    return f"{height} x {width} pixels of {channels} channel{'s' if channels > 1 else ''}"
