"""How the overlap of two PIE sets grows with the number of members: a family of curves with two parameters.

Of n members the mode is the first of an example's two leading labels with a chance near Phi(gap sqrt(n)), by the
central limit theorem. Around the boundary between the labels let the gaps be Normal(0, breadth^2) over examples, and
let the variant have moved them by Laplace(0, standard deviation movement). An example is then a PIE with chance
q = p_reference (1 - p_variant) + p_variant (1 - p_reference), and two repetitions overlap by about
E[q^2] / (2 E[q] - E[q^2]).

Where nothing moved, that is between 1/3 and .21 for any n: PIEs that are all noise do not become stable. Otherwise
1 minus the overlap falls as 1 / (movement sqrt(n)) in the end. A power law of n has neither property.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import map_coordinates
from scipy.special import ndtr

from ._arrays import FloatArray

# Nodes of the table, logarithms of breadth sqrt(n) and movement sqrt(n). Beyond a breadth of 20 nothing changes.
_BREADTH = np.linspace(np.log(0.03), np.log(20), 24)
_MOVEMENT = np.linspace(np.log(0.01), np.log(300), 40)
# The curves considered, logarithms of breadth and movement; the least movement is as good as none.
_BREADTHS = np.linspace(-3.5, 2.5, 37)
_MOVEMENTS = np.linspace(-5, 2.5, 151)


def candidate_overlaps(num_members: ArrayLike) -> FloatArray:
    """The overlap on every curve considered, [curves, numbers], for each of the numbers of members."""
    breadth, movement = np.meshgrid(_BREADTHS, _MOVEMENTS, indexing="ij")
    growth = np.log(np.asarray(num_members, np.float64)) / 2
    return overlap(breadth.reshape(-1, 1) + growth, movement.reshape(-1, 1) + growth)


def overlap(log_breadth: FloatArray, log_movement: FloatArray) -> FloatArray:
    """The overlap for breadth sqrt(n) and movement sqrt(n), arrays of one shape; interpolated."""
    breadth_place = (log_breadth - _BREADTH[0]) / (_BREADTH[1] - _BREADTH[0])
    movement_place = (log_movement - _MOVEMENT[0]) / (_MOVEMENT[1] - _MOVEMENT[0])
    return np.asarray(map_coordinates(_table(), [breadth_place, movement_place], order=3, mode="nearest"))


@cache
def _table() -> FloatArray:
    gap = _nodes(101, steepness=4, end=4.5)
    move = _nodes(81, steepness=5, end=10)
    weight = np.outer(np.gradient(gap) * np.exp(-(gap**2) / 2), np.gradient(move) * np.exp(-np.sqrt(2) * np.abs(move)))
    weight /= weight.sum()
    table = np.empty((_BREADTH.size, _MOVEMENT.size))
    for row, breadth in enumerate(np.exp(_BREADTH)):
        for column, movement in enumerate(np.exp(_MOVEMENT)):
            middle, half = breadth * gap[:, None], movement * move / 2
            first, second = ndtr(middle - half), ndtr(middle + half)
            chance = first + second - 2 * first * second
            shared = (weight * chance**2).sum()
            table[row, column] = shared / (2 * (weight * chance).sum() - shared)
    return table


def _nodes(number: int, *, steepness: float, end: float) -> FloatArray:
    """From -end to end, densest around 0, where the chances change."""
    return np.sinh(steepness * np.linspace(-1, 1, number)) / np.sinh(steepness) * end
