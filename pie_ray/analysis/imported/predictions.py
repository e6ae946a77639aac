"""Predictions that any framework made, as a `PopulationSource`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from ...config import Evaluation
from ...errors import InputError
from ...store import MapSimilarities, Population, Storage
from ..source import ExampleFacts, VariantInfo


@dataclass(frozen=True, eq=False)
class Span:
    """Where a population lies in the arrays."""

    first_row: int
    members: tuple[int, ...]
    """Indices of the members, ascending."""


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Its examples, and the populations that were evaluated on it."""

    facts: ExampleFacts
    spans: Mapping[str, Span]
    """By variant id."""


@dataclass(frozen=True, eq=False)
class ImportedPredictions:
    """Predictions made elsewhere. A `PopulationSource`; holds them in memory, 2 to 10 bytes each."""

    storage: Storage
    title: str
    evaluation: Evaluation
    seed_text: str
    class_names: tuple[str, ...]
    variants: tuple[VariantInfo, ...]
    evaluation_sets: tuple[str, ...]
    missing: tuple[str, ...]
    """Members with predictions on some evaluation set, and none on another that their variant has."""
    notes: tuple[str, ...]
    provenance: Mapping[str, str]
    _seeds: tuple[int, ...]
    """Of each member that any variant has."""
    _sets: Mapping[str, EvaluationSet]
    _arrays: Mapping[str, np.ndarray]
    """Each column [rows]: populations one after the other."""
    _facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What is known of a variant's networks, by variant; nothing of those that predictions alone were given of."""

    @property
    def is_multilabel(self) -> bool:
        return False

    def num_predictions(self, evaluation_set: str) -> int:
        """As `PopulationSource` has it."""
        known = self._sets[evaluation_set]
        return len(known.facts.labels) * sum(len(span.members) for span in known.spans.values())

    def population(self, evaluation_set: str, variant_id: str, columns: tuple[str, ...]) -> Population | None:
        """As `PopulationSource` has it; the arrays are views that cannot be written to."""
        known = self._sets[evaluation_set]
        span = known.spans.get(variant_id)
        if span is None:
            return None
        arrays = {
            name: self._view(self._arrays[name], span, len(known.facts.labels))
            for name in columns
            if name in self._arrays
        }
        return Population(
            variant_id=variant_id,
            evaluation_set=evaluation_set,
            seeds=tuple(self._seeds[member] for member in span.members),
            example_ids=known.facts.example_ids,
            labels=known.facts.labels,
            arrays={name: values for name, values in arrays.items() if not np.isnan(values[0, 0])},
            missing_seeds=(),
        )

    def populations(
        self, evaluation_sets: Sequence[str], variant_id: str, columns: tuple[str, ...]
    ) -> dict[str, Population]:
        """As `PopulationSource` has it."""
        found = {name: self.population(name, variant_id, columns) for name in evaluation_sets}
        return {name: population for name, population in found.items() if population is not None}

    @staticmethod
    def _view(array: np.ndarray, span: Span, num_examples: int) -> np.ndarray:
        """[members, examples]"""
        shape = (len(span.members), num_examples)
        view = array[span.first_row : span.first_row + shape[0] * shape[1]].reshape(shape)
        view.flags.writeable = False
        return view

    def examples(self, evaluation_set: str) -> ExampleFacts:
        """As `PopulationSource` has it."""
        return self._sets[evaluation_set].facts

    def training_labels(self) -> ExampleFacts:
        """Of multi-label data alone, which these are not; raises InputError."""
        raise InputError(f"{self.title}: found no training examples, as predictions alone were given")

    def validation(self, variant_id: str, columns: tuple[str, ...]) -> Population | None:
        """As `PopulationSource` has it: there is no such split."""
        return None

    def map_similarities(self, variant_id: str) -> Mapping[int, MapSimilarities]:
        """As `PopulationSource` has it: there are no networks whose maps could be compared."""
        return {}

    def costs(self) -> pd.DataFrame:
        """As `PopulationSource` has it: there are no networks whose cost could be measured."""
        return pd.DataFrame()

    def member_facts(self, variant_id: str) -> Mapping[str, Any]:
        """As `PopulationSource` has it: of networks that are not ours at most the size of their files is known."""
        figures = ("weight_bits", "quantized_fraction", "achieved_sparsity_mean", "checkpoint_bytes_mean")
        unknown: dict[str, Any] = {"arithmetic": None} | dict.fromkeys(figures, nan)
        return unknown | dict(self._facts.get(variant_id, {}))
