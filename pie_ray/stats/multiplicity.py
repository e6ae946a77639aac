"""Many tests at once: q-values that keep the false discovery rate (Benjamini & Hochberg, 1995)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ._arrays import FloatArray


def benjamini_hochberg(p_value: ArrayLike, *, tested: ArrayLike | None = None) -> FloatArray:
    """The smallest false discovery rate at which each test is still a discovery, in the shape of `p_value`.

    With the m tested p in ascending order p_(1) .. p_(m): q_(i) = min over j >= i of m p_(j) / j, at most 1. The family
    is every p that is not NaN; `tested`, booleans of the same shape, leaves out more. Whatever decides `tested` must
    not see which members belong to which population (the pooled votes may), or the rate is not kept. NaN elsewhere.

    Raises InputError for p outside [0, 1], and for `tested` of another shape or type.
    """
    p = np.asarray(p_value)
    if not np.issubdtype(p.dtype, np.number) or np.any((p < 0) | (p > 1)):
        raise InputError("p_value: found values that are no probabilities; accepted are numbers in [0, 1], or NaN")
    family = ~np.isnan(p)
    if tested is not None:
        chosen = np.asarray(tested)
        if chosen.dtype != np.bool_ or chosen.shape != p.shape:
            raise InputError(f"tested: found {chosen.dtype} {chosen.shape}; accepted are booleans {p.shape}")
        family &= chosen
    q = np.full(p.shape, np.nan)
    q[family] = _step_up(p[family].astype(np.float64))
    return q


def _step_up(p: FloatArray) -> FloatArray:
    order = np.argsort(p, kind="stable")
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q
