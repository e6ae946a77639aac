"""How many members do a variant's PIEs need? From the stored table of their stability."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from .. import stats


def plan_members(tables: Mapping[str, pd.DataFrame], target: float) -> pd.DataFrame:
    """A row an evaluation set and variant: the members there are, and those that `target` needs.

    `target` is the Jaccard similarity, shared PIEs over all PIEs of either, that two repetitions are to reach. Columns:
    num_members, jaccard (at that number), num_needed, low, high, is_measured; NaN where the measured sizes cannot tell.
    Empty where no variant has four members.
    """
    rows = []
    if tables["stability"].empty:
        return pd.DataFrame()
    members = tables["summary"].set_index(["evaluation_set", "variant_id"])["num_members"]
    for names, sizes in tables["stability"].groupby(["evaluation_set", "variant_id"], sort=False):
        num_members = int(members[names])
        found = stats.members_needed(_stability(sizes), target, num_members=num_members)
        rows.append(
            {
                "evaluation_set": names[0],
                "variant_id": names[1],
                "num_members": num_members,
                "jaccard": found.jaccard,
                "num_needed": found.num_members,
                "low": found.low,
                "high": found.high,
                "is_measured": found.is_measured,
            }
        )
    return pd.DataFrame(rows)


def _stability(sizes: pd.DataFrame) -> stats.PieStability:
    names = ("num_members", "jaccard_mean", "jaccard_std", "pie_fraction", "num_resamples")
    return stats.PieStability(**{name: sizes[name].to_numpy() for name in names})
