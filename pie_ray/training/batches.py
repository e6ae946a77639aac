"""Training batches cut from one tensor in memory and augmented as tensors.

Axes: b images of a batch, c channels, h height, w width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import Augmentation

ChannelStatistics = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation [c] of pixels scaled to [0, 1]."""


class Batches:
    """Shuffled, augmented, normalised batches of an image set; `epoch()` gives one pass.

    `images` is uint8 [examples, c, h, w], `labels` any tensor with a row an example, `statistics` the channels' mean
    and deviation in [0, 1]. All randomness comes from `generator`, a CPU generator, so that every device sees the same
    batches. A last batch that is not full is dropped; the next epoch's shuffle gives its images another turn.
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
    ) -> None:
        self.images, self.labels = images.to(device), labels.to(device)
        self.normalise = Normalise(statistics, device)
        self.batch_size = min(batch_size, len(images))
        self.augmentation = augmentation
        self.generator = generator
        self.device = device

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.images) // self.batch_size

    def epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (float32 [b, c, h, w] in channels_last, labels of the same b images)."""
        order = torch.randperm(len(self.images), generator=self.generator)
        for step in range(len(self)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size].to(self.device)
            yield self.normalise(self._augment(self.images[rows])), self.labels[rows]

    def _augment(self, images: Tensor) -> Tensor:
        if self.augmentation.crop_padding:
            images = random_crop(images, self.augmentation.crop_padding, self.generator)
        if self.augmentation.flip:
            images = random_flip(images, self.generator)
        return images


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
        return torch.addcmul(self.shift, images.contiguous(memory_format=torch.channels_last).float(), self.scale)


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Pad with zeros on all sides, then cut each image's own random window of the original size."""
    num_images, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    tops, lefts = torch.randint(0, 2 * padding + 1, (2, num_images), generator=generator).to(images.device)
    return windows[torch.arange(num_images, device=images.device), :, tops, lefts]


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability one half."""
    flipped = torch.rand(len(images), generator=generator).to(images.device) < 0.5
    return torch.where(flipped.view(-1, 1, 1, 1), images.flip(-1), images)
