"""The page's sections about every variant at once: what it is, how well it does, what it forgets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from . import lone
from .headline import FEWEST_MEMBERS, NUM_DEVIATIONS, Verdict, accuracy_change, compared_rows, reasons, verdict
from .markup import legend, scrolled, section
from .rows import REFERENCE_ID, number, variants_of
from .tables import Column, line_of, table_block
from .words import MISSING, count, file_size, percent, points, with_interval, with_spread

Row = dict[str, Any]


def variant_section(rows: Sequence[Row], *, is_whole: bool) -> str:
    """One row a variant: what it is, how well it does and what it forgets.

    Where `is_whole`, no member is missing: variants with fewer have as many as they were to have.
    """
    full = math.nan if is_whole else max((number(row, "num_members") for row in rows), default=0)
    columns: list[Column] = [
        ("Cost", "whether accuracy, PIEs or single examples differ by more than chance", _cost),
        ("Top-1", "mean over members ± standard deviation", _top1),
        ("Change", "percentage points against the reference, with the 95 % interval over members", _top1_change),
        ("PIEs", "examples whose modal answer differs from the reference's, and their share", _pies),
        ("Halves", "PIEs between a half of the reference and a half of the variant ± standard deviation", _halves),
        ("Noise floor", "PIEs between two halves of the reference: what Halves is to be held against", _noise_floor),
        ("Significant", "examples whose votes differ at a false discovery rate of 5 %", _significant),
        ("On PIEs", "top-1 on the PIEs: reference → variant", _on_pies),
        ("ECE", "expected calibration error, mean over members", lambda row: percent(number(row, "ece_mean"))),
        ("Members", "complete networks that these figures are means over", lambda row: _members(row, full)),
        ("Pruned", "share of the prunable layers' weights that are zero or gone, measured", _sparsity),
        ("Size", "mean checkpoint, and how the networks compute where not natively", _size),
    ]
    text = (
        "A cost is beyond chance where the interval of the change of top-1 lies below zero, where the PIEs between "
        f"halves exceed the noise floor by more than {NUM_DEVIATIONS} of its standard deviations (which is asked of "
        f"{FEWEST_MEMBERS} members or more), or where single examples are significant. <i>Nothing measurable</i> is "
        "said of these members: more of them see smaller costs."
    )
    if lone.are_lone(rows):
        text = _OF_NETWORKS
        columns = [_ALONE.get(column[0], column) for column in columns if column[0] not in _NOT_ALONE]
    title = "Every variant against the uncompressed reference"
    return section("variants", title, text if compared_rows(rows) else "", table_block(rows, columns, title))


_OF_NETWORKS = "One network each: the figures are exact for these networks, and say nothing of other trainings."


def accuracy_section(figures: str) -> str:
    text = (
        "Networks of nearly equal accuracy can disagree about which examples they get right. A PIE is an example whose "
        "most frequent answer differs between the compressed and the uncompressed networks. Shaded is the noise "
        "floor: as many examples move between two random halves of the uncompressed networks, where nothing was "
        "compressed. A diamond marks the PIEs between a half of each population: the figure to hold against it, as "
        "halves disagree more than whole populations do."
    )
    marks = legend(
        [
            ("solid", "PIEs"),
            ("half", "PIEs between halves ± standard deviation over halvings"),
            ("floor", "noise floor ± standard deviation"),
        ]
    )
    body = f'{marks}<div class="figures">{figures}</div>'
    return section("accuracy", "Accuracy, and what it does not show", text, body)


def reduced_section(rows: Sequence[Row], figure: str) -> str:
    if not compared_rows(rows):
        return ""
    text = (
        "Each line leads from the reference's top-1 to a variant's. Where the reference itself does poorly on the "
        "PIEs, compression forgets what was hard to begin with, and both do better once the PIEs are left out."
    )
    marks = legend(
        [
            ("all", "all examples"),
            ("without", "without PIEs"),
            ("solid", "PIEs only"),
            ("hollow", "reference"),
            ("filled", "variant"),
        ]
    )
    body = f'<div class="figures">{figure}<div class="beside"><p>{text}</p>{marks}</div></div>'
    return section("reduced", "With and without the PIEs", "", body)


def evaluation_sets_section(summary_rows: Mapping[str, Sequence[Row]]) -> str:
    """Top-1 of every variant on every evaluation set, with its change against the reference."""
    if len(summary_rows) < 2:
        return ""
    variants = variants_of([row for rows in summary_rows.values() for row in rows])
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ["Set", REFERENCE_ID, *variants])
    lines = []
    for evaluation_set, rows in summary_rows.items():
        by_variant = {row["variant_id"]: row for row in rows}
        cells = [percent(number(by_variant.get(REFERENCE_ID, {}), "top1_mean"))]
        cells += [_accuracy_and_change(by_variant.get(variant_id, {})) for variant_id in variants]
        lines.append(line_of(evaluation_set, cells))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    title = "All evaluation sets"
    return section("sets", title, "Top-1, and its change against the reference's in points.", scrolled(table, title))


# --------------------------------------------------------------------------------------------------------------- cells


def _of_variant(row: Row, column: str) -> float:
    """NaN for the reference, which is not compared with itself."""
    return math.nan if row["variant_id"] == REFERENCE_ID else number(row, column)


def _cost(row: Row) -> str:
    if math.isnan(_of_variant(row, "pie_fraction")):
        return MISSING
    found = verdict(row)
    if found is Verdict.BEYOND:
        return f'<b class="warn">▲ {found}</b> <small>{", ".join(reasons(row))}</small>'
    return str(found)


def _members(row: Row, full: float) -> str:
    found = number(row, "num_members")
    return (
        count(found)
        if math.isnan(full) or found == full
        else f'<span class="warn">{count(found)} of {count(full)}</span>'
    )


def _sparsity(row: Row) -> str:
    measured = number(row, "achieved_sparsity_mean")
    return percent(number(row, "sparsity") if math.isnan(measured) else measured)


def _top1(row: Row) -> str:
    return with_spread(number(row, "top1_mean"), number(row, "top1_std"))


def _top1_change(row: Row) -> str:
    return MISSING if row["variant_id"] == REFERENCE_ID else with_interval(*accuracy_change(row), decimals=2)


def _pies(row: Row) -> str:
    share = _of_variant(row, "pie_fraction")
    return (
        MISSING if math.isnan(share) else f"<b>{count(number(row, 'num_pies'))}</b> <small>{percent(share, 2)}</small>"
    )


def _halves(row: Row) -> str:
    return with_spread(_of_variant(row, "half_pie_fraction"), number(row, "half_pie_std"))


def _noise_floor(row: Row) -> str:
    return with_spread(number(row, "null_pie_fraction"), number(row, "null_pie_std"))


def _significant(row: Row) -> str:
    return count(_of_variant(row, "num_significant"))


def _on_pies(row: Row) -> str:
    before, after = _of_variant(row, "reference_top1_on_pies"), _of_variant(row, "top1_on_pies")
    return MISSING if math.isnan(before) else f"{percent(before, 0).removesuffix(' %')} → {percent(after, 0)}"


def _size(row: Row) -> str:
    arithmetic = str(row.get("arithmetic") or "native")
    size = file_size(number(row, "checkpoint_bytes_mean"))
    return size if arithmetic == "native" else f"{size} <small>{escape(arithmetic)}</small>"


def _accuracy_and_change(row: Row) -> str:
    change = number(row, "top1_mean") - number(row, "reference_top1_mean")
    return f"{percent(number(row, 'top1_mean'))} <small>{points(change)}</small>"


_NOT_ALONE = ("Cost", "Halves", "Noise floor", "Significant", "Members")
"""Columns that take several members."""

_ALONE: dict[str, Column] = {
    "Top-1": ("Top-1", "share of right answers", _top1),
    "Change": ("Change", "percentage points against the reference", _top1_change),
    "PIEs": ("CIEs", "examples that are answered otherwise than by the reference, and their share", _pies),
    "On PIEs": ("On CIEs", "top-1 on the CIEs: reference → variant", _on_pies),
    "ECE": ("ECE", "expected calibration error", lambda row: percent(number(row, "ece_mean"))),
}
"""Columns that are called otherwise of one network against one."""
