"""Analysis and report of predictions wherever they come from. No torch; Ray only where a cluster is named."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from rich.console import Console
from rich.markup import escape

from .analysis import Analysis, Evidence, PopulationSource, analyze, answers_of
from .store import paths

_NUM_NAMED = 5


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
    source: PopulationSource,
    analysis: Analysis,
    thumbnails: Mapping[int, bytes],
    samples: bytes | None = None,
    recipe: str = "",
) -> dict[str, bytes]:
    """Draw the figures, write the page; returns both by artifact path.

    `thumbnails` are PNG by example id, `samples` is one PNG of corrupted images, `recipe` the YAML without credentials.
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
        answers=_answers(source, analysis),
        notes=list(source.notes),
        provenance=dict(source.provenance),
        missing=analysis.missing,
        recipe=recipe,
    ).encode()
    source.storage.write_bytes(paths.REPORT, html)
    return {f"figures/{name}.png": data for name, data in drawn.items()} | {"report/index.html": html}


def _answers(source: PopulationSource, analysis: Analysis) -> pd.DataFrame | None:
    """What every variant answers on the examples that moved in any, of the evaluation set that the page is about."""
    from .report.rows import main_set

    if not len(analysis.pies):
        return None
    evaluation_set = main_set(analysis.summary)
    moved = analysis.pies.loc[analysis.pies["evaluation_set"] == evaluation_set, "example_id"]
    return answers_of(source, evaluation_set, moved.unique())
