"""How the overlap of two PIE sets grows with the number of members: a family of curves.

Around the boundary between an example's two leading labels, the mode of n members is the first of them where
gap sqrt(n) + Z > 0, with a standard normal Z by the central limit theorem. Let the gaps be Normal(0, breadth^2) over
examples, let the variant have moved them by Laplace(0, standard deviation movement), and let the Z of reference and
variant have a correlation: 0 for members trained apart, close to 1 where each of the variant's is derived from one of
the reference's. An example is a PIE where the two signs differ, of chance q, and two repetitions overlap by about
E[q^2] / (2 E[q] - E[q^2]).

Where nothing moved that does not grow (members trained apart: it falls from 1/3 to .21), as PIEs that are all noise do
not become stable. Otherwise 1 minus the overlap falls as 1 / (movement sqrt(n)) in the end. A power law of n has
neither property.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates
from scipy.special import owens_t

from ._arrays import FloatArray

# Nodes of the table, logarithms of breadth sqrt(n) and movement sqrt(n). Beyond a breadth of 20 nothing changes.
_BREADTH = np.linspace(np.log(0.03), np.log(20), 13)
_MOVEMENT = np.linspace(np.log(0.01), np.log(300), 24)
# The curves considered: logarithms of breadth and of movement, the least of which is as good as none; correlations.
_BREADTHS = np.linspace(-3.5, 2.5, 25)
_MOVEMENTS = np.linspace(-5, 2.5, 126)
_CORRELATIONS = {False: (0.0,), True: tuple(1 - 0.64 / 2**halvings for halvings in range(8))}


def candidate_overlaps(
    num_members: ArrayLike, *, is_paired: bool, chosen: NDArray[np.int64] | None = None
) -> FloatArray:
    """The overlap on every curve considered, or on the `chosen`, for each number of members, [curves, numbers]."""
    growth = np.log(np.asarray(num_members, np.float64)) / 2
    correlations = _CORRELATIONS[is_paired]
    curves = np.stack(np.meshgrid(np.arange(len(correlations)), _BREADTHS, _MOVEMENTS, indexing="ij")).reshape(3, -1)
    if chosen is not None:
        curves = curves[:, chosen]
    overlaps = np.empty((curves.shape[1], growth.size))
    for index, correlation in enumerate(correlations):
        members = curves[0] == index
        breadth, movement = curves[1:, members, None] + growth
        overlaps[members] = overlap(breadth, movement, correlation)
    return overlaps


def overlap(log_breadth: FloatArray, log_movement: FloatArray, correlation: float) -> FloatArray:
    """The overlap for the logarithms of breadth sqrt(n) and movement sqrt(n), arrays of one shape; interpolated."""
    breadth = (log_breadth - _BREADTH[0]) / (_BREADTH[1] - _BREADTH[0])
    movement = (log_movement - _MOVEMENT[0]) / (_MOVEMENT[1] - _MOVEMENT[0])
    return np.asarray(map_coordinates(_table(correlation), [breadth, movement], order=3, mode="nearest"))


@cache
def _table(correlation: float) -> FloatArray:
    """The overlap at all nodes. The chance is even in the gap's middle and in the movement: one quadrant will do."""
    middle, middle_width = _quadrature(50, end=4.5)
    move, move_width = _quadrature(25, end=10)
    weight = np.outer(middle_width * np.exp(-(middle**2) / 2), move_width * np.exp(-np.sqrt(2) * move))
    weight /= weight.sum()
    table = np.empty((_BREADTH.size, _MOVEMENT.size))
    for row, breadth in enumerate(np.exp(_BREADTH)):
        for column, movement in enumerate(np.exp(_MOVEMENT)):
            centre, half = breadth * middle[:, None], movement * move / 2
            chance = _signs_differ(centre - half, centre + half, correlation)
            shared = (weight * chance**2).sum()
            table[row, column] = shared / (2 * (weight * chance).sum() - shared)
    return table


def _quadrature(number: int, *, end: float) -> tuple[FloatArray, FloatArray]:
    """Midpoints and widths of cells from 0 to `end`, narrowest at 0, where the chance changes."""
    edges = np.sinh(7 * np.linspace(0, 1, number + 1)) / np.sinh(7) * end
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


def _signs_differ(first: FloatArray, second: FloatArray, correlation: float) -> FloatArray:
    """P(sign(first + Z) != sign(second + Z')) for standard normal Z and Z' of that correlation (Owen 1956)."""
    root = np.sqrt(1 - correlation**2)
    with np.errstate(divide="ignore"):
        chance = owens_t(first, (second / first - correlation) / root)
        chance += owens_t(second, (first / second - correlation) / root)
    return 2 * chance + (first * second < 0)
