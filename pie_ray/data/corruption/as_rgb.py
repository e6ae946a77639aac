"""Images as a corruption wants them, RGB of at least 32 pixels a side, and back as they were."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from ..evaluation_images import Pixels

LEAST_SIZE = 32
"""Pixels a side below which imagecorruptions corrupts nothing."""

Corrupt = Callable[[Pixels], Pixels]
"""Of uint8 [height, width, 3], RGB."""

_GREEN = 1


def corrupt_as_rgb(image: Pixels, small_images: str, corrupt: Corrupt) -> Pixels:
    """`corrupt` a square image uint8 [1 or 3, size, size]; `small_images` says how a small one is enlarged for it.

    A gray image is corrupted as three equal channels, of which the green one is kept: it has the strength that the
    corruption has in a channel, whereas the luma of three channels' independent noise has but two thirds of it.
    """
    num_channels, size, _ = image.shape
    rgb = np.ascontiguousarray(np.broadcast_to(image, (3, size, size)).transpose(1, 2, 0))
    corrupted = corrupt(rgb) if size >= LEAST_SIZE else _ENLARGED[small_images](rgb, corrupt)
    channels = corrupted.transpose(2, 0, 1)
    return channels if num_channels == 3 else channels[[_GREEN]]


def _padded(image: Pixels, corrupt: Corrupt) -> Pixels:
    """Mirrored at its edges, as often as it takes; of the corrupted image the middle is kept."""
    size = len(image)
    before = (LEAST_SIZE - size) // 2
    around = (before, LEAST_SIZE - size - before)
    corrupted = corrupt(np.pad(image, (around, around, (0, 0)), mode="reflect"))
    return corrupted[before : before + size, before : before + size]


def _resized(image: Pixels, corrupt: Corrupt) -> Pixels:
    """Enlarged by bicubic interpolation; the corrupted image is reduced by the mean of what a pixel covers."""
    size = len(image)
    enlarged = np.asarray(Image.fromarray(image).resize((LEAST_SIZE, LEAST_SIZE), Image.Resampling.BICUBIC))
    return np.asarray(Image.fromarray(corrupt(enlarged)).resize((size, size), Image.Resampling.BOX))


_ENLARGED = {"pad": _padded, "resize": _resized}
