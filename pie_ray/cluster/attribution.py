"""Attribution maps compared on a Ray cluster: a task a reference member, with all members that are held against it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache

import ray

from ..attribution import explain_pairs
from ..config import Attribution, Recipe
from ..store import MapPair, MemorySink
from ..study import results_storage
from ..workplace import Workplace
from .completing import open_workplace
from .tasks import await_each

Group = tuple[MapPair, ...]


def explain_on_cluster(
    recipe: Recipe, groups: Sequence[Group], config: Attribution, on_group: Callable[[Group], None]
) -> None:
    """Explain every group of pairs that share a reference member; `on_group` hears of each that is done.

    A task runs where a member could. Raises what `explain_pairs` does.
    """
    execution = recipe.execution
    explain = ray.remote(
        num_cpus=execution.cpus_per_member,
        num_gpus=execution.gpus_per_member,
        resources=execution.resources_per_member or None,
    )(_explain_group)
    search_path = os.getcwd()
    running = {explain.remote(recipe, search_path, group, config): group for group in groups}
    await_each(running, on_group)


def _explain_group(recipe: Recipe, search_path: str, group: Group, config: Attribution) -> None:
    if os.path.isdir(search_path) and search_path not in sys.path:
        sys.path.append(search_path)
    workplace = _opened(recipe.model_dump_json())
    explain_pairs(group, workplace, config, lambda pair: None)


@lru_cache(maxsize=1)
def _opened(recipe_text: str) -> Workplace:
    """Once a process: it explains many members."""
    recipe = Recipe.model_validate_json(recipe_text)
    return open_workplace(recipe, results_storage(recipe), MemorySink())
