"""The commands over a cluster's job server: submit, logs, stop, and the jobs that `status` lists."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .recipe_options import add_recipe_options, recipe_of

if TYPE_CHECKING:
    from rich.console import Console

    from ..cluster.jobs import Job, JobServer
    from ..progress import SweepProgress

FAILED, INTERRUPTED = 1, 130

_COLORS = {"running": "cyan", "succeeded": "green", "failed": "red", "stopped": "yellow"}


def add_job_commands(commands: Any) -> None:
    """Add the commands to argparse's subparsers."""
    submit = _add(commands, "submit", _submit, "run a recipe on a cluster as a job: sweep, analysis and report")
    add_recipe_options(submit)
    submit.add_argument("--working-dir", metavar="DIR", help="folder to send along, with the modules a recipe names")
    submit.add_argument("--follow", action="store_true", help="print the job's log; exit with the job's outcome")
    logs = _add(commands, "logs", _logs, "print a job's log")
    logs.add_argument("name", help="a submission id, or a sweep's name for its latest job")
    logs.add_argument("--follow", action="store_true", help="go on until the job ends; exit with its outcome")
    stop = _add(commands, "stop", _stop, "stop a job: what is complete is kept, and submit goes on")
    stop.add_argument("name", help="a submission id, or a sweep's name for its running job")


def _add(commands: Any, name: str, function: Callable[..., int | None], text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    add_address_option(command)
    command.set_defaults(command=function)
    return command


def add_address_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--address", metavar="URL", help="the cluster's dashboard, http://HOST:8265; else RAY_API_SERVER_ADDRESS"
    )


def _submit(options: argparse.Namespace, console: Console) -> int | None:
    from ..cluster.submission import check_for_cluster, keeps_no_log, packed, recipe_file, results_address
    from ..errors import InputError

    recipe = recipe_of(options)
    check_for_cluster(recipe, options.working_dir)
    results = results_address(recipe)
    server = _server(options)
    if (job := server.unfinished(recipe.name, results)) is not None:
        look = _command(options, "logs", recipe.name)
        raise InputError(f"{job.submission_id} is {job.state} already, with these results; `{look} --follow` shows it")
    with packed(recipe, options.working_dir) as folder:
        command = f"python -m pie_ray run {recipe_file(recipe)} --address auto"
        submission_id = server.submit(recipe.name, results, command, folder)
    _say(console, f"{submission_id} is submitted to {server.address}")
    _say(console, f"  results  {results}")
    if keeps_no_log(recipe):
        _say(
            console,
            "  MLflow   only where MLFLOW_TRACKING_URI is set on the cluster's head; the recipe names no server",
        )
    if options.follow:
        return _follow(options, console, server, submission_id)
    _say(console, f"  status   pie-ray status {shlex.quote(results)} --watch")
    _say(console, f"  log      {_command(options, 'logs', recipe.name)} --follow")
    _say(console, f"  stop     {_command(options, 'stop', recipe.name)}")
    return None


def list_jobs(options: argparse.Namespace, console: Console) -> None:
    """The jobs that `options.name` names, or all."""
    server = _server(options)
    jobs = server.jobs() if options.name is None else server.named(options.name)
    if not jobs:
        _say(console, f"No jobs of pie_ray on {server.address}.")
        return
    console.print(_table(jobs))
    for job in jobs:
        if job.reason:
            _say(console, f"{job.submission_id} {job.reason}")


def _logs(options: argparse.Namespace, console: Console) -> int | None:
    server = _server(options)
    job = server.find(options.name)
    if options.follow:
        return _follow(options, console, server, job.submission_id)
    _write(console, server.logs(job.submission_id))
    return None


def _stop(options: argparse.Namespace, console: Console) -> None:
    server = _server(options)
    job = server.find(options.name)
    if not job.is_live:
        _say(console, f"{job.submission_id} has ended before: {job.state}.")
        return
    _say(console, f"Stopping {job.submission_id}")
    job = server.stop(job.submission_id)
    _say(console, f"{job.submission_id} {_ended(job)}. What is complete is kept; submitted again, it goes on.")


def _follow(options: argparse.Namespace, console: Console, server: JobServer, submission_id: str) -> int | None:
    try:
        job = server.follow(submission_id, lambda text: _write(console, text))
    except KeyboardInterrupt:
        _say(console, f"\n{submission_id} goes on without you.")
        _say(console, f"  log      {_command(options, 'logs', submission_id)} --follow")
        _say(console, f"  stop     {_command(options, 'stop', submission_id)}")
        return INTERRUPTED
    _say(console, f"{submission_id} {_ended(job)}.")
    if job.state != "succeeded":
        return FAILED
    return None


def _server(options: argparse.Namespace) -> JobServer:
    from ..cluster.jobs import JobServer

    return JobServer(options.address)


def _command(options: argparse.Namespace, command: str, name: str) -> str:
    """What to type for `command` on the same cluster."""
    address = f" --address {options.address}" if options.address else ""
    return f"pie-ray {command} {name}{address}"


def _table(jobs: list[Job]) -> Any:
    from rich import box
    from rich.table import Table

    from ..live.status import progress_of
    from ..progress import clock

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("job", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("submitted", no_wrap=True)
    table.add_column("took", no_wrap=True, justify="right")
    told = progress_of([job.results for job in jobs if job.state == "running"])
    if told:
        table.add_column("members", no_wrap=True)
    table.add_column("results", overflow="fold")
    for job in jobs:
        state = f"[{_COLORS.get(job.state, 'dim')}]{job.state}[/]"
        members = [_members(told.get(job.results))] if told else []
        table.add_row(
            job.submission_id, state, f"{job.started_at:%d %b %H:%M}", clock(job.seconds), *members, job.results
        )
    return table


def _members(progress: SweepProgress | None) -> str:
    """`12/24, 1 failed, 3 min 20 s left`"""
    from ..progress import clock

    if progress is None:
        return ""
    parts = [f"{progress.num_done}/{progress.num_members}"]
    if progress.num_failed:
        parts.append(f"[red]{progress.num_failed} failed[/]")
    if progress.seconds_left is not None:
        parts.append(f"{clock(progress.seconds_left)} left")
    return ", ".join(parts)


def _ended(job: Job) -> str:
    from ..progress import clock

    verb = {"succeeded": "has succeeded", "failed": "has failed", "stopped": "is stopped"}[job.state]
    return f"{verb} after {clock(job.seconds)}"


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _write(console: Console, text: str) -> None:
    """A job's log as it is."""
    console.out(text, end="", highlight=False)
