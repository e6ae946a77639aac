"""The page's section on attribution: whether compressed networks look where their references look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .markup import legend, section
from .rows import REFERENCE_ID, number, rows_of, variants_of
from .tables import Column, table_block
from .words import MISSING, count, plain

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

METHODS = {"grad_cam": "Grad-CAM", "integrated_gradients": "Integrated gradients"}

SHOWN = "spearman"
"""The similarity that is drawn, and asked of PIEs and losses: the literature's."""

_FEW_POSITIONS = 16


def attribution_rows(table: pd.DataFrame | None) -> dict[str, list[Row]]:
    """Rows of the drawn similarity by method, with the other one as `cosine`; empty without maps that were compared."""
    if table is None:
        return {}
    by_method: dict[str, list[Row]] = {}
    rows = rows_of(table)
    cosine = {(row["variant_id"], row["method"]): row for row in rows if row["similarity"] == "cosine"}
    for row in rows:
        if row["similarity"] == SHOWN:
            merged = row | {"cosine": cosine.get((row["variant_id"], row["method"]), {})}
            by_method.setdefault(str(row["method"]), []).append(merged)
    return by_method


def attribution_section(table: pd.DataFrame | None, figures: Sequence[str]) -> str:
    """A table and a figure a method; `figures` are HTML. Empty where no variant's maps were compared."""
    by_method = attribution_rows(table)
    rows = [row for mine in by_method.values() for row in mine]
    if not variants_of(rows):
        return ""
    num_examples = max(number(row, "num_examples") for row in rows)
    text = (
        f"Does a compressed network look where the uncompressed one looks? On {count(num_examples)} test images both "
        "explain the label that the uncompressed member of equal seed predicts: Grad-CAM by the places of the last "
        "feature map that speak for it, integrated gradients by every pixel's part in it. 1 is the same map, 0 nothing "
        "in common, below 0 the opposite."
    )
    marks = [("solid", "variant, with its 95 % interval over members and images")]
    if any(row["variant_id"] == REFERENCE_ID for row in rows):
        marks.insert(0, ("dot", "two trainings of the uncompressed network"))
        text += (
            f" The row <i>{REFERENCE_ID}</i> is one uncompressed member against the next: what another training alone "
            "does to maps. A variant trained from other random weights can hardly be above it, unless its loss "
            "holds it to its reference."
        )
    if any(row["is_float_of_rounded"] for row in rows):
        text += (
            " Rounding has no gradient: maps marked <i>rounded weights</i> are of a quantized network's weights, its "
            "activations in floating point."
        )
    coarse = min(rows, key=lambda row: number(row, "num_positions"))
    if number(coarse, "num_positions") < _FEW_POSITIONS:
        text += (
            f" Maps of {_name(coarse)} have {count(number(coarse, 'num_positions'))} places here: so few ranks say "
            "little, and the cosine more."
        )
    title = "Where networks look"
    drawn = f'{legend(marks)}<div class="figures">{"".join(figures)}</div>'
    return section("attribution", title, text, drawn + table_block(_by_variant(rows), _columns(rows), title))


def _by_variant(rows: Sequence[Row]) -> list[Row]:
    names = list(dict.fromkeys(row["variant_id"] for row in rows))
    return sorted(rows, key=lambda row: names.index(row["variant_id"]))


def _columns(rows: Sequence[Row]) -> list[Column]:
    columns: list[Column] = [
        ("Method", "what the maps are made by", _method),
        ("Rank correlation", "Spearman's, of two maps' positions; mean and 95 % interval", _interval),
        ("Cosine", "similarity that weighs positions by what they count", lambda row: _interval(row["cosine"])),
    ]
    if any(not math.isnan(number(row, "dissimilarity_ratio")) for row in rows):
        meaning = (
            "1 − rank correlation of the same variant with plain cross-entropy over that with its label-preserving "
            "loss: above 1 the loss keeps maps more alike"
        )
        columns.append(("Plain / preserving", meaning, _ratio))
    if any(number(row, "num_pies") for row in rows):
        columns.append(("PIEs, rest", "mean rank correlation on the variant's PIEs, and on all other images", _on_pies))
    if any(number(row, "num_undefined") for row in rows):
        columns.append(("Undefined", "maps that are constant, which nothing correlates with", _undefined))
    return columns


def _method(row: Row) -> str:
    return _name(row) + (" <small>rounded weights</small>" if row["is_float_of_rounded"] else "")


def _name(row: Row) -> str:
    return escape(METHODS.get(str(row["method"]), str(row["method"])))


def _interval(row: Row) -> str:
    return _with_ends(number(row, "mean"), number(row, "low"), number(row, "high"))


def _ratio(row: Row) -> str:
    low = number(row, "dissimilarity_ratio_low")
    text = _with_ends(number(row, "dissimilarity_ratio"), low, number(row, "dissimilarity_ratio_high"))
    return f"<b>{text}</b>" if low > 1 else text


def _with_ends(value: float, low: float, high: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return plain(value, 2)
    return f"{plain(value, 2)} <small>{plain(low, 2)} to {plain(high, 2)}</small>"


def _on_pies(row: Row) -> str:
    on_pies, on_rest = number(row, "mean_on_pies"), number(row, "mean_on_rest")
    return MISSING if row["variant_id"] == REFERENCE_ID else f"{plain(on_pies, 2)}, {plain(on_rest, 2)}"


def _undefined(row: Row) -> str:
    return f"{count(number(row, 'num_undefined'))} <small>of {count(_num_cells(row))}</small>"


def _num_cells(row: Row) -> float:
    return number(row, "num_members") * number(row, "num_examples")
