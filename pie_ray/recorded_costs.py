"""What members cost, from the records of a sweep that was made already."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from .analysis import Results
from .config import CLEAN, VALIDATION, Recipe
from .costing import Costs, VariantCost, training_epochs
from .errors import InputError
from .identity import Plan, describe_base
from .records import MemberRecord
from .store import paths
from .variants import Variant

_OF_TIME = ("epochs", "schedule")
"""Fields of `training` in which a sweep may differ and still tell: steps cost the same, there are more or fewer."""


def costs_like(results: Results, recipe: Recipe, plan: Plan) -> Costs:
    """Seconds and bytes of the recipe's members, where `results` has members of the same images, network and training.

    A variant that it has not is taken for its others: those that are trained, by their epochs, or those that are not.
    Raises InputError where it has another description or no complete member of the reference.
    """
    _check_same(results, recipe)
    timed = [record for record in results.records if record.train_seconds is not None]
    if not any(record.variant_id == plan.variants[0].variant_id for record in timed):
        raise InputError(
            f"--like: {results.storage} has no complete member of the reference; accepted are the results of a sweep "
            "that has one of each variant"
        )
    known = {variant.variant_id: variant for variant in results.plan.variants}
    epochs = {name: training_epochs(variant, results.recipe.training) for name, variant in known.items()}
    costs = {variant.variant_id: _variant_cost(variant, recipe, timed, known, epochs) for variant in plan.variants}
    first = timed[0]
    sizes = {
        suite: float(len(results.storage.read_bytes(paths.predictions(suite, first.variant_id, first.seed))))
        for suite in results.manifest.suites
    }
    record = results.storage.read_bytes(paths.member(first.variant_id, first.seed))
    return Costs(
        by_variant=costs,
        prediction_bytes=sizes,
        record_bytes=float(len(record)),
        measured=f"taken from {len(timed)} members of {results.storage}, made on: {_machine(results)}",
    )


def _machine(results: Results) -> str:
    machine = results.manifest.machine
    gpu = machine.get("gpu", "none")
    devices = {record.device for record in results.records}
    told = f"{machine.get('processor', 'unknown processor')}, {machine.get('num_cpus', '?')} CPUs on the driver"
    return told if devices == {"cpu"} else f"{told}; {gpu}"


def _check_same(results: Results, recipe: Recipe) -> None:
    theirs, ours = (_comparable(base) for base in (results.manifest.base, describe_base(recipe)))
    differing = [part for part in ("data", "model", "training") if theirs[part] != ours[part]]
    if differing:
        part = differing[0]
        raise InputError(
            f"--like: {results.storage} differs in {', '.join(differing)} (there {theirs[part]}, in the recipe "
            f"{ours[part]}); accepted are results of the same images, network and training, of any number of epochs"
        )
    suites = {CLEAN, VALIDATION, *recipe.evaluation.suites}
    absent = sorted(set(recipe.evaluation.suites) - set(results.manifest.suites))
    more = sorted(set(results.manifest.suites) - suites)
    if absent or more:
        what = f"lacks the suite {absent[0]}" if absent else f"has the suite {more[0]}, which the recipe has not"
        raise InputError(f"--like: {results.storage} {what}; accepted are results on the same suites")


def _comparable(base: Mapping[str, Any]) -> dict[str, Any]:
    training = {name: value for name, value in base["training"].items() if name not in _OF_TIME}
    return {**base, "training": training}


def _variant_cost(
    variant: Variant,
    recipe: Recipe,
    timed: list[MemberRecord],
    known: Mapping[str, Variant],
    epochs: Mapping[str, int],
) -> VariantCost:
    mine = [record for record in timed if record.variant_id == variant.variant_id]
    if not mine:
        alike = [name for name in known if bool(epochs[name]) == bool(training_epochs(variant, recipe.training))]
        mine = [record for record in timed if record.variant_id in alike] or timed
    wanted = training_epochs(variant, recipe.training)
    make = median(
        float(record.train_seconds or 0) * (wanted / epochs[record.variant_id] if epochs[record.variant_id] else 1)
        for record in mine
    )
    return VariantCost(
        make_seconds=make,
        evaluate_seconds=median(record.evaluate_seconds for record in mine),
        checkpoint_bytes=median(record.checkpoint_bytes for record in mine),
    )
