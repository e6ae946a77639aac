"""`pie-ray attribute`: whether the members of a sweep look where their references look."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .analysis import RESULTS
from .making import attribute_and_report
from .recipe_options import add_set_option

if TYPE_CHECKING:
    from rich.console import Console


def add_attribute_command(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    text = "compare attribution maps of a sweep's compressed and dense members, then analysis and report"
    command = commands.add_parser("attribute", help=text, description=text)
    command.add_argument("results", help=RESULTS)
    add_set_option(command, "evaluation.attribution.num_examples=500")
    command.add_argument("--address", help="Ray cluster to compute on; without one, this process computes")
    command.add_argument("--verbose", action="store_true", help="let Ray and its workers print")
    command.set_defaults(command=_attribute)


def _attribute(options: argparse.Namespace, console: Console) -> None:
    from ..config import Attribution
    from ..stages import recipe_with_suites

    recipe = recipe_with_suites(options.results, None, options.set)
    evaluation = recipe.evaluation
    if evaluation.attribution is None:
        evaluation = evaluation.model_copy(update={"attribution": Attribution()})
    attribute_and_report(recipe.model_copy(update={"evaluation": evaluation}), options, console)
