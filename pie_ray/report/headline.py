"""What compression costs here: a verdict a variant, and the sentences that the page opens with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from html import escape
from typing import Any

from . import lone
from .chance import has_too_few
from .rows import REFERENCE_ID, number, variants_of
from .words import count, listed, percent, plural, points

Row = dict[str, Any]

NUM_DEVIATIONS, FEWEST_MEMBERS = 3, 5
"""PIEs between halves are beyond chance where they exceed the noise floor by more than so many of its standard
deviations, and so many members are there. Simulated pairs of equal populations did so in up to 7, 5 and 2 of 100 cases
with 5, 6 and 8 members, but in a third of them with 4."""


class Verdict(StrEnum):
    BEYOND = "beyond chance"
    WITHIN = "nothing measurable"
    UNKNOWN = "cannot be told"


def verdict(row: Row) -> Verdict:
    """Whether a variant differs from the reference by more than trainings of the reference do from each other."""
    if reasons(row):
        return Verdict.BEYOND
    is_known = _has_halves(row) or not math.isnan(number(row, "top1_change_low"))
    return Verdict.WITHIN if is_known else Verdict.UNKNOWN


def reasons(row: Row) -> list[str]:
    """What of a variant is beyond chance, as people say it."""
    limit = number(row, "null_pie_fraction") + NUM_DEVIATIONS * number(row, "null_pie_std")
    found = {
        "accuracy": number(row, "top1_change_high") < 0,
        "PIEs": _has_halves(row) and number(row, "half_pie_fraction") > limit,
        "single examples": number(row, "num_significant") > 0,
    }
    return [name for name, is_beyond in found.items() if is_beyond]


def _has_halves(row: Row) -> bool:
    """Whether its halves can be held against the noise floor."""
    return number(row, "num_members") >= FEWEST_MEMBERS and not math.isnan(number(row, "half_pie_fraction"))


def compared_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of the compressed variants that were held against the reference."""
    variants = set(variants_of(list(rows)))
    return [row for row in rows if row["variant_id"] in variants and not math.isnan(number(row, "pie_fraction"))]


def most_forgetful(rows: Sequence[Row]) -> Row | None:
    """The variant with the largest share of PIEs; None where none was compared."""
    return max(compared_rows(rows), key=lambda row: number(row, "pie_fraction"), default=None)


def accuracy_change(row: Row) -> tuple[float, float, float]:
    """Change of top-1 and the ends of its interval; these are NaN in results that are older than they are."""
    change = number(row, "top1_change")
    if math.isnan(change):
        change = number(row, "top1_mean") - number(row, "reference_top1_mean")
    return change, number(row, "top1_change_low"), number(row, "top1_change_high")


# ---------------------------------------------------------------------------------------------------------- sentences


def headline(rows: Sequence[Row]) -> str:
    """One sentence of HTML: what compression costs here, for the variant that forgets most."""
    reference = next((row for row in rows if row["variant_id"] == REFERENCE_ID), None)
    if reference is None:
        return "No member of the uncompressed reference is complete yet, so there is nothing to compare."
    worst = most_forgetful(rows)
    if worst is None:
        networks = plural(number(reference, "num_members"), "uncompressed network")
        top1 = percent(number(reference, "top1_mean"))
        return f"Top-1 accuracy is <b>{top1}</b> over {networks}; no compressed variant is complete yet."
    name = f"<b>{escape(str(worst['variant_id']))}</b>"
    opening = f"{name} forgets most:" if len(compared_rows(rows)) > 1 else f"{name} costs"
    if lone.are_lone(rows):
        return f"{opening} {_accuracy_clause(worst)}, and {lone.changed_clause(worst, _asked(worst))}."
    return f"{opening} {_accuracy_clause(worst)}, and {_pie_clause(worst)}{_CLOSING[verdict(worst)]}."


_CLOSING = {
    Verdict.BEYOND: ", which is more than chance",
    Verdict.WITHIN: ", no more than another training does",
    Verdict.UNKNOWN: "; whether that is chance cannot be told",
}


def findings(rows: Sequence[Row], class_rows: Sequence[Row]) -> list[str]:
    """Sentences of HTML that stand below the headline: what is beyond chance, and which variants cost nothing."""
    worst = most_forgetful(rows)
    if worst is None:
        return []
    if lone.are_lone(rows):
        return lone.findings(compared_rows(rows))
    return [text for text in (_chance(worst, class_rows), _harmless(rows), _unknown(rows)) if text]


def _accuracy_clause(row: Row) -> str:
    change, low, high = accuracy_change(row)
    before, after = number(row, "reference_top1_mean"), number(row, "top1_mean")
    interval = "" if math.isnan(low) else f"; 95 % interval {points(low)} to {points(high)}"
    noun = "accuracy" if _asks_several(row) else "top-1"
    return (
        f"<b>{points(change)} points</b> of {noun} ({percent(before).removesuffix(' %')} → {percent(after)}{interval})"
    )


def _pie_clause(row: Row) -> str:
    num_pies = number(row, "num_pies")
    if num_pies == 0:
        return f"the most frequent answer is as before on all {_asked(row)}"
    share = percent(number(row, "pie_fraction"))
    return f"another most frequent answer on <b>{count(num_pies)}</b> of {_asked(row)} (<b>{share}</b>)"


def _asked(row: Row) -> str:
    """What PIEs are a share of; multi-label data ask several questions about an example."""
    examples = plural(number(row, "num_examples"), "example")
    return f"{count(number(row, 'num_answers'))} questions about {examples}" if _asks_several(row) else examples


def _asks_several(row: Row) -> bool:
    num_answers = number(row, "num_answers")
    return not math.isnan(num_answers) and num_answers != number(row, "num_examples")


def _chance(worst: Row, class_rows: Sequence[Row]) -> str:
    """How much of what the worst variant forgets chance would do, and what of it is significant."""
    half, floor = number(worst, "half_pie_fraction"), number(worst, "null_pie_fraction")
    parts = []
    if not math.isnan(half) and not math.isnan(floor):
        parts.append(
            f"halves of the two populations differ on <b>{percent(half)}</b> of the answers, two halves of the "
            f"uncompressed one, where nothing was compressed, on <b>{percent(floor)}</b>"
        )
    if not math.isnan(number(worst, "num_significant")):
        parts.append(_single_examples(worst))
    if moved := _classes(worst, class_rows):
        parts.append(moved)
    return f"Of {escape(str(worst['variant_id']))}, {'; '.join(parts)}." if parts else ""


def _single_examples(worst: Row) -> str:
    answers, num_significant = "answer" if _asks_several(worst) else "example", number(worst, "num_significant")
    if num_significant == 0 and has_too_few(worst):
        return f"single {answers}s cannot be told from chance with {plural(number(worst, 'num_members'), 'member')}"
    return f"<b>{plural(num_significant, answers)}</b> changed significantly"


def _classes(worst: Row, class_rows: Sequence[Row]) -> str:
    """By the rule that is corrected for the number of classes; older results have the paper's alone."""
    mine = [row for row in class_rows if row["variant_id"] == worst["variant_id"]]
    if not mine:
        return ""
    rule = "discovered" if "discovered" in mine[0] else "significant"
    num_moved = sum(bool(row[rule]) for row in mine)
    return f"<b>{num_moved}</b> of {plural(len(mine), 'class', 'classes')} moved apart from the rest"


def _harmless(rows: Sequence[Row]) -> str:
    mine = [row for row in compared_rows(rows) if verdict(row) is Verdict.WITHIN]
    if not mine:
        return ""
    mine.sort(key=lambda row: number(row, "pie_fraction"))
    names = listed([f"<b>{escape(str(row['variant_id']))}</b>" for row in mine])
    fewest = min(number(row, "num_members") for row in mine)
    return f"No cost is measurable with {plural(fewest, 'member')} of {names}."


def _unknown(rows: Sequence[Row]) -> str:
    names = [
        f"<b>{escape(str(row['variant_id']))}</b>" for row in compared_rows(rows) if verdict(row) is Verdict.UNKNOWN
    ]
    return f"What of {listed(names)} is chance cannot be told: there are too few members." if names else ""


def tiles(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The handful of figures below: value, and what it is."""
    reference: Row = next((row for row in rows if row["variant_id"] == REFERENCE_ID), {})
    compared = compared_rows(rows)
    num_members = sum(number(row, "num_members") for row in rows)
    num_beyond = sum(verdict(row) is Verdict.BEYOND for row in compared)
    beyond = (f"{num_beyond} of {len(compared)}", "compressed variants cost more than chance")
    return [
        (count(num_members), f"{'member' if num_members == 1 else 'members'} of {plural(len(rows), 'variant')}"),
        (count(number(reference, "num_examples")), "examples answered by each"),
        (percent(number(reference, "top1_mean")), "top-1 of the reference"),
        (percent(number(most_forgetful(rows) or {}, "pie_fraction")), "of answers changed at worst"),
        lone.worst_lost(compared) if lone.are_lone(rows) else beyond,
    ]
