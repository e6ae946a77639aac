"""The commands that make results from a recipe: run and sweep."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .recipe_options import add_recipe_options, recipe_of

if TYPE_CHECKING:
    from rich.console import Console

    from ..config import Recipe


def add_making_commands(commands: Any) -> None:
    for name, function, text in (
        ("run", _run, "sweep, analysis and report in one; without a recipe, the embedded one on scikit-learn's digits"),
        ("sweep", _sweep, "train and derive every missing member"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        add_recipe_options(command)
        add_cluster_options(command)
        command.set_defaults(command=function)


def add_cluster_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--address", help="Ray cluster to run on; without one, Ray is started on this machine")
    command.add_argument("--verbose", action="store_true", help="let Ray and its workers print")


# Heavy imports wait for the command that needs them, so that --help and a mistaken recipe answer at once.


def _sweep(options: argparse.Namespace, console: Console) -> None:
    from ..stages import sweep

    recipe = recipe_of(options)
    sweep(recipe, console, address=options.address, verbose=options.verbose)
    _attribute_if_asked(recipe, options, console)


def _run(options: argparse.Namespace, console: Console) -> None:
    from ..stages import sweep

    complete_and_report(sweep, recipe_of(options), options, console)


def complete_and_report(stage: Any, recipe: Recipe, options: argparse.Namespace, console: Console) -> None:
    """A stage of a sweep, attribution where the recipe asks for it, then analysis and report of what is complete."""
    from ..errors import SweepError

    failure = None
    try:
        stage(recipe, console, address=options.address, verbose=options.verbose)
    except SweepError as error:
        # The table of what is complete is worth more than none; the failure still decides the exit code.
        failure = error
    attribute_and_report(recipe, options, console)
    if failure is not None:
        raise failure


def attribute_and_report(recipe: Recipe, options: argparse.Namespace, console: Console) -> None:
    """Attribution where the recipe asks for it, then analysis and report."""
    _attribute_if_asked(recipe, options, console)
    _report(recipe, console, options.address)


def _attribute_if_asked(recipe: Recipe, options: argparse.Namespace, console: Console) -> None:
    if recipe.evaluation.attribution is None:
        return
    from ..attribution_stage import attribute

    attribute(recipe, console, address=options.address, verbose=options.verbose)


def _report(recipe: Recipe, console: Console, address: str | None) -> None:
    from .. import stages
    from ..console import print_results
    from ..reporting import analyze_source
    from ..study import results_storage

    storage = results_storage(recipe)
    results = stages.reopen_results(storage, recipe)
    analysis = analyze_source(results, console, address=address)
    artifacts = stages.report(results, analysis, console)
    outcome = stages.track(results, analysis, artifacts, console)
    print_results(console, storage, analysis, outcome.ui_hint)
