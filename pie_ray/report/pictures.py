"""Thumbnails for a page that carries its pictures: small, each encoded once, and within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

LONGEST_SIDE = 96
"""Pixels; a larger image is shrunk to it."""

CRISP_UP_TO = 64
"""Pixels; an image up to this size stays as it is, without loss, and is shown with its pixels visible."""

PICTURE_BYTES = 11_000_000
"""Of all pictures as they stand in the page, so that the whole page stays below 20 MB."""

_MEDIA_TYPES = {b"\x89PNG": "image/png", b"RIFF": "image/webp", b"\xff\xd8\xff": "image/jpeg"}
_QUALITY = 82


def thumbnails_within(
    example_ids: Iterable[int], read: Callable[[int], npt.NDArray[np.uint8]], budget: int = PICTURE_BYTES
) -> dict[int, bytes]:
    """Thumbnails by example id, in the order given, up to the first that does not fit the budget.

    `read` gives the image of an example, uint8 [channels, height, width]; those that do not fit are never read.
    """
    thumbnails: dict[int, bytes] = {}
    left = budget
    for example_id in example_ids:
        thumbnail = encode_thumbnail(read(example_id))
        left -= len(data_uri(thumbnail))
        if left < 0:
            break
        thumbnails[example_id] = thumbnail
    return thumbnails


def encode_thumbnail(image: npt.NDArray[np.uint8]) -> bytes:
    """uint8 [channels, height, width] with 1 or 3 channels to PNG or WebP, whichever is smaller."""
    pixels = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if max(picture.size) <= CRISP_UP_TO:
        return min(_saved(picture, "PNG", optimize=True), _saved(picture, "WEBP", lossless=True), key=len)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return min(_saved(picture, "PNG", optimize=True), _saved(picture, "WEBP", quality=_QUALITY), key=len)


def data_uri(thumbnail: bytes) -> str:
    """What an `img` takes as its source."""
    media_type = next(kind for start, kind in _MEDIA_TYPES.items() if thumbnail.startswith(start))
    return f"data:{media_type};base64,{base64.b64encode(thumbnail).decode()}"


def is_crisp(thumbnail: bytes) -> bool:
    """Whether the image is so small that it is shown with its pixels visible."""
    with Image.open(io.BytesIO(thumbnail)) as picture:
        return max(picture.size) <= CRISP_UP_TO


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()
