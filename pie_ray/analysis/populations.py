"""The sizes of an adaptive population: decided from stored predictions, and from nothing else.

Random numbers come from the sweep's id and the sizes that are judged, so that a sweep that is killed and resumed, or
whose record was lost, decides alike.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import adaptive, stats
from ..config import Recipe
from ..identity import Plan
from ..records import PopulationRecord, VariantSize
from ..store import schema
from .evaluation_sets import clean_set

if TYPE_CHECKING:
    from .results import Results

FEWEST_JUDGED = 4
"""Below, there are no two repetitions of two members each."""


def rule_of(recipe: Recipe) -> adaptive.Rule:
    """The recipe's rule; it must have an adaptive population."""
    population = recipe.population
    asked = population.adaptive
    assert asked is not None
    return adaptive.Rule(
        num_members=population.num_members,
        target=asked.target,
        interval=asked.interval,
        fewest=asked.fewest,
        step=asked.step,
        most=population.most_members,
    )


def kin_of(plan: Plan) -> tuple[adaptive.Kin, ...]:
    """The plan's variants, parents before their children."""
    return tuple(
        adaptive.Kin(
            variant.variant_id, None if variant.parent is None else variant.parent.variant_id, trains=variant.trains
        )
        for variant in plan.variants
    )


def current_population(recipe: Recipe, plan: Plan, stored: PopulationRecord | None) -> PopulationRecord:
    """The sizes that a sweep is at: as stored, or the first ones where nothing was decided by the recipe's settings."""
    rule, kin = rule_of(recipe), kin_of(plan)
    settings: dict[str, float | int | str] = vars(rule) | {
        "tie": recipe.evaluation.tie,
        "base_seed": recipe.population.base_seed,
    }
    variant_ids = [each.variant_id for each in kin]
    if stored is not None and stored.settings == settings and list(sizes_of(stored)) == variant_ids:
        return stored
    sizes = adaptive.first_sizes(kin, rule)
    return PopulationRecord(
        settings=settings,
        evaluation_set="",
        variants=tuple(VariantSize(variant_id=name, num_members=number) for name, number in sizes.items()),
    )


def sizes_of(record: PopulationRecord) -> dict[str, int]:
    """Members by variant id."""
    return {size.variant_id: size.num_members for size in record.variants}


def decide(results: Results) -> PopulationRecord:
    """The sizes of the next round, from the members that are complete.

    Families of which a member is missing are left as they are. A record is final when nothing grows any more and
    nothing is missing. Raises StoreError for damaged predictions.
    """
    record = results.sizes
    assert record is not None
    rule, kin = rule_of(results.recipe), kin_of(results.plan)
    evaluation_set = clean_set(results.evaluation_sets) or results.evaluation_sets[0]
    lacking = {spec.variant_id for spec in results.missing_members}
    whole = {
        name
        for head in adaptive.heads(kin)
        if lacking.isdisjoint(family := adaptive.family_of(kin, head))
        for name in family
    }
    is_open = [size.variant_id for size in record.variants[1:] if size.because is None]
    verdicts = _judge(results, evaluation_set, [name for name in is_open if name in whole], rule)
    sizes, refused = adaptive.next_sizes(sizes_of(record), verdicts, kin, rule)
    grows = sizes != sizes_of(record)
    return record.model_copy(
        update={
            "evaluation_set": evaluation_set,
            "num_rounds": record.num_rounds + 1,
            "is_final": not grows and not lacking,
            "variants": tuple(
                _updated(size, sizes[size.variant_id], verdicts.get(size.variant_id), refused)
                for size in record.variants
            ),
        }
    )


def _updated(
    size: VariantSize, num_members: int, verdict: adaptive.Verdict | None, refused: Mapping[str, str]
) -> VariantSize:
    if verdict is None:
        return size.model_copy(update={"num_members": num_members})
    return VariantSize(
        variant_id=size.variant_id,
        num_members=num_members,
        num_judged=verdict.num_members,
        jaccard=_known(verdict.jaccard),
        low=_known(verdict.low),
        high=_known(verdict.high),
        because=verdict.because or refused.get(size.variant_id),
    )


def _judge(
    results: Results, evaluation_set: str, variant_ids: Sequence[str], rule: adaptive.Rule
) -> dict[str, adaptive.Verdict]:
    """Verdicts on those variants of which, as of the reference, there are members enough to say anything."""
    reference = _answers(results, evaluation_set, results.plan.variants[0].variant_id)
    paired = {variant.variant_id for variant in results.plan.variants if variant.is_paired}
    verdicts = {}
    for name in variant_ids:
        mine = _answers(results, evaluation_set, name)
        is_paired = name in paired
        seeds = sorted(reference.keys() & mine.keys()) if is_paired else None
        before, after = (_stack(members, seeds) for members in (reference, mine))
        if min(len(before), len(after)) < FEWEST_JUDGED:
            continue
        stability = stats.pie_stability(
            before,
            after,
            num_classes=2 if results.is_multilabel else len(results.class_names),
            rng=_rng(f"{results.seed_text} {evaluation_set} population {name} {len(before)} {len(after)}"),
            tie=results.evaluation.tie,
            is_paired=is_paired,
        )
        verdicts[name] = adaptive.judge(stability, len(mine), rule)
    return verdicts


def _answers(results: Results, evaluation_set: str, variant_id: str) -> dict[int, np.ndarray]:
    """A variant's labels [answers] by seed."""
    column = schema.LOGITS if results.is_multilabel else schema.PREDICTION
    population = results.population(evaluation_set, variant_id, (column,))
    if population is None:
        return {}
    answers = population.arrays[column]
    if results.is_multilabel:
        answers = (answers > 0).astype(np.uint8).reshape(len(answers), -1)
    return dict(zip(population.seeds, answers, strict=True))


def _stack(members: Mapping[int, np.ndarray], seeds: Sequence[int] | None) -> np.ndarray:
    """[members, answers], of those seeds or of all."""
    chosen = [members[seed] for seed in sorted(members) if seeds is None or seed in seeds]
    return np.stack(chosen) if chosen else np.empty((0, 0), np.uint16)


def _rng(text: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def population_note(record: PopulationRecord) -> str:
    """The sizes in a sentence."""
    told = [
        f"{size.variant_id} {size.num_members}" + (f" ({size.because})" if size.because else "")
        for size in record.variants
    ]
    state = "" if record.is_final else ", not final yet"
    return f"Members a variant were decided by how stable its PIEs are{state}: {', '.join(told)}."
