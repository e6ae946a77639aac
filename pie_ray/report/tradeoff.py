"""What a variant's size buys: which variants no other beats in size, accuracy and PIEs at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .markup import legend, section
from .rows import REFERENCE_ID, number, rows_of
from .tables import Column, table_block
from .words import MISSING, count, percent

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

SIZE = "checkpoint bytes × share of non-zero weights"


def points_of(summary: pd.DataFrame) -> list[Row]:
    """Variants whose size, top-1 and PIEs are known, with `size`, `relative_size` (the reference's is 1), `pies` (the
    share of PIEs, none of the reference's) and `beaten_by` (a variant that is better, or None); smallest first.

    None where the reference's or every variant's size is not known. A checkpoint has its zeros written out, so `size`
    is what would be left of it without them; a sparse format adds where the others stand.
    """
    points = [point for row in rows_of(summary) if (point := _point(row)) is not None]
    reference = next((point for point in points if point["variant_id"] == REFERENCE_ID), None)
    if reference is None or len(points) < 2:
        return []
    for point in points:
        point["relative_size"] = point["size"] / reference["size"]
        point["beaten_by"] = _beaten_by(point, points)
    return sorted(points, key=lambda point: (point["size"], point["variant_id"]))


def _point(row: Row) -> Row | None:
    zeros = number(row, "achieved_sparsity_mean")
    is_reference = row["variant_id"] == REFERENCE_ID
    point = {
        "variant_id": row["variant_id"],
        "size": number(row, "checkpoint_bytes_mean") * (1 - zeros),
        "top1_mean": number(row, "top1_mean"),
        "pies": 0.0 if is_reference else number(row, "pie_fraction"),
        "num_pies": 0.0 if is_reference else number(row, "num_pies"),
    }
    is_known = not any(math.isnan(point[name]) for name in ("size", "top1_mean", "pies"))
    return point if is_known and point["size"] > 0 else None


def _beaten_by(point: Row, points: Sequence[Row]) -> str | None:
    """The most accurate of the variants that are as good in all three, and better in one."""
    better = [other for other in points if _merits(other) != _merits(point) and _is_as_good(other, point)]
    best = max(better, key=lambda other: other["top1_mean"], default=None)
    return None if best is None else str(best["variant_id"])


def _merits(point: Row) -> tuple[float, float, float]:
    return -point["size"], point["top1_mean"], -point["pies"]


def _is_as_good(other: Row, point: Row) -> bool:
    return all(theirs >= own for theirs, own in zip(_merits(other), _merits(point), strict=True))


def tradeoff_section(points: Sequence[Row], figures: str) -> str:
    """`figures` are HTML; empty without points."""
    if not points:
        return ""
    text = (
        "Which variants are worth their size? Filled are those that no other beats: none is as small, as accurate and "
        "forgets as little at once, and better in one (the Pareto front). Hollow ones are beaten. Size is what a "
        "checkpoint holds without its zeros, measured: its bytes times the share of weights that are not zero. A "
        "sparse format adds the places of the others, and how fast a variant runs is another question. Differences "
        "within chance count here as others do."
    )
    marks = legend([("dot", "reference"), ("solid", "beaten by none"), ("open", "beaten")])
    columns: list[Column] = [
        ("Size", f"{SIZE}, in % of the reference's", lambda row: percent(row["relative_size"])),
        ("Top-1", "mean over members", lambda row: percent(row["top1_mean"], 2)),
        ("PIEs", "and their share", _pies),
        ("Beaten by", "the most accurate variant that is as good in all three", _beaten),
    ]
    title = "What the size buys"
    body = f'{marks}<div class="figures">{figures}</div>{table_block(points, columns, title)}'
    return section("tradeoff", title, text, body)


def _pies(row: Row) -> str:
    if row["variant_id"] == REFERENCE_ID:
        return MISSING
    return f"{count(row['num_pies'])} <small>{percent(row['pies'], 2)}</small>"


def _beaten(row: Row) -> str:
    return "none" if row["beaten_by"] is None else escape(row["beaten_by"])
