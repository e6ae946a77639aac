"""The result tables: made of every variant and evaluation set, joined, stored, read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from ..errors import StoreError
from ..store import Storage, paths, read_table, write_table
from ..variants import REFERENCE_ID
from .attribution import attribution_table
from .comparison import Comparison, compare, load_subject
from .details import (
    accuracy_table,
    class_table,
    discoveries,
    evidence_table,
    foretelling_table,
    pair_table,
    pie_table,
    stability_table,
)
from .evaluation_sets import CORRUPTION, kind_of
from .evidence_file import Evidence
from .group_tables import group_tables
from .multilabel import multilabel_tables
from .preservation import preservation_table
from .robustness import (
    Finding,
    RobustnessTask,
    SummaryTask,
    analyze_robustness,
    finish,
    robustness_tasks,
    summarise,
    summary_tasks,
)
from .source import PopulationSource, VariantInfo
from .summary import reference_columns, variant_columns

Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""`map`, or something like it that runs the calls elsewhere."""

Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Analysis:
    """The result tables, and the members that they do without; docs/design.md has every column."""

    summary: pd.DataFrame
    """A row an evaluation set and variant."""
    pies: pd.DataFrame = field(default_factory=pd.DataFrame)
    """A row an example whose mode moved or whose votes differ significantly."""
    classes: pd.DataFrame = field(default_factory=pd.DataFrame)
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)
    preservation: pd.DataFrame = field(default_factory=pd.DataFrame)
    """A row an evaluation set and variant of a label-preserving loss."""
    foretelling: pd.DataFrame = field(default_factory=pd.DataFrame)
    stability: pd.DataFrame = field(default_factory=pd.DataFrame)
    groups: pd.DataFrame = field(default_factory=pd.DataFrame)
    gaps: pd.DataFrame = field(default_factory=pd.DataFrame)
    attributes: pd.DataFrame = field(default_factory=pd.DataFrame)
    amplification: pd.DataFrame = field(default_factory=pd.DataFrame)
    criteria: pd.DataFrame = field(default_factory=pd.DataFrame)
    countermeasures: pd.DataFrame = field(default_factory=pd.DataFrame)
    evidence: pd.DataFrame = field(default_factory=pd.DataFrame)
    accuracy: pd.DataFrame = field(default_factory=pd.DataFrame)
    """A row an evaluation set, variant and member."""
    robustness: pd.DataFrame = field(default_factory=pd.DataFrame)
    """A row a corrupted or natural evaluation set and variant."""
    corruption_errors: pd.DataFrame = field(default_factory=pd.DataFrame)
    fragility: pd.DataFrame = field(default_factory=pd.DataFrame)
    attribution: pd.DataFrame = field(default_factory=pd.DataFrame)
    """A row a variant, method of attribution and similarity of maps."""
    costs: pd.DataFrame = field(default_factory=pd.DataFrame)
    """A row a variant: its size, its work and how long it takes."""
    missing: tuple[str, ...] = ()

    @property
    def tables(self) -> Tables:
        """Every table by its name."""
        return {name: getattr(self, name) for name in TABLES}


TABLES = tuple(part.name for part in fields(Analysis) if part.name != "missing")


def analyze(source: PopulationSource, *, mapper: Mapper = map, evidence: Evidence | None = None) -> Analysis:
    """Compare every variant with the reference on every evaluation set, and store the tables.

    Corrupted sets, of which there are many, have the tables of robustness alone, unless there are no others.
    `evidence` is what is known of the examples from elsewhere.

    Raises StoreError where no member of the reference is complete.
    """
    known = {} if evidence is None else evidence.values
    plain = [name for name in source.evaluation_sets if kind_of(name).kind != CORRUPTION]
    tasks: list[AnyTask] = [
        Task(source, name, variant, known.get(name, {}))
        for name in plain or source.evaluation_sets
        for variant in source.variants
    ]
    # The longest ones first: what is short fills the gaps at the end.
    tasks = [*robustness_tasks(source), *tasks]
    findings: list[Finding] = []
    parts: list[Tables] = []
    for found in mapper(run_task, tasks):
        if isinstance(found, list):
            findings += found
        elif found is not None:
            parts.append(found)
    parts = [*mapper(run_task, summary_tasks(source, findings)), *parts]
    if not any(REFERENCE_ID in set(part["summary"]["variant_id"]) for part in parts if "summary" in part):
        raise StoreError(f"{source.storage}: no member of the dense reference is complete, nothing to compare with")
    tables = {name: _join([part[name] for part in parts if name in part]) for name in TABLES}
    tables["summary"] = _with_noise_floor(tables["summary"])
    tables["classes"] = discoveries(tables["classes"])
    # Natural sets are told by both kinds of task.
    tables["accuracy"] = tables["accuracy"].drop_duplicates(ignore_index=True)
    tables["attribution"] = attribution_table(source, tables["pies"])
    tables |= finish(tables, source.evaluation_sets)
    tables["costs"] = source.costs()
    for name, table in tables.items():
        write_table(source.storage, name, table)
    return Analysis(**tables, missing=source.missing)


def load_analysis(source: PopulationSource) -> Analysis:
    """Read the tables that `analyze` wrote; StoreError where they are absent."""
    return Analysis(**load_tables(source.storage), missing=source.missing)


def load_tables(storage: Storage) -> dict[str, pd.DataFrame]:
    """The stored tables by name; StoreError where they are absent.

    A table that an analysis older than it did not write is empty.
    """
    summary = read_table(storage, "summary")
    there = set(storage.list_files(paths.ANALYSIS))
    others = {name: read_table(storage, name) for name in TABLES[1:] if paths.table(name) in there}
    tables = {name: table.to_pandas() for name, table in {"summary": summary, **others}.items()}
    return {name: tables.get(name, pd.DataFrame()) for name in TABLES}


def write_costs(source: PopulationSource) -> None:
    """Write the table `costs` anew, after a measurement that came later than the analysis."""
    write_table(source.storage, "costs", source.costs())


@dataclass(frozen=True)
class Task:
    """One variant on one evaluation set: what a mapper sends to wherever it is computed."""

    source: PopulationSource
    evaluation_set: str
    variant: VariantInfo
    evidence: Mapping[str, np.ndarray]
    """What is known of each example from elsewhere, [examples]; NaN where it is not."""


AnyTask = Task | RobustnessTask | SummaryTask


def run_task(task: AnyTask) -> Tables | list[Finding] | None:
    """What a mapper calls: the rows of each table that a task has, or what such rows are made of."""
    if isinstance(task, RobustnessTask):
        return analyze_robustness(task)
    return summarise(task) if isinstance(task, SummaryTask) else analyze_variant(task)


def analyze_variant(task: Task) -> Tables | None:
    """The rows of each table that one variant has; None where either population is empty."""
    reference_info = next(variant for variant in task.source.variants if variant.is_reference)
    reference = load_subject(task.source, task.evaluation_set, reference_info, with_logits=True)
    if reference is None:
        return None
    if task.variant.is_reference:
        return {"summary": pd.DataFrame([reference_columns(reference)]), "accuracy": accuracy_table(reference)}
    subject = load_subject(task.source, task.evaluation_set, task.variant)
    if subject is None:
        return None
    comparison = compare(reference, subject)
    return {
        "summary": pd.DataFrame([variant_columns(comparison)]),
        "accuracy": accuracy_table(subject),
        "pies": pie_table(comparison),
        **_class_tables(comparison),
        "pairs": pair_table(comparison),
        "preservation": preservation_table(comparison),
        "foretelling": foretelling_table(comparison),
        "stability": stability_table(comparison),
        **group_tables(comparison),
        "evidence": evidence_table(comparison, task.evidence),
    }


def _class_tables(comparison: Comparison) -> Tables:
    if comparison.source.is_multilabel:
        return multilabel_tables(comparison)
    return {"classes": class_table(comparison)}


def _join(parts: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [part for part in parts if len(part.columns)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


_FLOORS = ["null_pie_fraction", "null_pie_std", "null_cie_mean", "null_cie_u_mean"]


def _with_noise_floor(summary: pd.DataFrame) -> pd.DataFrame:
    """Set what two trainings of the reference differ in beside every variant of the same evaluation set.

    A variant of fewer members has its own floor already.
    """
    floors = summary[summary["variant_id"] == REFERENCE_ID].set_index("evaluation_set")[_FLOORS]
    filled = summary.drop(columns=_FLOORS).join(floors, on="evaluation_set")
    return filled.assign(**{name: summary[name].fillna(filled[name]) for name in _FLOORS})
