"""Images of evaluation sets made on a Ray cluster before the members that need them: a task a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import ray
import torch

from ..config import Recipe
from ..data import EvaluationImages, load_splits, open_suites
from ..prepared import Part, PreparedImages
from .tasks import await_each


def prepare_images(recipe: Recipe, missing: Sequence[Part], on_part: Callable[[Part], None]) -> None:
    """Make every missing part; `on_part` hears of each that is done.

    A task runs where a member could. Raises DataError for files that are not as they should be, and StorageError.
    """
    make = ray.remote(num_cpus=1, resources=recipe.execution.resources_per_member or None)(_make_part)
    running = {make.remote(recipe, part): part for part in missing}
    await_each(running, on_part)


def _make_part(recipe: Recipe, part: Part) -> None:
    sets, prepared = _opened(recipe.model_dump_json())
    prepared.make(sets[part.evaluation_set], part)


@lru_cache(maxsize=1)
def _opened(recipe_text: str) -> tuple[dict[str, EvaluationImages], PreparedImages]:
    """Once a process: it makes many parts."""
    torch.set_num_threads(1)
    recipe = Recipe.model_validate_json(recipe_text)
    splits = load_splits(recipe.data, recipe.execution.cache)
    suites = open_suites(recipe.evaluation.suites, splits)
    return {images.name: images for sets in suites.values() for images in sets}, PreparedImages(recipe.execution)
