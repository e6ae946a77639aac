"""Array types and the two small helpers that every statistic shares. Axes: [members, examples], member axis first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

CELLS_AT_ONCE = 1 << 20
"""Elements of the largest temporary array; some megabytes, so that the work stays in the processor's cache."""


def blocks(length: int, cells_each: int) -> Iterator[slice]:
    """Slices that cover `range(length)`, each of as many items as fit `CELLS_AT_ONCE` at `cells_each` an item."""
    step = max(1, CELLS_AT_ONCE // cells_each)
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def spread(values: FloatArray) -> float:
    """Standard deviation with the divisor n - 1; NaN for fewer than two values."""
    return float(np.std(values, ddof=1)) if values.size > 1 else float("nan")
