"""Pictures for tools that show them: as the networks saw them, without loss."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image


def picture_bytes(image: npt.NDArray[np.uint8]) -> bytes:
    """uint8 [channels, height, width] with 1 or 3 channels as PNG."""
    pixels = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


def picture_path(evaluation_set: str, example_id: int) -> str:
    """Where an example's picture lies below an export: by its id, since keys may be any text."""
    return f"images/{evaluation_set}/{example_id}.png"
