"""The stage that compares attribution maps: of every finished pair of members that lacks its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console

from .analysis import Results
from .attribution import check_attribution, explain_pairs, settings_text
from .config import Attribution, Recipe
from .console import maps_progress
from .data import load_splits_of_sweep
from .stages import reopen_results
from .store import MapPair, ParquetSink, Storage, has_map_similarities, map_pairs
from .study import results_storage
from .workplace import Workplace

Group = tuple[MapPair, ...]
"""Pairs that share their reference member, whose maps are made once."""


def attribute(recipe: Recipe, console: Console, *, address: str | None = None, verbose: bool = False) -> Storage:
    """Compare the maps of the members that are there, as the recipe's `evaluation.attribution` has it.

    In this process, or on a Ray cluster where one is named. Returns the results folder. Raises StoreError where there
    is none or a file of it is damaged, DataError where the images are not those that it was begun with, RecipeError and
    ModelError where there is nothing to explain.
    """
    config = recipe.evaluation.attribution
    assert config is not None, "the recipe has no evaluation.attribution"
    results = reopen_results(results_storage(recipe), recipe)
    pairs = _finished_pairs(results)
    missing = _missing(results.storage, pairs, config)
    if not missing:
        console.print(f"The attribution maps of all {len(pairs)} pairs of finished members are compared.")
        return results.storage
    workplace = _workplace(recipe, results)
    check_attribution(config, workplace.skeleton(0), workplace.splits.test)
    with maps_progress(console, len(pairs), len(missing)) as on_pairs:
        if address is None:
            for group in _groups(missing):
                explain_pairs(group, workplace, config, lambda pair: on_pairs(1))
        else:
            _on_cluster(recipe, _groups(missing), config, on_pairs, address, verbose)
    return results.storage


def _on_cluster(
    recipe: Recipe,
    groups: Sequence[Group],
    config: Attribution,
    on_pairs: Callable[[int], None],
    address: str,
    verbose: bool,
) -> None:
    from .cluster.local import ray_session

    with ray_session(address, verbose=verbose):
        from .cluster.attribution import explain_on_cluster

        explain_on_cluster(recipe, groups, config, lambda group: on_pairs(len(group)))


def _finished_pairs(results: Results) -> list[MapPair]:
    made = {member_id for member_id, record in results.found.made.items() if record.checkpoint_bytes}
    return [pair for pair in map_pairs(results.plan) if {pair.reference.member_id, pair.member.member_id} <= made]


def _missing(storage: Storage, pairs: Sequence[MapPair], config: Attribution) -> list[MapPair]:
    settings = settings_text(config)
    with ThreadPoolExecutor(storage.num_threads) as pool:
        is_there = pool.map(lambda pair: has_map_similarities(storage, pair, settings), pairs)
        return [pair for pair, there in zip(pairs, is_there, strict=True) if not there]


def _groups(pairs: Sequence[MapPair]) -> list[Group]:
    by_reference: dict[str, list[MapPair]] = {}
    for pair in pairs:
        by_reference.setdefault(pair.reference.member_id, []).append(pair)
    return [tuple(group) for group in by_reference.values()]


def _workplace(recipe: Recipe, results: Results) -> Workplace:
    splits = load_splits_of_sweep(recipe.data, recipe.execution.cache, results.manifest.fingerprint)
    return Workplace(recipe, splits, results.storage, ParquetSink(results.storage))
