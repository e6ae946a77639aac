"""Numbers as people read them, and the sentence that the page opens with."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from .rows import REFERENCE_ID, number, variants_of

MISSING = "–"


def percent(fraction: float, decimals: int = 1) -> str:
    return MISSING if math.isnan(fraction) else f"{100 * fraction:.{decimals}f} %"


def points(fraction: float, decimals: int = 1) -> str:
    """A difference of two fractions in percentage points, with its sign; a true minus, as figures have it."""
    if math.isnan(fraction):
        return MISSING
    text = f"{100 * fraction:+.{decimals}f}".replace("-", "−")
    return text if float(text[1:]) else f"±{text[1:]}"


def relative(change: float, decimals: int = 1) -> str:
    """A change as a share of what it was, in percent, with its sign."""
    return MISSING if math.isnan(change) else f"{points(change, decimals)} %"


def count(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:,.0f}"


def file_size(num_bytes: float) -> str:
    if math.isnan(num_bytes):
        return MISSING
    if num_bytes < 1000:
        return f"{num_bytes:.0f} B"
    power = min(int(math.log10(num_bytes) // 3), 3)
    return f"{num_bytes / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def plural(number_of: float, noun: str, nouns: str = "") -> str:
    return f"{count(number_of)} {noun if number_of == 1 else nouns or noun + 's'}"


def most_forgetful(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The variant with the largest share of PIEs; None where none was compared."""
    variants = set(variants_of(rows))
    compared = [row for row in rows if row["variant_id"] in variants and not math.isnan(number(row, "pie_fraction"))]
    return max(compared, key=lambda row: number(row, "pie_fraction"), default=None)


def headline(rows: list[dict[str, Any]], class_rows: list[dict[str, Any]]) -> str:
    """One sentence of HTML: what compression costs here, for the variant that forgets most."""
    reference = next((row for row in rows if row["variant_id"] == REFERENCE_ID), None)
    if reference is None:
        return "No member of the uncompressed reference is complete yet, so there is nothing to compare."
    worst = most_forgetful(rows)
    if worst is None:
        networks = plural(number(reference, "num_members"), "uncompressed network")
        top1 = percent(number(reference, "top1_mean"))
        return f"Top-1 accuracy is <b>{top1}</b> over {networks}; no compressed variant is complete yet."
    return f"{_accuracy_clause(worst)}, {_pie_clause(worst)}{_class_clause(worst, class_rows)}."


def _accuracy_clause(worst: dict[str, Any]) -> str:
    after, before = number(worst, "top1_mean"), number(worst, "reference_top1_mean")
    return (
        f"<b>{escape(str(worst['variant_id']))}</b> networks reach {percent(after)} top-1 against {percent(before)} of "
        f"the uncompressed ones (<b>{points(after - before)}</b> points)"
    )


def _pie_clause(worst: dict[str, Any]) -> str:
    num_pies, asked = number(worst, "num_pies"), _asked(worst)
    if num_pies == 0:
        return f"and their most frequent answer is as before on all {asked}"
    clause = (
        f"and their most frequent answer is another on <b>{count(num_pies)}</b> of {asked} "
        f"(<b>{percent(number(worst, 'pie_fraction'))}</b>"
    )
    half, floor = number(worst, "half_pie_fraction"), number(worst, "null_pie_fraction")
    if math.isnan(half) or math.isnan(floor):
        return clause + ")"
    return clause + f"; between halves of the populations {percent(half)}, where chance alone moves {percent(floor)})"


def _asked(row: dict[str, Any]) -> str:
    """What PIEs are a share of; multi-label data ask several questions about an example."""
    num_examples, num_answers = number(row, "num_examples"), number(row, "num_answers")
    if math.isnan(num_answers) or num_answers == num_examples:
        return f"{count(num_examples)} examples"
    return f"{count(num_answers)} questions about {count(num_examples)} examples"


def _class_clause(worst: dict[str, Any], class_rows: list[dict[str, Any]]) -> str:
    mine = [row for row in class_rows if row["variant_id"] == worst["variant_id"]]
    if not mine:
        return ""
    num_significant = sum(bool(row["significant"]) for row in mine)
    return f"; <b>{num_significant}</b> of {plural(len(mine), 'class', 'classes')} moved apart from the rest"
