"""A sweep's folder, opened: the predictions of our own members as a `PopulationSource`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from ..config import TRAIN, VALIDATION, Evaluation, Recipe
from ..errors import StoreError
from ..identity import MemberSpec, Plan, make_plan
from ..recipe import parse_recipe
from ..records import MemberRecord, PopulationRecord
from ..store import (
    Completeness,
    Manifest,
    MapSimilarities,
    Population,
    PredictionStore,
    Storage,
    completeness,
    map_pairs,
    paths,
    read_examples,
    read_latency,
    read_manifest,
    read_map_similarities,
    read_population,
)
from ..variants import loss_id
from .costs import cost_table
from .populations import current_population, population_note, sizes_of
from .source import ExampleFacts, VariantInfo


@dataclass(frozen=True)
class Results:
    """A results folder, opened: what was planned and what is there. A `PopulationSource`."""

    storage: Storage
    recipe: Recipe
    plan: Plan
    manifest: Manifest
    found: Completeness
    sizes: PopulationRecord | None = None
    """Of an adaptive population: the members that `plan` has, and why; None of a fixed one."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing, and no population is still to grow."""
        return not self.missing_members and (self.sizes is None or self.sizes.is_final)

    @property
    def num_members_at_most(self) -> int | None:
        """What an adaptive population that is not final may grow to; None of others."""
        if self.sizes is None or self.sizes.is_final:
            return None
        return self.recipe.population.num_members * len(self.plan.variants)

    @property
    def missing_members(self) -> tuple[MemberSpec, ...]:
        return self.found.missing

    @property
    def records(self) -> tuple[MemberRecord, ...]:
        """Records of the complete members, in the plan's order."""
        return tuple(self.found.records.values())

    @property
    def title(self) -> str:
        return self.recipe.name

    @property
    def evaluation(self) -> Evaluation:
        return self.recipe.evaluation

    @property
    def seed_text(self) -> str:
        return self.plan.sweep_id

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.manifest.class_names

    @property
    def is_multilabel(self) -> bool:
        return self.manifest.is_multilabel

    @cached_property
    def variants(self) -> tuple[VariantInfo, ...]:
        wanted = {} if self.sizes is None else sizes_of(self.sizes)
        return tuple(
            VariantInfo(
                variant.variant_id,
                variant.sparsity,
                variant.quantization,
                variant.is_paired,
                loss=None if variant.loss is None else loss_id(variant.loss),
                plain_id=None if variant.plain is None else variant.plain.variant_id,
                num_wanted=wanted.get(variant.variant_id),
            )
            for variant in self.plan.variants
        )

    @property
    def evaluation_sets(self) -> tuple[str, ...]:
        """All but the validation split, whose only use is to set thresholds."""
        suites = self.manifest.suites.items()
        return tuple(name for suite, sets in suites if suite != VALIDATION for name in sets)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(f"{spec.variant_id} seed {spec.seed}{self._lacking(spec)}" for spec in self.missing_members)

    def _lacking(self, spec: MemberSpec) -> str:
        """The suites that a member was not evaluated on, where it lacks nothing else."""
        if spec.member_id not in self.found.made:
            return ""
        lacking = [suite for suite in self.manifest.suites if spec.member_id not in self.found.evaluated[suite]]
        return f" on {', '.join(lacking)}"

    @property
    def notes(self) -> tuple[str, ...]:
        notes = []
        num_members, num_made = len(self.plan.members), len(self.found.made)
        if num_made < num_members:
            notes.append(f"{num_members - num_made} of {num_members} members are missing from these figures.")
        if len(self.records) < num_made:
            notes.append(f"{num_made - len(self.records)} members were not evaluated on every suite.")
        if self.sizes is not None:
            notes.append(population_note(self.sizes))
        if any(record.arithmetic == "simulated" for record in self.found.made.values()):
            notes.append("Some int8 arithmetic was simulated in floating point; the table says where.")
        return tuple(notes)

    @property
    def provenance(self) -> Mapping[str, str]:
        return {
            "results": self.storage.uri,
            "sweep id": self.manifest.sweep_id,
            "data fingerprint": self.manifest.fingerprint,
            **self.manifest.versions,
            **{name: str(value) for name, value in self.manifest.machine.items()},
        }

    def num_predictions(self, evaluation_set: str) -> int:
        """As `PopulationSource` has it."""
        sizes = next(sets for sets in self.manifest.suites.values() if evaluation_set in sets)
        num_answers_each = len(self.class_names) if self.is_multilabel else 1
        return sizes[evaluation_set] * num_answers_each * len(self.found.made)

    def population(self, evaluation_set: str, variant_id: str, columns: tuple[str, ...]) -> Population | None:
        """As `PopulationSource` has it."""
        return self.populations((evaluation_set,), variant_id, columns).get(evaluation_set)

    def populations(
        self, evaluation_sets: Sequence[str], variant_id: str, columns: tuple[str, ...]
    ) -> dict[str, Population]:
        """As `PopulationSource` has it; each member's file of a suite is opened once."""
        found: dict[str, Population] = {}
        for suite, names in self._by_suite(evaluation_sets).items():
            members = self._members(variant_id, suite)
            if members:
                store = PredictionStore(self.storage)
                stored = store.stored_columns(suite, variant_id, next(iter(members)))
                wanted = [name for name in columns if name in stored]
                found |= store.read_populations(suite, names, variant_id, members, wanted, member_ids=members)
        return {name: found[name] for name in evaluation_sets if name in found}

    def examples(self, evaluation_set: str) -> ExampleFacts:
        """As `PopulationSource` has it."""
        examples = read_examples(self.storage, evaluation_set)
        return ExampleFacts(examples.example_ids, examples.labels, examples.keys, examples.groups)

    def training_labels(self) -> ExampleFacts:
        """As `PopulationSource` has it."""
        return self.examples(TRAIN)

    def validation(self, variant_id: str, columns: tuple[str, ...]) -> Population | None:
        """As `PopulationSource` has it."""
        if VALIDATION not in self.manifest.suites.get(VALIDATION, {}):
            return None
        return self.population(VALIDATION, variant_id, columns)

    def map_similarities(self, variant_id: str) -> dict[int, MapSimilarities]:
        """As `PopulationSource` has it. Raises StoreError for a damaged file, and for one of other members."""
        pairs = [pair for pair in map_pairs(self.plan) if pair.member.variant_id == variant_id]
        with ThreadPoolExecutor(self.storage.num_threads) as pool:
            found = pool.map(partial(read_map_similarities, self.storage), pairs)
            return {pair.reference.seed: one for pair, one in zip(pairs, found, strict=True) if one is not None}

    def costs(self) -> pd.DataFrame:
        """As `PopulationSource` has it."""
        variants = [variant.variant_id for variant in self.plan.variants]
        return cost_table(variants, self.found.made.values(), read_latency(self.storage))

    def member_facts(self, variant_id: str) -> Mapping[str, Any]:
        """As `PopulationSource` has it."""
        records = [record for record in self.found.made.values() if record.variant_id == variant_id]
        return {
            "arithmetic": "+".join(sorted({record.arithmetic for record in records})),
            "weight_bits": float(np.mean([_weight_bits(record) for record in records])),
            "quantized_fraction": float(np.mean([_quantized_fraction(record) for record in records])),
            "achieved_sparsity_mean": float(np.mean([record.achieved_sparsity for record in records])),
            "checkpoint_bytes_mean": float(np.mean([record.checkpoint_bytes for record in records])),
        }

    def _members(self, variant_id: str, suite: str) -> dict[int, str]:
        """Ids of the variant's members that were evaluated on a suite, by seed."""
        evaluated = self.found.on_suite(suite)
        return {spec.seed: spec.member_id for spec in self.plan.population(variant_id) if spec.member_id in evaluated}

    def _by_suite(self, evaluation_sets: Sequence[str]) -> dict[str, list[str]]:
        suite_of = {name: suite for suite, sets in self.manifest.suites.items() for name in sets}
        by_suite: dict[str, list[str]] = {}
        for name in evaluation_sets:
            by_suite.setdefault(suite_of[name], []).append(name)
        return by_suite


def _weight_bits(record: MemberRecord) -> float:
    """NaN of a quantized member whose record is older than this figure."""
    if record.quantization is None:
        return 32
    return np.nan if record.quantization_facts is None else record.quantization_facts.weight_bits


def _quantized_fraction(record: MemberRecord) -> float:
    if record.quantization is None:
        return 0.0
    return np.nan if record.quantization_facts is None else record.quantization_facts.covered_fraction


def open_results(storage: Storage) -> Results:
    """Open a results folder.

    Raises StoreError where it is none.
    """
    try:
        manifest = read_manifest(storage)
        recipe = parse_recipe(storage.read_bytes(paths.RECIPE).decode(), source=f"{paths.RECIPE} in {storage}")
    except FileNotFoundError as error:
        if storage.exists(paths.PREDICTIONS):
            raise StoreError(
                f"{storage} holds an audit, of networks that were made elsewhere; accepted here is a sweep's folder "
                "(audits serve analyze, report, pies, gate and load_results)"
            ) from error
        raise StoreError(
            f"{storage} holds no results ({paths.MANIFEST} or {paths.RECIPE} is missing); "
            "expected <storage>/<sweep name> of a sweep that was started"
        ) from error
    plan, sizes = make_plan(recipe), None
    if recipe.population.adaptive is not None:
        sizes = current_population(recipe, plan, read_population(storage))
        plan = plan.of_sizes(sizes_of(sizes))
    return Results(storage, recipe, plan, manifest, completeness(storage, plan, manifest.suites), sizes)
