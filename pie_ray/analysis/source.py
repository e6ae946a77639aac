"""What an analysis works on: populations by variant and evaluation set, wherever they come from.

A sweep's folder is one source (`results`), a table of predictions made elsewhere another (`imported`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from ..config import Evaluation
from ..store import MapSimilarities, Population, Storage
from ..variants import REFERENCE_ID


@dataclass(frozen=True)
class VariantInfo:
    """One compression setting, as the tables describe it."""

    variant_id: str
    sparsity: float = 0.0
    """NaN where it is not known."""
    quantization: str | None = None
    is_paired: bool = False
    """Whether member m was derived from member m of the reference, as quantized dense members are."""
    loss: str | None = None
    """Id of the label-preserving loss; None is the plain one."""
    plain_id: str | None = None
    """The same variant of the plain loss, where there is a label-preserving one."""
    num_wanted: int | None = None
    """Members that an adaptive population decided on; None where all variants are to have as many."""

    @property
    def is_reference(self) -> bool:
        return self.variant_id == REFERENCE_ID


@dataclass(frozen=True, eq=False)
class ExampleFacts:
    """What is known of an evaluation set's examples beside predictions; by ascending example id."""

    example_ids: np.ndarray
    """int64 [examples]"""
    labels: np.ndarray
    """Integers [examples], or booleans [examples, attributes] of multi-label data."""
    keys: tuple[str, ...]
    groups: Mapping[str, np.ndarray]
    """Each [examples]: bool, integers or text."""


class PopulationSource(Protocol):
    """Read-only; must be picklable, since analyses are spread over a cluster."""

    @property
    def storage(self) -> Storage:
        """Where `analysis/` and `report/` are written."""

    @property
    def title(self) -> str: ...

    @property
    def evaluation(self) -> Evaluation:
        """Tie rule, groups, numbers of splits and permutations."""

    @property
    def seed_text(self) -> str:
        """What random numbers are drawn from, so that the same predictions give the same tables anywhere."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, or of the attributes of multi-label data."""

    @property
    def is_multilabel(self) -> bool: ...

    @property
    def variants(self) -> tuple[VariantInfo, ...]:
        """The reference first."""

    @property
    def evaluation_sets(self) -> tuple[str, ...]: ...

    @property
    def missing(self) -> tuple[str, ...]:
        """Members that were planned and are not there, as people name them."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before believing the figures."""

    @property
    def provenance(self) -> Mapping[str, str]:
        """Where the figures come from: versions, machine, digests."""

    def num_predictions(self, evaluation_set: str) -> int:
        """About how many there are, of all members of all variants: by it, work is cut into tasks."""

    def population(self, evaluation_set: str, variant_id: str, columns: tuple[str, ...]) -> Population | None:
        """A variant's complete members, with those of `columns` that are stored; None where there are no members.

        Raises StoreError for damaged or mixed predictions.
        """

    def populations(
        self, evaluation_sets: Sequence[str], variant_id: str, columns: tuple[str, ...]
    ) -> Mapping[str, Population]:
        """`population` of several evaluation sets, read in one pass; sets without members are left out."""

    def examples(self, evaluation_set: str) -> ExampleFacts:
        """Row for row the `examples` axis of a population."""

    def training_labels(self) -> ExampleFacts:
        """The training examples' facts, with `labels`; only of multi-label data."""

    def validation(self, variant_id: str, columns: tuple[str, ...]) -> Population | None:
        """A variant's members on the validation split; None where there is none."""

    def map_similarities(self, variant_id: str) -> Mapping[int, MapSimilarities]:
        """How alike the members' attribution maps are to the reference's, by the reference member's seed.

        Of the reference it is that of two of its members. Empty where no maps were compared.
        """

    def costs(self) -> pd.DataFrame:
        """The table `costs`, as `cost_table` makes it; empty where nothing is known of the networks."""

    def member_facts(self, variant_id: str) -> Mapping[str, Any]:
        """Columns of the summary that describe a variant's members: arithmetic, measured sparsity, checkpoint size."""
