"""Analysis and report of predictions wherever they come from. No torch; Ray only where a cluster is named."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape

from .analysis import Analysis, Evidence, PopulationSource, analyze
from .identity import REFERENCE_ID
from .store import paths

_NUM_NAMED = 5

_LOGGED = {
    "top1_mean": "top1",
    "num_pies": "num_pies",
    "pie_fraction": "pie_fraction",
    "null_pie_fraction": "noise_floor",
    "num_significant": "num_significant",
    "cie_mean": "cie",
    "ece_mean": "ece",
    "top1_on_pies": "top1_on_pies",
    "top1_without_pies": "top1_without_pies",
}
"""The handful of figures a variant that a tracker shows."""


def analyze_source(
    source: PopulationSource, console: Console, *, address: str | None = None, evidence: Evidence | None = None
) -> Analysis:
    """Write the result tables and say which members they do without; on a Ray cluster where one is named."""
    if address is None:
        analysis = analyze(source, evidence=evidence)
    else:
        from .cluster.local import ray_session

        with ray_session(address):
            from .cluster.stats_job import ray_map

            analysis = analyze(source, mapper=ray_map, evidence=evidence)
    for note in () if evidence is None else evidence.notes:
        console.print(f"[yellow]evidence:[/] {escape(note)}", soft_wrap=True)
    if analysis.missing:
        names = ", ".join(analysis.missing[:_NUM_NAMED])
        more = f" and {len(analysis.missing) - _NUM_NAMED} more" if len(analysis.missing) > _NUM_NAMED else ""
        console.print(f"[yellow]Without {len(analysis.missing)} missing members:[/] {names}{more}")
    return analysis


def write_report(
    source: PopulationSource, analysis: Analysis, thumbnails: Mapping[int, bytes], samples: bytes | None = None
) -> dict[str, bytes]:
    """Draw the figures, write the page; returns both by artifact path.

    `thumbnails` are PNG by example id, `samples` is one PNG of corrupted images.
    """
    from .report import figures, page

    drawn = figures.all_figures(analysis.tables)
    if samples is not None:
        drawn["corruption_samples"] = samples
    for name, data in drawn.items():
        source.storage.write_bytes(paths.figure(name), data)
    html = page.render_report(
        title=source.title,
        tables=analysis.tables,
        class_names=["no", "yes"] if source.is_multilabel else list(source.class_names),
        thumbnails=thumbnails,
        samples=samples,
        notes=list(source.notes),
        provenance=dict(source.provenance),
    ).encode()
    source.storage.write_bytes(paths.REPORT, html)
    return {f"figures/{name}.png": data for name, data in drawn.items()} | {"report/index.html": html}


def logged_metrics(analysis: Analysis) -> dict[str, dict[str, float]]:
    """What a tracker shows of each variant: on the first evaluation set, and over the common corruptions."""
    summary = analysis.summary
    first = summary[summary["evaluation_set"] == summary["evaluation_set"].iloc[0]]
    metrics = {
        row["variant_id"]: {
            name: float(row[column])
            for column, name in _LOGGED.items()
            if column in row
            and not np.isnan(row[column])
            and not (row["variant_id"] == REFERENCE_ID and ("pie" in name or name in ("cie", "num_significant")))
        }
        for row in first.to_dict("records")
    }
    for row in _over_corruptions(analysis.corruption_errors).to_dict("records"):
        figures = {"corrupted_top1": 1 - row["error_mean"], "mce": row["mce"], "relative_mce": row["relative_mce"]}
        metrics.setdefault(row["variant_id"], {}).update(
            {name: float(value) for name, value in figures.items() if not np.isnan(value)}
        )
    return metrics


def _over_corruptions(errors: pd.DataFrame) -> pd.DataFrame:
    """A row a variant: over the 15 that mCE is defined over, or over whatever corruptions there are."""
    if errors.empty:
        return errors
    level = "common" if (errors["level"] == "common").any() else "all"
    return errors[errors["level"] == level]


def table_artifacts(analysis: Analysis) -> dict[str, bytes]:
    """The tables that have rows, as CSV, which MLflow shows as tables.

    Without the lists of sets that an example is a PIE in: they are for programs, and make the file many times larger.
    """
    return {
        f"tables/{name}.csv": table.drop(columns="pie_sets", errors="ignore").to_csv(index=False).encode()
        for name, table in analysis.tables.items()
        if len(table)
    }
