"""Several processes a member on a cluster: what a trial asks for, and the actors that help it, a bundle each."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, final

import ray
from ray import tune
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from ..config import Execution, Recipe
from ..errors import TeamError
from ..identity import MemberSpec
from ..store import Storage


def trial_resources(recipe: Recipe) -> dict[str, float] | tune.PlacementGroupFactory:
    """All that one trial asks for: a bundle a process, on as few nodes as may be."""
    bundle = _bundle(recipe.execution)
    num_processes = recipe.training.num_processes
    if num_processes == 1:
        return {"cpu": bundle.pop("CPU"), "gpu": bundle.pop("GPU"), **bundle}
    return tune.PlacementGroupFactory([bundle] * num_processes, strategy="PACK")


def _bundle(execution: Execution) -> dict[str, float]:
    return {
        "CPU": execution.cpus_per_member,
        "GPU": execution.gpus_per_member,
        **execution.resources_per_member,
    }


@final
class ActorHelpers:
    """The `Helpers` of a trial: actors in the bundles of its placement group, which die with it."""

    def __init__(self, recipe: Recipe, storage: Storage) -> None:
        self.recipe, self.storage = recipe, storage
        self.host = ray.util.get_node_ip_address()
        self._actors: list[Any] = []
        self._tasks: list[Any] = []

    def start(self, spec: MemberSpec, port: int) -> None:
        group = get_current_placement_group()
        if group is None:
            raise TeamError("the trial has no placement group for its processes")
        bundle = _bundle(self.recipe.execution)
        num_cpus, num_gpus = bundle.pop("CPU"), bundle.pop("GPU")
        for rank in range(1, self.recipe.training.num_processes):
            place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
            actor = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, resources=bundle, scheduling_strategy=place)(
                _Helper
            )
            helper = actor.remote()
            self._actors.append(helper)
            self._tasks.append(helper.help.remote(spec, self.recipe, self.storage, self.host, port, rank, sys.path))

    def ended(self) -> list[int]:
        done, _ = ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)
        return [rank for rank, task in enumerate(self._tasks, 1) if task in done]

    def stop(self) -> None:
        for actor in self._actors:
            ray.kill(actor)
        self._actors, self._tasks = [], []


class _Helper:
    """One process of a team, for one member."""

    def help(
        self,
        spec: MemberSpec,
        recipe: Recipe,
        storage: Storage,
        host: str,
        port: int,
        rank: int,
        search_paths: Sequence[str],
    ) -> None:
        sys.path += [path for path in search_paths if path not in sys.path and os.path.isdir(path)]
        from ..store import MemorySink
        from ..teamwork import help_to_make
        from .completing import open_workplace

        help_to_make(spec, lambda: open_workplace(recipe, storage, MemorySink()), host, port, rank)
