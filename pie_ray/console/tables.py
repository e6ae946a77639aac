"""Result tables in the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from ..report.costs import batch_sizes, rows_without_sets
from ..report.lone import are_lone
from ..report.preservation import is_difference, ratio_text
from ..report.robustness import most_changed, set_name
from ..report.rows import number, rows_of
from ..report.words import file_size, milliseconds, plural, quantity
from ..variants import REFERENCE_ID

if TYPE_CHECKING:
    from ..records import PopulationRecord, VariantSize


def summary_table(summary: pd.DataFrame, evaluation_set: str) -> Table:
    """The table by variant that a sweep ends with; fractions become percent here, where people read."""
    rows = rows_of(summary, evaluation_set)
    if are_lone(rows):
        return _lone_table(rows, evaluation_set)
    table = _variant_table(
        f"What compression forgets ({evaluation_set}, in %)",
        ("top-1", "change", "PIEs", "half", "noise", "q≤.05", "on PIEs", "off PIEs"),
    )
    for row in rows:
        table.add_row(*_cells(row))
    table.caption = (
        "PIEs: examples whose most frequent answer moved\n"
        "half: share of PIEs between halves of the dense and the compressed members\n"
        "noise: the same between two halves of the dense members: what chance moves\n"
        "q≤.05: examples whose answers differ significantly; at most 5 % by chance\n"
        "on and off PIEs: top-1 there, dense→compressed"
    )
    return table


def _lone_table(rows: Sequence[Mapping[str, Any]], evaluation_set: str) -> Table:
    """One network against one: nothing here is a mean, and nothing can be tested."""
    table = _variant_table(
        f"Network against network ({evaluation_set}, in %)", ("top-1", "change", "CIEs", "share", "CIE-U", "on CIEs")
    )
    for row in rows:
        compared = [] if row["variant_id"] == REFERENCE_ID else [
            f"{100 * (row['top1_mean'] - row['reference_top1_mean']):+.2f}",
            f"{row['num_pies']:,.0f}",
            _percent(row["pie_fraction"], 2),
            _percent(row["cie_u_mean"], 2),
            _move(row["reference_top1_on_pies"], row["top1_on_pies"]),
        ]  # fmt: skip
        table.add_row(escape(row["variant_id"]), _percent(row["top1_mean"], 2), *compared)
    table.caption = (
        "CIEs: examples that the compressed network answers otherwise\n"
        "CIE-U: share of all examples where the reference was right besides\n"
        "on CIEs: top-1 there, dense→compressed\n"
        "What another training would change too, one pair cannot tell."
    )
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    spread = "" if pd.isna(row["top1_std"]) else f" ±{100 * row['top1_std']:.2f}"
    top1 = _percent(row["top1_mean"], 2) + spread
    noise = _percent(row["null_pie_fraction"], 2)
    if row["variant_id"] == REFERENCE_ID:
        return [REFERENCE_ID, top1, "", "", "", noise, "", "", ""]
    return [
        row["variant_id"],
        top1,
        f"{100 * (row['top1_mean'] - row['reference_top1_mean']):+.2f}",
        f"{row['num_pies']:,.0f}",
        _percent(row["half_pie_fraction"], 2),
        noise,
        f"{row['num_significant']:,.0f}",
        _move(row["reference_top1_on_pies"], row["top1_on_pies"]),
        _move(row["reference_top1_without_pies"], row["top1_without_pies"]),
    ]


def preservation_table(rows: Sequence[Mapping[str, Any]]) -> Table | None:
    """A row a variant of a label-preserving loss, from `report.preservation`; None without rows."""
    if not rows:
        return None
    table = _variant_table(
        f"Label-preserving losses against the plain one ({rows[0]['evaluation_set']})",
        ("CIE-U in %", "ratio", "95 % interval", "", "top-1"),
    )
    for row in rows:
        ratio, low, high = (row[f"cie_u_ratio{end}"] for end in ("", "_low", "_high"))
        table.add_row(
            escape(row["variant_id"]),
            _move(row["plain_cie_u_mean"], row["cie_u_mean"]),
            ratio_text(ratio),
            "–" if pd.isna(low) else f"{ratio_text(low)} to {ratio_text(high)}",
            "*" if is_difference(row, "cie_u_ratio", 1) else "",
            f"{100 * row['top1_change']:+.2f}",
        )
    table.caption = (
        "CIE-U: right before and wrong now, plain loss→this one\n"
        "*: the ratio's interval leaves out 1; else no difference was found\n"
        "top-1: of this loss minus the plain one's, in points"
    )
    return table


def cost_table(costs: pd.DataFrame | None) -> Table | None:
    """A row a variant, of the table `costs`: the figures that say most; None without rows."""
    rows = rows_without_sets(costs)
    if not rows:
        return None
    sizes = batch_sizes(rows)
    latencies = [header for size in sizes for header in (f"ms at {size:,}", "×")]
    table = _variant_table("What each variant costs", [*(header for header, _, _ in _COSTS), *latencies])
    for row in rows:
        cells = [show(number(row, column)) for _, column, show in _COSTS]
        for size in sizes:
            cells.append(milliseconds(number(row, f"latency_ms_batch_{size}")))
            cells.append(_plain(number(row, f"speedup_batch_{size}"), 2))
        table.add_row(escape(row["variant_id"]), *cells)
    table.caption = "not 0: weights that are not zero; zstd: a checkpoint compressed\nMACs: multiply-adds of an image"
    if sizes:
        threads = plural(number(rows[0], "num_threads"), "thread")
        table.caption += (
            f"\nms at n: for a batch of n images on the {str(rows[0]['device']).upper()}, {threads}\n"
            "×: how many times as fast as dense in float32, measured beside it"
        )
    return table


_COSTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("not 0", "num_nonzero", quantity),
    ("zstd", "compressed_bytes", file_size),
    ("MACs", "multiply_adds", quantity),
)
"""Header, column, and how it is shown."""


def robustness_table(lines: Sequence[Mapping[str, Any]]) -> Table | None:
    """A row a variant over its corrupted sets, from `report.robustness.by_variant`; None without rows."""
    if not lines:
        return None
    kind = "common corruptions" if lines[0]["is_common"] else "corruptions"
    table = _variant_table(
        f"Under {lines[0]['num_corruptions']:,} {kind} (mean over {lines[0]['num_sets']:,} sets, in %)",
        ("top-1", "drop", "excess", "mCE", "q≤.05", "PIEs break", "others"),
    )
    for row in lines:
        table.add_row(*_robustness_cells(row))
    table.caption = (
        "drop: points of top-1 lost to corruption; excess: beyond dense's\n"
        "mCE: mean corruption error over dense's: 1 is as robust\n"
        "q≤.05: sets whose drop exceeds dense's significantly\n"
        "PIEs break: of the clean set's PIEs, right there and wrong here,\n"
        "dense→compressed; others: the same of all other examples"
    )
    return table


def _robustness_cells(row: Mapping[str, Any]) -> list[str]:
    top1, drop = _percent(row["top1_mean"], 2), _percent(row["drop"], 2)
    if row["variant_id"] == REFERENCE_ID:
        return [REFERENCE_ID, top1, drop, "", _plain(row.get("mce", math.nan), 3), "", "", ""]
    return [
        escape(row["variant_id"]),
        top1,
        drop,
        f"{100 * row['excess_drop']:+.2f}",
        _plain(row.get("mce", math.nan), 3),
        f"{row['num_more']}" if row["num_tested"] else "–",
        _move(row["reference_break_on_clean_pies"], row["break_on_clean_pies"]),
        _move(row["reference_break_elsewhere"], row["break_elsewhere"]),
    ]


def natural_table(rows: Sequence[Mapping[str, Any]]) -> Table | None:
    """A row a natural set, from the table `robustness`; None without rows."""
    if not rows:
        return None
    table = _table("On natural sets (in %)")
    table.add_column("set", overflow="fold")
    table.add_column("dense", justify="right", no_wrap=True)
    table.add_column("worst variant", overflow="fold")
    for header in ("top-1", "change", "clean"):
        table.add_column(header, justify="right", no_wrap=True)
    for name in dict.fromkeys(row["evaluation_set"] for row in rows):
        mine = [dict(row) for row in rows if row["evaluation_set"] == name]
        worst = most_changed(mine)
        cells = ["–"] * 4 if worst is None else _natural_cells(worst)
        table.add_row(escape(set_name(mine[0])), _percent(mine[0]["reference_top1_mean"], 2), *cells)
    table.caption = (
        "worst: whose top-1 changed for the worse most\n"
        "change: in % of dense's top-1 on the set\n"
        "clean: the same on the clean set"
    )
    return table


def _natural_cells(row: Mapping[str, Any]) -> list[str]:
    change, clean = (f"{100 * row[column]:+.1f}" for column in ("change", "clean_change"))
    return [escape(row["variant_id"]), _percent(row["top1_mean"], 2), change, clean]


def _variant_table(title: str, headers: Sequence[str]) -> Table:
    """With a column of variants, and one of figures for each of the headers."""
    return figures_table(title, "variant", headers)


def figures_table(title: str, what: str, headers: Sequence[str]) -> Table:
    """With a column of names, which is called `what`, and one of figures for each of the headers."""
    table = _table(title)
    table.add_column(what, overflow="fold")
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )


def members_table(needed: pd.DataFrame, target: float) -> Table:
    """What `pie-ray plan` answers."""
    table = Table(
        title=f"Members a variant for a Jaccard similarity of {target:g}",
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("variant", overflow="fold")
    several_sets = needed["evaluation_set"].nunique() > 1
    for header in ("members", "Jaccard", "needed", "interval", "basis"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in needed.to_dict("records"):
        name = f"{row['variant_id']} ({row['evaluation_set']})" if several_sets else row["variant_id"]
        table.add_row(escape(name), f"{row['num_members']:,}", _plain(row["jaccard"], 2), *_needed(row))
    table.caption = (
        "Jaccard: PIEs that two repetitions with these members share / all of either\n"
        "needed: members a population; interval: by every curve that fits\n"
        "measured: halves of the members get there; else extrapolated"
    )
    table.caption_justify = "left"
    return table


def population_table(record: PopulationRecord) -> Table:
    """The sizes of an adaptive population, and why no variant has more members."""
    table = _variant_table("Members a variant", ("members", "Jaccard", "interval", "stopped because", "with"))
    reference, *others = record.variants
    table.add_row(reference.variant_id, f"{reference.num_members:,}", "", "", "as the largest", "")
    for size in others:
        jaccard, interval = ("–", "") if size.jaccard is None else (_plain(size.jaccard, 2), _ends_text(size))
        judged = "" if size.num_judged is None else f"{size.num_judged:,}"
        table.add_row(
            escape(size.variant_id), f"{size.num_members:,}", jaccard, interval, size.because or "it has not", judged
        )
    table.caption = (
        "Jaccard: PIEs that two repetitions share / all of either, expected;\n"
        "interval: by every curve that fits; with: members when it was judged last"
    )
    return table


def interval_text(size: VariantSize) -> str:
    """`0.86, 0.81 to 0.90`; of a variant whose similarity is known."""
    assert size.jaccard is not None
    ends = _ends_text(size)
    return f"{size.jaccard:.2f}, {ends}" if ends else f"{size.jaccard:.2f}"


def _ends_text(size: VariantSize) -> str:
    return "" if size.low is None or size.high is None else f"{size.low:.2f} to {size.high:.2f}"


def _needed(row: dict[Hashable, Any]) -> tuple[str, str, str]:
    basis = "eight members can tell" if row["basis"] == "too few sizes" else row["basis"]
    if pd.isna(row["num_needed"]):
        least = "" if pd.isna(row["low"]) else f"{row['low']:,.0f} or more"
        return "–", least, basis
    high = "no limit" if pd.isna(row["high"]) else f"{row['high']:,.0f}"
    interval = "" if pd.isna(row["low"]) else f"{row['low']:,.0f} to {high}"
    return f"{row['num_needed']:,.0f}", interval, basis


def _plain(value: float, decimals: int) -> str:
    return "–" if pd.isna(value) else f"{value:.{decimals}f}"


def _move(reference: float, variant: float) -> str:
    return "–" if pd.isna(variant) else f"{_percent(reference)}→{_percent(variant)}"


def _percent(fraction: float, decimals: int = 1) -> str:
    return "–" if pd.isna(fraction) else f"{100 * fraction:.{decimals}f}"
