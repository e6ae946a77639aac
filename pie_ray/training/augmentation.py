"""What is done to training images at random, as tensors on whatever device they lie.

Random numbers are drawn from a CPU generator for a whole batch: devices, and processes that share a batch, agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import ResizedCrop

_NUM_TRIES = 10
"""Crops that are drawn for an image before it is given the centre; torchvision's number."""
NUM_CROP_DRAWS = 2 * _NUM_TRIES + 2
"""Numbers in [0, 1) that `crop_boxes` needs an image."""


@dataclass(frozen=True)
class Draws:
    """Random numbers for a batch of `num_images`, of which `own` are wanted."""

    generator: torch.Generator
    num_images: int
    own: slice = field(default_factory=lambda: slice(None))

    def uniform(self, *shape: int) -> Tensor:
        """float32 [*shape, own images] in [0, 1)."""
        return torch.rand((*shape, self.num_images), generator=self.generator)[..., self.own]

    def integers(self, high: int, *shape: int) -> Tensor:
        """int64 [*shape, own images] in 0 .. high - 1."""
        return torch.randint(0, high, (*shape, self.num_images), generator=self.generator)[..., self.own]


def random_crop(images: Tensor, padding: int, draws: Draws, fill: Literal["zeros", "reflect"] = "zeros") -> Tensor:
    """Pad on all sides, then cut each image's own random window of the original size."""
    num_images, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4) if fill == "zeros" else _reflected(images, padding)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    tops, lefts = draws.integers(2 * padding + 1, 2).to(images.device)
    return windows[torch.arange(num_images, device=images.device), :, tops, lefts]


def random_flip(images: Tensor, draws: Draws) -> Tensor:
    """Mirror each image left to right with probability one half."""
    return mirror(images, draws.uniform().to(images.device) < 0.5)


def mirror(images: Tensor, is_mirrored: Tensor) -> Tensor:
    """Mirror left to right the images [b, c, h, w] that `is_mirrored` [b] names."""
    return torch.where(is_mirrored.view(-1, 1, 1, 1), images.flip(-1), images)


def random_resized_crop(images: Tensor, config: ResizedCrop, draws: Draws) -> Tensor:
    """Each image's own random part (see `crop_boxes`), bilinearly resized to the images' size: float32 [b, c, h, w]."""
    height, width = images.shape[2:]
    sizes = torch.tensor([[float(height), float(width)]])
    top, left, box_height, box_width = crop_boxes(sizes, config, draws.uniform(NUM_CROP_DRAWS)).unbind(1)
    zeros = torch.zeros_like(top)
    # Of coordinates in [-1, 1], as affine_grid has them.
    across = torch.stack([box_width / width, zeros, (2 * left + box_width) / width - 1], 1)
    down = torch.stack([zeros, box_height / height, (2 * top + box_height) / height - 1], 1)
    to_box = torch.stack([across, down], 1).to(images.device)
    grid = F.affine_grid(to_box, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def crop_boxes(sizes: Tensor, config: ResizedCrop, uniform: Tensor) -> Tensor:
    """Inception's random crops: float32 [b, 4] of top, left, height and width in pixels, not rounded.

    `sizes` [b or 1, 2] are heights and widths, `uniform` [NUM_CROP_DRAWS, b] numbers in [0, 1). A box has a share of
    the image's area that is uniform in [smallest, 1], and an aspect log-uniform in [1 / aspect, aspect]; of ten drawn
    the first that fits counts, and where none does the largest one in the centre whose aspect is allowed. Its place is
    uniform among those inside the image. (Szegedy et al., arXiv 1409.4842; the ten tries are torchvision's.)
    """
    heights, widths = sizes.expand(uniform.shape[1], 2).unbind(1)
    areas = heights * widths * (config.smallest + (1 - config.smallest) * uniform[:_NUM_TRIES])
    aspects = torch.exp(math.log(config.aspect) * (2 * uniform[_NUM_TRIES:-2] - 1))
    box_widths, box_heights = (areas * aspects).sqrt(), (areas / aspects).sqrt()
    fits = (box_widths <= widths) & (box_heights <= heights)
    first = fits.int().argmax(0, keepdim=True)
    is_drawn = fits.any(0)
    box_height = torch.where(is_drawn, box_heights.gather(0, first)[0], torch.minimum(heights, widths * config.aspect))
    box_width = torch.where(is_drawn, box_widths.gather(0, first)[0], torch.minimum(widths, heights * config.aspect))
    place = torch.where(is_drawn, uniform[-2:], 0.5)
    return torch.stack([place[0] * (heights - box_height), place[1] * (widths - box_width), box_height, box_width], 1)


def _reflected(images: Tensor, padding: int) -> Tensor:
    """Padded by what lies across the border, which is not repeated; F.pad does so for floats only."""
    rows, columns = (_reflection(size, padding, images.device) for size in images.shape[2:])
    return images[..., rows[:, None], columns]


def _reflection(size: int, padding: int, device: torch.device) -> Tensor:
    period = max(1, 2 * (size - 1))
    phase = torch.arange(-padding, size + padding, device=device) % period
    return torch.minimum(phase, period - phase)
