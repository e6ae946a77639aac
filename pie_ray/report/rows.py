"""What figures and page share: which rows of the result tables they show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

REFERENCE_ID = "dense"
_MAIN_SET = "test"


def main_set(summary: pd.DataFrame) -> str:
    """The evaluation set that the page is about: `test`, or else the first."""
    names = [str(name) for name in summary["evaluation_set"].unique()] if len(summary) else []
    return _MAIN_SET if _MAIN_SET in names or not names else names[0]


def rows_of(table: pd.DataFrame, evaluation_set: str | None = None) -> list[dict[str, Any]]:
    """Rows of one evaluation set, the main one by default; none of a table without rows, or without columns."""
    if not len(table):
        return []
    chosen = table[table["evaluation_set"] == (evaluation_set or main_set(table))]
    return [{str(key): value for key, value in row.items()} for row in chosen.to_dict("records")]


def variants_of(rows: list[dict[str, Any]]) -> list[str]:
    """Ids of the compressed variants, in the table's order."""
    return [variant_id for variant_id in dict.fromkeys(row["variant_id"] for row in rows) if variant_id != REFERENCE_ID]


def number(row: dict[str, Any], column: str) -> float:
    """NaN where the column is absent or holds none."""
    value = row.get(column)
    return math.nan if value is None or value != value else float(value)
