"""What a study would cost, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..progress import clock
from ..report.words import file_size
from .tables import figures_table

if TYPE_CHECKING:
    from ..config import Recipe
    from ..costing import Costs, Estimate, NodeOffer, Placement
    from ..identity import Plan


def print_costs(
    console: Console,
    recipe: Recipe,
    plans: Sequence[Plan],
    costs: Costs,
    estimates: Sequence[Estimate],
    placed: Sequence[Sequence[Sequence[Placement]]],
    refused: Sequence[tuple[NodeOffer, Mapping[str, float]]],
    *,
    has_head: bool,
) -> None:
    """`plans` and `estimates` are one, or the smallest and the largest of an adaptive population; `placed` is by node
    type, then by plan; `refused` are nodes that no member fits, with what it asks for."""
    console.print(f"[bold]{escape(recipe.name)}[/]")
    unit = "GPU" if recipe.execution.gpus_per_member else "core"
    per_member = recipe.execution.gpus_per_member or recipe.execution.cpus_per_member
    hours = [each.hours * per_member * recipe.training.num_processes for each in estimates]
    for name, text in (
        ("members", _range([f"{each.num_members:,}" for each in estimates]) + _kinds(estimates)),
        ("work", f"{_range([_hours(value) for value in hours])} {unit}-hours"),
        ("figures", costs.measured),
    ):
        console.print(f"  [dim]{name:<9}[/]{escape(text)}", highlight=False, soft_wrap=True)
    tables = [_members(plans, costs), _places(placed, has_head=has_head), _stored(estimates)]
    for table in tables:
        if table.row_count:
            console.print()
            console.print(table)
    for node, asked in refused:
        wants = " and ".join(f"{amount:g} {kind}" for kind, amount in asked.items() if amount > 0)
        if recipe.training.num_processes > 1:
            wants = f"{recipe.training.num_processes} times {wants}"
        if "GPU" in node.resources and not asked.get("GPU"):
            wants += " and no GPU"
        has = ", ".join(f"{amount:g} {kind}" for kind, amount in node.resources.items()) or "nothing"
        console.print(
            f"  [dim]left out [/]{node.limit:,} × {escape(node.name)}, which has {has}: a member asks for {wants}",
            highlight=False,
        )


def _kinds(estimates: Sequence[Estimate]) -> str:
    trained = _range([f"{each.num_trained:,}" for each in estimates])
    derived = _range([f"{each.num_derived:,}" for each in estimates])
    return f"; {trained} trained, {derived} derived from them"


def _members(plans: Sequence[Plan], costs: Costs) -> Table:
    table = figures_table("What a member takes", "variant", ("members", "make", "predict", "checkpoint"))
    for variant in plans[0].variants:
        cost = costs.by_variant[variant.variant_id]
        numbers = [f"{len(plan.population(variant.variant_id)):,}" for plan in plans]
        table.add_row(
            escape(variant.variant_id),
            _range(numbers) if len(plans) == 1 else f"{numbers[0]} or more",
            _seconds(cost.make_seconds),
            _seconds(cost.evaluate_seconds),
            file_size(cost.checkpoint_bytes),
        )
    return table


def _places(placed: Sequence[Sequence[Sequence[Placement]]], *, has_head: bool) -> Table:
    table = figures_table("How long", "nodes", ("members at once", "wall time", "node-hours", "dollars"))
    for by_plan in placed:
        for ways in zip(*by_plan, strict=True):
            table.add_row(
                f"{ways[0].num_nodes:,} × {escape(ways[0].node.name)}",
                f"{ways[0].num_slots:,}",
                _range([_seconds(way.wall_seconds) for way in ways]),
                _range([_hours(way.node_hours) for way in ways]),
                _range(["–" if way.dollars is None else f"{way.dollars:,.2f}" for way in ways]),
            )
    head = "; dollars: of these nodes and the head" if has_head else ""
    table.caption = f"without the start of nodes and workers{head}"
    return table


def _stored(estimates: Sequence[Estimate]) -> Table:
    table = figures_table("What is stored", "", ("files", "bytes"))
    columns = [each.stored for each in estimates]
    for same in zip(*columns, strict=True):
        table.add_row(
            same[0].what,
            _range([f"{each.num_files:,}" for each in same]),
            _range([file_size(each.num_bytes) for each in same]),
        )
    table.add_row(
        "together",
        _range([f"{sum(each.num_files for each in stored):,}" for stored in columns]),
        _range([file_size(sum(each.num_bytes for each in stored)) for stored in columns]),
    )
    return table


def _range(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} to {texts[-1]}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else clock(seconds)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"
