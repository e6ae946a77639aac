"""The page's tables, as HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from .rows import REFERENCE_ID, number, variants_of
from .words import MISSING, count, file_size, percent, points

Row = dict[str, Any]
Column = tuple[str, str, Callable[[Row], str]]
"""Its name, what it means, and what it says of a row."""


def variant_table(rows: list[Row]) -> str:
    """One row a variant: what it is, how well it does and what it forgets."""
    full = max((number(row, "num_members") for row in rows), default=0)
    columns: list[Column] = [
        ("Top-1", "mean over members ± standard deviation", _top1),
        ("Change", "percentage points against the reference", _top1_change),
        ("PIEs", "examples whose modal answer differs from the reference's, and their share", _pies),
        ("Halves", "PIEs between a half of the reference and a half of the variant", _halves),
        ("Noise floor", "PIEs between two halves of the reference: what Halves is to be held against", _noise_floor),
        ("Significant", "examples whose votes differ at a false discovery rate of 5 %", _significant),
        ("On PIEs", "top-1 on the PIEs: reference → variant", _on_pies),
        ("ECE", "expected calibration error, mean over members", lambda row: percent(number(row, "ece_mean"))),
        ("Members", "complete networks that these figures are means over", lambda row: _members(row, full)),
        ("Zeros", "share of zero weights, measured in the prunable layers", _sparsity),
        ("Size", "mean checkpoint, and how the networks compute where not natively", _size),
    ]
    return table_of(rows, columns)


def table_of(rows: Sequence[Row], columns: Sequence[Column], first: str = "Variant", key: str = "variant_id") -> str:
    """One line a row, headed by its `key`; a column is its name, what it means, and the cell it makes of a row."""
    head = "".join(f'<th scope="col" title="{escape(title)}">{escape(name)}</th>' for name, title, _ in columns)
    body = "".join(_table_row(row, key, [cell(row) for _, _, cell in columns]) for row in rows)
    return f'<table><thead><tr><th scope="col">{first}</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def evaluation_set_table(summary_rows: dict[str, list[Row]]) -> str:
    """Top-1 of every variant on every evaluation set, with its change against the reference."""
    variants = variants_of([row for rows in summary_rows.values() for row in rows])
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in [REFERENCE_ID, *variants])
    body = []
    for evaluation_set, rows in summary_rows.items():
        by_variant = {row["variant_id"]: row for row in rows}
        cells = [percent(number(by_variant.get(REFERENCE_ID, {}), "top1_mean"))]
        cells += [_accuracy_and_change(by_variant.get(variant_id, {})) for variant_id in variants]
        body.append(f'<tr><th scope="row">{escape(evaluation_set)}</th>{_cells(cells)}</tr>')
    return f'<table><thead><tr><th scope="col">Set</th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def definition_list(pairs: dict[str, str]) -> str:
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs.items())
    return f"<dl>{items}</dl>"


def _table_row(row: Row, key: str, cells: Sequence[str]) -> str:
    kind = "reference" if row.get("variant_id") == REFERENCE_ID else "variant"
    marked = f' class="{kind}"' if key == "variant_id" else ""
    return f'<tr{marked}><th scope="row">{escape(str(row[key]))}</th>{_cells(cells)}</tr>'


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _of_variant(row: Row, column: str) -> float:
    """NaN for the reference, which is not compared with itself."""
    return math.nan if row["variant_id"] == REFERENCE_ID else number(row, column)


def _members(row: Row, full: float) -> str:
    found = number(row, "num_members")
    return count(found) if found == full else f'<span class="warn" title="fewer than others have">{count(found)}</span>'


def _sparsity(row: Row) -> str:
    measured = number(row, "achieved_sparsity_mean")
    return percent(number(row, "sparsity") if math.isnan(measured) else measured)


def _top1(row: Row) -> str:
    return _with_spread(number(row, "top1_mean"), number(row, "top1_std"))


def _with_spread(fraction: float, spread: float) -> str:
    deviation = "" if math.isnan(spread) else f" <small>± {100 * spread:.2f}</small>"
    return percent(fraction, 2) + deviation


def _top1_change(row: Row) -> str:
    return points(_of_variant(row, "top1_mean") - number(row, "reference_top1_mean"), 2)


def _pies(row: Row) -> str:
    share = _of_variant(row, "pie_fraction")
    return (
        MISSING if math.isnan(share) else f"<b>{count(number(row, 'num_pies'))}</b> <small>{percent(share, 2)}</small>"
    )


def _halves(row: Row) -> str:
    return _with_spread(_of_variant(row, "half_pie_fraction"), number(row, "half_pie_std"))


def _noise_floor(row: Row) -> str:
    return _with_spread(number(row, "null_pie_fraction"), number(row, "null_pie_std"))


def _significant(row: Row) -> str:
    return count(_of_variant(row, "num_significant"))


def _on_pies(row: Row) -> str:
    before, after = _of_variant(row, "reference_top1_on_pies"), _of_variant(row, "top1_on_pies")
    return MISSING if math.isnan(before) else f"{percent(before, 0)} → {percent(after, 0)}"


def _size(row: Row) -> str:
    arithmetic = str(row.get("arithmetic") or "native")
    size = file_size(number(row, "checkpoint_bytes_mean"))
    return size if arithmetic == "native" else f"{size} <small>{escape(arithmetic)}</small>"


def _accuracy_and_change(row: Row) -> str:
    change = number(row, "top1_mean") - number(row, "reference_top1_mean")
    return f"{percent(number(row, 'top1_mean'))} <small>{points(change)}</small>"
