"""`pie-ray`: the command line. Exit codes: 0 done, 1 failed, 2 the user's input, 130 interrupted."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import InputError, PieRayError
from .job_commands import add_job_commands
from .recipe_options import add_recipe_options, recipe_of

if TYPE_CHECKING:
    from rich.console import Console

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; every expected error is one message on standard error."""
    from rich.console import Console
    from rich.markup import escape

    options = _parser().parse_args(arguments)
    console, errors = Console(), Console(stderr=True)
    signal.signal(signal.SIGTERM, _stop_cleanly)
    try:
        return options.command(options, console) or DONE
    except InputError as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return BAD_INPUT
    except PieRayError as error:
        errors.print(f"[red]failed:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return FAILED
    except KeyboardInterrupt:
        errors.print("Stopped. What is complete is kept; the same command goes on.", highlight=False)
        return INTERRUPTED


def _stop_cleanly(*_: object) -> None:
    """A spot warning, `kill` or `pie-ray stop` stops as Ctrl-C does, which a job in the background may ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pie-ray", description="What does a compressed network forget?")
    parser.add_argument("--version", action="version", version=f"pie_ray {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, function, text in (
        ("run", _run, "sweep, analysis and report in one; without a recipe, the embedded one on scikit-learn's digits"),
        ("sweep", _sweep, "train and derive every missing member"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        add_recipe_options(command)
        command.add_argument("--address", help="Ray cluster to run on; without one, Ray is started on this machine")
        command.add_argument("--verbose", action="store_true", help="let Ray and its workers print")
        command.set_defaults(command=function)
    for name, function, text in (
        ("analyze", _analyze, "compare every variant with the reference and write the result tables"),
        ("report", _report, "draw the figures and write the report of a results folder that was analysed"),
        ("track", _track, "complete the log of a results folder, after a tracking server was down"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("results", help="<storage>/<sweep name>, a folder or an s3:// or gs:// address")
        command.set_defaults(command=function, address=None)
        if function is _analyze:
            command.add_argument("--address", help="Ray cluster to compute on; without one, this process computes")
    add_job_commands(commands)
    return parser


# Heavy imports wait for the command that needs them, so that --help and a mistaken recipe answer at once.


def _sweep(options: argparse.Namespace, console: Console) -> None:
    from .stages import sweep

    sweep(recipe_of(options), console, address=options.address, verbose=options.verbose)


def _run(options: argparse.Namespace, console: Console) -> None:
    from . import stages
    from .errors import SweepError

    recipe = recipe_of(options)
    failure = None
    try:
        storage = stages.sweep(recipe, console, address=options.address, verbose=options.verbose)
    except SweepError as error:
        # The table of what is complete is worth more than none; the failure still decides the exit code.
        from .study import results_storage

        failure, storage = error, results_storage(recipe)
    _finish(storage, recipe, console, options.address)
    if failure is not None:
        raise failure


def _finish(storage: Any, recipe: Any, console: Console, address: str | None) -> None:
    from . import stages
    from .console import print_results

    results = stages.reopen_results(storage, recipe)
    analysis = stages.analyze_results(results, console, address=address)
    artifacts = stages.report_results(results, analysis, console)
    outcome = stages.track(results, analysis, artifacts, console)
    print_results(console, storage, analysis, outcome)


def _open(options: argparse.Namespace) -> Any:
    from .analysis import open_results
    from .store import Storage

    return open_results(Storage(options.results))


def _analyze(options: argparse.Namespace, console: Console) -> None:
    from . import stages
    from .console import print_tables

    results = _open(options)
    analysis = stages.analyze_results(results, console, address=options.address)
    stages.track(results, analysis, {}, console)
    print_tables(console, analysis)


def _report(options: argparse.Namespace, console: Console) -> None:
    from . import stages
    from .analysis import load_analysis

    results = _open(options)
    artifacts = stages.report_results(results, load_analysis(results), console)
    stages.track(results, None, artifacts, console)
    console.print(f"report: {results.storage}/report/index.html", soft_wrap=True)


def _track(options: argparse.Namespace, console: Console) -> None:
    from . import stages

    results = _open(options)
    analysis = stages.analyze_results(results, console)
    outcome = stages.track(results, analysis, stages.report_results(results, analysis, console), console)
    if not outcome.ok:
        raise PieRayError("the log is still incomplete")
    console.print(outcome.message, soft_wrap=True)
