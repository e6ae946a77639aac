"""`pie-ray`: the command line. Exit codes: 0 done, 1 failed, 2 the user's input, 130 interrupted."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import __version__
from .commands.analysis import RESULTS, add_analysis_commands
from .commands.gate import add_gate_command
from .commands.jobs import add_job_commands
from .commands.pies import add_pies_commands
from .commands.recipe_options import add_recipe_options, add_set_option, recipe_of
from .commands.status import add_status_command
from .commands.ui import add_ui_command
from .errors import InputError, PieRayError

if TYPE_CHECKING:
    from rich.console import Console

    from .config import Recipe

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
        _add_cluster_options(command)
        command.set_defaults(command=function)
    text = "predict with the members of a finished sweep on further evaluation sets, then analysis and report"
    command = commands.add_parser("evaluate", help=text, description=text)
    command.add_argument("results", help=RESULTS)
    command.add_argument(
        "suites",
        nargs="?",
        help="YAML file with suites by name, or a recipe that has them under evaluation.suites; without one, those "
        "that the results were begun with",
    )
    add_set_option(command, "evaluation.suites.corruptions.severities=[1,3]")
    _add_cluster_options(command)
    command.set_defaults(command=_evaluate)
    add_analysis_commands(commands)
    add_gate_command(commands)
    add_pies_commands(commands)
    add_job_commands(commands)
    add_status_command(commands)
    add_ui_command(commands)
    return parser


def _add_cluster_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--address", help="Ray cluster to run on; without one, Ray is started on this machine")
    command.add_argument("--verbose", action="store_true", help="let Ray and its workers print")


# Heavy imports wait for the command that needs them, so that --help and a mistaken recipe answer at once.


def _sweep(options: argparse.Namespace, console: Console) -> None:
    from .stages import sweep

    sweep(recipe_of(options), console, address=options.address, verbose=options.verbose)


def _evaluate(options: argparse.Namespace, console: Console) -> None:
    from .stages import evaluate, recipe_with_suites

    _complete_and_report(evaluate, recipe_with_suites(options.results, options.suites, options.set), options, console)


def _run(options: argparse.Namespace, console: Console) -> None:
    from .stages import sweep

    _complete_and_report(sweep, recipe_of(options), options, console)


def _complete_and_report(stage: Any, recipe: Recipe, options: argparse.Namespace, console: Console) -> None:
    from .errors import SweepError

    failure = None
    try:
        stage(recipe, console, address=options.address, verbose=options.verbose)
    except SweepError as error:
        # The table of what is complete is worth more than none; the failure still decides the exit code.
        failure = error
    _report(recipe, console, options.address)
    if failure is not None:
        raise failure


def _report(recipe: Recipe, console: Console, address: str | None) -> None:
    from . import stages
    from .console import print_results
    from .reporting import analyze_source
    from .study import results_storage

    storage = results_storage(recipe)
    results = stages.reopen_results(storage, recipe)
    analysis = analyze_source(results, console, address=address)
    artifacts = stages.report(results, analysis, console)
    outcome = stages.track(results, analysis, artifacts, console)
    print_results(console, storage, analysis, outcome.ui_hint)
