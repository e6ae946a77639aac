"""The page's sections about data of several attributes an example (Iofinova et al., arXiv 2304.12622)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .markup import section
from .rows import number, rows_of
from .tables import Column, table_block
from .words import MISSING, count, p_value_text, percent, plain

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

CRITERIA = {
    "uncertainty": "uncertainty",
    "interdependence": "interdependence",
    "threshold_calibration_bias": "threshold calibration bias",
    "positive_rate": "predicted rate",
    "bias_amplification": "bias amplification of the reference",
}
COUNTERMEASURES = {
    "thresholds": "thresholds from the validation split",
    "override": "reference decides where it doubts",
}

_NUM_ROWS = 24

_VARIANT: Column = ("Variant", "", lambda row: escape(str(row["variant_id"])))
_CATEGORY: Column = ("Category", "", lambda row: escape(str(row["category"])))


def attribute_section(attributes: pd.DataFrame) -> str:
    """A row an attribute and variant, the most forgotten first."""
    rows = sorted(rows_of(attributes), key=lambda row: -number(row, "pie_fraction"))
    if not rows:
        return ""
    columns: list[Column] = [
        _VARIANT,
        ("PIEs", "examples whose majority moved on this attribute, and their share", _pies),
        ("Significant", "of these examples' votes at q ≤ .05", lambda row: count(number(row, "num_significant"))),
        ("Accuracy", "reference → variant", _move("accuracy")),
        ("AUC", "reference → variant", _plain_move("auroc")),
        ("ECE", "10 bins of the probability of the attribute", _move("ece")),
        ("FPR", "reference → variant", _move("false_positive_rate")),
        ("FNR", "reference → variant", _move("false_negative_rate")),
        ("Uncertain", "share of examples with a probability between .1 and .9", _move("uncertainty")),
        ("Interdependence", "R² of the other attributes' predictions", _plain_move("interdependence")),
        (
            "Calibration",
            "threshold calibration bias: predicted / true rate of the rarer value",
            _plain_move("threshold_calibration_bias"),
        ),
        (
            "Foretold",
            "AUROC of the reference's uncertain members for the PIEs",
            lambda row: plain(number(row, "susceptible_auroc")),
        ),
    ]
    title = "Attribute by attribute"
    body = table_block(rows[:_NUM_ROWS], columns, title, "Attribute", "attribute")
    return section("attributes", title, f"Figures by attribute, the most forgotten first.{_first(rows)}", body)


def amplification_section(amplification: pd.DataFrame, criteria: pd.DataFrame) -> str:
    """Where compression ties attributes more to a category than the labels do, and what foretells it."""
    known = [row for row in rows_of(amplification) if not math.isnan(number(row, "change"))]
    if not known:
        return ""
    known.sort(key=lambda row: -row["change"])
    num_undefined = len(rows_of(amplification)) - len(known)
    columns: list[Column] = [
        _CATEGORY,
        _VARIANT,
        ("In training", "share that has the attribute: with → without the category", _training),
        ("Before", "bias amplification of the reference", lambda row: _signed(number(row, "reference_amplification"))),
        ("After", "of the variant", lambda row: _signed(number(row, "amplification"))),
        ("Change", "", lambda row: f"<b>{_signed(number(row, 'change'))}</b>"),
    ]
    text = (
        "Bias amplification: of the examples that are given an attribute, the share on the category's more frequent "
        "side, minus that share among the examples that have it. Above zero a network leans on the category more than "
        f"the data do.{_first(known)} Left out: {num_undefined:,} pairs of attribute and category of too few positives "
        "or without a telling side."
    )
    title = "Whose bias grows"
    body = table_block(known[:_NUM_ROWS], columns, title, "Attribute", "attribute") + _criteria(criteria)
    return section("amplification", title, text, body)


def _criteria(criteria: pd.DataFrame) -> str:
    rows = [row for row in rows_of(criteria) if not math.isnan(number(row, "correlation"))]
    if not rows:
        return ""
    rows.sort(key=lambda row: -abs(row["correlation"]))
    columns: list[Column] = [
        ("Criterion", "of the reference alone", lambda row: _named(row, "criterion", CRITERIA)),
        _CATEGORY,
        ("Correlation", "Spearman's, with the change of bias amplification", lambda row: _signed(row["correlation"])),
        ("p", "permutations of the attributes", lambda row: p_value_text(number(row, "p_value"))),
        ("AUROC", "for attributes that amplify by more than .01", lambda row: plain(number(row, "auroc"))),
        ("Attributes", "that amplify, of all", lambda row: f"{row['num_amplified']} of {row['num_attributes']}"),
    ]
    table = table_block(rows[:_NUM_ROWS], columns, "What foretells whose bias grows")
    text = f"What the uncompressed networks alone foretell of it, strongest first.{_first(rows)}"
    return f"<h3>What foretells it</h3><p>{text}</p>{table}"


def countermeasure_section(countermeasures: pd.DataFrame) -> str:
    """Mean over attributes, by variant, countermeasure and category."""
    cells: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows_of(countermeasures):
        cells.setdefault((row["variant_id"], row["countermeasure"], row["category"]), []).append(row)
    if not cells:
        return ""
    rows = [
        {"variant_id": variant_id, "countermeasure": name, "category": category, "rows": mine}
        for (variant_id, name, category), mine in cells.items()
    ]
    columns: list[Column] = [
        ("Countermeasure", "", lambda row: _named(row, "countermeasure", COUNTERMEASURES)),
        _CATEGORY,
        ("Bias", "mean bias amplification over attributes: before → after", _mean_move("amplification", _signed)),
        ("Accuracy", "mean over attributes: before → after", _mean_move("accuracy", lambda value: percent(value, 2))),
        ("Overridden", "share of the answers that the reference decided", _mean_of("share_overridden")),
        ("Changed", "share of the answers", _mean_of("share_changed")),
    ]
    text = "Two countermeasures that need no training, on the stored predictions: what they do to bias and to accuracy."
    title = "Countermeasures"
    return section("countermeasures", title, text, table_block(rows, columns, title))


def _first(rows: Sequence[Row]) -> str:
    return f" The first {_NUM_ROWS} of {len(rows):,}." if len(rows) > _NUM_ROWS else ""


def _named(row: Row, column: str, names: Mapping[str, str]) -> str:
    return escape(names.get(str(row[column]), str(row[column])))


def _pies(row: Row) -> str:
    return f"<b>{count(number(row, 'num_pies'))}</b> <small>{percent(number(row, 'pie_fraction'), 2)}</small>"


def _move(name: str) -> Any:
    return lambda row: f"{percent(number(row, f'reference_{name}'))} → {percent(number(row, name))}"


def _plain_move(name: str) -> Any:
    return lambda row: f"{plain(number(row, f'reference_{name}'))} → {plain(number(row, name))}"


def _training(row: Row) -> str:
    return f"{percent(number(row, 'training_rate_with'), 0)} → {percent(number(row, 'training_rate_without'), 0)}"


def _mean(row: Row, column: str) -> float:
    values = [number(cell, column) for cell in row["rows"] if not math.isnan(number(cell, column))]
    return sum(values) / len(values) if values else math.nan


def _mean_move(name: str, text: Any) -> Any:
    return lambda row: f"{text(_mean(row, f'{name}_before'))} → {text(_mean(row, f'{name}_after'))}"


def _mean_of(column: str) -> Any:
    return lambda row: percent(_mean(row, column))


def _signed(value: float) -> str:
    """With its sign, a true minus, as figures have it."""
    if math.isnan(value):
        return MISSING
    text = f"{value:+.3f}"
    return text.replace("-", "−") if float(text) else f"±{text[1:]}"
