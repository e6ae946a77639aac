"""Images of evaluation sets made once for a whole storage, and read by every member of every sweep.

They lie in parts under `<storage>/_images/<fingerprint of the set>/`, so that several processes make one set and
nobody holds a large one. Whatever is missing, truncated or of something else is made again; all of it can be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import Execution
from .data import EvaluationImages, Pixels, cache_folder
from .errors import StorageError
from .store import Storage, has_image_part, paths, read_image_part, remove_leftovers, write_image_part

PART_BYTES = 64 * 1024**2
"""Pixels of a part; a small file's metadata would weigh, and a part is what a process holds."""


@dataclass(frozen=True)
class Part:
    """Consecutive examples of an evaluation set."""

    evaluation_set: str
    start: int
    stop: int


def parts(images: EvaluationImages) -> list[Part]:
    """The parts that a set is cut into, the same on every machine."""
    channels, height, width = images.image_shape
    num_rows = max(1, PART_BYTES // (channels * height * width))
    return [Part(images.name, start, min(start + num_rows, len(images))) for start in range(0, len(images), num_rows)]


class PreparedImages:
    """The images of one storage's evaluation sets; travels to other processes by its addresses."""

    def __init__(self, execution: Execution) -> None:
        self._storage = Storage(execution.storage).child(paths.IMAGES)
        # What lies on a disk of this machine is as near as its copy would be.
        near = None if self._storage.is_local else str(cache_folder(execution.cache) / paths.IMAGES)
        self._near = None if near is None else Storage(near).with_patience(0)

    def remove_leftovers(self) -> None:
        """Delete what killed processes left half written."""
        remove_leftovers(self._storage)

    def missing(self, sets: Iterable[EvaluationImages]) -> list[Part]:
        """Parts that must be made; says nothing of sets in memory."""
        wanted = [(images, part) for images in sets if not images.is_in_memory for part in parts(images)]

        def is_there(item: tuple[EvaluationImages, Part]) -> bool:
            images, part = item
            return has_image_part(self._storage, images.fingerprint, part.start, _shape(images, part))

        with ThreadPoolExecutor(self._storage.num_threads) as pool:
            found = pool.map(is_there, wanted)
            return [part for (_, part), there in zip(wanted, found, strict=True) if not there]

    def make(self, images: EvaluationImages, part: Part) -> None:
        """Make one part and store it; DataError for what is wrong with the files that it is made from."""
        write_image_part(self._storage, images.fingerprint, part.start, images.read(part.start, part.stop))

    def read(self, images: EvaluationImages) -> Iterator[tuple[slice, Tensor]]:
        """Yield (rows, uint8 [rows, channels, height, width]) of the whole set, a part at a time."""
        for part in parts(images):
            pixels = images.read(part.start, part.stop) if images.is_in_memory else self._pixels(images, part)
            yield slice(part.start, part.stop), torch.from_numpy(pixels)

    def _pixels(self, images: EvaluationImages, part: Part) -> Pixels:
        if self._near is None:
            return self._stored(images, part)
        place = (images.fingerprint, part.start)
        # A disk of this machine that is full or refuses costs time, and nothing else.
        with suppress(StorageError):
            pixels = read_image_part(self._near, *place, _shape(images, part))
            if pixels is not None:
                return pixels
        pixels = self._stored(images, part)
        with suppress(StorageError):
            write_image_part(self._near, *place, pixels)
        return pixels

    def _stored(self, images: EvaluationImages, part: Part) -> Pixels:
        pixels = read_image_part(self._storage, images.fingerprint, part.start, _shape(images, part))
        if pixels is None:
            pixels = images.read(part.start, part.stop)
            write_image_part(self._storage, images.fingerprint, part.start, pixels)
        return pixels


def _shape(images: EvaluationImages, part: Part) -> tuple[int, int, int, int]:
    return (part.stop - part.start, *images.image_shape)
