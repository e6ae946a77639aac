"""The tables beside the summary, each a function of one comparison: rows by example, class, pair, score and size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .. import stats
from ..store import schema
from .comparison import SIGNIFICANCE, Comparison, Subject

CHANGES = {
    "confidence_change": schema.CONFIDENCE,
    "label_probability_change": schema.LABEL_PROBABILITY,
    "margin_change": schema.MARGIN,
}
"""Columns of the PIEs by the stored value that they are the change of."""


def accuracy_table(subject: Subject) -> pd.DataFrame:
    """A row a member: its share of correct answers, and of those whose label is among its first five."""
    return pd.DataFrame(accuracy_rows(subject))


def accuracy_rows(subject: Subject) -> list[dict[str, Any]]:
    """The rows of `accuracy_table`: to be put into one table for many sets, as each takes milliseconds."""
    num_top5 = subject.num_correct_top5
    top5 = np.full(subject.num_members, np.nan) if num_top5 is None else num_top5 / subject.predictions.shape[1]
    names = {"evaluation_set": subject.evaluation_set, "variant_id": subject.variant.variant_id}
    members = zip(subject.population.seeds, subject.top1.tolist(), top5.tolist(), strict=True)
    return [names | {"seed": seed, "top1": top1, "top5": top5} for seed, top1, top5 in members]


def pie_table(comparison: Comparison) -> pd.DataFrame:
    """A row an example whose mode moved or whose votes differ significantly; the most moved first."""
    pies, test, reference = comparison.pies, comparison.test, comparison.reference
    is_kept = pies.is_pie | comparison.is_significant
    columns = {
        "example_id": comparison.by_answer(reference.population.example_ids),
        "key": comparison.by_answer(comparison.examples.keys),
        **_attribute_names(comparison),
        "label": comparison.labels,
        "reference_mode": pies.reference_mode,
        "variant_mode": pies.variant_mode,
        "reference_agreement": pies.reference_agreement,
        "variant_agreement": pies.variant_agreement,
        **_changes(comparison),
        "is_pie": pies.is_pie,
        "p_value": test.p_value,
        "q_value": comparison.q_value,
        "is_significant": comparison.is_significant,
    }
    table = pd.DataFrame(comparison.names | {name: values[is_kept] for name, values in columns.items()})
    before, after = reference.predictions[:, is_kept], comparison.subject.predictions[:, is_kept]
    distance = stats.taxicab(before, after, num_classes=reference.num_classes) if is_kept.any() else np.empty(0)
    table.insert(table.columns.get_loc("variant_agreement") + 1, "taxicab", distance)
    return table.sort_values(["taxicab", "example_id"], ascending=[False, True], kind="stable")


def _attribute_names(comparison: Comparison) -> dict[str, np.ndarray]:
    """Which attribute an answer is about; nothing of classes."""
    if not comparison.source.is_multilabel:
        return {}
    return {"attribute": np.tile(np.asarray(comparison.source.class_names, object), comparison.reference.num_examples)}


def _changes(comparison: Comparison) -> dict[str, np.ndarray]:
    """Mean of the variant's members minus mean of the reference's, [answers]; NaN where it is not stored."""
    changes = {}
    for name, column in CHANGES.items():
        before, after = comparison.reference.stored(column), comparison.subject.stored(column)
        if before is None or after is None:
            changes[name] = np.full(comparison.labels.shape, np.nan)
        else:
            changes[name] = stats.mean_change(before, after)
    return changes


def class_table(comparison: Comparison) -> pd.DataFrame:
    """A row a class; the q-values, over all variants at once, come when all are there."""
    classes, names = comparison.classes, comparison.source.class_names
    return pd.DataFrame(
        comparison.names
        | {
            "class_index": np.arange(len(names)),
            "class_name": list(names),
            "num_examples": classes.num_examples,
            "reference_recall": classes.reference_recall,
            "variant_recall": classes.variant_recall,
            "change": classes.change,
            "normalised_change": classes.normalised_change,
            "low": classes.low,
            "high": classes.high,
            "effect_size": classes.effect_size,
            "statistic": classes.statistic,
            "p_value": classes.p_value,
            "significant": classes.significant,
        }
    )


def pair_table(comparison: Comparison) -> pd.DataFrame:
    """A row a pair of members of equal seed: CIE, CIE-U and McNemar's test."""
    pairs = comparison.pairs
    if pairs is None:
        return pd.DataFrame()
    return pd.DataFrame(
        comparison.names
        | {
            "seed": list(comparison.common_seeds),
            "is_paired": comparison.variant.is_paired,
            "num_cie": pairs.num_cie,
            "num_cie_u": pairs.num_cie_u,
            "num_only_variant_right": pairs.num_only_variant_right,
            "cie_fraction": pairs.cie_fraction,
            "cie_u_fraction": pairs.cie_u_fraction,
            "p_value": pairs.p_value,
            "q_value": pairs.q_value,
        }
    )


def foretelling_table(comparison: Comparison) -> pd.DataFrame:
    """A row a score of the reference alone: how well it ranks the examples that become PIEs."""
    is_pie = comparison.pies.is_pie
    rows = []
    for score, values in dense_scores(comparison.reference).items():
        found = stats.foretell(values, is_pie)
        rows.append(
            comparison.names
            | {
                "score": score,
                "num_pies": found.num_pies,
                "base_rate": found.base_rate,
                "auroc": found.auroc,
                "average_precision": found.average_precision,
                **{
                    f"recall_at_{100 * share:g}_percent": value
                    for share, value in zip(found.top, found.recall_at_top.tolist(), strict=True)
                },
                **_spread(values[is_pie], "pies"),
                **_spread(values[~is_pie], "rest"),
            }
        )
    return pd.DataFrame(rows)


def _spread(values: np.ndarray, where: str) -> dict[str, float]:
    """Mean and quartiles of a score; NaN of no examples."""
    known = [values.mean(), *np.quantile(values, (0.25, 0.5, 0.75))] if values.size else [np.nan] * 4
    names = (f"{name}_on_{where}" for name in ("mean", "q25", "median", "q75"))
    return {name: float(value) for name, value in zip(names, known, strict=True)}


def dense_scores(reference: Subject) -> dict[str, np.ndarray]:
    """Uncertainty of a population about each answer, larger where it is less sure, [answers]."""
    scores = {"vote_entropy": stats.vote_entropy(reference.predictions, num_classes=reference.num_classes)}
    for name, column, sign in (
        ("unconfidence", schema.CONFIDENCE, -1),
        ("expected_entropy", schema.ENTROPY, 1),
        ("unlikely_label", schema.LABEL_PROBABILITY, -1),
    ):
        values = reference.stored(column)
        if values is not None:
            scores[name] = sign * values.mean(axis=0, dtype=np.float64)
    logits = None if reference.source.is_multilabel else reference.stored(schema.LOGITS)
    if logits is not None:
        uncertainty = stats.uncertainty(logits)
        scores |= {"entropy": uncertainty.entropy, "mutual_information": uncertainty.mutual_information}
    return scores


def stability_table(comparison: Comparison) -> pd.DataFrame:
    """A row a number of members: how alike the PIEs of two disjoint repetitions are."""
    before, after = comparison.matched
    if min(len(before), len(after)) < 4:
        return pd.DataFrame()
    found = stats.pie_stability(
        before,
        after,
        num_classes=comparison.subject.num_classes,
        rng=comparison.subject.rng("stability"),
        tie=comparison.source.evaluation.tie,
        is_paired=comparison.is_paired,
    )
    return pd.DataFrame(
        comparison.names
        | {
            "num_members": found.num_members,
            "jaccard_mean": found.jaccard_mean,
            "jaccard_std": found.jaccard_std,
            "pie_fraction": found.pie_fraction,
            "num_resamples": found.num_resamples,
        }
    )


def evidence_table(comparison: Comparison, evidence: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """A row a column of evidence: how the PIEs differ from the rest on it."""
    rows = []
    for name, values in evidence.items():
        found = stats.compare_evidence(
            values,
            comparison.has_pie,
            rng=comparison.subject.rng(f"evidence {comparison.variant.variant_id} {name}"),
            num_permutations=comparison.source.evaluation.num_permutations,
        )
        rows.append(comparison.names | {"evidence": name} | vars(found))
    return pd.DataFrame(rows)


def discoveries(classes: pd.DataFrame) -> pd.DataFrame:
    """The class table with q-values over all variants of an evaluation set at once."""
    if classes.empty:
        return classes
    q_value = classes.groupby("evaluation_set")["p_value"].transform(stats.benjamini_hochberg)
    return classes.assign(q_value=q_value, discovered=q_value <= SIGNIFICANCE)
