"""Corrupted images by corruption and severity, as one labelled picture."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

CLEAN = ("clean", 0)
"""The key of the picture as it was before; it opens every row."""

_TILE, _GAP, _HEADING, _FONT_SIZE = 96, 4, 26, 15
"""Pixels."""

_MOST_LINES = 10

_INK = (123, 135, 148, 255)
"""Readable on white and on black: the ground is transparent."""

Pixels = npt.NDArray[np.uint8]


def sample_grid(pictures: Mapping[tuple[str, int], Pixels]) -> bytes:
    """PNG: a row a corruption, in the mapping's order, and a column a severity, ascending.

    `pictures` are uint8 [height, width, channels] of 1 or 3 channels by corruption and severity; `("clean", 0)` is the
    picture before, and comes first in every row. What is missing stays empty. Small pictures are enlarged by whole
    numbers, without smoothing. Of many corruptions the second half stands beside the first.

    Raises ValueError where there is no corrupted picture.
    """
    corruptions = list(dict.fromkeys(name for name, severity in pictures if (name, severity) != CLEAN))
    if not corruptions:
        raise ValueError("pictures: found none of a corruption, accepted are one or more")
    severities = sorted({severity for name, severity in pictures if (name, severity) != CLEAN})
    titles = ["clean"] * (CLEAN in pictures) + [str(severity) for severity in severities]
    font = ImageFont.load_default(_FONT_SIZE)
    names = [name.replace("_", " ") for name in corruptions]
    margin = round(max(font.getlength(name) for name in names)) + 3 * _GAP
    num_lines = len(names) if len(names) <= _MOST_LINES else (len(names) + 1) // 2
    width = margin + len(titles) * (_TILE + _GAP)
    sheet = Image.new("RGBA", (width * math.ceil(len(names) / num_lines), _HEADING + num_lines * (_TILE + _GAP)))
    pen = ImageDraw.Draw(sheet)
    for index, corruption in enumerate(corruptions):
        start, top = index // num_lines * width + margin, _HEADING + index % num_lines * (_TILE + _GAP)
        pen.text((start - 2 * _GAP, top + _TILE / 2), names[index], _INK, font, anchor="rm")
        keys = [CLEAN] * (CLEAN in pictures) + [(corruption, severity) for severity in severities]
        for column, (title, key) in enumerate(zip(titles, keys, strict=True)):
            left = start + column * (_TILE + _GAP)
            if index % num_lines == 0:
                pen.text((left + _TILE / 2, _HEADING / 2), title, _INK, font, anchor="mm")
            if key in pictures:
                _paste(sheet, pictures[key], left, top)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _paste(sheet: Image.Image, pixels: Pixels, left: int, top: int) -> None:
    """In the middle of its tile, as large as it can be."""
    picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)).convert("RGB")
    longest = max(picture.size)
    if longest <= _TILE:
        times = _TILE // longest
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    else:
        picture.thumbnail((_TILE, _TILE), Image.Resampling.LANCZOS)
    sheet.paste(picture, (left + (_TILE - picture.width) // 2, top + (_TILE - picture.height) // 2))
