"""A sweep's status as a person reads it: a page for a terminal, and a line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from ..live.status import LastAnalysis, SweepStatus
from ..progress import ClusterUse, Failure, ImagesProgress, SweepProgress, clock

NUM_FAILURES_SHOWN = 5
SILENT_SECONDS = 60.0
"""A driver that lives and has told nothing for so long cannot write."""

_COLORS = {"running": "cyan", "complete": "green", "failed": "red", "stopped": "yellow", "lost": "red"}
_BAR_WIDTH = 32


def status_view(status: SweepStatus, now: datetime) -> RenderableType:
    """The whole picture, at most 80 columns wide where the texts in it allow."""
    parts: list[RenderableType] = [_headline(status), _facts(status, now), ""]
    progress = status.progress
    if progress.failures and status.state != "complete":
        parts += [_failures(progress), ""]
    return Group(*parts, _bars(progress))


def _headline(status: SweepStatus) -> str:
    progress = status.progress
    told = {
        "running": "is running",
        "complete": "is complete",
        "incomplete": "is incomplete: `pie-ray run` makes what is missing",
        "failed": "has failed: the same command tries again",
        "stopped": "was stopped: the same command goes on",
        "lost": f"stopped without a word at {_time(progress.updated_at)}: the same command goes on",
    }[status.state]
    color = _COLORS.get(status.state, "yellow")
    return f"[bold]{escape(status.name)}[/] [{color}]{told}[/]"


def _facts(status: SweepStatus, now: datetime) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _named_facts(status, now):
        table.add_row(f"  {name}", text)
    return table


def _named_facts(status: SweepStatus, now: datetime) -> Iterator[tuple[str, str]]:
    progress, is_running = status.progress, status.state == "running"
    yield "results", escape(status.results)
    driver = status.driver.driver.who if status.driver is not None else progress.driver
    if driver:
        yield "driver", escape(driver)
    yield "began", _time(progress.started_at)
    yield "members", f"{progress.num_done:,} of {progress.num_members:,} complete{_others(progress, is_running)}"
    if progress.num_members_at_most is not None:
        yield "adaptive", f"this round; unstable variants get more, {progress.num_members_at_most:,} in all at most"
    if pace := _pace(progress):
        yield "pace", pace
    if progress.images is not None:
        yield "images", f"{_images(progress.images)}; the members wait for them"
    if progress.cluster is not None:
        yield "cluster", _cluster(progress.cluster)
    if progress.note:
        yield ("waiting" if is_running else "because"), escape(progress.note)
    if progress.updated_at > progress.started_at:
        yield "last told" if is_running or status.state == "lost" else "ended", _last_told(progress, is_running, now)


def _last_told(progress: SweepProgress, is_running: bool, now: datetime) -> str:
    began, told = (datetime.fromisoformat(text) for text in (progress.started_at, progress.updated_at))
    if not is_running:
        return f"{_local(told)}, after {clock((told - began).total_seconds())}"
    seconds = max((now - told).total_seconds(), 0)
    if seconds >= SILENT_SECONDS:
        return f"[yellow]{clock(seconds)} ago: the driver lives and cannot write, or its machine sleeps[/]"
    return f"{clock(seconds)} ago"


def _others(progress: SweepProgress, is_running: bool) -> str:
    """`, 2 running, 1 failed`"""
    is_idle = is_running and not (progress.num_running or progress.images)
    return "".join(
        f", {number:,} {word}"
        for number, word in (
            (progress.num_running, "running"),
            (progress.num_failed, "failed"),
            (progress.num_retried, "tried again" if progress.num_retried == 1 else "attempts repeated"),
        )
        if number
    ) + (", none running" if is_idle else "")


def _pace(progress: SweepProgress) -> str:
    parts = []
    if progress.members_per_hour is not None:
        decimals = 0 if progress.members_per_hour >= 10 else 1
        parts.append(f"{progress.members_per_hour:,.{decimals}f} members an hour")
    if progress.seconds_left is not None:
        parts.append(f"about {clock(progress.seconds_left)} left")
    return "; ".join(parts)


def _images(images: ImagesProgress) -> str:
    return f"{images.num_done:,} of {images.num_images:,} made"


def _cluster(use: ClusterUse) -> str:
    parts = [f"{use.num_nodes:,} {'node' if use.num_nodes == 1 else 'nodes'}", _used(use.cpus_used, use.cpus, "CPU")]
    if use.gpus:
        parts.append(_used(use.gpus_used, use.gpus, "GPU"))
    return ", ".join(parts)


def _used(used: float, there: float, kind: str) -> str:
    return f"{used:g} of {there:g} {kind}{'' if there == 1 else 's'} taken"


def _failures(progress: SweepProgress) -> Table:
    """The latest first."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for options in ({"style": "dim", "no_wrap": True}, {"no_wrap": True}, {"overflow": "fold"}):
        table.add_column(**options)
    for failure in progress.failures[: -NUM_FAILURES_SHOWN - 1 : -1]:
        table.add_row(f"  {_time(failure.at)}", _who(failure), escape(failure.reason))
    more = progress.num_failed + progress.num_retried - NUM_FAILURES_SHOWN
    if more > 0:
        table.add_row("", f"[dim]and {more:,} more[/]", "")
    return table


def _who(failure: Failure) -> str:
    what = "[red]failed[/]" if failure.is_final else "[yellow]tried again[/]"
    return f"{escape(failure.variant_id)} seed {failure.seed} {what}"


def _bars(progress: SweepProgress) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(width=_BAR_WIDTH)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for name, variant in progress.variants.items():
        failed = f"[red]{variant.num_failed:,} failed" if variant.num_failed else ""
        bar = ProgressBar(total=variant.num_members, completed=variant.num_done, width=_BAR_WIDTH)
        table.add_row(f"  {escape(name)}", bar, f"{variant.num_done:,}/{variant.num_members:,}", failed)
    return table


def status_line(status: SweepStatus) -> str:
    """What stands for the picture where there is no terminal."""
    progress = status.progress
    count = f"{_time(progress.updated_at)} [{progress.num_done}/{progress.num_members}]"
    parts = [f"{count} {_others(progress, True).removeprefix(', ')}"]
    if progress.images is not None:
        parts.append(f"images: {_images(progress.images)}")
    return "; ".join(filter(None, [*parts, _pace(progress), progress.note]))


def analysis_text(analysis: LastAnalysis | None, progress: SweepProgress, results: str) -> str:
    """What the tables that are there know, and how to have newer ones; empty where there is nothing to analyse."""
    command = f"`pie-ray analyze {shlex.quote(results)}`"
    if analysis is None:
        return (
            f"[dim]analysis[/] none yet; {escape(command)} makes one of what is complete" if progress.num_done else ""
        )
    text = f"of {analysis.num_members:,} of {progress.num_members:,} members, {_local(analysis.written_at)}"
    if analysis.num_members < progress.num_done:
        text += f"; {escape(command)} takes in those that came since"
    return f"[dim]analysis[/] {text}"


def _time(text: str) -> str:
    return _local(datetime.fromisoformat(text))


def _local(time: datetime) -> str:
    """By the reader's clock; with the day where it is another one."""
    time = time.astimezone()
    return f"{time:%H:%M:%S}" if time.date() == datetime.now().date() else f"{time:%d %b %H:%M}"
