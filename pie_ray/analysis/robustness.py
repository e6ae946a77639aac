"""Robustness: every variant and the reference on corrupted and natural sets, beside the clean one.

A task is one variant on all of these sets, which are read some at a time and told set by set, so that a task holds but
a few hundred megabytes. What needs all variants at once is added in `finish`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .. import stats
from ..store import Population, schema
from ..variants import REFERENCE_ID
from .comparison import SIGNIFICANCE, Comparison, Subject, compare
from .corruption_errors import SetErrors, error_table, levels
from .details import accuracy_table
from .evaluation_sets import CORRUPTION, clean_set, kind_of
from .fragility import Fragility
from .shift import Shift
from .source import PopulationSource, VariantInfo

PREDICTIONS_AT_ONCE = 1 << 23
"""Predictions of one population that are read at once, unless a single set has more; 16 MB."""


@dataclass(frozen=True)
class RobustnessTask:
    """One variant on all corrupted and natural sets: what a mapper sends to wherever it is computed."""

    source: PopulationSource
    variant: VariantInfo


def robustness_tasks(source: PopulationSource) -> list[RobustnessTask]:
    """None where there are no such sets."""
    if not any(kind_of(name).is_shifted for name in source.evaluation_sets):
        return []
    return [RobustnessTask(source, variant) for variant in source.variants]


def analyze_robustness(task: RobustnessTask) -> Mapping[str, pd.DataFrame] | None:
    """The variant's rows of `robustness`, `accuracy`, `corruption_errors` and `fragility`; None where it has none."""
    clean = _load_clean(task)
    fragility = None if clean is None or task.variant.is_reference else Fragility(clean)
    rows: list[dict[str, Any]] = []
    accuracies: list[pd.DataFrame] = []
    errors: list[SetErrors] = []
    for shift in _shifts(task, clean):
        rows.append(shift.columns())
        accuracies.append(accuracy_table(shift.here.subject))
        if shift.kind.kind == CORRUPTION:
            errors.append(shift.errors())
            if fragility is not None and shift.places is not None:
                fragility.add(shift.kind, shift.places, shift.here.pies, shift.here.labels)
    if not rows:
        return None
    return {
        "robustness": pd.DataFrame(rows),
        "accuracy": pd.concat(accuracies, ignore_index=True),
        "corruption_errors": error_table(errors),
        "fragility": pd.DataFrame() if fragility is None else fragility.table(),
    }


def finish(tables: Mapping[str, pd.DataFrame], evaluation_sets: Sequence[str]) -> dict[str, pd.DataFrame]:
    """`robustness` and `corruption_errors` with what takes all variants: order, noise floor, q-values."""
    robustness, errors = tables["robustness"], tables["corruption_errors"]
    if robustness.empty:
        return {}
    floors = robustness[robustness["variant_id"] == REFERENCE_ID].set_index("evaluation_set")[_FLOORS]
    place = {name: index for index, name in enumerate(evaluation_sets)}
    robustness = robustness.sort_values("evaluation_set", key=lambda names: names.map(place), kind="stable")
    robustness[_FLOORS] = floors.reindex(robustness["evaluation_set"]).to_numpy()
    q_value = stats.benjamini_hochberg(robustness["p_value"].to_numpy())
    after = robustness.columns.get_loc("p_value") + 1
    robustness.insert(after, "q_value", q_value)
    robustness.insert(after + 1, "is_significant", q_value <= SIGNIFICANCE)
    return {
        "robustness": robustness.reset_index(drop=True),
        "corruption_errors": _with_discoveries(errors, robustness),
    }


_FLOORS = ["null_pie_fraction", "null_pie_std"]


def _with_discoveries(errors: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """How many sets of each row have a significant excess drop."""
    if errors.empty:
        return errors
    counts = {}
    for variant_id, rows in robustness.groupby("variant_id"):
        significant = set(rows.loc[rows["is_significant"], "evaluation_set"])
        kinds = [kind for kind in map(kind_of, rows["evaluation_set"]) if kind.kind == CORRUPTION]
        for level, name, some in levels(kinds):
            counts[variant_id, level, name] = sum(kinds[index].name in significant for index in some)
    keys = zip(errors["variant_id"], errors["level"], errors["name"], strict=True)
    return errors.assign(num_significant=[counts[key] for key in keys])


# --------------------------------------------------------------------------------------------------------- reading


def _load_clean(task: RobustnessTask) -> Comparison | None:
    """Both populations on the clean set; None where there is none, or none of their members on it."""
    name = clean_set(task.source.evaluation_sets)
    if name is None:
        return None
    return next((comparison for _, comparison in _compared(task, [name], is_graded=False)), None)


def _shifts(task: RobustnessTask, clean: Comparison | None) -> Iterator[Shift]:
    """Every corrupted or natural set that both populations have members on."""
    names = [name for name in task.source.evaluation_sets if kind_of(name).is_shifted]
    num_sets = 1
    while names:
        some, names = names[:num_sets], names[num_sets:]
        num_answers = 0
        for name, here in _compared(task, some, is_graded=True):
            yield Shift(kind_of(name), here, clean)
            num_answers = max(num_answers, here.reference.predictions.size, here.subject.predictions.size)
        num_sets = max(1, PREDICTIONS_AT_ONCE // num_answers) if num_answers else num_sets


def _compared(task: RobustnessTask, names: Sequence[str], *, is_graded: bool) -> Iterator[tuple[str, Comparison]]:
    """Both populations on each of the sets that both are on; `is_graded` reads the variant's ranks as well."""
    references = _subjects(task, names, REFERENCE_ID, with_ranks=is_graded and task.variant.is_reference)
    if task.variant.is_reference:
        variants = references
    else:
        variants = _subjects(task, names, task.variant.variant_id, with_ranks=is_graded)
    for name in names:
        if name in references and name in variants:
            yield name, compare(references[name], variants[name])


def _subjects(task: RobustnessTask, names: Sequence[str], variant_id: str, *, with_ranks: bool) -> dict[str, Subject]:
    source = task.source
    variant = next(variant for variant in source.variants if variant.variant_id == variant_id)
    columns: tuple[str, ...] = (schema.PREDICTION, schema.LABEL_RANK) if with_ranks else (schema.PREDICTION,)
    if source.is_multilabel:
        columns = (schema.LOGITS,)
    return {
        name: Subject(source, name, variant, _with_answers(population) if source.is_multilabel else population)
        for name, population in source.populations(names, variant_id, columns).items()
    }


def _with_answers(population: Population) -> Population:
    """A multi-label population with nothing but what it predicts, [members, answers]."""
    logits = population.arrays[schema.LOGITS].reshape(population.num_members, -1)
    return replace(population, arrays={schema.PREDICTION: (logits > 0).view(np.uint8)})
