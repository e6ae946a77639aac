"""The page's section on label-preserving losses, each against the plain loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .markup import legend, section
from .rows import number, rows_of
from .tables import Column, table_block
from .words import MISSING, listed, percent, plain, points, with_interval

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

RATIOS = {"cie_ratio": "CIE", "cie_u_ratio": "CIE-U"}
"""Columns that are drawn, and what they are ratios of."""


def preservation_rows(table: pd.DataFrame | None) -> list[Row]:
    """Of the main evaluation set; none where no such loss was used."""
    return [] if table is None else rows_of(table)


def is_difference(row: Mapping[str, Any], name: str, neutral: float) -> bool:
    """Whether the interval leaves out what no difference would be."""
    return bool(row[f"{name}_low"] > neutral or row[f"{name}_high"] < neutral)


def preservation_section(table: pd.DataFrame | None, rows: Sequence[Row], figure: str) -> str:
    """A row a variant with such a loss; `rows` are the summary's, `figure` is HTML."""
    compared = preservation_rows(table)
    if not compared:
        return ""
    text = (
        "Losses that hold a compressed network to its reference, against the same variant of the plain loss (Joseph et "
        "al., arXiv 2012.01604); in their names <i>ce</i> is cross-entropy, <i>lp</i> logit pairing and <i>kd</i> "
        "distillation at its temperature. A ratio is what the plain loss has over what the preserving one has: above 1 "
        "the loss keeps more labels. Intervals (95 %) draw members and images anew; <b>bold</b> leaves out what no "
        f"difference would be, and any other says that none was found.{_not_found(compared)}{_apart(compared, rows)} "
        "The paper's abstract, as quoted elsewhere, tells of up to 4.1 times fewer CIEs and up to 5.7 times fewer "
        "CIE-Us, of other networks and data."
    )
    marks = legend([("solid", "CIE-U"), ("dot", "CIE")])
    drawn = f'<div class="figures">{figure}<div class="beside">{marks}</div></div>'
    title = "Label-preserving losses"
    return section("preservation", title, text, drawn + table_block(compared, _COLUMNS, title))


def _not_found(rows: Sequence[Row]) -> str:
    same = [escape(str(row["variant_id"])) for row in rows if not is_difference(row, "cie_u_ratio", 1)]
    return f" No difference in CIE-U was found for {listed(same)}." if same else ""


def _apart(compared: Sequence[Row], rows: Sequence[Row]) -> str:
    """A caution where the plain loss has members of other random weights than the reference's."""
    apart = dict.fromkeys(escape(str(row["plain_variant_id"])) for row in compared if not row["plain_is_paired"])
    if not apart:
        return ""
    chance = next((share for row in rows if not math.isnan(share := number(row, "null_cie_mean"))), math.nan)
    known = "" if math.isnan(chance) else f", {percent(chance, 2)} of the labels between two references"
    return (
        f" Members of {listed(list(apart))} never saw a reference: their CIEs hold what another seed alone changes"
        f"{known}, and a preserving loss takes of that as well."
    )


def _ratio(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value, low, high = (number(row, f"{name}{end}") for end in ("", "_low", "_high"))
        if math.isnan(value) and math.isnan(low):
            return MISSING
        interval = "" if math.isnan(low) else f" <small>{ratio_text(low)} to {ratio_text(high)}</small>"
        return _marked(f"{ratio_text(value)}{interval}", is_difference(row, name, 1))

    return cell


def ratio_text(value: float) -> str:
    return "∞" if math.isinf(value) else plain(value, 2)


def _difference(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        change, low, high = (number(row, f"{name}{end}") for end in ("", "_low", "_high"))
        text = with_interval(change, low, high, decimals=2)
        return _marked(text, is_difference(row, name, 0))

    return cell


def _marked(text: str, is_found: bool) -> str:
    return f"<b>{text}</b>" if is_found else text


def _move(name: str, show: Callable[[float], str]) -> Callable[[Row], str]:
    """From the plain loss to the preserving one."""
    return lambda row: f"{show(number(row, f'plain_{name}'))} → {show(number(row, name))}"


def _worst(row: Row) -> str:
    before, after = (
        f"{points(number(row, f'{loss}worst_class_change'))} <small>{escape(str(row[f'{loss}worst_class']))}</small>"
        for loss in ("plain_", "")
    )
    return f"{before} → {after}"


_COLUMNS: list[Column] = [
    (
        "CIE-U",
        "share of examples that the reference has right and the network answers otherwise: plain loss → this one",
        _move("cie_u_mean", lambda share: percent(share, 2)),
    ),
    ("CIE-U ratio", "plain / preserving, and its interval", _ratio("cie_u_ratio")),
    ("CIE ratio", "of all examples that are answered otherwise", _ratio("cie_ratio")),
    ("Top-1", "of this loss minus that of the plain one, in points, and its interval", _difference("top1_change")),
    (
        "Worst class",
        "the class whose accuracy falls most against the reference's, in points: plain loss → this one",
        _worst,
    ),
    ("Gain there", "between the two, in points, and its interval", _difference("worst_class_difference")),
    (
        "Spread of classes",
        "standard deviation over classes of their changes, in points, less what chance adds: plain loss → this one",
        _move("class_spread", lambda spread: plain(100 * spread, 2)),
    ),
    ("Spread ratio", "plain / preserving: above 1 classes are hit more alike", _ratio("class_spread_ratio")),
]
