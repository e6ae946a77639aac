"""The options of every command that takes a recipe."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config import Recipe


def add_recipe_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("recipe", nargs="?", help="YAML file; without one, the embedded recipe")
    add_set_option(command, "training.epochs=5")
    command.add_argument("--storage", help="folder or s3:// or gs:// address for results (execution.storage)")


def add_set_option(command: argparse.ArgumentParser, example: str) -> None:
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help=f"override a field, e.g. {example}"
    )


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The recipe with its overrides applied. Raises RecipeError with every mistake at once."""
    from ..recipe import load_recipe  # pydantic waits until --help is done with

    storage = [f"execution.storage={options.storage}"] if options.storage else []
    return load_recipe(options.recipe, [*options.set, *storage])
