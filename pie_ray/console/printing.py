"""The plan of a sweep, and its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from ..analysis import Analysis
from ..report.preservation import preservation_rows
from ..report.robustness import by_variant, natural_rows
from ..store import Storage, paths
from .tables import (
    cost_table,
    interval_text,
    natural_table,
    preservation_table,
    robustness_table,
    summary_table,
)

if TYPE_CHECKING:
    from ..config.recipe import PopulationConfig
    from ..data import EvaluationImages
    from ..identity import Plan
    from ..records import PopulationRecord
    from ..study import Study


def print_plan(console: Console, study: Study) -> None:
    """What a sweep will do."""
    plan, splits, recipe = study.plan, study.splits, study.recipe
    variants = ", ".join(variant.variant_id for variant in plan.variants)
    size, outputs = splits.train.image_size, "attributes" if splits.train.is_multilabel else "classes"
    console.print(f"[bold]{escape(recipe.name)}[/]")
    for name, text in (
        ("data", f"{recipe.data.kind}: {len(splits.train):,} images to train, {len(splits.test):,} to test, "
                 f"{splits.train.num_classes} {outputs}, {size} x {size} px"),
        ("network", f"{recipe.model.kind}, {study.num_parameters:,} parameters, {recipe.training.epochs} epochs"),
        ("variants", variants),
        ("members", _members_text(recipe.population, plan)),
        ("evaluate", ", ".join(f"{suite} ({_sets_text(sets)})" for suite, sets in study.suites.items())),
        ("results", study.storage.uri),
    ):  # fmt: skip
        console.print(f"  [dim]{name:<9}[/]{escape(text)}", highlight=False, soft_wrap=True)


def _members_text(population: PopulationConfig, plan: Plan) -> str:
    num_variants, adaptive = len(plan.variants), population.adaptive
    if adaptive is not None:
        return (
            f"{adaptive.fewest} seeds x {num_variants} variants first, then {adaptive.step} at a time until a "
            f"variant's PIEs are stable (Jaccard {adaptive.target:g}) or it has {population.most_members}; "
            f"{population.num_members * num_variants} in all at most"
        )
    num_derived = sum(not spec.variant.trains for spec in plan.members)
    return (
        f"{len(plan.members)} = {population.num_members} seeds x {num_variants} variants; "
        f"{len(plan.members) - num_derived} trained, {num_derived} derived from them"
    )


def print_decisions(console: Console, before: PopulationRecord, after: PopulationRecord) -> None:
    """A round of an adaptive population: which variants stopped, and how many members the others get."""
    known = {size.variant_id: size for size in before.variants}
    for size in after.variants:
        if size.because is not None and known[size.variant_id].because is None:
            figures = f" (Jaccard {interval_text(size)})" if size.jaccard is not None else ""
            text = f"[bold]{size.because}[/] with {size.num_judged} members: {escape(size.variant_id)}{figures}"
            console.print(text, highlight=False, soft_wrap=True)
    grown = [size for size in after.variants if size.num_members > known[size.variant_id].num_members]
    if grown:
        num_more = sum(size.num_members - known[size.variant_id].num_members for size in grown)
        names = ", ".join(f"{size.variant_id} to {size.num_members}" for size in grown)
        console.print(
            f"Round {after.num_rounds + 1}: {num_more} more members; {escape(names)}.", highlight=False, soft_wrap=True
        )


def _sets_text(sets: Sequence[EvaluationImages]) -> str:
    sizes = {len(images) for images in sets}
    images = f"{min(sizes):,} images" if len(sizes) == 1 else f"{min(sizes):,} to {max(sizes):,} images"
    return images if len(sets) == 1 else f"{len(sets)} sets of {images}"


def print_tables(console: Console, analysis: Analysis) -> None:
    """A table for each evaluation set of the summary, then of losses, costs, and corrupted and natural sets."""
    for evaluation_set in analysis.summary["evaluation_set"].unique():
        console.print()
        console.print(summary_table(analysis.summary, evaluation_set))
    robustness = analysis.tables.get("robustness")
    for table in (
        preservation_table(preservation_rows(analysis.tables.get("preservation"))),
        cost_table(analysis.tables.get("costs")),
        robustness_table(by_variant(robustness, analysis.tables.get("corruption_errors"))),
        natural_table(natural_rows(robustness)),
    ):
        if table is not None:
            console.print()
            console.print(table)


def print_results(console: Console, storage: Storage, analysis: Analysis, ui_hint: str) -> None:
    """The tables, and where everything lies; `ui_hint` is how to look at the log."""
    print_tables(console, analysis)
    root = storage.uri.removeprefix("file://")
    console.print()
    for name, text in (
        ("report", f"{root}/{paths.REPORT}"),
        ("tables", f"{root}/analysis/"),
        ("predictions", f"{root}/predictions/"),
        ("MLflow", ui_hint),
    ):
        if text:
            console.print(f"  [dim]{name:<13}[/]{escape(text)}", highlight=False, soft_wrap=True)
