"""The page's section on the cost by class: the classes that moved most, and every class in a table to open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .markup import folded, legend, scrolled, section
from .rows import number, rows_of, variants_of
from .tables import Column, line_of, table_block
from .words import MISSING, count, percent, points

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

TITLE = "The cost by class"

_NUM_PANELS = 6


def class_section(classes: pd.DataFrame, panels: Mapping[str, str]) -> str:
    """`panels` are figures as HTML by variant; beyond a few, those that move classes least are folded away."""
    text = (
        "How far each class's recall moved beyond the overall change, the hardest hit first. One star is where a Welch "
        "test over members rejects that the class moved as accuracy did (p ≤ .05, as published, not corrected for the "
        "number of classes), two stars where the correction leaves it (q ≤ .05)."
    )
    is_tested = not all(math.isnan(number(row, "p_value")) for row in rows_of(classes))
    if not is_tested:
        text = (
            "How far each class's recall moved beyond the overall change, the hardest hit first. With one member each "
            "nothing can be tested: no bar is significant, and none is known not to be."
        )
    if not panels:
        return section("classes", TITLE, text, '<p class="muted">No class was compared yet.</p>')
    marks = legend([("solid", "p ≤ .05 *, q ≤ .05 **"), ("faint", "not significant")]) if is_tested else ""
    body = f"{class_summary(classes)}{marks}{_panels(classes, panels)}{_every_class(classes)}"
    return section("classes", TITLE, text, body)


def _panels(classes: pd.DataFrame, panels: Mapping[str, str]) -> str:
    reach: dict[str, float] = {}
    for row in rows_of(classes):
        change = abs(number(row, "normalised_change"))
        if not math.isnan(change):
            reach[row["variant_id"]] = max(change, reach.get(row["variant_id"], 0.0))
    first = sorted(panels, key=lambda variant_id: -reach[variant_id])[:_NUM_PANELS]
    shown = "".join(panel for variant_id, panel in panels.items() if variant_id in first)
    others = "".join(panel for variant_id, panel in panels.items() if variant_id not in first)
    num_others = count(len(panels) - len(first))
    more = folded(f"Variants that move classes less ({num_others})", f'<div class="panels">{others}</div>')
    return f'<div class="panels">{shown}</div>{more if others else ""}'


def class_summary(classes: pd.DataFrame) -> str:
    """Significant classes by the paper's rule and with the false discovery rate controlled."""
    rows = [row for row in rows_of(classes) if not math.isnan(number(row, "p_value"))]
    if not rows or "discovered" not in rows[0]:
        return ""
    lines = []
    for variant_id in variants_of(rows):
        mine = [row for row in rows if row["variant_id"] == variant_id]
        lines.append(
            {
                "variant_id": variant_id,
                "num_classes": len(mine),
                "significant": sum(bool(row["significant"]) for row in mine),
                "discovered": sum(bool(row["discovered"]) for row in mine),
                "strongest": max(mine, key=lambda row: abs(number(row, "normalised_change"))),
            }
        )
    columns: list[Column] = [
        ("p ≤ .05", "the paper's rule, not corrected", lambda row: f"{row['significant']} of {row['num_classes']}"),
        (
            "By chance",
            "classes with p ≤ .05 to expect where nothing changed",
            lambda row: f"{row['num_classes'] / 20:g}",
        ),
        ("q ≤ .05", "Benjamini-Hochberg over all variants and classes", lambda row: f"<b>{row['discovered']}</b>"),
        ("Moved most", "points of recall beyond the overall change, with its 95 % interval", _strongest),
    ]
    return table_block(lines, columns, TITLE)


def stars(row: Row) -> str:
    """How a significant class is marked, beside its colour."""
    return "**" if bool(row.get("discovered", False)) else "*" if row["significant"] else ""


def _every_class(classes: pd.DataFrame) -> str:
    """A line a class, the one that any variant hits hardest first; a column a variant."""
    by_class: dict[int, dict[str, Row]] = {}
    rows = rows_of(classes)
    for row in rows:
        by_class.setdefault(int(row["class_index"]), {})[row["variant_id"]] = row
    variants = variants_of(rows)
    lines = sorted(by_class.values(), key=_lowest)
    names = ["Class", "Examples", "Reference's recall", *variants]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(_class_line(line, variants) for line in lines)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    box = scrolled(table, "Every class", is_tall=True)
    note = '<p class="after muted">Points of recall beyond the overall change; * p ≤ .05, ** q ≤ .05.</p>'
    return folded(f"Every class of every variant ({count(len(lines))})", note + box)


def _lowest(line: dict[str, Row]) -> float:
    changes = [number(row, "normalised_change") for row in line.values()]
    return min((change for change in changes if not math.isnan(change)), default=math.inf)


def _class_line(line: dict[str, Row], variants: Sequence[str]) -> str:
    first = next(iter(line.values()))
    cells = [count(number(first, "num_examples")), percent(number(first, "reference_recall"))]
    return line_of(str(first["class_name"]), cells + [_cell(line.get(variant_id)) for variant_id in variants])


def _cell(row: Row | None) -> str:
    if row is None or math.isnan(number(row, "normalised_change")):
        return MISSING
    text, mark = points(number(row, "normalised_change")), stars(row)
    return f"<b>{text}{mark}</b>" if mark else text


def _strongest(row: Row) -> str:
    strongest = row["strongest"]
    low, high = (points(number(strongest, side)) for side in ("low", "high"))
    change = points(number(strongest, "normalised_change"))
    return f"{escape(str(strongest['class_name']))} {change} <small>{low} to {high}</small>"
