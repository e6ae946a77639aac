"""The page's sections on groups of examples, and on what is known of examples from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .markup import section
from .rows import number, rows_of
from .tables import Column, table_block
from .words import MISSING, count, p_value_text, percent, points, relative, with_interval

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

RATES = {"error": "error", "false_positive": "FPR", "false_negative": "FNR"}

_NUM_GROUPS = 24


def group_section(groups: pd.DataFrame, gaps: pd.DataFrame, summary_rows: Sequence[Row]) -> str:
    """Error, FPR and FNR by group: the largest changes first."""
    rows = [row for row in rows_of(groups) if not row["is_small"] and not math.isnan(number(row, "change"))]
    if not rows:
        return ""
    rows.sort(key=lambda row: -abs(row["change"]))
    columns: list[Column] = [
        ("Variant", "", lambda row: escape(str(row["variant_id"]))),
        *_attribute_column(rows),
        ("Rate", "", lambda row: escape(RATES.get(row["rate"], str(row["rate"])))),
        ("Examples", "", lambda row: count(number(row, "num_examples"))),
        ("Reference", "", lambda row: percent(number(row, "reference"))),
        ("Variant's", "", lambda row: percent(number(row, "variant"))),
        ("Change", "points, with 95 % interval over members; bold where that leaves out 0", _interval),
        ("Normalised", "change over the reference's rate", lambda row: relative(number(row, "normalised_change"), 0)),
        ("PIEs", "in the group", lambda row: count(number(row, "num_pies"))),
    ]
    more = f" The {_NUM_GROUPS} largest of {len(rows):,} changes." if len(rows) > _NUM_GROUPS else ""
    few = min(number(row, "num_members") for row in summary_rows)
    short = " With fewer than ten members the intervals are too short." if few < 10 else ""
    text = f"Error rates by attributes beside the label; groups of few examples are left out.{more}{short}"
    title = "The cost by group"
    body = table_block(rows[:_NUM_GROUPS], columns, title, "Group", "group") + _gap_block(gaps)
    return section("groups", title, text, body)


def _attribute_column(rows: Sequence[Row]) -> list[Column]:
    """What multi-label rows are about; nothing of classes."""
    return [("Attribute", "", lambda row: escape(str(row["attribute"])))] if "attribute" in rows[0] else []


def _gap_block(gaps: pd.DataFrame) -> str:
    rows = rows_of(gaps)
    if not rows:
        return ""
    columns: list[Column] = [
        *_attribute_column(rows),
        ("Worst before", "group of the highest error", lambda row: escape(str(row["reference_worst"]))),
        ("Gap before", "highest minus lowest error", lambda row: points(number(row, "reference_gap"))),
        ("Worst after", "", lambda row: escape(str(row["variant_worst"]))),
        ("Gap after", "", lambda row: points(number(row, "variant_gap"))),
        ("Change", "points, with 95 % interval over members; bold where that leaves out 0", _interval),
    ]
    table = table_block(rows, columns, "The gap between groups")
    return f"<h3>The gap between the worst and the best group</h3>{table}"


def evidence_section(evidence: pd.DataFrame) -> str:
    rows = rows_of(evidence)
    if not rows:
        return ""
    columns: list[Column] = [
        ("Evidence", "", lambda row: escape(str(row["evidence"]))),
        ("On PIEs", "mean", lambda row: _plain(number(row, "mean_on_pies"))),
        ("On the rest", "mean", lambda row: _plain(number(row, "mean_on_rest"))),
        ("AUROC", "chance that a PIE has the larger value", lambda row: _plain(number(row, "auroc"))),
        ("p", "permutation test of the means", lambda row: p_value_text(number(row, "p_value"))),
        ("PIEs", "with this evidence", lambda row: count(number(row, "num_pies"))),
    ]
    text = "What is known of the examples from elsewhere, on the PIEs and on all others."
    title = "Evidence from elsewhere"
    return section("evidence", title, text, table_block(rows, columns, title))


def _interval(row: Row) -> str:
    low, high = number(row, "low"), number(row, "high")
    text = with_interval(number(row, "change"), low, high)
    return f"<b>{text}</b>" if low > 0 or high < 0 else text


def _plain(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.3g}".replace("-", "−")
