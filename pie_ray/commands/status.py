"""`pie-ray status`: how far a sweep is, by its results folder; or the jobs of a cluster."""

from __future__ import annotations

import argparse
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from ..live.status import SweepStatus
    from ..store import Storage

INTERRUPTED = 130
SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_BETWEEN_LINES = 10.0
"""Without a terminal a line comes no more often than this."""
PATIENCE_SECONDS = 10.0
"""A storage that is away this long is told of; `--watch` goes on asking."""


def add_status_command(commands: Any) -> None:
    from .jobs import add_address_option

    text = "how far a sweep is, by its results folder; or the jobs that were submitted to a cluster"
    command = commands.add_parser("status", help=text, description=text)
    command.add_argument(
        "name",
        nargs="?",
        metavar="RESULTS_OR_JOB",
        help="a results folder, its s3:// or gs:// address, or the name of one in ./results; with --address, or where "
        "there is no such folder, a sweep's name or a submission id on a cluster; without one, all jobs of a cluster",
    )
    command.add_argument("--watch", action="store_true", help="of a results folder: go on until the sweep ends")
    add_address_option(command)
    command.set_defaults(command=_status)


def _status(options: argparse.Namespace, console: Console) -> int | None:
    results = None if options.name is None or options.address is not None else results_of(options.name)
    if results is None:
        from ..errors import InputError
        from .jobs import list_jobs

        if options.watch:
            raise InputError(
                f"--watch: found with {options.name or 'no results folder'}; accepted only with a results folder or "
                "its address; a job is followed by `pie-ray logs JOB --follow`"
            )
        list_jobs(options, console)
        return None
    from ..store import Storage

    storage = Storage(results).with_patience(PATIENCE_SECONDS)
    if options.watch:
        return _watch(storage, results, console)
    _show(storage, results, console)
    return None


def results_of(name: str) -> str | None:
    """The address of the results that a name means; None where it can only be a job's.

    What is written as a path or an address is one. A bare name is the results folder of that name here, or in
    `results`, where sweeps go by default.
    """
    from ..store import paths

    if "/" in name:
        return name
    folders = (name, os.path.join("results", name))
    return next((folder for folder in folders if os.path.exists(os.path.join(folder, paths.MANIFEST))), None)


def _show(storage: Storage, results: str, console: Console) -> None:
    from ..console import summary_table
    from ..live.status import last_analysis, look
    from .status_view import analysis_text, status_view

    status, analysis = look(storage), last_analysis(storage)
    console.print(status_view(status, datetime.now(UTC)), highlight=False)
    text = analysis_text(analysis, status.progress, results)
    if text:
        console.print(f"\n  {text}", highlight=False, soft_wrap=True)
    if analysis is not None:
        console.print()
        console.print(summary_table(analysis.summary, analysis.summary["evaluation_set"].iloc[0]))


def _watch(storage: Storage, results: str, console: Console) -> int | None:
    from ..live.status import look

    status = look(storage)
    try:
        if status.state == "running":
            _follow(storage, status, console)
    except KeyboardInterrupt:
        console.print(f"{status.name} goes on without you.", markup=False, highlight=False)
        return INTERRUPTED
    _show(storage, results, console)
    return None


def _follow(storage: Storage, status: SweepStatus, console: Console) -> None:
    """Until the sweep no longer runs: a picture that changes on a terminal, lines elsewhere."""
    from rich.live import Live

    from .status_view import status_line, status_view

    last_line = float("-inf")
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while status.state == "running":
            if console.is_terminal:
                live.update(status_view(status, datetime.now(UTC)), refresh=True)
            elif time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                console.print(status_line(status), markup=False, highlight=False, soft_wrap=True)
            time.sleep(SECONDS_BETWEEN_LOOKS)
            status = _look_again(storage, status)


def _look_again(storage: Storage, status: SweepStatus) -> SweepStatus:
    """The status now; the last one, with the trouble in its note, where the storage is away."""
    from dataclasses import replace

    from ..errors import StorageError
    from ..live.status import look

    try:
        return look(storage)
    except StorageError as error:
        return replace(status, progress=status.progress.model_copy(update={"note": str(error)}))
