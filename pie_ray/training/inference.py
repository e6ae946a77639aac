"""Predictions of a trained network over evaluation sets, an image's the same in whatever company it is predicted.

Images go through the network in passes of a fixed number, the last one filled up. Fixed, because matrix products add in
another order for one image than for several; few, because activations that leave the processor's cache, and memory that
is asked for and given back at every layer, cost small networks half their speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .batches import ChannelStatistics, Normalise

_PIXELS = {"cpu": 32 * 32 * 32, "cuda": 512 * 32 * 32}
_FEWEST = {"cpu": 16, "cuda": 64}
_MOST = {"cpu": 128, "cuda": 1024}
"""Of a pass: height x width x images, unless that is too few or too many images. On the CPU, a thread."""


def predict(
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    statistics: ChannelStatistics,
    batch_size: int,
    device: torch.device,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield (rows, float32 logits [b, outputs] on the CPU) over uint8 `images` [examples, c, h, w], in order.

    `batch_size` is the number of rows that come at once; it does not bear on the logits.
    """
    passes = _passes(forward, images, Normalise(statistics, device), device)
    logits, num_waiting = [], 0
    for start in range(0, len(images), batch_size):
        rows = slice(start, min(start + batch_size, len(images)))
        num_rows = rows.stop - rows.start
        while num_waiting < num_rows:
            logits.append(next(passes))
            num_waiting += len(logits[-1])
        joined = torch.cat(logits)
        yield rows, joined[:num_rows].cpu()
        logits, num_waiting = [joined[num_rows:]], num_waiting - num_rows


def images_per_pass(height: int, width: int, device: torch.device) -> int:
    """A power of two for each thread, whatever the network: what it is must not depend on what else is running."""
    kind = device.type
    num_images = min(max(_PIXELS[kind] // (height * width), _FEWEST[kind]), _MOST[kind])
    num_threads = torch.get_num_threads() if kind == "cpu" else 1
    return num_threads * 2 ** (num_images.bit_length() - 1)


def _passes(
    forward: Callable[[Tensor], Tensor], images: Tensor, normalise: Normalise, device: torch.device
) -> Iterator[Tensor]:
    """Float32 logits [n, outputs] on the device, pass by pass."""
    size = images_per_pass(images.shape[2], images.shape[3], device)
    for start in range(0, len(images), size):
        pixels = images[start : start + size].to(device)
        num_images = len(pixels)
        if num_images < size:
            pixels = torch.cat([pixels, pixels.new_zeros(size - num_images, *pixels.shape[1:])])
        # Left before the yield: the mode would reach whoever takes the logits.
        with torch.inference_mode():
            logits = forward(normalise(pixels))[:num_images].float()
        yield logits
