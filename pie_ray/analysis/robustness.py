"""Robustness: every variant and the reference on corrupted and natural sets, beside the clean one.

A task is all variants on some of these sets, so that what is told of the reference is found once, each prediction is
read once, and a task holds but a few hundred megabytes. What is found of a variant on a set is small; `summarise` makes
the variant's rows of it, and `finish` adds what needs all variants at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .. import stats
from ..store import Population, schema
from ..variants import REFERENCE_ID
from .comparison import SIGNIFICANCE, Comparison, Subject, compare
from .corruption_errors import SetErrors, error_table, levels
from .details import accuracy_rows
from .evaluation_sets import CORRUPTION, clean_set, kind_of
from .fragility import Breaks, fragility_table
from .shift import Columns, Shift
from .source import PopulationSource, VariantInfo

PREDICTIONS_AT_ONCE = 1 << 24
"""Predictions of one population that a task reads, unless a single set has more: 32 MB a column."""
POPULATIONS_IN_FULL = 8
"""Variants beyond which a task has fewer sets, so that it takes some seconds however many there are."""


@dataclass(frozen=True)
class RobustnessTask:
    """All variants on some corrupted and natural sets: what a mapper sends to wherever it is computed."""

    source: PopulationSource
    evaluation_sets: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Finding:
    """What is kept of one variant on one set."""

    variant_id: str
    row: Columns
    """Of the table `robustness`."""
    accuracy: list[Columns]
    """Rows of the table `accuracy`."""
    errors: SetErrors | None
    """Of a corrupted set."""
    breaks: Breaks | None
    """Of a corrupted set whose examples are among the clean ones; of the reference nothing."""


@dataclass(frozen=True)
class SummaryTask:
    """One variant, and what was found of it on every set."""

    source: PopulationSource
    variant: VariantInfo
    findings: tuple[Finding, ...]


def robustness_tasks(source: PopulationSource) -> list[RobustnessTask]:
    """None where there are no such sets."""
    room = PREDICTIONS_AT_ONCE * min(len(source.variants), POPULATIONS_IN_FULL)
    tasks: list[list[str]] = []
    num_predictions = room
    for name in source.evaluation_sets:
        if not kind_of(name).is_shifted:
            continue
        num_more = source.num_predictions(name)
        if num_predictions + num_more > room:
            tasks.append([])
            num_predictions = 0
        tasks[-1].append(name)
        num_predictions += num_more
    return [RobustnessTask(source, tuple(names)) for names in tasks]


def analyze_robustness(task: RobustnessTask) -> list[Finding]:
    """What is found of each variant on each of the sets that both it and the reference have members on."""
    # The reference's predictions are kept while the variants' come and go.
    reference = _OnSets.of(task, REFERENCE_ID)
    return [finding for variant in task.source.variants for finding in _find_all(task, variant, reference)]


@dataclass(frozen=True)
class _OnSets:
    """A variant by evaluation set: those of a task, and the clean one."""

    here: Mapping[str, Subject]
    clean: Mapping[str, Subject]

    @classmethod
    def of(cls, task: RobustnessTask, variant_id: str) -> _OnSets:
        clean_name = clean_set(task.source.evaluation_sets)
        return cls(
            here=_subjects(task.source, task.evaluation_sets, variant_id, with_ranks=True),
            clean={} if clean_name is None else _subjects(task.source, [clean_name], variant_id),
        )


def _find_all(task: RobustnessTask, variant: VariantInfo, reference: _OnSets) -> list[Finding]:
    subject = reference if variant.is_reference else _OnSets.of(task, variant.variant_id)
    clean = next((here for _, here in _compared(reference.clean, subject.clean)), None)
    return [_find(Shift(kind_of(name), here, clean)) for name, here in _compared(reference.here, subject.here)]


def _find(shift: Shift) -> Finding:
    is_corrupted = shift.kind.kind == CORRUPTION
    return Finding(
        variant_id=shift.here.variant.variant_id,
        row=shift.columns(),
        accuracy=accuracy_rows(shift.here.subject),
        errors=shift.errors() if is_corrupted else None,
        breaks=shift.breaks() if is_corrupted and not shift.here.variant.is_reference else None,
    )


def summary_tasks(source: PopulationSource, findings: Iterable[Finding]) -> list[SummaryTask]:
    """One of each variant of which anything was found; `findings` in the order of the sets."""
    found: dict[str, list[Finding]] = {variant.variant_id: [] for variant in source.variants}
    for finding in findings:
        found[finding.variant_id].append(finding)
    return [
        SummaryTask(source, variant, tuple(found[variant.variant_id]))
        for variant in source.variants
        if found[variant.variant_id]
    ]


def summarise(task: SummaryTask) -> Mapping[str, pd.DataFrame]:
    """The variant's rows of `robustness`, `accuracy`, `corruption_errors` and `fragility`."""
    return {
        "robustness": pd.DataFrame([finding.row for finding in task.findings]),
        "accuracy": pd.DataFrame([row for finding in task.findings for row in finding.accuracy]),
        "corruption_errors": error_table([each.errors for each in task.findings if each.errors is not None]),
        "fragility": _fragility(task, [each.breaks for each in task.findings if each.breaks is not None]),
    }


def _fragility(task: SummaryTask, breaks: Sequence[Breaks]) -> pd.DataFrame:
    """Empty of the reference, and where there is no clean set."""
    name = clean_set(task.source.evaluation_sets)
    if name is None or task.variant.is_reference:
        return pd.DataFrame()
    reference, subject = (
        _subjects(task.source, [name], variant_id) for variant_id in (REFERENCE_ID, task.variant.variant_id)
    )
    clean = next((here for _, here in _compared(reference, subject)), None)
    return pd.DataFrame() if clean is None else fragility_table(clean, breaks)


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


def _compared(references: Mapping[str, Subject], subjects: Mapping[str, Subject]) -> Iterator[tuple[str, Comparison]]:
    """Both populations on each of the sets that both are on."""
    for name, subject in subjects.items():
        if name in references:
            yield name, compare(references[name], subject)


def _subjects(
    source: PopulationSource, names: Sequence[str], variant_id: str, *, with_ranks: bool = False
) -> dict[str, Subject]:
    """A variant on each of the sets that it has members on."""
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
