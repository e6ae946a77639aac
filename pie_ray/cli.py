"""`pie-ray`: the command line. Exit codes: 0 done, 1 failed, 2 the user's input, 130 interrupted."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import __version__
from .analysis_commands import add_analysis_commands
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
    add_analysis_commands(commands)
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
    from .reporting import analyze_source

    results = stages.reopen_results(storage, recipe)
    analysis = analyze_source(results, console, address=address)
    artifacts = stages.report(results, analysis, console)
    outcome = stages.track(results, analysis, artifacts, console)
    print_results(console, storage, analysis, outcome.ui_hint)
