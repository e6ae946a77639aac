"""Multi-label data: every attribute's errors and doubts, whose bias grows, what foretells it, and what helps.

Definitions of Iofinova et al. (arXiv 2304.12622); an attribute is any of those learned jointly, a category one of the
groups that bias is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from .. import stats
from ..store import Population, schema
from .comparison import Comparison, Subject
from .group_tables import default_categories
from .source import ExampleFacts

HIGH_UNCERTAINTY = 0.1
"""Within this distance of one half a probability is highly uncertain; .4 is uncertain."""

AMPLIFIES = 0.01
"""A change of bias amplification by more than this counts as amplified."""


def multilabel_tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """`attributes`, `amplification`, `criteria` and `countermeasures` of one variant."""
    case = _Case(comparison)
    return {
        "attributes": _attribute_table(case),
        "amplification": _amplification_table(case),
        "criteria": _criteria_table(case),
        "countermeasures": _countermeasure_table(case),
    }


@dataclass(frozen=True, eq=False)
class _Case:
    """A comparison with its attributes on an axis of their own."""

    comparison: Comparison

    @property
    def attributes(self) -> tuple[str, ...]:
        return self.comparison.source.class_names

    @cached_property
    def labels(self) -> np.ndarray:
        """Booleans [examples, attributes]."""
        return self.comparison.reference.population.labels.astype(bool)

    @cached_property
    def category_names(self) -> tuple[str, ...]:
        wanted, groups = self.comparison.source.evaluation.groups, self.comparison.examples.groups
        named = default_categories(groups) if wanted is None else tuple(name for name in wanted if name in groups)
        return tuple(name for name in named if groups[name].dtype == np.bool_ and name in self.training_facts.groups)

    @cached_property
    def categories(self) -> np.ndarray:
        """Booleans [examples, categories]."""
        return self._sides(self.comparison.examples)

    @cached_property
    def training_facts(self) -> ExampleFacts:
        return self.comparison.source.training_labels()

    @cached_property
    def training(self) -> stats.TrainingRates:
        return stats.training_rates(
            self.training_facts.labels.astype(bool),
            self._sides(self.training_facts),
            attribute_names=self.attributes,
            category_names=self.category_names,
        )

    def _sides(self, facts: ExampleFacts) -> np.ndarray:
        return np.stack([np.asarray(facts.groups[name], bool) for name in self.category_names], axis=1)

    def logits(self, subject: Subject) -> np.ndarray:
        """Floats [members, examples, attributes]."""
        return subject.population.arrays[schema.LOGITS]

    def predictions(self, subject: Subject) -> np.ndarray:
        """Booleans [members, examples, attributes]."""
        return stats.predict_attributes(self.logits(subject))

    def rng(self, purpose: str) -> np.random.Generator:
        return self.comparison.subject.rng(f"{purpose} {self.comparison.variant.variant_id}")


def _attribute_table(case: _Case) -> pd.DataFrame:
    """A row an attribute: the reference's and the variant's means over members, and the PIEs."""
    comparison = case.comparison
    reference, variant = (_measures(case, subject) for subject in (comparison.reference, comparison.subject))
    is_pie = comparison.pies.is_pie.reshape(case.labels.shape)
    is_significant = comparison.is_significant.reshape(case.labels.shape)
    susceptible = stats.susceptible_examples(stats.uncertain_members(case.logits(comparison.reference)), is_pie)
    return pd.DataFrame(
        comparison.names
        | {"attribute": list(case.attributes), "num_examples": len(is_pie), "true_rate": case.labels.mean(axis=0)}
        | {f"reference_{name}": values for name, values in reference.items()}
        | variant
        | {
            "num_pies": is_pie.sum(axis=0),
            "pie_fraction": is_pie.mean(axis=0),
            "num_significant": is_significant.sum(axis=0),
            "num_susceptible": susceptible.num_susceptible,
            "susceptible_precision": susceptible.precision,
            "susceptible_recall": susceptible.recall,
            "susceptible_auroc": susceptible.auroc,
        }
    )


def _measures(case: _Case, subject: Subject) -> dict[str, np.ndarray]:
    """Means over one population's members, [attributes] each; NaN members are left out."""
    logits, predictions = case.logits(subject), case.predictions(subject)
    rates = stats.attribute_rates(predictions, case.labels)
    per_member = {
        "accuracy": rates.accuracy,
        "false_positive_rate": rates.false_positive_rate,
        "false_negative_rate": rates.false_negative_rate,
        "predicted_rate": rates.predicted_rate,
        "auroc": stats.attribute_auroc(logits, case.labels),
        "ece": stats.attribute_calibration_error(logits, case.labels),
        "uncertainty": stats.uncertainty_share(logits),
        "high_uncertainty": stats.uncertainty_share(logits, within=HIGH_UNCERTAINTY),
        "interdependence": stats.interdependence(predictions),
        "threshold_calibration_bias": stats.threshold_calibration_bias(
            predictions, case.labels, stats.rarer_values(case.training_facts.labels.astype(bool))
        ),
    }
    return {name: pd.DataFrame(values).mean().to_numpy() for name, values in per_member.items()}


def _amplification_table(case: _Case) -> pd.DataFrame:
    """A row an attribute and category, with the reason where bias amplification is undefined."""
    if not case.category_names:
        return pd.DataFrame()
    before, after = _amplifications(case)
    return pd.DataFrame(
        case.comparison.names
        | _cells(case)
        | {
            "category_side": np.where(before.side, "with", "without").ravel(),
            "training_rate_with": case.training.with_category.ravel(),
            "training_rate_without": case.training.without_category.ravel(),
            "reference_amplification": before.mean.ravel(),
            "amplification": after.mean.ravel(),
            "amplification_std": pd.DataFrame(after.value.reshape(len(after.value), -1)).std().to_numpy(),
            "change": (after.mean - before.mean).ravel(),
            "reason": after.reason.ravel(),
        }
    )


def _criteria_table(case: _Case) -> pd.DataFrame:
    """A row a criterion and category: does what the reference alone tells go with the change of amplification?"""
    if not case.category_names:
        return pd.DataFrame()
    before, after = _amplifications(case)
    criteria = stats.amplification_criteria(
        case.logits(case.comparison.reference), case.labels, case.categories, training=case.training
    )
    found = stats.foretell_amplification(
        criteria,
        after.mean - before.mean,
        category_names=case.category_names,
        more_than=AMPLIFIES,
        rng=case.rng("criteria"),
        num_permutations=case.comparison.source.evaluation.num_permutations,
    )
    names = [(criterion, category) for criterion in found.criteria for category in found.categories]
    return pd.DataFrame(
        case.comparison.names
        | {
            "criterion": [criterion for criterion, _ in names],
            "category": [category for _, category in names],
            "num_attributes": found.num_attributes.ravel(),
            "num_amplified": found.num_amplified.ravel(),
            "correlation": found.correlation.ravel(),
            "p_value": found.p_value.ravel(),
            "auroc": found.auroc.ravel(),
        }
    )


def _countermeasure_table(case: _Case) -> pd.DataFrame:
    """A row a countermeasure, attribute and category: accuracy and bias amplification before and after."""
    if not case.category_names:
        return pd.DataFrame()
    before = case.predictions(case.comparison.subject)
    tables = []
    for name, after, share_overridden in _countermeasures(case):
        effect = stats.countermeasure_effect(
            before, after, case.labels, case.categories, training=case.training, share_overridden=share_overridden
        )
        by_attribute = {
            "accuracy_before": effect.accuracy_before,
            "accuracy_after": effect.accuracy_after,
            "share_changed": effect.share_changed,
            "share_overridden": effect.share_overridden,
        }
        columns = (
            _cells(case)
            | {key: np.repeat(values, len(case.category_names)) for key, values in by_attribute.items()}
            | {
                "amplification_before": effect.amplification_before.mean.ravel(),
                "amplification_after": effect.amplification_after.mean.ravel(),
            }
        )
        tables.append(pd.DataFrame(case.comparison.names | {"countermeasure": name} | columns))
    return pd.concat(tables, ignore_index=True)


def _countermeasures(case: _Case) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """Each one's name, predictions [members, examples, attributes], and share overridden [members, attributes]."""
    comparison = case.comparison
    subject, before = comparison.subject, case.predictions(comparison.subject)
    validation = comparison.source.validation(comparison.variant.variant_id, (schema.LOGITS,))
    if validation is not None and validation.seeds == subject.population.seeds:
        yield "thresholds", stats.predict_attributes(case.logits(subject), _thresholds(validation)), None
    reference_logits = case.logits(comparison.reference)
    pies = stats.attribute_pies(case.predictions(comparison.reference), before, tie=comparison.source.evaluation.tie)
    doubted = stats.uncertain_members(reference_logits) > 0.5
    decided = stats.override(pies.reference_mode, before, doubted)
    yield "override", decided.predictions, decided.share_overridden


def _thresholds(validation: Population) -> np.ndarray:
    return stats.adjusted_thresholds(validation.arrays[schema.LOGITS], validation.labels.astype(bool))


def _amplifications(case: _Case) -> tuple[stats.BiasAmplification, stats.BiasAmplification]:
    """The reference's and the variant's."""
    before, after = (
        stats.bias_amplification(case.predictions(subject), case.labels, case.categories, training=case.training)
        for subject in (case.comparison.reference, case.comparison.subject)
    )
    return before, after


def _cells(case: _Case) -> dict[str, Any]:
    """Names of the rows of an array [attributes, categories]."""
    return {
        "attribute": np.repeat(np.asarray(case.attributes, object), len(case.category_names)),
        "category": np.tile(np.asarray(case.category_names, object), len(case.attributes)),
    }
