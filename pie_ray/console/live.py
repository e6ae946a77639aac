"""Live progress in the terminal, and without one in lines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from ..identity import MemberSpec, Plan
from ..live.keeper import ProgressKeeper
from ..progress import ClusterUse, clock
from ..records import MemberRecord

if TYPE_CHECKING:
    from ..data import EvaluationImages
    from ..prepared import Part


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
        if self.bars:
            self._grow(plan, missing)
            return
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

    def _grow(self, plan: Plan, missing: Sequence[MemberSpec]) -> None:
        """A further round of an adaptive population: the bars that are there get longer."""
        told = self.keeper.progress
        self.num_total, self.num_done = told.num_members, told.num_done
        for variant_id, variant in told.variants.items():
            self.progress.update(self.bars[variant_id], total=variant.num_members, completed=variant.num_done)
        self.progress.update(self.bars["all"], total=self.num_total, completed=self.num_done, note="")
        self.console.print(f"{self.num_done} of {self.num_total} members are complete; {len(missing)} to do.")

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
    started, num_done = time.monotonic(), 0
    with _bar(console, "images", num_images, "starting workers") as show:
        keeper.images(0, num_images)

        def on_part(part: Part) -> None:
            nonlocal num_done
            num_done += part.stop - part.start
            keeper.images(num_done, num_images)
            left = _left(started, num_done, num_images)
            show(num_done, left, f"{part.evaluation_set}; {left}")

        yield on_part


@contextmanager
def predictions_progress(console: Console, num_images: int) -> Iterator[Callable[[str, int], None]]:
    """How far predictions of `num_images` in all are, how fast, and how long the rest will take."""
    started, num_done = time.monotonic(), 0
    with _bar(console, "images", num_images, "opening networks") as show:

        def on_images(name: str, num_more: int) -> None:
            nonlocal num_done
            num_done += num_more
            seconds = max(time.monotonic() - started, 1e-9)
            note = f"{num_done / seconds:,.0f} images/s, {_left(started, num_done, num_images)}"
            show(num_done, f"{note}; {escape(name)}", f"{name}: {note}")

        yield on_images


@contextmanager
def maps_progress(console: Console, num_pairs: int, num_missing: int) -> Iterator[Callable[[int], None]]:
    """How far the comparison of attribution maps is; what it yields is told how many more pairs are done."""
    there = f"; those of {num_pairs - num_missing} are there" if num_missing < num_pairs else ""
    console.print(f"Comparing the attribution maps of {num_missing} pairs of members{there}.")
    started, num_done = time.monotonic(), 0
    with _bar(console, "pairs", num_missing, "opening networks") as show:

        def on_pairs(num_more: int) -> None:
            nonlocal num_done
            num_done += num_more
            left = _left(started, num_done, num_missing)
            show(num_done, left, f"pairs of members; {left}")

        yield on_pairs


def _left(started: float, num_done: int, num_all: int) -> str:
    """The time that the rest takes at the pace so far, in words."""
    seconds = (time.monotonic() - started) * (num_all / num_done - 1)
    return f"about {clock(seconds)} left" if num_done < num_all else "done"


@contextmanager
def _bar(console: Console, what: str, num_all: int, note: str) -> Iterator[Callable[[int, str, str], None]]:
    """A bar with a note beside it; what it yields is told how many are done, the note, and a line in its place."""
    lines = _Lines(console)
    with Progress(
        TextColumn("  {task.description}"), BarColumn(bar_width=32), MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[note]}"), console=console, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        bar = progress.add_task(what, total=num_all, note=note)

        def show(num_done: int, note: str, line: str) -> None:
            progress.update(bar, completed=num_done, note=note)
            lines.say(f"[{num_done:,}/{num_all:,}] {line}", force=num_done == num_all)

        yield show


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
