"""Training batches: shuffled, augmented as tensors, normalised; here of images that are one tensor in memory.

Axes: b images of a batch, c channels, h height, w width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..config import Augmentation
from .augmentation import Draws, mirror, random_crop, random_flip, random_resized_crop

ChannelStatistics = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation [c] of pixels scaled to [0, 1]."""
Share = tuple[int, int]
"""A process's number and how many share each batch: (rank, num_processes)."""


class BatchSource(Protocol):
    """What training draws its batches from. Whatever is random depends on the member's generator alone."""

    @property
    def device(self) -> torch.device: ...

    def __len__(self) -> int:
        """Batches an epoch."""

    def epoch(self, first_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass: (float32 [b, c, h, w] in channels_last, labels of the same b images) a step.

        `first_step` above 0 goes on in an epoch whose `state` after that many steps was restored.
        """

    def state(self) -> dict[str, Tensor]:
        """What must be kept, after any step, to go on exactly there."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to a `state`; the epoch that it was taken in is entered by `epoch(first_step)`."""


class AbstractBatches(ABC):
    """Shuffled, augmented, normalised batches; `epoch()` gives one pass. Where the images lie is a subclass's matter.

    All randomness comes from `generator`, a CPU generator, so that every device sees the same batches. A last batch
    that is not full is dropped; the next epoch's shuffle gives its images another turn.

    Of processes that `share` batches every one draws the same random numbers and takes its part of each batch: all of
    them together see what a lone one would.
    """

    def __init__(
        self,
        labels: Tensor,
        *,
        statistics: ChannelStatistics,
        batch_size: int,
        augmentation: Augmentation,
        generator: torch.Generator,
        device: torch.device,
        share: Share = (0, 1),
    ) -> None:
        self.labels = labels.to(device)
        self.normalise = Normalise(statistics, device)
        self.batch_size = min(batch_size, len(labels))
        self.augmentation = augmentation
        self.generator = generator
        self.device = device
        self._own = own_part(self.batch_size, share)
        self._mirrored = AlternatingFlip(len(labels)) if augmentation.flip == "alternating" else None
        self._epoch_start = generator.get_state()

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.labels) // self.batch_size

    def epoch(self, first_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (float32 [b, c, h, w] in channels_last, labels of the same b images)."""
        plan = self._begin() if first_step == 0 else self._re_enter()
        for rows, images in self._read(plan, first_step):
            yield self.normalise(self._augment(images, rows)), self.labels[rows]

    def state(self) -> dict[str, Tensor]:
        """The generator's at the epoch's start and now; small, whatever the number of images."""
        flip = {} if self._mirrored is None else {"flip": self._mirrored.state()}
        return {"epoch_start": self._epoch_start, "now": self.generator.get_state(), **flip}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to a `state`; the epoch that it was taken in is entered by `epoch(first_step)`."""
        self._epoch_start = state["epoch_start"]
        self.generator.set_state(state["now"])
        if self._mirrored is not None:
            self._mirrored.restore(state["flip"])

    @abstractmethod
    def _plan(self) -> EpochPlan:
        """Draw what an epoch needs before its first step."""

    @abstractmethod
    def _read(self, plan: EpochPlan, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's part of each batch from `first_step` on, on the device: rows [b], pixels [b, c, h, w]."""

    def _draws(self) -> Draws:
        return Draws(self.generator, self.batch_size, self._own)

    def _begin(self) -> EpochPlan:
        if self._mirrored is not None:
            self._mirrored.next_epoch(self.generator)
        self._epoch_start = self.generator.get_state()
        return self._plan()

    def _re_enter(self) -> EpochPlan:
        now = self.generator.get_state()
        self.generator.set_state(self._epoch_start)
        plan = self._plan()
        self.generator.set_state(now)
        return plan

    def _augment(self, images: Tensor, rows: Tensor) -> Tensor:
        augmentation = self.augmentation
        if augmentation.crop_padding:
            images = random_crop(images, augmentation.crop_padding, self._draws(), augmentation.padding)
        if self._mirrored is not None:
            return mirror(images, self._mirrored(rows))
        return random_flip(images, self._draws()) if augmentation.flip else images


@dataclass(frozen=True)
class EpochPlan:
    """What is drawn at an epoch's start: the images' `order`, int64 [examples]."""

    order: Tensor


class Batches(AbstractBatches):
    """Of images in memory, or in the GPU's: `images` is uint8 [examples, c, h, w].

    `labels` is any tensor with a row an example, `statistics` the channels' mean and deviation in [0, 1].
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        statistics: ChannelStatistics,
        batch_size: int,
        augmentation: Augmentation,
        generator: torch.Generator,
        device: torch.device,
        share: Share = (0, 1),
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
        self.images = images.to(device)

    def _plan(self) -> EpochPlan:
        return EpochPlan(torch.randperm(len(self.images), generator=self.generator).to(self.device))

    def _read(self, plan: EpochPlan, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        for step in range(first_step, len(self)):
            rows = plan.order[step * self.batch_size : (step + 1) * self.batch_size][self._own]
            images = self.images[rows]
            if self.augmentation.resized_crop is not None:
                images = random_resized_crop(images, self.augmentation.resized_crop, self._draws())
            yield rows, images


class AlternatingFlip:
    """Which images are mirrored: drawn once, an image each, and the opposite every other epoch.

    From Keller Jordan's airbench (arXiv 2404.00498): any two epochs in a row show every image both ways.
    """

    def __init__(self, num_images: int) -> None:
        self.num_images = num_images
        self._seed: int | None = None
        self._num_epochs = 0
        self._first = torch.empty(0, dtype=torch.bool)

    def next_epoch(self, generator: torch.Generator) -> None:
        """To be called before each epoch; draws before the first."""
        if self._seed is None:
            self._draw(int(torch.randint(2**62, (), generator=generator)))
        self._num_epochs += 1

    def __call__(self, rows: Tensor) -> Tensor:
        """Bool [rows], on the device of `rows`: whether each is mirrored in this epoch."""
        self._first = self._first.to(rows.device)
        return self._first[rows] ^ (self._num_epochs % 2 == 0)

    def state(self) -> Tensor:
        return torch.tensor([-1 if self._seed is None else self._seed, self._num_epochs])

    def restore(self, state: Tensor) -> None:
        seed, self._num_epochs = (int(value) for value in state)
        if seed >= 0:
            self._draw(seed)

    def _draw(self, seed: int) -> None:
        self._seed = seed
        self._first = torch.rand(self.num_images, generator=torch.Generator().manual_seed(seed)) < 0.5


class Normalise:
    """uint8 [b, c, h, w] to float32 with zero mean and unit deviation a channel, in channels_last."""

    def __init__(self, statistics: ChannelStatistics, device: torch.device) -> None:
        mean, std = (torch.tensor(values, dtype=torch.float32) for values in statistics)
        # A channel that is one colour throughout has no deviation to divide by.
        std = std.clamp(min=1e-6)
        scale = 1 / (255 * std)
        self.scale = scale.view(1, -1, 1, 1).to(device)
        self.shift = (-mean / std).view(1, -1, 1, 1).to(device)

    def __call__(self, images: Tensor) -> Tensor:
        # A copy, whatever the type: it is overwritten.
        pixels = images.contiguous(memory_format=torch.channels_last).to(torch.float32, copy=True)
        return torch.addcmul(self.shift, pixels, self.scale, out=pixels)


def own_part(batch_size: int, share: Share) -> slice:
    """The contiguous part of a batch that falls to a process; parts differ by one image at most."""
    rank, num_processes = share
    return slice(batch_size * rank // num_processes, batch_size * (rank + 1) // num_processes)
