"""What a person sees in the terminal: the plan, live progress, the table by variant."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from .analysis import Analysis
from .identity import MemberSpec, Plan
from .live.keeper import ProgressKeeper
from .progress import ClusterUse, clock
from .records import MemberRecord
from .report.robustness import by_variant, most_changed, natural_rows, set_name
from .store import Storage, paths
from .variants import REFERENCE_ID

if TYPE_CHECKING:
    from .data import EvaluationImages
    from .prepared import Part
    from .study import Study

SECONDS_BETWEEN_LINES = 2.0
"""Without a terminal, progress lines come no more often than this."""


@final
class ConsoleObserver:
    """Live bars by variant on a terminal, plain lines elsewhere; `on_done` hears of each finished member first.

    Times are those of `keeper`, which must hear of everything before.
    """

    def __init__(
        self,
        console: Console,
        keeper: ProgressKeeper,
        on_done: Callable[[MemberRecord], None] = lambda record: None,
    ) -> None:
        self.console = console
        self.keeper = keeper
        self.on_done = on_done
        self.progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
            refresh_per_second=4,
        )
        self.bars: dict[str, TaskID] = {}
        self.num_total = self.num_done = 0
        self.lines = _Lines(console)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def planned(self, plan: Plan, missing: Sequence[MemberSpec]) -> None:
        num_missing = Counter(spec.variant_id for spec in missing)
        self.num_total, self.num_done = len(plan.members), len(plan.members) - len(missing)
        if self.num_done:
            self.console.print(f"{self.num_done} of {self.num_total} members are complete; {len(missing)} to do.")
        width = max(len(variant.variant_id) for variant in plan.variants)
        for variant in plan.variants:
            total = len(plan.population(variant.variant_id))
            self.bars[variant.variant_id] = self.progress.add_task(
                variant.variant_id.ljust(width),
                total=total,
                completed=total - num_missing[variant.variant_id],
                note="",
            )
        self.bars["all"] = self.progress.add_task(
            "all members".ljust(width), total=self.num_total, completed=self.num_done, note="starting workers"
        )
        self.progress.start()

    def started(self, spec: MemberSpec) -> None:
        if self.keeper.progress.seconds_left is None:
            self.progress.update(self.bars["all"], note="first members are training")

    def done(self, spec: MemberSpec, record: MemberRecord) -> None:
        self.on_done(record)
        self.num_done += 1
        left = self._left()
        self.progress.advance(self.bars[spec.variant_id])
        self.progress.update(self.bars["all"], advance=1, note=left)
        top1 = ", ".join(f"top-1 {value:.4f}" for value in list(record.top1.values())[:1])
        self.lines.say(
            f"[{self.num_done}/{self.num_total}] {spec.variant_id} seed {spec.seed}: {top1}, "
            f"{clock(self.keeper.last_seconds)}; {left}",
            force=self.num_done == self.num_total,
        )

    def retried(self, spec: MemberSpec, reason: str) -> None:
        self.console.print(f"[yellow]tried again:[/] {spec.variant_id} seed {spec.seed}: {escape(reason)}")

    def failed(self, spec: MemberSpec, reason: str) -> None:
        self.progress.update(self.bars[spec.variant_id], note="[red]a member failed")
        self.console.print(f"[red]failed:[/] {spec.variant_id} seed {spec.seed}: {escape(reason)}")

    def waiting(self, reason: str) -> None:
        self.console.print(f"[yellow]waiting:[/] {escape(reason)}", soft_wrap=True)

    def cluster_used(self, use: ClusterUse) -> None:
        """Not shown here: `pie-ray status` has it."""

    def _left(self) -> str:
        if self.num_done == self.num_total:
            return "done"
        seconds = self.keeper.progress.seconds_left
        return "" if seconds is None else f"about {clock(seconds)} left"


@contextmanager
def images_progress(
    console: Console, sets: Sequence[EvaluationImages], missing: Sequence[Part], keeper: ProgressKeeper
) -> Iterator[Callable[[Part], None]]:
    """Says that evaluation sets' images are made, how far they are and how long it will take."""
    num_images = sum(part.stop - part.start for part in missing)
    num_sets = len({part.evaluation_set for part in missing})
    there = f"; {len(sets) - num_sets} sets are there" if num_sets < len(sets) else ""
    console.print(
        f"Making the images of {num_sets} evaluation sets, {num_images:,} in all, once for all members{there}."
    )
    lines = _Lines(console)
    started, num_done = time.monotonic(), 0
    with Progress(
        TextColumn("  {task.description}"), BarColumn(bar_width=32), MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[note]}"), console=console, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        bar = progress.add_task("images", total=num_images, note="starting workers")
        keeper.images(0, num_images)

        def on_part(part: Part) -> None:
            nonlocal num_done
            num_done += part.stop - part.start
            keeper.images(num_done, num_images)
            left = (time.monotonic() - started) * (num_images / num_done - 1)
            note = f"about {clock(left)} left" if num_done < num_images else "done"
            progress.update(bar, completed=num_done, note=note)
            lines.say(f"[{num_done:,}/{num_images:,}] {part.evaluation_set}; {note}", force=num_done == num_images)

        yield on_part


class _Lines:
    """What stands in for live bars where there is no terminal: a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console, self.last = console, 0.0

    def say(self, text: str, *, force: bool) -> None:
        now = time.monotonic()
        if self.console.is_terminal or (now - self.last < SECONDS_BETWEEN_LINES and not force):
            return
        self.last = now
        self.console.print(escape(text), highlight=False, soft_wrap=True)


def print_plan(console: Console, study: Study) -> None:
    """What a sweep will do."""
    plan, splits, recipe = study.plan, study.splits, study.recipe
    num_derived = sum(not spec.variant.trains for spec in plan.members)
    variants = ", ".join(variant.variant_id for variant in plan.variants)
    size, outputs = splits.train.image_size, "attributes" if splits.train.is_multilabel else "classes"
    console.print(f"[bold]{escape(recipe.name)}[/]")
    for name, text in (
        ("data", f"{recipe.data.kind}: {len(splits.train):,} images to train, {len(splits.test):,} to test, "
                 f"{splits.train.num_classes} {outputs}, {size} x {size} px"),
        ("network", f"{recipe.model.kind}, {study.num_parameters:,} parameters, {recipe.training.epochs} epochs"),
        ("variants", variants),
        ("members", f"{len(plan.members)} = {recipe.population.num_members} seeds x {len(plan.variants)} variants; "
                    f"{len(plan.members) - num_derived} trained, {num_derived} derived from them"),
        ("evaluate", ", ".join(f"{suite} ({_sets_text(sets)})" for suite, sets in study.suites.items())),
        ("results", study.storage.uri),
    ):  # fmt: skip
        console.print(f"  [dim]{name:<9}[/]{escape(text)}", highlight=False, soft_wrap=True)


def _sets_text(sets: Sequence[EvaluationImages]) -> str:
    sizes = {len(images) for images in sets}
    images = f"{min(sizes):,} images" if len(sizes) == 1 else f"{min(sizes):,} to {max(sizes):,} images"
    return images if len(sets) == 1 else f"{len(sets)} sets of {images}"


def print_tables(console: Console, analysis: Analysis) -> None:
    """A table for each evaluation set of the summary, then what corrupted and natural sets say of robustness."""
    for evaluation_set in analysis.summary["evaluation_set"].unique():
        console.print()
        console.print(summary_table(analysis.summary, evaluation_set))
    robustness = analysis.tables.get("robustness")
    for table in (
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


def summary_table(summary: pd.DataFrame, evaluation_set: str) -> Table:
    """The table by variant that a sweep ends with; fractions become percent here, where people read."""
    table = _table(f"What compression forgets ({evaluation_set}, in %)")
    table.add_column("variant", overflow="fold")
    for header in ("top-1", "change", "PIEs", "half", "noise", "q≤.05", "on PIEs", "off PIEs"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in summary[summary["evaluation_set"] == evaluation_set].to_dict("records"):
        table.add_row(*_cells(row))
    table.caption = (
        "PIEs: examples whose most frequent answer moved\n"
        "half: share of PIEs between halves of the dense and the compressed members\n"
        "noise: the same between two halves of the dense members: what chance moves\n"
        "q≤.05: examples whose answers differ significantly; at most 5 % by chance\n"
        "on and off PIEs: top-1 there, dense→compressed"
    )
    return table


def _cells(row: dict[Hashable, Any]) -> list[str]:
    spread = "" if pd.isna(row["top1_std"]) else f" ±{100 * row['top1_std']:.2f}"
    top1 = _percent(row["top1_mean"], 2) + spread
    noise = _percent(row["null_pie_fraction"], 2)
    if row["variant_id"] == REFERENCE_ID:
        return [REFERENCE_ID, top1, "", "", "", noise, "", "", ""]
    return [
        row["variant_id"],
        top1,
        f"{100 * (row['top1_mean'] - row['reference_top1_mean']):+.2f}",
        f"{row['num_pies']:,.0f}",
        _percent(row["half_pie_fraction"], 2),
        noise,
        f"{row['num_significant']:,.0f}",
        _move(row["reference_top1_on_pies"], row["top1_on_pies"]),
        _move(row["reference_top1_without_pies"], row["top1_without_pies"]),
    ]


def robustness_table(lines: Sequence[Mapping[str, Any]]) -> Table | None:
    """A row a variant over its corrupted sets, from `report.robustness.by_variant`; None without rows."""
    if not lines:
        return None
    kind = "common corruptions" if lines[0]["is_common"] else "corruptions"
    table = _table(f"Under {lines[0]['num_corruptions']:,} {kind} (mean over {lines[0]['num_sets']:,} sets, in %)")
    table.add_column("variant", overflow="fold")
    for header in ("top-1", "drop", "excess", "mCE", "q≤.05", "PIEs break", "others"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in lines:
        table.add_row(*_robustness_cells(row))
    table.caption = (
        "drop: points of top-1 lost to corruption; excess: beyond dense's\n"
        "mCE: mean corruption error over dense's: 1 is as robust\n"
        "q≤.05: sets whose drop exceeds dense's significantly\n"
        "PIEs break: of the clean set's PIEs, right there and wrong here,\n"
        "dense→compressed; others: the same of all other examples"
    )
    return table


def _robustness_cells(row: Mapping[str, Any]) -> list[str]:
    top1, drop = _percent(row["top1_mean"], 2), _percent(row["drop"], 2)
    if row["variant_id"] == REFERENCE_ID:
        return [REFERENCE_ID, top1, drop, "", _plain(row.get("mce", math.nan), 3), "", "", ""]
    return [
        escape(row["variant_id"]),
        top1,
        drop,
        f"{100 * row['excess_drop']:+.2f}",
        _plain(row.get("mce", math.nan), 3),
        f"{row['num_more']}" if row["num_tested"] else "–",
        _move(row["reference_break_on_clean_pies"], row["break_on_clean_pies"]),
        _move(row["reference_break_elsewhere"], row["break_elsewhere"]),
    ]


def natural_table(rows: Sequence[Mapping[str, Any]]) -> Table | None:
    """A row a natural set, from the table `robustness`; None without rows."""
    if not rows:
        return None
    table = _table("On natural sets (in %)")
    table.add_column("set", overflow="fold")
    table.add_column("dense", justify="right", no_wrap=True)
    table.add_column("worst variant", overflow="fold")
    for header in ("top-1", "change", "clean"):
        table.add_column(header, justify="right", no_wrap=True)
    for name in dict.fromkeys(row["evaluation_set"] for row in rows):
        mine = [dict(row) for row in rows if row["evaluation_set"] == name]
        worst = most_changed(mine)
        cells = ["–"] * 4 if worst is None else _natural_cells(worst)
        table.add_row(escape(set_name(mine[0])), _percent(mine[0]["reference_top1_mean"], 2), *cells)
    table.caption = (
        "worst: whose top-1 changed for the worse most\n"
        "change: in % of dense's top-1 on the set\n"
        "clean: the same on the clean set"
    )
    return table


def _natural_cells(row: Mapping[str, Any]) -> list[str]:
    change, clean = (f"{100 * row[column]:+.1f}" for column in ("change", "clean_change"))
    return [escape(row["variant_id"]), _percent(row["top1_mean"], 2), change, clean]


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )


def members_table(needed: pd.DataFrame, target: float) -> Table:
    """What `pie-ray plan` answers."""
    table = Table(
        title=f"Members a variant for a Jaccard similarity of {target:g}",
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("variant", overflow="fold")
    several_sets = needed["evaluation_set"].nunique() > 1
    for header in ("members", "Jaccard", "needed", "interval", "basis"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in needed.to_dict("records"):
        name = f"{row['variant_id']} ({row['evaluation_set']})" if several_sets else row["variant_id"]
        table.add_row(escape(name), f"{row['num_members']:,}", _plain(row["jaccard"], 2), *_needed(row))
    table.caption = (
        "Jaccard: PIEs that two repetitions with these members share / all of either\n"
        "needed: members a population; interval: by every curve that fits\n"
        "measured: halves of the members get there; else extrapolated"
    )
    table.caption_justify = "left"
    return table


def _needed(row: dict[Hashable, Any]) -> tuple[str, str, str]:
    basis = "eight members can tell" if row["basis"] == "too few sizes" else row["basis"]
    if pd.isna(row["num_needed"]):
        least = "" if pd.isna(row["low"]) else f"{row['low']:,.0f} or more"
        return "–", least, basis
    high = "no limit" if pd.isna(row["high"]) else f"{row['high']:,.0f}"
    interval = "" if pd.isna(row["low"]) else f"{row['low']:,.0f} to {high}"
    return f"{row['num_needed']:,.0f}", interval, basis


def _plain(value: float, decimals: int) -> str:
    return "–" if pd.isna(value) else f"{value:.{decimals}f}"


def _move(reference: float, variant: float) -> str:
    return "–" if pd.isna(variant) else f"{_percent(reference)}→{_percent(variant)}"


def _percent(fraction: float, decimals: int = 1) -> str:
    return "–" if pd.isna(fraction) else f"{100 * fraction:.{decimals}f}"
