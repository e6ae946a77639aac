"""How alike two attribution maps of one image are, and what a population's maps come to.

Maps are compared with their signs. Adebayo et al. (arXiv 1810.03292) ask of maps whether they tell a trained network
from a random one, by Spearman's rank correlation among others, with absolute values and without. The absolute values of
integrated gradients of two random networks correlate, as both show where the image is strong; with signs they do not.
Cosine similarity weighs the positions by what they count.

Axes: [maps, positions] of maps, [members, examples] of similarities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ._arrays import FloatArray, IntArray
from ._intervals import percentiles
from ._validation import check_count, check_rng
from .corruption_error import Resampled

ALPHA = 0.05


def cosine_similarity(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Cosine of the angle between two maps, in [-1, 1], [maps]; NaN where either map is zero.

    Raises InputError where the shapes differ or are not [maps, positions].
    """
    one, other = _maps(first, second)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return _in_range(np.einsum("mp,mp->m", one, other), lengths)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Spearman's, in [-1, 1], [maps]: tied positions share their mean rank. NaN where either map is constant.

    Raises InputError as `cosine_similarity` does.
    """
    # Half a second to import, which all other statistics do without.
    from scipy.stats import rankdata

    one, other = (rankdata(maps, axis=1) for maps in _maps(first, second))
    centre = (one.shape[1] + 1) / 2
    return cosine_similarity(one - centre, other - centre)


def mean_similarity(similarity: ArrayLike, *, rng: np.random.Generator, num_resamples: int = 2_000) -> Resampled:
    """The mean of similarities [members, examples], with 95 % of a bootstrap over members and examples at once.

    NaN cells are left out; one member has no interval. Raises InputError for other shapes.
    """
    values = _cells("similarity", similarity)
    drawn = _drawn_means(values, *_draws(values, rng, num_resamples))
    return _resampled(_mean(values), drawn, len(values), least=-1)


def dissimilarity_ratio(
    plain: ArrayLike, preserving: ArrayLike, *, rng: np.random.Generator, num_resamples: int = 2_000
) -> Resampled:
    """Mean 1 - similarity of plain members over that of preserving ones: above 1 the preserving ones' maps moved less.

    Both are [members, examples], row m of both held against one reference member, and are drawn together as in
    `mean_similarity`. NaN where neither moved. Raises InputError where the shapes differ.
    """
    before, after = 1 - _cells("plain", plain), 1 - _cells("preserving", preserving)
    if before.shape != after.shape:
        raise InputError(f"preserving: found shape {after.shape} where plain has {before.shape}; accepted is the same")
    # Where either is unknown, neither is looked at: both means are of the same members and examples.
    before, after = np.where(np.isnan(after), np.nan, before), np.where(np.isnan(before), np.nan, after)
    draws = _draws(before, rng, num_resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.float64(_mean(before)) / np.float64(_mean(after)))
        drawn = _drawn_means(before, *draws) / _drawn_means(after, *draws)
    return _resampled(ratio, drawn, len(before), least=0)


def _maps(first: ArrayLike, second: ArrayLike) -> tuple[FloatArray, FloatArray]:
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.ndim != 2 or one.shape != other.shape or not one.size:
        raise InputError(f"maps: found shapes {one.shape} and {other.shape}; accepted is [maps, positions] of both")
    return one, other


def _in_range(products: FloatArray, lengths: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(lengths > 0, np.clip(products / lengths, -1, 1), np.nan)


def _cells(name: str, value: ArrayLike) -> FloatArray:
    cells = np.asarray(value, np.float64)
    if cells.ndim != 2 or not cells.size:
        raise InputError(f"{name}: found shape {cells.shape}; accepted is [members, examples], at least one of each")
    return cells


def _draws(values: FloatArray, rng: np.random.Generator, num_resamples: int) -> tuple[IntArray, IntArray]:
    """How often each member and each example is drawn, [draws, members] and [draws, examples]."""
    check_rng(rng)
    check_count("num_resamples", num_resamples)
    members, examples = (rng.multinomial(n, np.full(n, 1 / n), size=num_resamples) for n in values.shape)
    return members, examples


def _drawn_means(values: FloatArray, members: IntArray, examples: IntArray) -> FloatArray:
    """[draws]; NaN where a draw has no known cell."""
    is_known = ~np.isnan(values)
    total = ((members @ np.where(is_known, values, 0.0)) * examples).sum(axis=1)
    count = ((members @ is_known.astype(np.float64)) * examples).sum(axis=1)
    with np.errstate(invalid="ignore"):
        means: FloatArray = total / count
    return means


def _resampled(value: float, drawn: FloatArray, num_members: int, *, least: float) -> Resampled:
    if num_members < 2 or np.isnan(value):
        return Resampled(np.asarray(value), np.asarray(np.nan), np.asarray(np.nan))
    return Resampled(np.asarray(value), *percentiles(drawn, alpha=ALPHA, least=least))


def _mean(values: FloatArray) -> float:
    return float("nan") if np.isnan(values).all() else float(np.nanmean(values))
