"""How many members do a variant's PIEs need? From the stored table of their stability."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from .. import stats


def plan_members(tables: Mapping[str, pd.DataFrame], target: float) -> pd.DataFrame:
    """A row an evaluation set and variant: the members there are, and those that `target` needs.

    `target` is the Jaccard similarity, shared PIEs over all PIEs of either, that two repetitions are to reach. Columns:
    num_members, jaccard (expected with these), num_needed, low, high (of all curves that fit), basis: `measured`,
    `extrapolated`, `out of reach` or `too few sizes`; NaN where there is no number. Empty where no variant has four
    members.
    """
    rows = []
    if tables["stability"].empty:
        return pd.DataFrame()
    summary = tables["summary"].set_index(["evaluation_set", "variant_id"])
    for names, sizes in tables["stability"].groupby(["evaluation_set", "variant_id"], sort=False):
        found = stats.members_needed(_stability(sizes, bool(summary.loc[names, "is_paired"])), target)
        rows.append(
            {
                "evaluation_set": names[0],
                "variant_id": names[1],
                "num_members": int(summary.loc[names, "num_members"]),
                "jaccard": found.jaccard_now,
                "num_needed": _number(found.num_members),
                "low": _number(found.low),
                "high": _number(found.high),
                "basis": found.basis,
            }
        )
    return pd.DataFrame(rows)


def _number(members: int | None) -> float:
    return math.nan if members is None else float(members)


def _stability(sizes: pd.DataFrame, is_paired: bool) -> stats.PieStability:
    names = ("num_members", "jaccard_mean", "jaccard_std", "pie_fraction", "num_resamples")
    return stats.PieStability(**{name: sizes[name].to_numpy() for name in names}, is_paired=is_paired)
