"""Rows of corrupted and natural sets, and what they come to: for the page, its figures and the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .rows import REFERENCE_ID, number

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

ALPHA = 0.05
"""A set counts where its q-value is at most this."""

_MEANS = (
    "top1_mean", "reference_top1_mean", "drop", "excess_drop", "top1_on_pies", "reference_top1_on_pies",
    "top1_without_pies", "reference_top1_without_pies", "top1_on_clean_pies", "reference_top1_on_clean_pies",
    "top1_without_clean_pies", "reference_top1_without_clean_pies", "break_on_clean_pies", "break_elsewhere",
    "reference_break_on_clean_pies", "reference_break_elsewhere",
)  # fmt: skip


def corrupted_rows(robustness: pd.DataFrame | None) -> list[Row]:
    """Rows of corrupted sets; none of a table that is absent or empty."""
    return [row for row in all_rows(robustness) if row["kind"] == "corruption"]


def natural_rows(robustness: pd.DataFrame | None) -> list[Row]:
    """Rows of natural sets; none of a table that is absent or empty."""
    return [row for row in all_rows(robustness) if row["kind"] == "natural"]


def by_variant(robustness: pd.DataFrame | None, errors: pd.DataFrame | None) -> list[Row]:
    """A row a variant over the common corruptions, or over all where none of those was evaluated.

    Holds what `corruption_errors` says of them, and over the same sets the means of what `robustness` says of each,
    `num_sets`, `num_corruptions`, `num_tested`, and `num_more` and `num_less`: sets whose drop is significantly larger,
    or smaller, than the reference's.
    """
    rows = corrupted_rows(robustness)
    has_common = any(row["family"] != "extra" for row in rows)
    chosen = [row for row in rows if row["family"] != "extra"] if has_common else rows
    level = "common" if has_common else "all"
    known = {row["variant_id"]: row for row in all_rows(errors) if row["level"] == level}
    lines = []
    for variant_id in dict.fromkeys(row["variant_id"] for row in chosen):
        mine = [row for row in chosen if row["variant_id"] == variant_id]
        names = {"variant_id": variant_id, "is_common": has_common}
        lines.append(known.get(variant_id, {}) | names | _over_sets(mine))
    return lines


def set_name(row: Row) -> str:
    """As people call a natural set."""
    return str(row["evaluation_set"]).removeprefix("natural/")


def mean_of(values: Iterable[float]) -> float:
    """Of the values that are there; NaN where none is."""
    found = [value for value in values if not math.isnan(value)]
    return sum(found) / len(found) if found else math.nan


def is_significant(row: Row) -> bool:
    """Whether the drop on this set differs from the reference's beyond chance."""
    return number(row, "q_value") <= ALPHA


def least_robust(lines: Sequence[Row]) -> Row | None:
    """The variant with the largest mCE, or where it has none the lowest top-1; None where none was compared."""
    compared = [row for row in lines if row["variant_id"] != REFERENCE_ID]
    known = [row for row in compared if not math.isnan(number(row, "mce"))]
    if known:
        return max(known, key=lambda row: number(row, "mce"))
    return min(compared, key=lambda row: number(row, "top1_mean"), default=None)


def most_changed(rows: Sequence[Row]) -> Row | None:
    """Of the rows of one set or several the compressed one whose top-1 fell most, relative to the reference's."""
    compared = [row for row in rows if row["variant_id"] != REFERENCE_ID and not math.isnan(number(row, "change"))]
    return min(compared, key=lambda row: number(row, "change"), default=None)


def all_rows(table: pd.DataFrame | None) -> list[Row]:
    """Of every evaluation set; none of a table that is absent or empty."""
    if table is None or not len(table):
        return []
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _over_sets(rows: Sequence[Row]) -> Row:
    return {column: mean_of(number(row, column) for row in rows) for column in _MEANS} | {
        "num_sets": len(rows),
        "num_corruptions": len({row["corruption"] for row in rows}),
        "num_tested": sum(not math.isnan(number(row, "q_value")) for row in rows),
        "num_more": sum(is_significant(row) and number(row, "excess_drop") > 0 for row in rows),
        "num_less": sum(is_significant(row) and number(row, "excess_drop") < 0 for row in rows),
    }
