"""One variant against the reference on one evaluation set: the arrays, and the statistics that several tables share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit

from .. import stats
from ..errors import StoreError
from ..store import Population, schema
from ..variants import REFERENCE_ID
from .source import ExampleFacts, PopulationSource, VariantInfo

SIGNIFICANCE = 0.05
"""Level of the class tests in Hooker et al., and the false discovery rate of every q-value here."""

COLUMNS = (
    schema.PREDICTION,
    schema.LABEL_RANK,
    schema.CONFIDENCE,
    schema.LABEL_PROBABILITY,
    schema.MARGIN,
    schema.ENTROPY,
)


@dataclass(frozen=True, eq=False)
class Subject:
    """One population on one evaluation set, with what its source says of it.

    An answer is a member's label for an example. Of multi-label data it is one for an example and attribute, 0 or 1,
    the attributes of an example beside each other, so that every statistic of labels is one of attributes as well.
    """

    source: PopulationSource
    evaluation_set: str
    variant: VariantInfo
    population: Population
    """As stored, but for multi-label data with predictions, [members, answers]."""

    @property
    def predictions(self) -> np.ndarray:
        """Integers [members, answers]."""
        return self.population.arrays[schema.PREDICTION]

    @cached_property
    def labels(self) -> np.ndarray:
        """Integers [answers]."""
        labels = self.population.labels
        return labels.ravel().astype(np.uint8) if self.source.is_multilabel else labels

    @property
    def num_examples(self) -> int:
        return len(self.population.example_ids)

    @property
    def num_answers_each(self) -> int:
        """Answers an example: attributes of multi-label data, else 1."""
        return len(self.source.class_names) if self.source.is_multilabel else 1

    @property
    def num_members(self) -> int:
        return self.population.num_members

    @property
    def num_classes(self) -> int:
        """Values that an answer may have."""
        return 2 if self.source.is_multilabel else len(self.source.class_names)

    @cached_property
    def correct(self) -> np.ndarray:
        """Booleans [members, answers]."""
        return self.predictions == self.labels

    @cached_property
    def num_correct(self) -> np.ndarray:
        """Right answers of each member, [members]; row by row, as counting along an axis takes 20 times as long."""
        return np.array([np.count_nonzero(row) for row in self.correct])

    @property
    def top1(self) -> np.ndarray:
        """Share of right answers of each member, [members]."""
        return self.num_correct / self.predictions.shape[1]

    @cached_property
    def num_correct_top5(self) -> np.ndarray | None:
        """Answers of each member whose label is among its first five, [members]; None where ranks are not stored."""
        rank = self.stored(schema.LABEL_RANK)
        return None if rank is None else np.array([np.count_nonzero(row < 5) for row in rank])

    @cached_property
    def vote(self) -> stats.ModalVote:
        return stats.modal_vote(self.predictions, num_classes=self.num_classes, tie=self.source.evaluation.tie)

    @cached_property
    def correct_top5(self) -> np.ndarray | None:
        """Booleans [members, answers]; None where ranks are not stored."""
        rank = self.stored(schema.LABEL_RANK)
        return None if rank is None else rank < 5

    def stored(self, column: str) -> np.ndarray | None:
        """A column [members, answers]; None where it is not stored."""
        return self.population.arrays.get(column)

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers that are the same whenever and wherever these predictions are analysed."""
        text = f"{self.source.seed_text} {self.evaluation_set} {purpose}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))

    def halves(self, statistic: Callable[..., stats.HalfPies], *predictions: np.ndarray) -> stats.HalfPies:
        """A statistic of random halves; all variants of an evaluation set are halved alike."""
        evaluation = self.source.evaluation
        return statistic(
            *predictions,
            num_classes=self.num_classes,
            tie=evaluation.tie,
            num_splits=evaluation.num_noise_splits,
            rng=self.rng("halves"),
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """A variant and the reference on the same examples."""

    reference: Subject
    subject: Subject

    @property
    def source(self) -> PopulationSource:
        return self.subject.source

    @property
    def variant(self) -> VariantInfo:
        return self.subject.variant

    @property
    def labels(self) -> np.ndarray:
        """Integers [answers]."""
        return self.reference.labels

    @property
    def names(self) -> dict[str, str]:
        """The first columns of every table."""
        return {"evaluation_set": self.subject.evaluation_set, "variant_id": self.variant.variant_id}

    @cached_property
    def examples(self) -> ExampleFacts:
        return self.source.examples(self.subject.evaluation_set)

    def by_answer(self, values: Sequence[object] | np.ndarray) -> np.ndarray:
        """What is known of each example, [examples], for each of its answers, [answers]."""
        array = np.asarray(values, dtype=None if isinstance(values, np.ndarray) else object)
        return np.repeat(array, self.reference.num_answers_each)

    @cached_property
    def has_pie(self) -> np.ndarray:
        """Booleans [examples]: whether any of its answers is a PIE."""
        by_example: np.ndarray = self.pies.is_pie.reshape(self.reference.num_examples, -1)
        return np.logical_or.reduce(by_example, axis=1)

    @cached_property
    def common_seeds(self) -> tuple[int, ...]:
        """Seeds that both populations have."""
        variant = set(self.subject.population.seeds)
        return tuple(seed for seed in self.reference.population.seeds if seed in variant)

    @property
    def is_paired(self) -> bool:
        """Whether members were derived from members of the reference that are there."""
        return self.variant.is_paired and bool(self.common_seeds)

    @property
    def matched(self) -> tuple[np.ndarray, np.ndarray]:
        """Predictions [members, answers] of both: of paired members those of common seeds, else all there are."""
        return self.of_common_seeds if self.is_paired else (self.reference.predictions, self.subject.predictions)

    @property
    def of_common_seeds(self) -> tuple[np.ndarray, np.ndarray]:
        """Predictions [common seeds, answers] of both."""
        if self.common_seeds == self.reference.population.seeds == self.subject.population.seeds:
            return self.reference.predictions, self.subject.predictions
        before, after = (
            subject.predictions[[subject.population.seeds.index(seed) for seed in self.common_seeds]]
            for subject in (self.reference, self.subject)
        )
        return before, after

    @cached_property
    def pies(self) -> stats.Pies:
        return stats.find_pies_from_votes(self.reference.vote, self.subject.vote)

    @cached_property
    def test(self) -> stats.PermutationTest:
        """Whether the members' labels differ at all, [answers]: paired where members were derived, else unpaired."""
        options: dict[str, Any] = {
            "num_classes": self.subject.num_classes,
            "rng": self.subject.rng(f"permutations {self.variant.variant_id}"),
            "num_permutations": self.source.evaluation.num_permutations,
        }
        test = stats.paired_permutation_test if self.is_paired else stats.permutation_test
        return test(*self.matched, **options)

    @cached_property
    def q_value(self) -> np.ndarray:
        """[answers]; NaN where the votes could not be significant whoever cast them."""
        return stats.benjamini_hochberg(self.test.p_value, tested=self.test.testable(SIGNIFICANCE))

    @cached_property
    def is_significant(self) -> np.ndarray:
        """Booleans [answers]."""
        return self.q_value <= SIGNIFICANCE

    @cached_property
    def classes(self) -> stats.ClassImpact:
        return stats.class_impact(
            self.reference.predictions,
            self.subject.predictions,
            self.labels,
            num_classes=self.subject.num_classes,
            alpha=SIGNIFICANCE,
        )

    @cached_property
    def pairs(self) -> stats.Pairs | None:
        """Members of equal seeds held against each other; None where the populations have none in common."""
        if not self.common_seeds:
            return None
        return stats.compare_pairs(*self.of_common_seeds, self.labels)


def load_subject(
    source: PopulationSource, evaluation_set: str, variant: VariantInfo, *, with_logits: bool = False
) -> Subject | None:
    """Read a population; None where no member of it is complete. Logits are always those of multi-label data."""
    if source.is_multilabel:
        columns: tuple[str, ...] = (schema.LOGITS,)
    else:
        columns = (*COLUMNS, schema.LOGITS) if with_logits else COLUMNS
    population = source.population(evaluation_set, variant.variant_id, columns)
    if population is None:
        return None
    return Subject(source, evaluation_set, variant, _with_answers(population) if source.is_multilabel else population)


def _with_answers(population: Population) -> Population:
    """A multi-label population with what is stored of classes: predictions, and the probabilities of a sigmoid."""
    logits = population.arrays[schema.LOGITS].reshape(population.num_members, -1)
    of_label = expit(np.where(population.labels.ravel(), logits, -logits))
    arrays = {
        schema.PREDICTION: (logits > 0).astype(np.uint8),
        schema.CONFIDENCE: expit(np.abs(logits)),
        schema.LABEL_PROBABILITY: of_label,
        schema.MARGIN: 2 * of_label - 1,
    }
    return replace(population, arrays=population.arrays | arrays)


def compare(reference: Subject, subject: Subject) -> Comparison:
    """Raises StoreError where the two were evaluated on different examples."""
    if not np.array_equal(reference.population.example_ids, subject.population.example_ids):
        raise StoreError(
            f"{subject.source.storage}: {subject.variant.variant_id} and {REFERENCE_ID} were evaluated on "
            f"different examples of {subject.evaluation_set}"
        )
    return Comparison(reference, subject)
