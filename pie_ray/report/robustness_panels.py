"""What each panel about corrupted images shows, drawn on axes that are handed in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .panels import LINES, MUTED, REFERENCE, VARIANT, Draw, Rows, once, shorten
from .robustness import is_significant, mean_of
from .rows import REFERENCE_ID, number, variants_of
from .words import points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAMILIES = ("noise", "blur", "weather", "digital", "extra")

_STRONGEST = 0.62
"""Opacity of a cell at the scale's end: ink is read on it, on a light page and on a dark one."""

_LABELS_ON_BOTH_SIDES = 8
"""Columns beyond which a row's name stands at both of its ends."""


def draw_heat_map(axes: Axes, rows: Rows) -> None:
    """How far top-1 on corrupted sets is from the reference's: a row a corruption, a column a variant.

    A cell is the mean over severities; orange is worse than the reference, blue better, on a scale centred at 0, and
    each dot stands for a severity at which the drop differs beyond chance. The first row is the clean set's.
    """
    variants = variants_of(rows)
    lines = _heat_map_lines(rows, variants)
    reach = max((abs(change) for _, cells in lines for change, _ in cells if not math.isnan(change)), default=0.0)
    for position, (_, cells) in enumerate(lines):
        for column, (change, num_significant) in enumerate(cells):
            _draw_cell(axes, column, position, change, reach, num_significant)
    _label_heat_map(axes, variants, [(name, bool(cells)) for name, cells in lines])
    axes.set_title("Change of top-1 against the reference's on the same set")
    axes.set_xlabel("% of the reference's, mean over severities; a dot a severity with q ≤ .05")


def _heat_map_lines(rows: Rows, variants: Sequence[str]) -> list[tuple[str, list[tuple[float, int]]]]:
    """Name, and for each variant change and number of significant severities; nothing beside the name of a family."""
    by_variant = [[row for row in rows if row["variant_id"] == variant_id] for variant_id in variants]
    lines = [("clean set", [(mean_of(number(row, "clean_change") for row in mine), 0) for mine in by_variant])]
    for family in families_of(rows):
        lines.append((family, []))
        for corruption in dict.fromkeys(row["corruption"] for row in rows if row["family"] == family):
            cells = [[row for row in mine if row["corruption"] == corruption] for mine in by_variant]
            changes = [mean_of(number(row, "change") for row in cell) for cell in cells]
            num_significant = [sum(map(is_significant, cell)) for cell in cells]
            lines.append((corruption, list(zip(changes, num_significant, strict=True))))
    return lines


def _draw_cell(axes: Axes, column: int, position: int, change: float, reach: float, num_significant: int) -> None:
    if math.isnan(change):
        return
    strength = _STRONGEST * abs(change) / reach if reach else 0
    colour = VARIANT if change < 0 else REFERENCE
    text, dots = points(change, 1 if abs(change) < 0.0995 else 0), "•" * num_significant
    drawn = [
        *axes.barh(position, 0.96, 0.94, column - 0.48, color=colour, alpha=round(strength, 3), linewidth=0),
        axes.text(column, position - (0.13 if dots else 0), text, ha="center", va="center", fontsize=8),
    ]
    if dots:
        drawn.append(axes.text(column, position + 0.29, dots, ha="center", va="center", fontsize=6))
    for artist in drawn:
        # within the axes in any case: laying out hundreds of them would take seconds
        artist.set(in_layout=False, clip_on=False)


def _label_heat_map(axes: Axes, variants: Sequence[str], lines: Sequence[tuple[str, bool]]) -> None:
    """Variants above, corruptions beside; `lines` tell a name and whether it is that of a row, or of a family."""
    axes.set_xlim(-0.5, max(len(variants), 1) - 0.5)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xticks(
        range(len(variants)), [shorten(name, 28) for name in variants], rotation=40, ha="left", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(lines)), [name.replace("_", " ") for name, _ in lines])
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.tick_params(labelright=len(variants) > _LABELS_ON_BOTH_SIDES)
    axes.spines["bottom"].set_visible(False)
    for tick, (_, is_row) in zip(axes.yaxis.get_major_ticks(), lines, strict=True):
        if not is_row:
            for label in (tick.label1, tick.label2):
                label.set(color=MUTED, style="italic")


@dataclass(frozen=True)
class Line:
    """How a variant is drawn against severity; those that have no name are `OTHERS` together."""

    colour: str
    is_dashed: bool = False
    is_named: bool = True


OTHERS = "the others"

Curve = list[tuple[float, float, float, float]]
"""Severity, mean over corruptions, and the ends of its interval."""

NUM_NAMED_LINES = 8
"""As many compressed variants can be told apart; of more, those that do worst on corrupted images."""


def lines_of(rows: Rows) -> dict[str, Line]:
    """How each variant is drawn: the reference, then the named ones, then the others."""
    top1 = {
        variant_id: mean_of(number(row, "top1_mean") for row in rows if row["variant_id"] == variant_id)
        for variant_id in variants_of(rows)
    }
    worst = sorted((name for name in top1 if not math.isnan(top1[name])), key=lambda name: top1[name])
    named = [name for name in top1 if name in worst[:NUM_NAMED_LINES]]
    lines = {REFERENCE_ID: Line(REFERENCE)} if any(row["variant_id"] == REFERENCE_ID for row in rows) else {}
    lines |= {name: Line(LINES[index % 4], is_dashed=index >= 4) for index, name in enumerate(named)}
    return lines | {name: Line(MUTED, is_named=False) for name in top1 if name not in named}


def severity_curve(rows: Rows) -> Curve:
    """Top-1 by severity, in percent; the clean set is severity 0, without an interval."""
    clean = 100 * mean_of(number(row, "clean_top1_mean") for row in rows)
    return [(0.0, clean, math.nan, math.nan), *_over_corruptions(rows, ("top1_mean", "top1_low", "top1_high"))]


def excess_curve(rows: Rows) -> Curve:
    """Drop beyond the reference's by severity, in percentage points."""
    return _over_corruptions(rows, ("excess_drop", "excess_low", "excess_high"))


def severities_of(rows: Rows) -> list[float]:
    """Ascending; those that are not known are left out."""
    return sorted({number(row, "severity") for row in rows if not math.isnan(number(row, "severity"))})


def _over_corruptions(rows: Rows, columns: Sequence[str]) -> Curve:
    curve = []
    for severity in severities_of(rows):
        mine = [row for row in rows if number(row, "severity") == severity]
        mean, low, high = (100 * mean_of(number(row, column) for row in mine) for column in columns)
        curve.append((severity, mean, low, high))
    return curve


def draw_severities(family: str, lines: Mapping[str, Line], limits: tuple[float, float]) -> Draw:
    """Top-1 over one family's rows, all families on the scale from `limits`."""

    def draw(axes: Axes, rows: Rows) -> None:
        _draw_lines(axes, rows, lines, severity_curve)
        axes.set_ylim(*limits)
        axes.set_title(family)
        axes.set_xlabel("top-1 in %, by severity")

    return draw


def draw_excess(lines: Mapping[str, Line]) -> Draw:
    """What the variants lose from severity to severity beyond what the reference loses."""

    def draw(axes: Axes, rows: Rows) -> None:
        variants = {variant_id: line for variant_id, line in lines.items() if variant_id != REFERENCE_ID}
        axes.axhline(0, color=REFERENCE, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
        _draw_lines(axes, rows, variants, excess_curve)
        axes.set_title("drop beyond dense")
        axes.set_xlabel("points, by severity, all corruptions")

    return draw


def _draw_lines(axes: Axes, rows: Rows, lines: Mapping[str, Line], curve_of: Callable[[Rows], Curve]) -> None:
    middle = (sum(line.is_named for line in lines.values()) - 1) / 2
    for index, (variant_id, line) in enumerate(lines.items()):
        curve = curve_of([row for row in rows if row["variant_id"] == variant_id])
        if line.is_named:
            # a little apart, so that intervals do not hide each other
            _draw_line(axes, variant_id, line, curve, 0.04 * (index - middle))
        else:
            severities, means = [point[0] for point in curve], [point[1] for point in curve]
            label = once(axes, OTHERS)
            axes.plot(severities, means, color=line.colour, linewidth=0.8, alpha=0.6, label=label, zorder=1)
    severities = severities_of(rows) if curve_of is excess_curve else [0.0, *severities_of(rows)]
    axes.set_xticks(severities, ["clean" if severity == 0 else f"{severity:g}" for severity in severities])
    axes.margins(x=0.05)
    axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.8)


def _draw_line(axes: Axes, variant_id: str, line: Line, curve: Curve, offset: float) -> None:
    axes.errorbar(
        [severity + offset for severity, *_ in curve],
        [mean for _, mean, *_ in curve],
        yerr=[[_length(point[1], point[side]) for point in curve] for side in (2, 3)],
        color=line.colour,
        linestyle=(0, (4, 2)) if line.is_dashed else "-",
        marker="o" if variant_id == REFERENCE_ID else "s",
        markersize=2.5,
        linewidth=1.3,
        elinewidth=1.2,
        label=shorten(variant_id, 28),
    )


def _length(mean: float, end: float) -> float:
    return 0.0 if math.isnan(end) else abs(end - mean)


def families_of(rows: Rows) -> list[str]:
    """Families of corruptions in the order they are shown."""
    found = dict.fromkeys(str(row["family"]) for row in rows)
    return [name for name in FAMILIES if name in found] + [name for name in found if name not in FAMILIES]
