"""Training batches of images that stay in their files: decoded when they are needed, ahead of training where that pays.

torch's DataLoader runs the processes that decode: training needs no Ray, and it works inside a Ray actor. What a batch
holds depends on the member's generator alone, never on how many processes decode or on which is first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, multiprocessing
from torch.utils.data import DataLoader, Dataset

from ..config import Augmentation, ResizedCrop
from ..errors import DataError
from .augmentation import NUM_CROP_DRAWS, crop_boxes
from .batches import AbstractBatches, Batches, BatchSource, ChannelStatistics, EpochPlan, Share

WINDOW_BYTES = 256 * 1024**2
"""Decoded pixels that are shuffled together, of images that are read in blocks."""
TASK_BYTES = 64 * 1024**2
"""Decoded pixels that one process makes at a time, at most."""
NUM_TASK_IMAGES = 64
"""Images that one process decodes at a time, at least, where there are so many."""

Int64Array = npt.NDArray[np.int64]
Box = tuple[float, float, float, float]
BoxOf = Callable[[int, int, int], Box]


class StreamedPixels(Protocol):
    """Images in files: numbered, of one shape when decoded, and read by number in any process."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""

    @property
    def blocks(self) -> Int64Array | None:
        """First images of what is read as a whole, and the number of images; None where any image is as near."""

    def __len__(self) -> int: ...

    def read(self, rows: Int64Array, box_of: BoxOf | None = None) -> Tensor:
        """uint8 [rows, c, h, w]; `box_of` gives the part of each that is cut: left, top, right, bottom, from its place
        in `rows`, height and width."""


def make_batches(
    pixels: Tensor | StreamedPixels,
    labels: Tensor,
    *,
    statistics: ChannelStatistics,
    batch_size: int,
    augmentation: Augmentation,
    generator: torch.Generator,
    device: torch.device,
    share: Share = (0, 1),
    num_cpus: int = 1,
) -> BatchSource:
    """Batches of images wherever they lie; `num_cpus` are the processors of this process, training included."""
    make = (
        partial(Batches, pixels)
        if isinstance(pixels, Tensor)
        else partial(StreamedBatches, pixels, num_workers=num_decoders(num_cpus, device))
    )
    return make(
        labels,
        statistics=statistics,
        batch_size=batch_size,
        augmentation=augmentation,
        generator=generator,
        device=device,
        share=share,
    )


def num_decoders(num_cpus: int, device: torch.device) -> int:
    """Processes that decode beside a training on `device`, which has `num_cpus` processors.

    On a GPU all processors but the one that feeds it, and at least one. On the CPU none: training takes every processor
    already, so its own threads decode between two steps, and nothing runs on more threads than there are processors.
    """
    return 0 if device.type == "cpu" else max(1, num_cpus - 1)


class StreamedBatches(AbstractBatches):
    """Of images in files. Bit for bit the batches of the decoded images where nothing is cut from the files.

    Shuffling: images that are files of their own are shuffled all together. Of images that lie in blocks (Parquet's row
    groups, of which a part costs as much as the whole) the blocks are shuffled, and then the images of so many blocks
    in a row as make a window of 256 MiB of decoded pixels, or a batch. So every process reads a block once an epoch,
    one of more than 64 MiB as often as it has 64 MiB.
    """

    def __init__(
        self,
        pixels: StreamedPixels,
        labels: Tensor,
        *,
        statistics: ChannelStatistics,
        batch_size: int,
        augmentation: Augmentation,
        generator: torch.Generator,
        device: torch.device,
        share: Share = (0, 1),
        num_workers: int = 0,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        super().__init__(
            labels,
            statistics=statistics,
            batch_size=batch_size,
            augmentation=augmentation,
            generator=generator,
            device=device,
            share=share,
        )
        self.pixels = pixels
        self.num_workers = num_workers
        self._image_bytes = math.prod(pixels.image_shape)
        self._window_size = max(self.batch_size, window_bytes // self._image_bytes)
        self._tasks: list[Task] = []
        self._loader: DataLoader[Any] | None = None

    def _plan(self) -> EpochPlan:
        # Numbers of crops are drawn where images are decoded: by themselves, so that decoding can be ahead.
        seed = 0
        if self.augmentation.resized_crop is not None:
            seed = int(torch.randint(2**32, (), generator=self.generator))
        order, windows = self._shuffle()
        return StreamPlan(order, windows, seed)

    def _shuffle(self) -> tuple[Tensor, Int64Array]:
        num_images, blocks = len(self.pixels), self.pixels.blocks
        if blocks is None:
            order = torch.randperm(num_images, generator=self.generator)
            return order, np.arange(0, num_images + 1, self.batch_size)
        if num_images <= self._window_size:
            return torch.randperm(num_images, generator=self.generator), np.array([0, num_images])
        return shuffle_blocks(blocks, self._window_size, self.generator)

    def _read(self, plan: EpochPlan, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        assert isinstance(plan, StreamPlan)
        own_size = self._own.stop - self._own.start
        places = self._own_places(first_step)
        rows = plan.order[places].to(self.device)
        queue = _Queue()
        for part in self._parts(plan, places):
            queue.put(part)
            while len(queue) >= own_size:
                yield rows[:own_size], queue.take(own_size).to(self.device, non_blocking=True)
                rows = rows[own_size:]

    def _own_places(self, first_step: int) -> Int64Array:
        """Places in the epoch's order that fall to this process, ascending."""
        starts = np.arange(first_step, len(self)) * self.batch_size
        return np.asarray((starts[:, None] + np.arange(self._own.start, self._own.stop)).reshape(-1))

    def _parts(self, plan: StreamPlan, places: Int64Array) -> Iterator[Tensor]:
        """The images at `places` of the order, window by window: uint8 [images, c, h, w]."""
        windows = [self._window_tasks(plan, window, places) for window in range(len(plan.windows) - 1)]
        windows = [tasks for tasks in windows if tasks]
        self._tasks[:] = [task for tasks in windows for task in tasks]
        if not self._tasks:
            return
        decoded = iter(self._open_loader(math.ceil(len(self._tasks) / len(windows))))
        for tasks in windows:
            pixels = self._room(sum(len(task.rows) for task in tasks))
            for task in tasks:
                found = next(decoded)
                if isinstance(found, Exception):
                    raise found
                pixels.numpy()[task.targets] = found.numpy()
            yield pixels

    def _window_tasks(self, plan: StreamPlan, window: int, places: Int64Array) -> list[Task]:
        start, stop = plan.windows[window], plan.windows[window + 1]
        own = places[np.searchsorted(places, start) : np.searchsorted(places, stop)]
        rows = plan.order.numpy()[own]
        targets = np.arange(len(own))
        if self.pixels.blocks is not None:
            targets = np.argsort(rows, kind="stable")
        seed = (plan.seed + window) % 2**32
        return [Task(rows[part], part, own[part] - start, int(stop - start), seed) for part in self._cut(rows, targets)]

    def _cut(self, rows: Int64Array, targets: Int64Array) -> list[Int64Array]:
        """A window's images in parts that a process decodes each: neighbours in the files, blocks whole if they fit."""
        if len(targets) == 0:
            return []
        largest = max(1, TASK_BYTES // self._image_bytes)
        ends = np.arange(NUM_TASK_IMAGES, len(targets), NUM_TASK_IMAGES)
        if self.pixels.blocks is not None:
            ends = _ends_of_blocks(self.pixels.blocks, rows[targets], NUM_TASK_IMAGES)
        parts = np.split(targets, ends)
        return [piece for part in parts for piece in np.array_split(part, math.ceil(len(part) / largest))]

    def _open_loader(self, tasks_a_window: int) -> DataLoader[Any]:
        """The same processes for all epochs."""
        if self._loader is None:
            settings: dict[str, Any] = {}
            if self.num_workers:
                settings = {
                    "persistent_workers": True,
                    "prefetch_factor": max(2, math.ceil(1.5 * tasks_a_window / self.num_workers)),
                    "multiprocessing_context": _processes(),
                }
            self._loader = DataLoader(
                Decoder(self.pixels, self.augmentation.resized_crop),
                sampler=self._tasks,
                batch_size=None,
                num_workers=self.num_workers,
                collate_fn=_as_it_is,
                # Its own, so that torch's global random numbers are what they would be without a loader.
                generator=torch.Generator(),
                **settings,
            )
        return self._loader

    def _room(self, num_images: int) -> Tensor:
        # From pinned memory a GPU copies while it computes.
        return torch.empty(
            (num_images, *self.pixels.image_shape),
            dtype=torch.uint8,
            memory_format=torch.channels_last,
            pin_memory=self.device.type == "cuda",
        )


@dataclass(frozen=True)
class StreamPlan(EpochPlan):
    """Also where the order's windows begin, and their end: int64 [windows + 1]; and the seed of the first's crops."""

    windows: Int64Array
    seed: int


@dataclass(frozen=True)
class Task:
    """Images that one process decodes: their numbers `rows`, and where they belong in what is made of the window.

    `places` are theirs among the window's `num_drawn` images, all of which random numbers are drawn for from `seed`:
    whoever shares a batch draws the same.
    """

    rows: Int64Array
    targets: Int64Array
    places: Int64Array
    num_drawn: int
    seed: int


@dataclass(frozen=True)
class Decoder(Dataset[Any]):
    """Does tasks in whatever process; failures are values, whose text a DataLoader would bury in a traceback."""

    pixels: StreamedPixels
    resized_crop: ResizedCrop | None

    def __getitem__(self, task: Task) -> Tensor | DataError | OSError:
        try:
            return self.pixels.read(task.rows, self._box_of(task))
        except (DataError, OSError) as error:
            return error

    def _box_of(self, task: Task) -> BoxOf | None:
        config = self.resized_crop
        if config is None:
            return None
        numbers = torch.rand((NUM_CROP_DRAWS, task.num_drawn), generator=torch.Generator().manual_seed(task.seed))
        own = numbers[:, torch.from_numpy(task.places)]

        def box_of(place: int, height: int, width: int) -> Box:
            size = torch.tensor([[float(height), float(width)]])
            top, left, box_height, box_width = crop_boxes(size, config, own[:, place : place + 1])[0].tolist()
            return left, top, min(left + box_width, width), min(top + box_height, height)

        return box_of


def shuffle_blocks(blocks: Int64Array, window_size: int, generator: torch.Generator) -> tuple[Tensor, Int64Array]:
    """All images in an order of which each window is a few blocks shuffled together, and where the windows begin.

    `blocks` are the blocks' first images and the number of images. A window has `window_size` images or up to one block
    more; the last may have fewer.
    """
    lengths = np.diff(blocks)
    chosen = torch.randperm(len(lengths), generator=generator).numpy()
    ends = np.cumsum(lengths[chosen])
    parts, windows, first = [], [0], 0
    while first < len(chosen):
        last = min(int(np.searchsorted(ends, windows[-1] + window_size)), len(chosen) - 1)
        images = np.concatenate([np.arange(blocks[block], blocks[block + 1]) for block in chosen[first : last + 1]])
        parts.append(torch.from_numpy(images)[torch.randperm(len(images), generator=generator)])
        windows.append(int(ends[last]))
        first = last + 1
    return torch.cat(parts), np.array(windows)


def _ends_of_blocks(blocks: Int64Array, rows: Int64Array, fewest: int) -> Int64Array:
    """Where to cut increasing `rows` so that no block is cut and each part but the last has `fewest`."""
    block_of = np.searchsorted(blocks, rows, side="right")
    ends: list[int] = []
    for end in np.flatnonzero(np.diff(block_of)) + 1:
        if end - (ends[-1] if ends else 0) >= fewest:
            ends.append(int(end))
    return np.array(ends, dtype=np.int64)


class _Queue:
    """Images in their order, put in and taken out in parts of any size."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def put(self, part: Tensor) -> None:
        self._parts.append(part)

    def take(self, num_images: int) -> Tensor:
        taken = []
        while num_images:
            part = self._parts.pop(0)
            taken.append(part[:num_images])
            if len(part) > num_images:
                self._parts.insert(0, part[num_images:])
            num_images -= len(taken[-1])
        return taken[0] if len(taken) == 1 else torch.cat(taken)


def _processes() -> Any:
    """Processes that begin clean: those that are forked from one with a GPU, or with threads, may hang."""
    context = multiprocessing.get_context("forkserver")
    # Imported once for all of them.
    context.set_forkserver_preload([__name__, "pie_ray.data"])
    return context


def _as_it_is(item: Any) -> Any:
    return item
