"""Figures of a sweep: as PNG for MLflow and papers, as SVG for the page. The only home of matplotlib.

The SVG takes its colours from the page (`currentColor`, `--muted`, `--reference`, `--variant`), so that it follows
dark mode. Title, unit and legend are left to the page, which breaks their lines as its width allows.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .panels import (
    INK,
    MUTED,
    OTHERS,
    REFERENCE,
    VARIANT,
    Draw,
    Rows,
    draw_accuracy,
    draw_classes,
    draw_excess,
    draw_heat_map,
    draw_pies,
    draw_reduced,
    draw_severities,
    draw_stability,
    families_of,
    lines_of,
    severities_of,
    severity_curve,
)
from .robustness import corrupted_rows
from .rows import number, rows_of, variants_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NUM_CLASSES_SHOWN = 30

_PAGE_COLOURS = {INK: "currentColor", MUTED: "var(--muted)", REFERENCE: "var(--reference)", VARIANT: "var(--variant)"}
_PNG_INCHES, _SVG_INCHES, _SMALL_SVG_INCHES = 10.0, 4.8, 3.7
_HEAT_MAP_MARGIN_INCHES, _CELL_INCHES = 2.2, 0.52
_HEADING_INCHES = 0.6
_LEGEND_LETTERS = 130
_PNG_DPI = 140
_SHORT_NAME = 12

_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.color": INK,
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.1,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "pie_ray",
}


@dataclass(frozen=True)
class PagePanel:
    """One panel for the page: `svg` is an element to be put into HTML."""

    title: str
    unit: str
    svg: str
    inches: float
    """How wide it was drawn; the page may scale it."""


def all_figures(tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """PNG by name: every figure that the tables have rows for."""
    drawn = {
        "accuracy_and_pies": accuracy_and_pies(tables["summary"]),
        "reduced_accuracy": reduced_accuracy(tables["summary"]),
        "class_impact": class_impact(tables["classes"]),
    }
    if rows_of(tables["stability"]):
        drawn["stability"] = stability(tables["stability"])
    corrupted = corrupted_rows(tables.get("robustness"))
    if variants_of(corrupted):
        drawn["robustness"] = robustness(tables["robustness"])
    if variants_of(corrupted) and severities_of(corrupted):
        drawn["severity_curves"] = severity_curves(tables["robustness"])
    return drawn


def accuracy_and_pies(summary: pd.DataFrame) -> bytes:
    """PNG: top-1 of every variant with its spread over members, beside its PIEs and the noise floor."""
    rows = rows_of(summary)
    return _png([(draw_accuracy, rows), (draw_pies, rows)], _height(len(rows)), num_columns=2, share_rows=True)


def reduced_accuracy(summary: pd.DataFrame) -> bytes:
    """PNG: top-1 of the reference and of every variant on all examples, without the PIEs, and on the PIEs only."""
    rows = _compressed(summary)
    return _png([(draw_reduced, rows)], _height(len(rows), row_inches=0.5), num_columns=1)


def class_impact(classes: pd.DataFrame) -> bytes:
    """PNG: each class's recall change beyond the overall change, a panel a variant, the significant ones filled."""
    panels = _class_panels(classes) or {"Classes": []}
    height = _height(max(len(rows) for rows in panels.values()), row_inches=0.18)
    reach = _reach(panels)
    drawn = [(draw_classes(variant_id, reach), rows) for variant_id, rows in panels.items()]
    unit = "change of recall beyond the overall change, percentage points"
    longest = max((len(str(row["class_name"])) for rows in panels.values() for row in rows), default=0)
    return _png(drawn, height, num_columns=min(len(drawn), 3 if longest <= _SHORT_NAME else 2), unit=unit)


def stability(table: pd.DataFrame) -> bytes:
    """PNG: how alike the PIEs of two repetitions are, against their number of members; a line a variant."""
    return _png([(draw_stability, rows_of(table))], 3.6, num_columns=1)


def stability_panel(table: pd.DataFrame) -> PagePanel:
    return _page_panel(draw_stability, rows_of(table), 3.4)


def accuracy_panel(summary: pd.DataFrame) -> PagePanel:
    rows = rows_of(summary)
    return _page_panel(draw_accuracy, rows, _height(len(rows)))


def pies_panel(summary: pd.DataFrame) -> PagePanel:
    rows = rows_of(summary)
    return _page_panel(draw_pies, rows, _height(len(rows)))


def reduced_accuracy_panel(summary: pd.DataFrame) -> PagePanel:
    rows = _compressed(summary)
    return _page_panel(draw_reduced, rows, _height(len(rows), row_inches=0.5))


def class_impact_panels(classes: pd.DataFrame) -> dict[str, PagePanel]:
    """Variant id -> its panel."""
    panels = _class_panels(classes)
    reach = _reach(panels)
    return {
        variant_id: _page_panel(
            draw_classes(variant_id, reach), rows, _height(len(rows), row_inches=0.2), width=_SMALL_SVG_INCHES
        )
        for variant_id, rows in panels.items()
    }


def robustness(table: pd.DataFrame) -> bytes:
    """PNG: change of top-1 against the reference's by corruption and variant, beside the clean set's."""
    rows = corrupted_rows(table)
    return _png([(draw_heat_map, rows)], _heat_map_height(rows), num_columns=1)


def robustness_panel(table: pd.DataFrame) -> PagePanel | None:
    """None where no variant was compared."""
    rows = corrupted_rows(table)
    if not variants_of(rows):
        return None
    width = _HEAT_MAP_MARGIN_INCHES + _CELL_INCHES * max(len(variants_of(rows)), 3)
    return _page_panel(draw_heat_map, rows, _heat_map_height(rows) + _HEADING_INCHES, width=width)


def severity_curves(table: pd.DataFrame) -> bytes:
    """PNG: top-1 against severity with its intervals, a panel a family of corruptions, a line a variant."""
    panels = _severity_panels(table)
    return _png(panels, 3.0, num_columns=min(len(panels), 3))


def severity_panels(table: pd.DataFrame) -> list[PagePanel]:
    """A panel a family of corruptions, all on one scale, and one of the drop beyond the reference's.

    None where no severity is known.
    """
    return [_page_panel(draw, rows, 3.0, width=_SMALL_SVG_INCHES) for draw, rows in _severity_panels(table)]


def severity_legend(table: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """What the lines of `severity_panels` mean: name, colour as CSS, whether it is dashed."""
    lines = lines_of(corrupted_rows(table))
    entries = [
        (name, _PAGE_COLOURS.get(line.colour, line.colour), line.is_dashed)
        for name, line in lines.items()
        if line.is_named
    ]
    others = [(OTHERS, _PAGE_COLOURS[MUTED], False)] if len(entries) < len(lines) else []
    return entries + others


def _severity_panels(table: pd.DataFrame) -> list[tuple[Draw, Rows]]:
    rows = [row for row in corrupted_rows(table) if severities_of([row])]
    lines = lines_of(rows)
    families = {family: [row for row in rows if row["family"] == family] for family in families_of(rows)}
    heights = [
        height
        for mine in families.values()
        for variant_id in lines
        for _, *heights in severity_curve([row for row in mine if row["variant_id"] == variant_id])
        for height in heights
        if not math.isnan(height)
    ]
    low, high = min(heights, default=0.0), max(heights, default=100.0)
    limits = (low - 0.04 * (high - low) - 0.5, high + 0.04 * (high - low) + 0.5)
    panels = [(draw_severities(family, lines, limits), mine) for family, mine in families.items()]
    return [*panels, (draw_excess(lines), rows)] if variants_of(rows) else panels


def _heat_map_height(rows: Rows) -> float:
    num_lines = 1 + len({row["corruption"] for row in rows}) + len(families_of(rows))
    longest = max((min(len(str(name)), 28) for name in variants_of(rows)), default=0)
    return 0.7 + 0.05 * longest + 0.27 * num_lines


def _compressed(summary: pd.DataFrame) -> Rows:
    rows = rows_of(summary)
    variants = set(variants_of(rows))
    return [row for row in rows if row["variant_id"] in variants]


def _class_panels(classes: pd.DataFrame) -> dict[str, Rows]:
    """Rows by variant: every class in its own order, or where there are many the ones that moved most, sorted."""
    rows = [row for row in rows_of(classes) if not math.isnan(number(row, "normalised_change"))]
    panels = {}
    for variant_id in variants_of(rows):
        panel = [row for row in rows if row["variant_id"] == variant_id]
        if len(panel) > NUM_CLASSES_SHOWN:
            panel.sort(key=lambda row: -abs(row["normalised_change"]))
            panel = sorted(panel[:NUM_CLASSES_SHOWN], key=lambda row: row["normalised_change"])
        panels[variant_id] = panel
    return panels


def _reach(panels: dict[str, Rows]) -> float:
    """The largest change of any panel, so that all share one scale."""
    return max((abs(number(row, "normalised_change")) for rows in panels.values() for row in rows), default=0.0)


def _height(num_rows: int, row_inches: float = 0.3) -> float:
    return 1.25 + row_inches * max(num_rows, 2)


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # class names may be in any script; the page's own fonts have what matplotlib's has not
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def _png(
    panels: Sequence[tuple[Draw, Rows]], height: float, *, num_columns: int, share_rows: bool = False, unit: str = ""
) -> bytes:
    """`unit` stands once below all panels, where they share one."""
    num_lines = math.ceil(len(panels) / num_columns)
    with _figure(_PNG_INCHES, height * num_lines) as figure:
        grid = figure.subplots(num_lines, num_columns, squeeze=False, sharey=share_rows)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes, (draw, rows) in zip(grid.flat, panels, strict=False):
            draw(axes, rows)
            if unit:
                axes.set_xlabel("")
        if unit:
            figure.supxlabel(unit, fontsize=9)
        _add_legend(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_PNG_DPI, facecolor="white")
    return buffer.getvalue()


def _page_panel(draw: Draw, rows: Rows, height: float, width: float = _SVG_INCHES) -> PagePanel:
    with _figure(width, height - _HEADING_INCHES) as figure:
        axes = figure.subplots()
        draw(axes, rows)
        title, unit = axes.get_title(loc="left"), axes.get_xlabel()
        axes.set_title("")
        axes.set_xlabel("")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return PagePanel(title, unit, _for_page(buffer.getvalue()), width)


def _add_legend(figure: Figure) -> None:
    """One legend below, each label once however many panels use it."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        num_columns = min(len(entries), _LEGEND_LETTERS // (max(map(len, entries)) + 6))
        figure.legend(list(entries.values()), list(entries), loc="outside lower right", ncols=num_columns)


def _for_page(svg: str) -> str:
    """The bare element, scaled by the page, in its font and colours, and with no ids but those it refers to."""
    view_box = re.search(r'viewBox="[^"]*"', svg)
    drawing = svg[svg.index(">", svg.index("<svg")) + 1 :]
    drawing = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' id="\w+_\d+"| transform="rotate\(-0 [^"]*"| font-family: [^;]*;', "", drawing)
    for colour, ours in _PAGE_COLOURS.items():
        drawing = drawing.replace(colour, ours)
    assert view_box is not None
    return f"<svg {view_box[0]}>{drawing}"
