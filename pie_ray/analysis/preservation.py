"""The table of label-preserving losses: each such variant against the same one of the plain loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import stats
from .comparison import Comparison, Subject, compare, load_subject
from .evaluation_sets import CORRUPTION, kind_of


def preservation_table(comparison: Comparison) -> pd.DataFrame:
    """One row, of members whose seed all three populations have; none of a plain loss, and on corrupted images.

    Raises StoreError where the plain variant was evaluated on other examples.
    """
    plain = _plain(comparison)
    if plain is None:
        return pd.DataFrame()
    seeds = [seed for seed in comparison.common_seeds if seed in plain.population.seeds]
    if not seeds:
        return pd.DataFrame()
    classes, examples = _attributes(comparison)
    reference, of_plain, preserving = (
        _of_seeds(subject, seeds) for subject in (comparison.reference, plain, comparison.subject)
    )
    found = stats.label_preservation(
        reference,
        of_plain,
        preserving,
        comparison.labels,
        num_classes=len(comparison.source.class_names),
        # The losses of one plain variant are held against the same draws of it.
        rng=comparison.subject.rng(f"preservation {plain.variant.variant_id}"),
        classes=classes,
        examples=examples,
    )
    names = comparison.source.class_names
    return pd.DataFrame(
        [
            comparison.names
            | {
                "plain_variant_id": plain.variant.variant_id,
                "loss": comparison.variant.loss,
                "plain_is_paired": plain.variant.is_paired,
                "num_members": len(seeds),
                "cie_mean": found.preserving.cie_fraction,
                "plain_cie_mean": found.plain.cie_fraction,
                **_interval("cie_ratio", found.cie_ratio),
                "cie_u_mean": found.preserving.cie_u_fraction,
                "plain_cie_u_mean": found.plain.cie_u_fraction,
                **_interval("cie_u_ratio", found.cie_u_ratio),
                **_interval("top1_change", found.top1_change),
                "class_spread": found.preserving.class_spread,
                "plain_class_spread": found.plain.class_spread,
                **_interval("class_spread_ratio", found.class_spread_ratio),
                "worst_class": names[found.preserving.worst_class],
                "worst_class_change": found.preserving.worst_class_change,
                "plain_worst_class": names[found.plain.worst_class],
                "plain_worst_class_change": found.plain.worst_class_change,
                **_interval("worst_class_difference", found.worst_class_difference),
            }
        ]
    )


def _plain(comparison: Comparison) -> Subject | None:
    """The population of the plain loss."""
    source, evaluation_set = comparison.source, comparison.subject.evaluation_set
    plain_id = comparison.variant.plain_id
    if plain_id is None or kind_of(evaluation_set).kind == CORRUPTION:
        return None
    variant = next(variant for variant in source.variants if variant.variant_id == plain_id)
    subject = load_subject(source, evaluation_set, variant)
    return None if subject is None else compare(comparison.reference, subject).subject


def _of_seeds(subject: Subject, seeds: list[int]) -> np.ndarray:
    """Predictions [seeds, answers]."""
    return subject.predictions[[subject.population.seeds.index(seed) for seed in seeds]]


def _attributes(comparison: Comparison) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Attribute and example of each answer, [answers], of multi-label data, where attributes stand in for classes."""
    if not comparison.source.is_multilabel:
        return None, None
    num_examples, num_attributes = comparison.reference.num_examples, comparison.reference.num_answers_each
    return np.tile(np.arange(num_attributes), num_examples), np.repeat(np.arange(num_examples), num_attributes)


def _interval(name: str, found: stats.Resampled) -> dict[str, Any]:
    return {name: float(found.value), f"{name}_low": float(found.low), f"{name}_high": float(found.high)}
