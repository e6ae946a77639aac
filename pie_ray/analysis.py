"""From the prediction store to tables: statistics of every variant against the reference. No Ray, no torch.

Works on partial results: populations are compared with the members that are there, and the missing ones are named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import stats
from .config import Recipe
from .errors import StoreError
from .identity import REFERENCE_ID, MemberSpec, Plan, Variant, make_plan
from .recipe import parse_recipe
from .records import MemberRecord
from .store import (
    Completeness,
    Manifest,
    Population,
    PredictionStore,
    Storage,
    completeness,
    paths,
    read_manifest,
    read_table,
    schema,
    write_table,
)

SIGNIFICANCE = 0.05
"""Level of the class tests in Hooker et al."""

Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""`map`, or something like it that runs the calls elsewhere."""


@dataclass(frozen=True)
class Results:
    """A results folder, opened: what was planned and what is there."""

    storage: Storage
    recipe: Recipe
    plan: Plan
    manifest: Manifest
    found: Completeness

    @property
    def missing(self) -> tuple[MemberSpec, ...]:
        return self.found.missing

    @property
    def records(self) -> tuple[MemberRecord, ...]:
        """Records of the complete members, in the plan's order."""
        return tuple(self.found.records.values())


def open_results(storage: Storage) -> Results:
    """Open a results folder.

    Raises StoreError where it is none.
    """
    try:
        manifest = read_manifest(storage)
        recipe = parse_recipe(storage.read_bytes(paths.RECIPE).decode(), source=f"{paths.RECIPE} in {storage}")
    except FileNotFoundError as error:
        raise StoreError(
            f"{storage} holds no results ({paths.MANIFEST} or {paths.RECIPE} is missing); "
            "expected <storage>/<sweep name> of a sweep that was started"
        ) from error
    plan = make_plan(recipe)
    return Results(storage, recipe, plan, manifest, completeness(storage, plan, manifest.suites))


@dataclass(frozen=True)
class Analysis:
    """The result tables, and the members that they do without."""

    summary: pd.DataFrame
    pies: pd.DataFrame
    classes: pd.DataFrame
    missing: tuple[MemberSpec, ...]


def analyze(results: Results, *, mapper: Mapper = map) -> Analysis:
    """Compare every variant with the reference on every evaluation set, and store the tables.

    Raises StoreError where no member of the reference is complete.
    """
    tasks = [
        _Task(results, suite, evaluation_set, variant)
        for suite, evaluation_sets in results.manifest.suites.items()
        for evaluation_set in evaluation_sets
        for variant in results.plan.variants
    ]
    parts = [part for part in mapper(analyze_variant, tasks) if part is not None]
    if not any(part.summary["variant_id"] == REFERENCE_ID for part in parts):
        raise StoreError(f"{results.storage}: no member of the dense reference is complete, nothing to compare with")
    tables = {
        "summary": _with_noise_floor(pd.DataFrame([part.summary for part in parts])),
        "pies": pd.concat([part.pies for part in parts], ignore_index=True),
        "classes": pd.concat([part.classes for part in parts], ignore_index=True),
    }
    for name, table in tables.items():
        write_table(results.storage, name, table)
    return Analysis(**tables, missing=results.missing)


def _with_noise_floor(summary: pd.DataFrame) -> pd.DataFrame:
    """Set the reference's noise floor beside every variant of the same evaluation set."""
    columns = ["null_pie_fraction", "null_pie_std"]
    floors = summary[summary["variant_id"] == REFERENCE_ID].set_index("evaluation_set")[columns]
    return summary.drop(columns=columns).join(floors, on="evaluation_set")


def load_analysis(results: Results) -> Analysis:
    """Read the tables that `analyze` wrote; StoreError where they are absent."""
    summary, pies, classes = (read_table(results.storage, name).to_pandas() for name in ("summary", "pies", "classes"))
    return Analysis(summary, pies, classes, results.missing)


# -------------------------------------------------------------------------------------------------- one variant


@dataclass(frozen=True)
class _Task:
    """One variant on one evaluation set: what a mapper sends to wherever it is computed."""

    results: Results
    suite: str
    evaluation_set: str
    variant: Variant

    def population(self, variant_id: str) -> Population | None:
        """The variant's complete members' predictions; None where there are none."""
        members = self.members(variant_id)
        if not members:
            return None
        return PredictionStore(self.results.storage).read_population(
            self.suite,
            self.evaluation_set,
            variant_id,
            members,
            columns=(schema.PREDICTION, schema.LABEL_RANK),
            member_ids=members,
        )

    def members(self, variant_id: str) -> dict[int, str]:
        """Ids of the variant's complete members by seed."""
        population = self.results.plan.population(variant_id)
        return {spec.seed: spec.member_id for spec in population if spec.member_id in self.results.found.records}

    def halves(self, statistic: Callable[..., stats.HalfPies], *populations: Population) -> stats.HalfPies:
        """A statistic of random halves: the same ones whenever and wherever these results are analysed."""
        return statistic(
            *(population.arrays[schema.PREDICTION] for population in populations),
            num_classes=self.results.manifest.num_classes,
            tie=self.results.recipe.evaluation.tie,
            num_splits=self.results.recipe.evaluation.num_noise_splits,
            rng=self._generator(),
        )

    def _generator(self) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.results.plan.sweep_id} {self.evaluation_set}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little"))


@dataclass(frozen=True)
class _Part:
    summary: dict[str, Any]
    pies: pd.DataFrame
    classes: pd.DataFrame


def analyze_variant(task: _Task) -> _Part | None:
    """One row of the summary with its rows of PIEs and classes; None where either population is empty."""
    variant_id = task.variant.variant_id
    reference = task.population(REFERENCE_ID)
    variant = reference if variant_id == REFERENCE_ID else task.population(variant_id)
    if reference is None or variant is None:
        return None
    _require_same_examples(reference, variant, task)
    if variant is reference:
        return _Part(_reference_row(task, reference), pd.DataFrame(), pd.DataFrame())
    pies = stats.find_pies(
        reference.arrays[schema.PREDICTION],
        variant.arrays[schema.PREDICTION],
        num_classes=task.results.manifest.num_classes,
        tie=task.results.recipe.evaluation.tie,
    )
    classes = stats.class_impact(
        reference.arrays[schema.PREDICTION],
        variant.arrays[schema.PREDICTION],
        reference.labels,
        num_classes=task.results.manifest.num_classes,
        alpha=SIGNIFICANCE,
    )
    return _Part(
        _shared_columns(task, variant)
        | _pie_columns(reference, variant, pies, classes)
        | _half_columns(task, reference, variant),
        _pie_table(task, reference, variant, pies),
        _class_table(task, variant, classes),
    )


def _require_same_examples(reference: Population, variant: Population, task: _Task) -> None:
    if not np.array_equal(reference.example_ids, variant.example_ids):
        raise StoreError(
            f"{task.results.storage}: {variant.variant_id} and {reference.variant_id} were evaluated on "
            f"different examples of {task.evaluation_set}"
        )


def _shared_columns(task: _Task, population: Population) -> dict[str, Any]:
    correct = population.arrays[schema.PREDICTION] == population.labels
    top5 = population.arrays[schema.LABEL_RANK] < 5
    records = [task.results.found.records[member_id] for member_id in task.members(population.variant_id).values()]
    return {
        "evaluation_set": task.evaluation_set,
        "variant_id": population.variant_id,
        "sparsity": task.variant.sparsity,
        "quantization": task.variant.quantization,
        "arithmetic": "+".join(sorted({record.arithmetic for record in records})),
        "num_members": len(population.seeds),
        "num_examples": len(population.example_ids),
        "top1_mean": _mean(correct),
        "top1_std": _std_over_members(correct),
        "top5_mean": _mean(top5),
        "achieved_sparsity_mean": float(np.mean([record.achieved_sparsity for record in records])),
        "checkpoint_bytes_mean": float(np.mean([record.checkpoint_bytes for record in records])),
    }


def _noise_columns(task: _Task, reference: Population) -> dict[str, Any]:
    """The dense-vs-dense PIE rate between random halves; NaN for a reference of one member."""
    if len(reference.seeds) < 2:
        return {"null_pie_fraction": np.nan, "null_pie_std": np.nan}
    floor = task.halves(stats.noise_floor, reference)
    return {"null_pie_fraction": floor.mean, "null_pie_std": floor.std}


def _half_columns(task: _Task, reference: Population, variant: Population) -> dict[str, Any]:
    """PIEs between a half of the reference and a half of the variant: what the noise floor is to be held against.

    NaN for populations of one member, and where the seeds that are complete differ.
    """
    if reference.seeds != variant.seeds or len(reference.seeds) < 2:
        return {"half_pie_fraction": np.nan, "half_pie_std": np.nan}
    halves = task.halves(stats.half_pies, reference, variant)
    return {"half_pie_fraction": halves.mean, "half_pie_std": halves.std}


def _reference_row(task: _Task, reference: Population) -> dict[str, Any]:
    shared = _shared_columns(task, reference)
    return shared | _noise_columns(task, reference) | {"reference_top1_mean": shared["top1_mean"], "num_pies": 0}


def _pie_columns(
    reference: Population, variant: Population, pies: stats.Pies, classes: stats.ClassImpact
) -> dict[str, Any]:
    labels = reference.labels
    of_variant = stats.reduced_accuracy(variant.arrays[schema.PREDICTION], labels, pies.is_pie)
    of_reference = stats.reduced_accuracy(reference.arrays[schema.PREDICTION], labels, pies.is_pie)
    top5_of_variant = stats.reduced_accuracy_from_correct(variant.arrays[schema.LABEL_RANK] < 5, pies.is_pie)
    top5_of_reference = stats.reduced_accuracy_from_correct(reference.arrays[schema.LABEL_RANK] < 5, pies.is_pie)
    correctness = stats.pie_correctness(pies, labels)
    return {
        "num_pies": pies.num_pies,
        "pie_fraction": pies.pie_fraction,
        "num_pies_variant_correct": correctness.num_variant_correct,
        "num_pies_reference_correct": correctness.num_reference_correct,
        "num_significant_classes": classes.num_significant,
        "num_ties_reference": pies.num_tied_reference,
        "num_ties_variant": pies.num_tied_variant,
        "top1_on_pies": of_variant.on_pies.mean,
        "top1_without_pies": of_variant.without_pies.mean,
        "reference_top1_mean": of_reference.on_all.mean,
        "reference_top1_on_pies": of_reference.on_pies.mean,
        "reference_top1_without_pies": of_reference.without_pies.mean,
        "top5_on_pies": top5_of_variant.on_pies.mean,
        "top5_without_pies": top5_of_variant.without_pies.mean,
        "reference_top5_on_pies": top5_of_reference.on_pies.mean,
        "reference_top5_without_pies": top5_of_reference.without_pies.mean,
    }


def _pie_table(task: _Task, reference: Population, variant: Population, pies: stats.Pies) -> pd.DataFrame:
    """The examples whose mode moved, the most moved first."""
    distance = stats.taxicab(
        reference.arrays[schema.PREDICTION],
        variant.arrays[schema.PREDICTION],
        num_classes=task.results.manifest.num_classes,
    )
    table = pd.DataFrame(
        {
            "evaluation_set": task.evaluation_set,
            "variant_id": variant.variant_id,
            "example_id": reference.example_ids,
            "label": reference.labels,
            "reference_mode": pies.reference_mode,
            "variant_mode": pies.variant_mode,
            "reference_agreement": pies.reference_agreement,
            "variant_agreement": pies.variant_agreement,
            "taxicab": distance,
            "is_pie": pies.is_pie,
        }
    )[pies.is_pie]
    return table.sort_values(["taxicab", "example_id"], ascending=[False, True], kind="stable")


def _class_table(task: _Task, variant: Population, classes: stats.ClassImpact) -> pd.DataFrame:
    manifest = task.results.manifest
    return pd.DataFrame(
        {
            "evaluation_set": task.evaluation_set,
            "variant_id": variant.variant_id,
            "class_index": np.arange(manifest.num_classes),
            "class_name": list(manifest.class_names),
            "num_examples": classes.num_examples,
            "reference_recall": classes.reference_recall,
            "variant_recall": classes.variant_recall,
            "change": classes.change,
            "normalised_change": classes.normalised_change,
            "statistic": classes.statistic,
            "p_value": classes.p_value,
            "significant": classes.significant,
        }
    )


def _mean(correct: np.ndarray) -> float:
    return float(correct.mean())


def _std_over_members(correct: np.ndarray) -> float:
    """Standard deviation over members (divisor members - 1); NaN for one member."""
    per_member: Sequence[float] = correct.mean(axis=1)
    return float(np.std(per_member, ddof=1)) if len(per_member) > 1 else float("nan")
