"""Bootstrap draws, and intervals of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._arrays import FloatArray


def draw_counts(num_items: int, num_draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each of `num_items` is taken when as many are drawn with replacement, [draws, items]."""
    drawn = rng.integers(num_items, size=(num_draws, num_items))
    drawn += num_items * np.arange(num_draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)


def percentiles(drawn: FloatArray, *, alpha: float, least: float) -> tuple[FloatArray, FloatArray]:
    """Ends of the interval at the level 1 - alpha: the draws next outside of its percentiles, along the first axis.

    Draws may be infinite. Undefined ones (NaN) say nothing: they count as `least` for the lower end and as infinite for
    the upper one.
    """
    says_nothing = np.isnan(drawn)
    low = np.quantile(np.where(says_nothing, least, drawn), alpha / 2, axis=0, method="lower")
    high = np.quantile(np.where(says_nothing, np.inf, drawn), 1 - alpha / 2, axis=0, method="higher")
    return np.asarray(low), np.asarray(high)
