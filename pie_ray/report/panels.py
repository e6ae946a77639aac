"""What each panel of a figure shows, drawn on axes that are handed in; rows run from top to bottom.

Orange is what was compressed and blue the reference, from Okabe and Ito's palette, told apart by shape as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .rows import REFERENCE_ID, number, variants_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, REFERENCE, VARIANT = "#1f2933", "#7b8794", "#0072b2", "#d55e00"

Rows = list[dict[str, Any]]
Draw = Callable[["Axes", Rows], None]

_SUBSETS = (("", "all examples", INK), ("_without_pies", "without PIEs", REFERENCE), ("_on_pies", "PIEs only", VARIANT))


def draw_accuracy(axes: Axes, rows: Rows) -> None:
    for position, row in enumerate(rows):
        is_reference = row["variant_id"] == REFERENCE_ID
        mean, spread = 100 * number(row, "top1_mean"), 100 * number(row, "top1_std")
        axes.errorbar(
            mean,
            position,
            xerr=None if math.isnan(spread) else spread,
            fmt="o" if is_reference else "s",
            color=REFERENCE if is_reference else VARIANT,
            markersize=6,
            elinewidth=1.6,
            capsize=3,
        )
        if is_reference and not math.isnan(mean):
            axes.axvline(mean, color=REFERENCE, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
    _label_rows(axes, [row["variant_id"] for row in rows])
    axes.margins(x=0.08)
    axes.set_title("Top-1 accuracy")
    axes.set_xlabel("%, mean ± standard deviation over members")


def draw_pies(axes: Axes, rows: Rows) -> None:
    for position, row in enumerate(rows):
        floor, spread = 100 * number(row, "null_pie_fraction"), 100 * number(row, "null_pie_std")
        if row["variant_id"] != REFERENCE_ID:
            _draw_pie_bar(axes, position, row)
        if not math.isnan(floor):
            if not math.isnan(spread):
                axes.barh(position, 2 * spread, left=floor - spread, height=1, color=MUTED, alpha=0.28, linewidth=0)
            label = _once(axes, "noise floor")
            axes.plot([floor, floor], [position - 0.5, position + 0.5], color=INK, linewidth=1.4, label=label)
    _label_rows(axes, [row["variant_id"] for row in rows])
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    axes.set_title("Pruning Identified Exemplars")
    axes.set_xlabel("% of examples whose modal answer changed")


def _draw_pie_bar(axes: Axes, position: int, row: dict[str, Any]) -> None:
    share = 100 * number(row, "pie_fraction")
    if math.isnan(share):
        return
    axes.barh(position, share, height=0.56, color=VARIANT, label=_once(axes, "PIEs"))
    half = 100 * number(row, "half_pie_fraction")
    if not math.isnan(half):
        label = _once(axes, "PIEs between halves")
        axes.plot(half, position, "D", markersize=6, color="white", markeredgecolor=INK, zorder=3, label=label)
    floor_end = 100 * (number(row, "null_pie_fraction") + number(row, "null_pie_std"))
    label_at = max(end for end in (share, half, floor_end) if not math.isnan(end))
    count = f"{number(row, 'num_pies'):,.0f}"
    axes.annotate(count, (label_at, position), (5, 0), textcoords="offset points", va="center", fontsize=8)


def draw_reduced(axes: Axes, rows: Rows) -> None:
    """Three lines a variant, each from the reference (hollow) to the variant (filled)."""
    for position, row in enumerate(rows):
        for line, (suffix, label, colour) in enumerate(_SUBSETS):
            before = 100 * number(row, f"reference_top1{suffix or '_mean'}")
            after = 100 * number(row, f"top1{suffix or '_mean'}")
            height = position + 0.24 * (line - 1)
            axes.plot([before, after], [height] * 2, color=colour, linewidth=1.4, alpha=0.6)
            axes.plot(before, height, "o", color=colour, markersize=6.5, markerfacecolor="none", markeredgewidth=1.4)
            axes.plot(after, height, "s", color=colour, markersize=5.5, label=_once(axes, label))
    axes.plot([], [], "o", color=MUTED, markerfacecolor="none", label="reference")
    axes.plot([], [], "s", color=MUTED, label="variant")
    _label_rows(axes, [row["variant_id"] for row in rows])
    axes.margins(x=0.05)
    axes.set_title("Top-1 with and without the PIEs")
    axes.set_xlabel("% of examples")


def draw_classes(title: str, reach: float) -> Draw:
    """Bars from zero on a scale from -reach to reach, significant ones filled."""

    def draw(axes: Axes, rows: Rows) -> None:
        for position, row in enumerate(rows):
            change = 100 * number(row, "normalised_change")
            if row["significant"]:
                axes.barh(position, change, height=0.7, color=VARIANT, label=_once(axes, "significant"))
            else:
                axes.barh(position, change, height=0.7, color=MUTED, alpha=0.45, label=_once(axes, "not significant"))
        axes.axvline(0, color=INK, linewidth=1)
        _label_rows(axes, [shorten(str(row["class_name"])) for row in rows])
        axes.set_xlim(-105 * reach or -1, 105 * reach or 1)
        axes.set_title(shorten(title, 34))
        axes.set_xlabel("points")

    return draw


_LINES = ("#d55e00", "#cc79a7", "#009e73", "#e69f00", "#7b8794", "#0072b2")
"""Okabe and Ito's palette; beyond these the lines' ends tell them apart."""


def draw_stability(axes: Axes, rows: Rows) -> None:
    """A line a variant with its standard deviation, named at its end."""
    variants = variants_of(rows)
    for index, variant_id in enumerate(variants):
        mine = [row for row in rows if row["variant_id"] == variant_id and not math.isnan(number(row, "jaccard_mean"))]
        if not mine:
            continue
        sizes, means = ([number(row, column) for row in mine] for column in ("num_members", "jaccard_mean"))
        spreads = [0.0 if math.isnan(number(row, "jaccard_std")) else number(row, "jaccard_std") for row in mine]
        colour = _LINES[index % len(_LINES)]
        axes.errorbar(sizes, means, yerr=spreads, color=colour, marker="o", markersize=4, capsize=2, linewidth=1.5)
        axes.annotate(
            shorten(variant_id, 28), (sizes[-1], means[-1]), (7, 0), textcoords="offset points", va="center",
            color=colour, fontsize=8,
        )  # fmt: skip
    axes.set_ylim(0, 1)
    axes.margins(x=0.25)
    axes.locator_params(axis="x", integer=True)
    axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.8)
    axes.set_title("Shared PIEs of two repetitions")
    axes.set_xlabel("Jaccard similarity by members a population")


def shorten(text: str, length: int = 22) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _label_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.8)
    axes.locator_params(axis="x", nbins=6)
    if not names:
        axes.text(0.5, 0.5, "nothing to compare yet", transform=axes.transAxes, ha="center", color=MUTED)


def _once(axes: Axes, label: str) -> str | None:
    """The label for its first artist, so that the legend names it once."""
    return None if label in axes.get_legend_handles_labels()[1] else label
