"""Predictions of a trained network, in float32 whatever it was trained in, so that only compression differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .batches import ChannelStatistics, Normalise


def predict(
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    statistics: ChannelStatistics,
    batch_size: int,
    device: torch.device,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield (rows, float32 logits [b, outputs] on the CPU) over uint8 `images` [examples, c, h, w], in order."""
    normalise = Normalise(statistics, device)
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            rows = slice(start, min(start + batch_size, len(images)))
            yield rows, forward(normalise(images[rows].to(device))).float().cpu()
