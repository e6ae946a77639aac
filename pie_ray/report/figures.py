"""The figures of a study: which rows each shows, as PNG for MLflow and papers, and as SVG for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .attribution import METHODS, attribution_rows
from .drawing import HEADING_INCHES, PAGE_COLOURS, SMALL_SVG_INCHES, PagePanel, page_panel, png
from .foretelling import best_score
from .panels import (
    MUTED,
    Draw,
    Rows,
    draw_accuracy,
    draw_classes,
    draw_pies,
    draw_preservation,
    draw_reduced,
    draw_similarity,
    draw_stability,
    draw_tradeoff,
    draw_uncertainty,
)
from .preservation import preservation_rows
from .robustness import corrupted_rows
from .robustness_panels import (
    OTHERS,
    draw_excess,
    draw_heat_map,
    draw_severities,
    families_of,
    lines_of,
    severities_of,
    severity_curve,
)
from .rows import number, rows_of, variants_of
from .tradeoff import axes_of

if TYPE_CHECKING:
    import pandas as pd

NUM_CLASSES_SHOWN = 30

_HEAT_MAP_MARGIN_INCHES, _CELL_INCHES = 2.2, 0.52
_SHORT_NAME = 12


def all_figures(tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """PNG by name: every figure that the tables have rows for."""
    drawn = {
        "accuracy_and_pies": accuracy_and_pies(tables["summary"]),
        "reduced_accuracy": reduced_accuracy(tables["summary"]),
        "class_impact": class_impact(tables["classes"]),
    }
    if axes_of(tables["summary"], tables.get("costs")):
        drawn["tradeoff"] = tradeoff(tables["summary"], tables["costs"])
    if _uncertainty(tables["foretelling"]):
        drawn["uncertainty"] = uncertainty(tables["foretelling"])
    if _attribution(tables.get("attribution")):
        drawn["attribution"] = attribution(tables["attribution"])
    if preservation_rows(tables.get("preservation")):
        drawn["preservation"] = preservation(tables["preservation"])
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
    return png([(draw_accuracy, rows), (draw_pies, rows)], _height(len(rows)), num_columns=2, share_rows=True)


def reduced_accuracy(summary: pd.DataFrame) -> bytes:
    """PNG: top-1 of the reference and of every variant on all examples, without the PIEs, and on the PIEs only."""
    rows = _compressed(summary)
    return png([(draw_reduced, rows)], _height(len(rows), row_inches=0.5), num_columns=1)


def class_impact(classes: pd.DataFrame) -> bytes:
    """PNG: each class's recall change beyond the overall change, a panel a variant, the significant ones filled."""
    panels = _class_panels(classes) or {"Classes": []}
    height = _height(max(len(rows) for rows in panels.values()), row_inches=0.18)
    reach = _reach(panels)
    drawn = [(draw_classes(variant_id, reach), rows) for variant_id, rows in panels.items()]
    unit = "change of recall beyond the overall change, percentage points"
    longest = max((len(str(row["class_name"])) for rows in panels.values() for row in rows), default=0)
    return png(drawn, height, num_columns=min(len(drawn), 3 if longest <= _SHORT_NAME else 2), unit=unit)


def stability(table: pd.DataFrame) -> bytes:
    """PNG: how alike the PIEs of two repetitions are, against their number of members; a line a variant."""
    return png([(draw_stability, rows_of(table))], _stability_height(table), num_columns=1)


def stability_panel(table: pd.DataFrame) -> PagePanel:
    return page_panel(draw_stability, rows_of(table), _stability_height(table))


def _stability_height(table: pd.DataFrame) -> float:
    """Room for the names of all lines."""
    return max(3.5, 1.3 + 0.19 * len(variants_of(rows_of(table))))


def tradeoff(summary: pd.DataFrame, costs: pd.DataFrame) -> bytes:
    """PNG: top-1 and PIEs of every variant against its size and its latency; hollow where another one is better."""
    return png(_tradeoff(summary, costs), 4.0, num_columns=2)


def tradeoff_panels(summary: pd.DataFrame, costs: pd.DataFrame | None) -> list[PagePanel]:
    return [page_panel(draw, points, 4.2) for draw, points in _tradeoff(summary, costs)]


def _tradeoff(summary: pd.DataFrame, costs: pd.DataFrame | None) -> list[tuple[Draw, Rows]]:
    return [
        (draw_tradeoff(column, f"{what} by {axis.name}", axis.unit), axis.points)
        for axis in axes_of(summary, costs)
        for column, what in (("top1_mean", "Top-1"), ("pies", "PIEs"))
    ]


def uncertainty(foretelling: pd.DataFrame) -> bytes:
    """PNG: how uncertain the reference is about the PIEs of every variant, and about all other examples."""
    draw, rows = _uncertainty(foretelling)[0]
    return png([(draw, rows)], _height(len(rows), row_inches=0.4), num_columns=1)


def uncertainty_panel(foretelling: pd.DataFrame) -> PagePanel | None:
    """None where the spread of the scores is not known."""
    return next(
        (page_panel(draw, rows, _height(len(rows), row_inches=0.4)) for draw, rows in _uncertainty(foretelling)), None
    )


def _uncertainty(foretelling: pd.DataFrame) -> list[tuple[Draw, Rows]]:
    """The one panel of the score that ranks PIEs best, or none."""
    rows = rows_of(foretelling)
    score = best_score(rows)
    if score is None:
        return []
    mine = [row for row in rows if row["score"] == score and not math.isnan(number(row, "median_on_pies"))]
    return [(draw_uncertainty(score), mine)]


def attribution(table: pd.DataFrame) -> bytes:
    """PNG: how alike every variant's attribution maps are to the reference's, a panel a method."""
    panels = _attribution(table)
    return png(panels, _height(max(len(rows) for _, rows in panels)), num_columns=2)


def attribution_panels(table: pd.DataFrame | None) -> list[PagePanel]:
    return [page_panel(draw, rows, _height(len(rows))) for draw, rows in _attribution(table)]


def _attribution(table: pd.DataFrame | None) -> list[tuple[Draw, Rows]]:
    by_method = attribution_rows(table)
    return [(draw_similarity(METHODS.get(method, method)), rows) for method, rows in by_method.items()]


def preservation(table: pd.DataFrame) -> bytes:
    """PNG: CIEs and CIE-Us of the plain loss over those of each label-preserving one, with intervals."""
    rows = preservation_rows(table)
    return png([(draw_preservation, rows)], _height(len(rows)), num_columns=1)


def preservation_panel(table: pd.DataFrame) -> PagePanel:
    rows = preservation_rows(table)
    return page_panel(draw_preservation, rows, _height(len(rows), row_inches=0.36))


def accuracy_panel(summary: pd.DataFrame) -> PagePanel:
    rows = rows_of(summary)
    return page_panel(draw_accuracy, rows, _height(len(rows)))


def pies_panel(summary: pd.DataFrame) -> PagePanel:
    rows = rows_of(summary)
    return page_panel(draw_pies, rows, _height(len(rows)))


def reduced_accuracy_panel(summary: pd.DataFrame) -> PagePanel:
    rows = _compressed(summary)
    return page_panel(draw_reduced, rows, _height(len(rows), row_inches=0.5))


def class_impact_panels(classes: pd.DataFrame) -> dict[str, PagePanel]:
    """Variant id -> its panel."""
    panels = _class_panels(classes)
    reach = _reach(panels)
    return {
        variant_id: page_panel(
            draw_classes(variant_id, reach), rows, _height(len(rows), row_inches=0.2), width=SMALL_SVG_INCHES
        )
        for variant_id, rows in panels.items()
    }


def robustness(table: pd.DataFrame) -> bytes:
    """PNG: change of top-1 against the reference's by corruption and variant, beside the clean set's."""
    rows = corrupted_rows(table)
    return png([(draw_heat_map, rows)], _heat_map_height(rows), num_columns=1)


def robustness_panel(table: pd.DataFrame) -> PagePanel | None:
    """None where no variant was compared."""
    rows = corrupted_rows(table)
    if not variants_of(rows):
        return None
    width = _HEAT_MAP_MARGIN_INCHES + _CELL_INCHES * max(len(variants_of(rows)), 3)
    return page_panel(draw_heat_map, rows, _heat_map_height(rows) + HEADING_INCHES, width=width)


def severity_curves(table: pd.DataFrame) -> bytes:
    """PNG: top-1 against severity with its intervals, a panel a family of corruptions, a line a variant."""
    panels = _severity_panels(table)
    return png(panels, 3.0, num_columns=min(len(panels), 3))


def severity_panels(table: pd.DataFrame) -> list[PagePanel]:
    """A panel a family of corruptions, all on one scale, and one of the drop beyond the reference's.

    None where no severity is known.
    """
    return [page_panel(draw, rows, 3.0, width=SMALL_SVG_INCHES) for draw, rows in _severity_panels(table)]


def severity_legend(table: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """What the lines of `severity_panels` mean: name, colour as CSS, whether it is dashed."""
    lines = lines_of(corrupted_rows(table))
    entries = [
        (name, PAGE_COLOURS.get(line.colour, line.colour), line.is_dashed)
        for name, line in lines.items()
        if line.is_named
    ]
    others = [(OTHERS, PAGE_COLOURS[MUTED], False)] if len(entries) < len(lines) else []
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
    """Rows by variant, the hardest hit class first; where there are many classes, those that moved most."""
    rows = [row for row in rows_of(classes) if not math.isnan(number(row, "normalised_change"))]
    panels = {}
    for variant_id in variants_of(rows):
        panel = [row for row in rows if row["variant_id"] == variant_id]
        panel.sort(key=lambda row: -abs(row["normalised_change"]))
        panels[variant_id] = sorted(panel[:NUM_CLASSES_SHOWN], key=lambda row: row["normalised_change"])
    return panels


def _reach(panels: dict[str, Rows]) -> float:
    """The largest change of any panel, so that all share one scale."""
    return max((abs(number(row, "normalised_change")) for rows in panels.values() for row in rows), default=0.0)


def _height(num_rows: int, row_inches: float = 0.3) -> float:
    return 1.25 + row_inches * max(num_rows, 2)
