"""Where names stand in a figure so that they do not hide each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FONT_POINTS = 8
_LETTER_POINTS, _LINE_POINTS, _MARK_POINTS = 4.7, 10.0, 9.0
_GAP_POINTS = 7.0

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


def spread(heights: Sequence[float], gap: float, top: float) -> list[float]:
    """The heights moved apart to `gap` at least, up where there is room below `top`; their order stays."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed = list(heights)
    for below, index in pairwise(order):
        placed[index] = max(placed[index], placed[below] + gap)
    ceiling = top
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed


def name_points(axes: Axes, points: Iterable[tuple[float, float, str]]) -> None:
    """Write each name beside its point, the first ones first, where it hides neither point nor name; else leave it out.

    The limits of the axes must be set before.
    """
    named = list(points)
    scale = 72 / axes.figure.dpi
    places = [tuple(float(at) * scale for at in axes.transData.transform((x, y))) for x, y, _ in named]
    left, bottom, right, top = (float(end) * scale for end in axes.get_window_extent().extents)
    taken = [_around(x, y) for x, y in places]
    for (x, y), (data_x, data_y, name) in zip(places, named, strict=True):
        for side, dy in ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            box = _box(x, y, side, dy, name)
            inside = box[0] >= left and box[2] <= right and box[1] >= bottom and box[3] <= top
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                axes.annotate(
                    name, (data_x, data_y), (side * _GAP_POINTS, dy * _LINE_POINTS), textcoords="offset points",
                    ha="left" if side > 0 else "right", va="center", fontsize=FONT_POINTS,
                )  # fmt: skip
                break


def _around(x: float, y: float) -> Box:
    half = _MARK_POINTS / 2
    return x - half, y - half, x + half, y + half


def _box(x: float, y: float, side: int, dy: int, name: str) -> Box:
    near, far = x + side * _GAP_POINTS, x + side * (_GAP_POINTS + _LETTER_POINTS * len(name))
    middle = y + dy * _LINE_POINTS
    return min(near, far), middle - _LINE_POINTS / 2, max(near, far), middle + _LINE_POINTS / 2


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
