"""The report: one HTML page that carries its style, figures and pictures, and asks nothing of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from . import (
    attribution,
    chance,
    figures,
    foretelling,
    gallery,
    groups,
    lone,
    multilabel,
    preservation,
    robustness,
    robustness_section,
    variants,
)
from .classes import class_section
from .fragility import fragility_block
from .headline import compared_rows, findings, headline, most_forgetful, tiles
from .markup import definition_list, figure, folded, scrolled, wide_figure
from .rows import main_set, number, rows_of
from .tradeoff import axes_of, tradeoff_section
from .words import unbroken

if TYPE_CHECKING:
    import pandas as pd

_HALF_PAGE_INCHES = 5.4
"""A figure up to this wide leaves room for others beside it."""

_CONTENTS = {
    "variants": "Every variant",
    "accuracy": "Accuracy and PIEs",
    "chance": "Chance",
    "tradeoff": "Costs",
    "stability": "Stability",
    "reduced": "Without the PIEs",
    "classes": "Classes",
    "attributes": "Attributes",
    "amplification": "Bias",
    "countermeasures": "Countermeasures",
    "groups": "Groups",
    "flips": "Flips",
    "preservation": "Label-preserving losses",
    "attribution": "Attribution",
    "foretelling": "Uncertainty",
    "evidence": "Evidence",
    "robustness": "Robustness",
    "sets": "Evaluation sets",
    "gallery": "Forgotten examples",
    "words": "Words",
    "provenance": "Origin",
}
"""Sections in their order on the page, as the table of contents calls them."""

Tables = Mapping[str, "pd.DataFrame"]
Row = dict[str, Any]


def render_report(
    title: str,
    tables: Tables,
    class_names: Sequence[str],
    thumbnails: Mapping[int, bytes],
    notes: Sequence[str],
    provenance: Mapping[str, str],
    samples: bytes | None = None,
    answers: pd.DataFrame | None = None,
    missing: Sequence[str] = (),
    recipe: str = "",
) -> str:
    """The page of a study, about its main evaluation set: `test`, or else the first.

    Arguments:
        tables: the result tables by name; a section without rows is left out. Those of robustness may be absent, as
            older results are without them.
        thumbnails: PNG by example id; an example without one gets a card without a picture.
        notes: what a reader must know before believing the figures.
        samples: PNG of `samples.sample_grid`, shown with the figures of robustness.
        answers: what every variant answers on the pictured examples.
        missing: members that the figures do without, as people name them.
        recipe: the study's recipe as YAML, where it has one.
    """
    summary = tables["summary"]
    evaluation_set = main_set(summary)
    rows = rows_of(summary)
    # a class without examples has no recall
    class_rows = [
        row for row in rows_of(tables["classes"], evaluation_set) if not math.isnan(number(row, "normalised_change"))
    ]
    worst = most_forgetful(rows)
    chosen = "" if worst is None else str(worst["variant_id"])
    is_lone = lone.are_lone(rows)
    sections = _sections(tables, rows, samples, class_names, is_whole=not missing)
    if is_lone:
        sections |= dict.fromkeys(_OF_POPULATIONS, "") | {"flips": lone.pair_section(rows, tables["pairs"])}
    sections["gallery"] = gallery.gallery_section(
        tables["pies"], evaluation_set, class_names, thumbnails, chosen, answers
    )
    parts = {
        "title": escape(title),
        "study": "one network against one" if is_lone else "population study",
        "evaluation_set": escape(evaluation_set),
        "headline": unbroken(headline(rows)),
        "findings": "".join(f"<p>{unbroken(text)}</p>" for text in findings(rows, class_rows)),
        "to_gallery": _TO_GALLERY if compared_rows(rows) else "",
        "tiles": "".join(f'<div class="tile"><b>{value}</b><span>{label}</span></div>' for value, label in tiles(rows)),
        "notes": _notes([lone.NOTE, *notes] if is_lone else notes, missing),
        "contents": _contents([*(name for name, html in sections.items() if html), "words", "provenance"]),
        "sections": "\n".join(sections[name] for name in _CONTENTS if sections.get(name)),
        "provenance": definition_list(provenance) + _recipe(recipe),
        "style": _file("page.css") + _file("gallery.css"),
        "script": _file("page.js") + _file("gallery.js"),
    }
    return Template(_file("page.html")).substitute(parts)


def _sections(
    tables: Tables, rows: Sequence[Row], samples: bytes | None, names: Sequence[str], *, is_whole: bool
) -> dict[str, str]:
    """HTML by the section's name, empty where it has nothing to say; the gallery comes last, from elsewhere."""
    summary = tables["summary"]
    costs = tables.get("costs")
    tradeoff = "".join(map(figure, figures.tradeoff_panels(summary, costs)))
    return {
        "variants": variants.variant_section(rows, is_whole=is_whole),
        "accuracy": variants.accuracy_section(
            figure(figures.accuracy_panel(summary)) + figure(figures.pies_panel(summary))
        ),
        "chance": chance.significance_section(rows),
        "tradeoff": tradeoff_section(axes_of(summary, costs), costs, tradeoff),
        "stability": _stability(tables["stability"]),
        "reduced": variants.reduced_section(rows, figure(figures.reduced_accuracy_panel(summary))),
        "classes": "" if len(tables["attributes"]) else _classes(tables["classes"]),
        "attributes": multilabel.attribute_section(tables["attributes"]),
        "amplification": multilabel.amplification_section(tables["amplification"], tables["criteria"]),
        "countermeasures": multilabel.countermeasure_section(tables["countermeasures"]),
        "groups": groups.group_section(tables["groups"], tables["gaps"], rows),
        "flips": chance.flip_section(rows, tables["pairs"]),
        "preservation": _preservation(tables.get("preservation"), rows),
        "attribution": _attribution(tables.get("attribution")),
        "foretelling": _foretelling(tables["foretelling"]),
        "evidence": groups.evidence_section(tables["evidence"]),
        "robustness": _robustness(tables, samples, names),
        "sets": variants.evaluation_sets_section(_by_set(summary)),
    }


_OF_POPULATIONS = ("accuracy", "chance", "stability", "reduced")
"""Sections whose words and figures are of several members each."""

_TO_GALLERY = '<p><a href="#gallery">See the examples that are forgotten most</a></p>'


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _contents(names: Sequence[str]) -> str:
    return "".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in _CONTENTS.items() if name in names)


def _notes(notes: Sequence[str], missing: Sequence[str]) -> str:
    if not notes and not missing:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    names = ", ".join(map(escape, missing))
    more = folded(f"Which members are missing ({len(missing):,})", f"<p>{names}</p>") if missing else ""
    return f'<div class="notes" role="note"><ul>{items}</ul>{more}</div>'


def _recipe(recipe: str) -> str:
    if not recipe:
        return ""
    text = scrolled(f"<pre>{escape(recipe)}</pre>", "The recipe", is_tall=True)
    return folded("The recipe, with every default written out", text)


def _stability(stability: pd.DataFrame) -> str:
    return chance.stability_section(stability, figure(figures.stability_panel(stability))) if len(stability) else ""


def _classes(classes: pd.DataFrame) -> str:
    panels = figures.class_impact_panels(classes)
    return class_section(classes, {variant_id: figure(panel) for variant_id, panel in panels.items()})


def _foretelling(table: pd.DataFrame) -> str:
    drawn = figures.uncertainty_panel(table)
    return foretelling.foretelling_section(table, "" if drawn is None else figure(drawn))


def _preservation(table: pd.DataFrame | None, rows: Sequence[Row]) -> str:
    if table is None or not len(table):
        return ""
    return preservation.preservation_section(table, rows, figure(figures.preservation_panel(table)))


def _attribution(table: pd.DataFrame | None) -> str:
    return attribution.attribution_section(table, [figure(panel) for panel in figures.attribution_panels(table)])


def _robustness(tables: Tables, samples: bytes | None, class_names: Sequence[str]) -> str:
    table, errors = tables.get("robustness"), tables.get("corruption_errors")
    if table is None or not robustness.corrupted_rows(table):
        return robustness_section.robustness_section(table, errors)
    curves = "".join(map(figure, figures.severity_panels(table)))
    plots = robustness_section.curves_block(curves, figures.severity_legend(table))
    heat_map = figures.robustness_panel(table)
    if heat_map is not None:
        opening = '<div class="figures">' if heat_map.inches < _HALF_PAGE_INCHES else "<div>"
        plots = f"{opening}{robustness_section.heat_map_block(wide_figure(heat_map))}{plots}</div>"
    fragile = fragility_block(tables.get("fragility"), class_names)
    return robustness_section.robustness_section(table, errors, plots=plots, fragile=fragile, samples=samples)


def _by_set(summary: pd.DataFrame) -> dict[str, list[Row]]:
    """Rows by evaluation set, the main one first."""
    names = [str(name) for name in summary["evaluation_set"].unique()] if len(summary) else []
    names.sort(key=lambda name: name != main_set(summary))
    return {name: rows_of(summary, name) for name in names}
