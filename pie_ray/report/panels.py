"""What each panel of a figure shows, drawn on axes that are handed in; rows run from top to bottom.

Orange is what was compressed and blue the reference, from Okabe and Ito's palette, told apart by shape as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .classes import stars
from .foretelling import quartiles, score_title
from .labels import FONT_POINTS, name_points, spread
from .preservation import RATIOS
from .rows import REFERENCE_ID, number, variants_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, REFERENCE, VARIANT = "#1f2933", "#66727f", "#0072b2", "#d55e00"

Rows = list[dict[str, Any]]
Draw = Callable[["Axes", Rows], None]

_SUBSETS = (("", "all examples", INK), ("_without_pies", "without PIEs", REFERENCE), ("_on_pies", "PIEs only", VARIANT))


def draw_accuracy(axes: Axes, rows: Rows) -> None:
    for position, row in enumerate(rows):
        is_reference = row["variant_id"] == REFERENCE_ID
        mean, spread = 100 * number(row, "top1_mean"), 100 * number(row, "top1_std")
        _mark_row(axes, position, mean, None if math.isnan(spread) else spread, is_reference=is_reference)
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
            label = once(axes, "noise floor")
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
    axes.barh(position, share, height=0.56, color=VARIANT, label=once(axes, "PIEs"))
    half = 100 * number(row, "half_pie_fraction")
    if not math.isnan(half):
        label = once(axes, "PIEs between halves")
        axes.plot(half, position, "D", markersize=6, color="white", markeredgecolor=INK, zorder=3, label=label)
    spread_of_half = 100 * number(row, "half_pie_std")
    if not math.isnan(half + spread_of_half):
        axes.errorbar(half, position, xerr=spread_of_half, ecolor=INK, elinewidth=1.2, capsize=3, zorder=2)
    floor_end = 100 * (number(row, "null_pie_fraction") + number(row, "null_pie_std"))
    ends = (share, half, half + spread_of_half, floor_end)
    label_at = max(end for end in ends if not math.isnan(end))
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
            axes.plot(after, height, "s", color=colour, markersize=5.5, label=once(axes, label))
    axes.plot([], [], "o", color=MUTED, markerfacecolor="none", label="reference")
    axes.plot([], [], "s", color=MUTED, label="variant")
    _label_rows(axes, [row["variant_id"] for row in rows])
    axes.margins(x=0.05)
    axes.set_title("Top-1 with and without the PIEs")
    axes.set_xlabel("% of examples")


def draw_classes(title: str, reach: float) -> Draw:
    """Bars from zero on a scale from -reach to reach, significant ones filled and starred."""

    def draw(axes: Axes, rows: Rows) -> None:
        for position, row in enumerate(rows):
            change, mark = 100 * number(row, "normalised_change"), stars(row)
            if mark:
                axes.barh(position, change, height=0.7, color=VARIANT, label=once(axes, "p ≤ .05 *, q ≤ .05 **"))
                side = math.copysign(1, change)
                axes.annotate(
                    mark, (change, position + 0.18), (3 * side, 0), textcoords="offset points", va="center",
                    ha="left" if side > 0 else "right", fontsize=FONT_POINTS + 3,
                )  # fmt: skip
            else:
                axes.barh(position, change, height=0.7, color=MUTED, alpha=0.45, label=once(axes, "not significant"))
        axes.axvline(0, color=INK, linewidth=1)
        _label_rows(axes, [shorten(str(row["class_name"])) for row in rows])
        axes.set_xlim(-112 * reach or -1, 112 * reach or 1)
        axes.set_title(shorten(title, 34))
        axes.set_xlabel("points")

    return draw


LINES = ("#d55e00", "#cc79a7", "#009e73", "#e69f00", "#66727f", "#0072b2")
"""Okabe and Ito's palette; marks and the names at their ends tell lines apart as well."""

_MARKS = ("o", "s", "^", "D", "v", "P", "X")


def draw_stability(axes: Axes, rows: Rows) -> None:
    """A line a variant with its standard deviation, named at its end."""
    by_variant = {
        variant_id: [
            row for row in rows if row["variant_id"] == variant_id and not math.isnan(number(row, "jaccard_mean"))
        ]
        for variant_id in variants_of(rows)
    }
    by_variant = {variant_id: mine for variant_id, mine in by_variant.items() if mine}
    for index, mine in enumerate(by_variant.values()):
        sizes, means = ([number(row, column) for row in mine] for column in ("num_members", "jaccard_mean"))
        spreads = [0.0 if math.isnan(number(row, "jaccard_std")) else number(row, "jaccard_std") for row in mine]
        axes.errorbar(
            sizes, means, yerr=spreads, color=LINES[index % len(LINES)], marker=_MARKS[index % len(_MARKS)],
            markersize=4, capsize=2, linewidth=1.5,
        )  # fmt: skip
    axes.set_ylim(-0.03, 1.03)
    _name_ends(axes, {name: (mine[-1]["num_members"], mine[-1]["jaccard_mean"]) for name, mine in by_variant.items()})
    axes.margins(x=0.08)
    axes.locator_params(axis="x", integer=True)
    axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.8)
    axes.set_title("Shared PIEs of two repetitions")
    axes.set_xlabel("Jaccard similarity ± standard deviation, by members a population")


def _name_ends(axes: Axes, ends: dict[str, tuple[float, float]]) -> None:
    """Each line's name to the right of the axes, as high as its end where there is room, and a thin line to it."""
    points_high = 72 * axes.get_window_extent().height / axes.figure.dpi
    gap = 1.06 * 1.3 * FONT_POINTS / points_high
    heights = spread([height for _, height in ends.values()], gap, 1.0)
    for (name, end), height in zip(ends.items(), heights, strict=True):
        axes.annotate(
            shorten(name, 28), end, (1.04, height), textcoords=("axes fraction", "data"), va="center",
            fontsize=FONT_POINTS, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip


def draw_uncertainty(score: str) -> Draw:
    """Median and quartiles of a score of the reference, on each variant's PIEs and on all other examples."""

    def draw(axes: Axes, rows: Rows) -> None:
        for position, row in enumerate(rows):
            for where, mark, colour, offset in (("pies", "s", VARIANT, -0.17), ("rest", "o", REFERENCE, 0.17)):
                low, middle, high = quartiles(row, where)
                axes.plot([low, high], [position + offset] * 2, color=colour, linewidth=5, alpha=0.4)
                label = once(axes, "PIEs" if where == "pies" else "all other examples")
                axes.plot(middle, position + offset, mark, color=colour, markersize=6, label=label)
        _label_rows(axes, [row["variant_id"] for row in rows])
        axes.margins(x=0.05)
        title = score_title(score)
        axes.set_title(title[:1].upper() + title[1:])
        axes.set_xlabel("median and middle half of the examples")

    return draw


def draw_similarity(title: str) -> Draw:
    """How alike attribution maps are to the reference's; the reference's own row is of two of its members."""

    def draw(axes: Axes, rows: Rows) -> None:
        for position, row in enumerate(rows):
            is_reference = row["variant_id"] == REFERENCE_ID
            mean, low, high = (number(row, column) for column in ("mean", "low", "high"))
            reach = None if math.isnan(low + high) else [[max(mean - low, 0)], [max(high - mean, 0)]]
            _mark_row(axes, position, mean, reach, is_reference=is_reference)
        _label_rows(axes, [row["variant_id"] for row in rows])
        axes.margins(x=0.08)
        axes.set_title(title)
        axes.set_xlabel("rank correlation of maps")

    return draw


def draw_preservation(axes: Axes, rows: Rows) -> None:
    """Ratios of the plain loss over the preserving one, with a line at 1; an end at infinity is an arrow."""
    ends = [number(row, f"{name}{end}") for row in rows for name in RATIOS for end in ("", "_low", "_high")]
    reach = 1.1 * max((end for end in ends if math.isfinite(end)), default=1.0)
    for position, row in enumerate(rows):
        for name, height, mark, colour in (("cie_u_ratio", -0.14, "s", VARIANT), ("cie_ratio", 0.14, "o", REFERENCE)):
            value, low, high = (number(row, f"{name}{end}") for end in ("", "_low", "_high"))
            at = position + height
            if not math.isnan(low):
                axes.plot([min(low, reach), min(high, reach)], [at, at], color=colour, linewidth=1.6)
            if math.isinf(high):
                axes.plot(reach, at, ">", color=colour, markersize=6)
            if math.isfinite(value):
                axes.plot(value, at, mark, color=colour, markersize=6, label=once(axes, RATIOS[name]))
    axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
    _label_rows(axes, [row["variant_id"] for row in rows])
    axes.set_xlim(0, max(reach, 1.2) * 1.02)
    axes.set_title("Labels kept by preserving losses")
    axes.set_xlabel("plain loss / preserving loss; above 1 it keeps more")


def draw_tradeoff(column: str, title: str, unit: str) -> Draw:
    """`column` of a `tradeoff.Axis`' points against their cost; hollow where another variant is better."""

    def draw(axes: Axes, points: Rows) -> None:
        for point in sorted(points, key=lambda point: point["variant_id"] == REFERENCE_ID):
            is_reference, is_beaten = point["variant_id"] == REFERENCE_ID, point["beaten_by"] is not None
            colour = REFERENCE if is_reference else VARIANT
            ends = [100 * point["cost_low"], 100 * point["cost_high"]]
            axes.plot(ends, [100 * point[column]] * 2, color=colour, linewidth=1.2, alpha=0.5)
            axes.plot(
                100 * point["cost"], 100 * point[column], "o" if is_reference else "s", color=colour,
                markersize=7, markerfacecolor="none" if is_beaten else colour, markeredgewidth=1.4,
                label=once(axes, "reference" if is_reference else "beaten" if is_beaten else "beaten by none"),
            )  # fmt: skip
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.12)
        low, high = axes.get_xlim()
        ticks = [cost for cost in _COSTS if low <= cost <= high]
        axes.set_xticks(ticks, [f"{cost:g}" for cost in ticks])
        axes.set_xticks([], minor=True)
        axes.grid(color=MUTED, alpha=0.25, linewidth=0.8)
        first_unbeaten = sorted(points, key=lambda point: point["beaten_by"] is not None)
        name_points(
            axes,
            [
                (100 * point["cost"], 100 * point[column], shorten(str(point["variant_id"]), 28))
                for point in first_unbeaten
            ],
        )
        axes.set_title(title)
        axes.set_xlabel(f"%, by {unit}, in % of the reference's")

    return draw


_COSTS = tuple(digit * 10.0**power for power in range(-1, 5) for digit in (1, 2, 5))


def shorten(text: str, length: int = 22) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _mark_row(axes: Any, position: int, mean: float, reach: Any, *, is_reference: bool) -> None:
    """A row's mean with what it reaches to either side; through the reference's goes a line."""
    axes.errorbar(
        mean,
        position,
        xerr=reach,
        fmt="o" if is_reference else "s",
        color=REFERENCE if is_reference else VARIANT,
        markersize=6,
        elinewidth=1.6,
        capsize=3,
    )
    if is_reference and not math.isnan(mean):
        axes.axvline(mean, color=REFERENCE, linewidth=1, linestyle=(0, (2, 3)), zorder=0)


def _label_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.8)
    axes.locator_params(axis="x", nbins=6)
    if not names:
        axes.text(0.5, 0.5, "nothing to compare yet", transform=axes.transAxes, ha="center", color=MUTED)


def once(axes: Axes, label: str) -> str | None:
    """The label for its first artist, so that the legend names it once."""
    return None if label in axes.get_legend_handles_labels()[1] else label
