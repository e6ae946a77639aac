"""Counting where two tables of booleans are both True: the kernel under groups, attributes and bias amplification."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._arrays import BoolArray, blocks


def joint_counts(first: BoolArray, second: BoolArray) -> NDArray[np.int64]:
    """Number of examples on which both are True, [columns of first, columns of second].

    `first` and `second` are [examples, columns]; views of any stride do.
    """
    counts = np.zeros((first.shape[1], second.shape[1]), np.int64)
    for block in blocks(len(first), first.shape[1] + second.shape[1]):
        # A block has fewer examples than float32 has whole numbers, so that the fast matrix product counts exactly.
        counts += (first[block].T.astype(np.float32) @ second[block].astype(np.float32)).astype(np.int64)
    return counts


def num_true(table: BoolArray) -> NDArray[np.int64]:
    """How many of each row are True, [rows].

    A row at a time: `count_nonzero` with an axis, and `sum`, add numbers up instead and take 20 times as long.
    """
    return np.array([np.count_nonzero(row) for row in table], np.int64)


def ratio(numerator: NDArray[np.number], denominator: NDArray[np.number]) -> NDArray[np.float64]:
    """numerator / denominator; NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator == 0, np.nan, numerator / denominator)
