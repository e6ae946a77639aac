"""The report: one HTML page that carries its style, figures and pictures, and asks nothing of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from . import figures, gallery, multilabel, robustness, sections, words
from . import tables as variant_tables
from .rows import REFERENCE_ID, main_set, number, rows_of

if TYPE_CHECKING:
    import pandas as pd

_CLASS_LEGEND = (
    '<ul class="legend"><li><i class="bar"></i>p ≤ .05</li><li><i class="faint"></i>not significant</li></ul>'
)

_HALF_PAGE_INCHES = 5.4
"""A figure up to this wide leaves room for others beside it."""

Row = dict[str, Any]


def render_report(
    title: str,
    tables: Mapping[str, pd.DataFrame],
    class_names: Sequence[str],
    thumbnails: Mapping[int, bytes],
    notes: Sequence[str],
    provenance: Mapping[str, str],
    samples: bytes | None = None,
) -> str:
    """The page of a study, about its main evaluation set: `test`, or else the first.

    Arguments:
        tables: the result tables by name; a section without rows is left out. Those of robustness may be absent, as
            older results are without them.
        thumbnails: PNG by example id; an example without one gets a card without a picture.
        notes: what a reader must know before believing the figures, such as missing members.
        samples: PNG of `samples.sample_grid`, shown with the figures of robustness.
    """
    summary, classes = tables["summary"], tables["classes"]
    evaluation_set = main_set(summary)
    rows = rows_of(summary)
    # a class without examples has no recall
    class_rows = [row for row in rows_of(classes, evaluation_set) if not math.isnan(number(row, "normalised_change"))]
    worst = words.most_forgetful(rows)
    parts = {
        "title": escape(title),
        "evaluation_set": escape(evaluation_set),
        "headline": words.headline(rows, class_rows),
        "tiles": _tiles(rows, worst),
        "notes": _notes(notes),
        "variant_table": variant_tables.variant_table(rows),
        "accuracy_figures": _figure(figures.accuracy_panel(summary)) + _figure(figures.pies_panel(summary)),
        "significance_section": sections.significance_section(rows),
        "stability_section": _stability(tables["stability"]),
        "reduced_figure": _figure(figures.reduced_accuracy_panel(summary)),
        "class_section": "" if len(tables["attributes"]) else _class_section(classes),
        "group_section": sections.group_section(tables["groups"], tables["gaps"], rows),
        "flip_section": sections.flip_section(rows, tables["pairs"]),
        "foretelling_section": sections.foretelling_section(tables["foretelling"]),
        "evidence_section": sections.evidence_section(tables["evidence"]),
        "attribute_sections": multilabel.attribute_section(tables["attributes"])
        + multilabel.amplification_section(tables["amplification"], tables["criteria"])
        + multilabel.countermeasure_section(tables["countermeasures"]),
        "robustness_section": _robustness(tables, samples),
        "evaluation_sets": _evaluation_sets(summary, evaluation_set),
        "provenance": variant_tables.definition_list(dict(provenance)),
    }
    chosen = "" if worst is None else str(worst["variant_id"])
    parts["gallery_section"] = gallery.gallery_section(tables["pies"], evaluation_set, class_names, thumbnails, chosen)
    parts |= {"style": _file("page.css") + _file("gallery.css"), "script": _file("gallery.js")}
    return Template(_file("page.html")).substitute(parts)


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _stability(stability: pd.DataFrame) -> str:
    if not rows_of(stability):
        return ""
    return sections.stability_section(stability, _figure(figures.stability_panel(stability)))


def _robustness(tables: Mapping[str, pd.DataFrame], samples: bytes | None) -> str:
    table, errors = tables.get("robustness"), tables.get("corruption_errors")
    if table is None or not robustness.corrupted_rows(table):
        return robustness.robustness_section(table, errors)
    curves = "".join(map(_figure, figures.severity_panels(table)))
    plots = robustness.curves_block(curves, figures.severity_legend(table))
    heat_map = figures.robustness_panel(table)
    if heat_map is not None:
        opening = '<div class="figures">' if heat_map.inches < _HALF_PAGE_INCHES else "<div>"
        plots = f"{opening}{robustness.heat_map_block(_wide_figure(heat_map))}{plots}</div>"
    return robustness.robustness_section(table, errors, plots=plots, samples=samples)


def _tiles(rows: list[Row], worst: Row | None) -> str:
    reference: Row = next((row for row in rows if row["variant_id"] == REFERENCE_ID), {})
    worst = worst or {}
    num_members = sum(number(row, "num_members") for row in rows)
    tiles = [
        (words.count(num_members), f"members of {words.plural(len(rows), 'variant')}"),
        (words.count(number(reference, "num_examples")), "examples answered by each"),
        (words.percent(number(reference, "top1_mean")), "top-1 of the reference"),
        (words.percent(number(worst, "pie_fraction")), "of answers changed at worst"),
    ]
    return "".join(f'<div class="tile"><b>{value}</b><span>{escape(label)}</span></div>' for value, label in tiles)


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return f'<aside class="notes"><ul>{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul></aside>'


def _figure(panel: figures.PagePanel) -> str:
    title, unit = escape(panel.title), escape(panel.unit)
    return f'<figure class="plot"><figcaption><b>{title}</b> <small>{unit}</small></figcaption>{panel.svg}</figure>'


def _wide_figure(panel: figures.PagePanel) -> str:
    """A figure that grows with what it shows, and scrolls where the page is narrower."""
    title, unit = escape(panel.title), escape(panel.unit)
    points = 72 * panel.inches
    return (
        f'<figure class="plot"><figcaption><b>{title}</b> <small>{unit}</small></figcaption><div class="wide">'
        f'<div style="min-width:{1.1 * points:.0f}px;max-width:{1.75 * points:.0f}px">{panel.svg}</div></div></figure>'
    )


def _class_section(classes: pd.DataFrame) -> str:
    panels = "".join(_figure(panel) for panel in figures.class_impact_panels(classes).values())
    if not panels:
        return sections.class_section('<p class="muted">No class was compared yet.</p>')
    return sections.class_section(f'{sections.class_summary(classes)}{_CLASS_LEGEND}<div class="panels">{panels}</div>')


def _evaluation_sets(summary: pd.DataFrame, evaluation_set: str) -> str:
    names = [str(name) for name in summary["evaluation_set"].unique()] if len(summary) else []
    if not set(names) - {evaluation_set}:
        return ""
    names.sort(key=lambda name: name != evaluation_set)
    table = variant_tables.evaluation_set_table({name: rows_of(summary, name) for name in names})
    return f'<section><h2>All evaluation sets</h2><div class="scroll">{table}</div></section>'
