"""The results of a sweep as pandas frames, for notebooks: `pie_ray.load_results`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd

from . import stats
from .analysis import (
    Audit,
    ExampleFacts,
    PopulationSource,
    Results,
    answers_of,
    is_audit,
    open_audit,
    open_results,
    read_audit,
)
from .analysis.tables import TABLES
from .config import TEST, Recipe
from .errors import StoreError
from .export import check_names, free_name
from .store import Population, Storage, paths, read_table, schema

if TYPE_CHECKING:
    from pandas import DataFrame

_STORED = tuple(name for name in schema.PREDICTIONS.names if name not in ("evaluation_set", "example_id", "label"))


@final
class LoadedResults:
    """What `pie_ray.load_results` returns, of a sweep or an audit.

        results = pie_ray.load_results("results/digits")
        results.summary                                   a result table; `dir(results)` has them all
        results.pies.query("is_pie and is_significant")
        results.predictions("magnitude-0.90").groupby("example_id")["confidence"].mean()

    Every table of docs/design.md is an attribute, read once. Tables without an analysis raise a StoreError that names
    `pie-ray analyze`; so does, of a folder that `pie-ray analyze --predictions` wrote, whatever is not a table.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._results, self._audit = _opened(storage)
        self._tables: dict[str, DataFrame] = {}

    # ------------------------------------------------------------------------------------------------ the tables

    def __getattr__(self, name: str) -> DataFrame:
        if name in TABLES:
            return self.table(name)
        raise AttributeError(f"results have no {name!r}; the tables are {', '.join(TABLES)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *TABLES]

    def table(self, name: str) -> DataFrame:
        """The result table of that name. Raises InputError for another name, StoreError where it was not made yet."""
        check_names("table", [name], TABLES)
        if name not in self._tables:
            if not self.is_analysed:
                raise StoreError(f"{self.path} has no result tables yet: `pie-ray analyze {self.path}` makes them")
            self._tables[name] = read_table(self._storage, name).to_pandas()
        return self._tables[name]

    @cached_property
    def is_analysed(self) -> bool:
        """Whether the result tables are there."""
        return self._storage.exists(paths.table("summary"))

    # ------------------------------------------------------------------------------------------- what was planned

    @property
    def path(self) -> str:
        """Where the results lie."""
        return self._storage.uri

    @property
    def has_predictions(self) -> bool:
        """Whether there are examples and predictions, a sweep's or an audit's, or result tables alone."""
        return self._results is not None or self._audit is not None

    @property
    def is_audit(self) -> bool:
        """Whether `pie-ray evaluate --model` made this folder."""
        return self._audit is not None

    @property
    def sweep(self) -> Results:
        """The opened folder, for what needs more than frames. Raises StoreError where it is no sweep's."""
        if self._audit is not None:
            raise StoreError(
                f"{self.path} holds an audit of networks that were made elsewhere: recipe and records are in the "
                "results of a sweep"
            )
        if self._results is None:
            raise StoreError(
                f"{self.path} holds tables alone, as `pie-ray analyze --predictions` writes them: recipe, members, "
                "examples and predictions are in the results of a sweep"
            )
        return self._results

    @property
    def audit(self) -> Audit:
        """What was audited, and how. Raises StoreError where this is no audit."""
        if self._audit is None:
            raise StoreError(f"{self.path} holds no audit, as `pie-ray evaluate --model` writes them")
        return self._audit

    @cached_property
    def source(self) -> PopulationSource:
        """What the analysis works on, here and there. Raises StoreError where there are tables alone."""
        return self.sweep if self._audit is None else open_audit(self._storage)

    @property
    def recipe(self) -> Recipe:
        return self.sweep.recipe

    @property
    def variants(self) -> list[str]:
        """Ids, the reference's first."""
        if not self.has_predictions:
            return [str(name) for name in self.summary["variant_id"].unique()]
        return [variant.variant_id for variant in self.source.variants]

    @property
    def evaluation_sets(self) -> list[str]:
        if not self.has_predictions:
            return [str(name) for name in self.summary["evaluation_set"].unique()]
        return list(self.source.evaluation_sets)

    @property
    def is_multilabel(self) -> bool:
        """Whether an example has several attributes; each of them is then an answer of its own, 0 or 1."""
        return self._results is not None and self._results.is_multilabel

    @property
    def class_names(self) -> list[str]:
        """Of the classes, or of the attributes of multi-label data."""
        if self.has_predictions:
            return list(self.source.class_names)
        if self.classes.empty:
            return []
        return [str(name) for name in self.classes.drop_duplicates("class_index")["class_name"]]

    @property
    def missing(self) -> list[str]:
        """The members that were planned and are not there, and what others were not evaluated on."""
        return list(self.source.missing) if self.has_predictions else []

    @property
    def members(self) -> DataFrame:
        """A row a complete member: seed, sizes, measured sparsity, seconds, device, top-1 by evaluation set.

        Of an audit a row a network: variant_id, member, what, kind, sha256, num_bytes.
        """
        if self._audit is not None:
            return pd.DataFrame([member.model_dump() for member in self._audit.members])
        return pd.json_normalize([record.model_dump() for record in self.sweep.records])

    # ------------------------------------------------------------------------------------------------ predictions

    def examples(self, evaluation_set: str = TEST) -> DataFrame:
        """A row an example, by ascending id: example_id, key, label, label_name, and a column a group.

        Of multi-label data a column an attribute, True where an example has it, in place of the label. Raises
        InputError for an evaluation set that there is not.
        """
        facts = self._facts(evaluation_set)
        columns: dict[str, Any] = {"example_id": facts.example_ids, "key": list(facts.keys)}
        if self.is_multilabel:
            columns |= dict(zip(self.class_names, facts.labels.astype(bool).T, strict=True))
        else:
            names = np.asarray(self.class_names, object)
            columns |= {"label": facts.labels, "label_name": names[facts.labels]}
        attributes = self.class_names if self.is_multilabel else []
        groups = {name: values for name, values in facts.groups.items() if name not in attributes}
        return pd.DataFrame(columns | {free_name(name, columns): values for name, values in groups.items()})

    def predictions(
        self, variant_id: str, evaluation_set: str = TEST, columns: Sequence[str] | None = None
    ) -> DataFrame:
        """A row a complete member and example: seed, example_id, label, and `columns`, by default all but logits.

        Those are prediction, confidence, label_probability, label_rank, margin and entropy; `logits` holds an array a
        row. Of multi-label data a row an attribute too, with the columns attribute, label, prediction (0 or 1) and
        logit. Raises InputError for a variant, evaluation set or column that there is not, and StoreError where no
        member of the variant is complete.
        """
        accepted = () if self.is_multilabel else (*_STORED, schema.LOGITS)
        if columns is not None:
            check_names("columns", columns, accepted)
        wanted = (schema.LOGITS,) if self.is_multilabel else tuple(columns or _STORED)
        population = self._population(variant_id, evaluation_set, wanted)
        if self.is_multilabel:
            return _attribute_rows(population, self.class_names)
        return _rows(population)

    def modes(self, evaluation_set: str = TEST) -> DataFrame:
        """What each population answers: example_id, (attribute,) variant_id, mode, agreement.

        A row an example and variant that has complete members, the reference's first; of multi-label data a row an
        attribute. Raises InputError as `examples` does.
        """
        return answers_of(self.source, evaluation_set, self._facts(evaluation_set).example_ids)

    def _facts(self, evaluation_set: str) -> ExampleFacts:
        check_names("evaluation_set", [evaluation_set], self.source.evaluation_sets)
        return self.source.examples(evaluation_set)

    def _population(self, variant_id: str, evaluation_set: str, columns: tuple[str, ...]) -> Population:
        check_names("evaluation_set", [evaluation_set], self.source.evaluation_sets)
        check_names("variant_id", [variant_id], self.variants)
        population = self.source.population(evaluation_set, variant_id, columns)
        if population is None:
            raise StoreError(f"{self.path}: no member of {variant_id} is complete on {evaluation_set}")
        return population

    # ------------------------------------------------------------------------------------------------ how it looks

    def __repr__(self) -> str:
        return "\n".join([f"Results in {self.path}", *(f"  {name:<16}{text}" for name, text in self._described)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{name}</th><td style="text-align:left">{escape(text)}</td></tr>'
            for name, text in self._described
        )
        return f"<b>Results in {escape(self.path)}</b><table>{rows}</table>"

    @property
    def _described(self) -> list[tuple[str, str]]:
        facts = [("variants", ", ".join(self.variants)), ("evaluation sets", _shortened(self.evaluation_sets))]
        if self._audit is not None:
            facts.append(("members", f"{len(self._audit.members)} audited networks"))
        if self._results is not None:
            num_planned, num_there = len(self._results.plan.members), len(self._results.records)
            facts.append(("members", f"{num_there} of {num_planned} are complete"))
        facts.append(("classes" if not self.is_multilabel else "attributes", _shortened(self.class_names)))
        tables = ", ".join(TABLES) if self.is_analysed else f"none yet: `pie-ray analyze {self.path}` makes them"
        return [*facts, ("tables", tables)]


def load(path: str | os.PathLike[str]) -> LoadedResults:
    """As `pie_ray.load_results`."""
    return LoadedResults(Storage(path))


def _opened(storage: Storage) -> tuple[Results | None, Audit | None]:
    """The sweep or the audit in a folder; neither where there are result tables alone.

    Raises StoreError where there is nothing of them.
    """
    if storage.exists(paths.MANIFEST):
        return open_results(storage), None
    if is_audit(storage):
        return None, read_audit(storage)
    return (None, None) if storage.exists(paths.table("summary")) else (open_results(storage), None)


def _rows(population: Population) -> DataFrame:
    num_members, num_examples = population.num_members, len(population.example_ids)
    columns: dict[str, Any] = {
        "seed": np.repeat(population.seeds, num_examples),
        "example_id": np.tile(population.example_ids, num_members),
        "label": np.tile(population.labels, num_members),
    }
    for name, values in population.arrays.items():
        rows = values.reshape(num_members * num_examples, *values.shape[2:])
        columns[name] = rows if rows.ndim == 1 else list(rows)
    return pd.DataFrame(columns)


def _attribute_rows(population: Population, attributes: Sequence[str]) -> DataFrame:
    num_members, num_examples = population.num_members, len(population.example_ids)
    logits = population.arrays[schema.LOGITS]
    return pd.DataFrame(
        {
            "seed": np.repeat(population.seeds, num_examples * len(attributes)),
            "example_id": np.tile(np.repeat(population.example_ids, len(attributes)), num_members),
            "attribute": np.tile(np.asarray(attributes, object), num_members * num_examples),
            "label": np.tile(population.labels.astype(np.uint8).ravel(), num_members),
            "prediction": stats.predict_attributes(logits).astype(np.uint8).ravel(),
            "logit": logits.ravel(),
        }
    )


def _shortened(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
