"""The summary's columns: how well a variant does, what it forgets, and how much of that chance would do."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import stats
from ..store import schema
from .comparison import SIGNIFICANCE, Comparison, Subject

Columns = dict[str, Any]


def reference_columns(reference: Subject) -> Columns:
    """The reference's row."""
    shared = _population_columns(reference)
    itself = {"reference_top1_mean": shared["top1_mean"], "num_pies": 0, "is_paired": False}
    return shared | _noise_columns(reference) | itself


def variant_columns(comparison: Comparison) -> Columns:
    """A variant's row; a noise floor that it has none of its own is the reference's, and filled in afterwards."""
    return (
        _population_columns(comparison.subject)
        | _change_columns(comparison)
        | _pie_columns(comparison)
        | _half_columns(comparison)
        | _significance_columns(comparison)
        | _reduced_columns(comparison)
        | _pair_columns(comparison)
    )


def _population_columns(subject: Subject) -> Columns:
    correct, top5 = subject.correct, subject.correct_top5
    confidence = subject.stored(schema.CONFIDENCE)
    error = None if confidence is None else stats.expected_calibration_error(confidence, correct)
    return {
        "evaluation_set": subject.evaluation_set,
        "variant_id": subject.variant.variant_id,
        "sparsity": subject.variant.sparsity,
        "quantization": subject.variant.quantization,
        "num_members": subject.num_members,
        "num_examples": subject.num_examples,
        "num_answers": correct.shape[1],
        "top1_mean": float(correct.mean()),
        "top1_std": spread_over_members(correct.mean(axis=1)),
        "top5_mean": _mean(top5),
        "confidence_mean": _mean(confidence),
        "ece_mean": _mean(error),
        "ece_std": np.nan if error is None else spread_over_members(error),
        **subject.source.member_facts(subject.variant.variant_id),
    }


def _change_columns(comparison: Comparison) -> Columns:
    """Change of top-1 with its 95 % interval over members, which is NaN for populations of one member.

    By the arithmetic of an excess drop, of accuracies in place of drops; of paired members those of common seeds.
    """
    before, after = ((predictions == comparison.labels).mean(axis=1) for predictions in comparison.matched)
    found = stats.excess_drop(before, after, is_paired=comparison.is_paired)
    return {
        "top1_change": float(found.excess),
        "top1_change_low": float(found.low),
        "top1_change_high": float(found.high),
    }


def _noise_columns(reference: Subject) -> Columns:
    """What two trainings without compression differ in; NaN for a reference of one member."""
    if reference.num_members < 2:
        return dict.fromkeys(("null_pie_fraction", "null_pie_std", "null_cie_mean", "null_cie_u_mean"), np.nan)
    floor = reference.halves(stats.noise_floor, reference.predictions)
    flips = stats.null_cie(reference.predictions, reference.labels)
    return {
        "null_pie_fraction": floor.mean,
        "null_pie_std": floor.std,
        "null_cie_mean": flips.mean_cie,
        "null_cie_u_mean": flips.mean_cie_u,
    }


def _pie_columns(comparison: Comparison) -> Columns:
    pies, classes = comparison.pies, comparison.classes
    correctness = stats.pie_correctness(pies, comparison.labels)
    return {
        "num_pies": pies.num_pies,
        "pie_fraction": pies.pie_fraction,
        "num_pies_variant_correct": correctness.num_variant_correct,
        "num_pies_reference_correct": correctness.num_reference_correct,
        "num_ties_reference": pies.num_tied_reference,
        "num_ties_variant": pies.num_tied_variant,
        "num_significant_classes": classes.num_significant,
    }


def _half_columns(comparison: Comparison) -> Columns:
    """PIEs between a half of the reference and a half of the variant: what the noise floor is to be held against.

    NaN for populations of one member, and where members of one side are missing: halves of another size than the noise
    floor's are not like it. A variant that an adaptive population gave fewer members than the reference has a floor of
    its own, of as many of the reference's.
    """
    before, after = comparison.matched
    if _has_fewer_by_decision(comparison):
        reference = comparison.reference
        before = reference.predictions[: len(after)]
        floor = reference.halves(stats.noise_floor, before)
        own = {"null_pie_fraction": floor.mean, "null_pie_std": floor.std}
    elif len(before) == len(after) == comparison.reference.num_members >= 2:
        own = {}
    else:
        return {"half_pie_fraction": np.nan, "half_pie_std": np.nan}
    halves = comparison.subject.halves(stats.half_pies, before, after)
    return {"half_pie_fraction": halves.mean, "half_pie_std": halves.std, **own}


def _has_fewer_by_decision(comparison: Comparison) -> bool:
    """Whether both populations are complete, have the same first seeds, and the variant was to have fewer."""
    reference, subject = comparison.reference, comparison.subject
    num_members = subject.num_members
    return (
        2 <= num_members < reference.num_members
        and num_members == subject.variant.num_wanted
        and reference.num_members == reference.variant.num_wanted
        and subject.population.seeds == reference.population.seeds[:num_members]
    )


def _significance_columns(comparison: Comparison) -> Columns:
    is_significant = comparison.is_significant
    return {
        "is_paired": comparison.is_paired,
        "num_testable": int(comparison.test.testable(SIGNIFICANCE).sum()),
        "num_significant": int(is_significant.sum()),
        "num_significant_pies": int((is_significant & comparison.pies.is_pie).sum()),
        "smallest_p_value": float(comparison.test.min_p_value.min()),
    }


def _reduced_columns(comparison: Comparison) -> Columns:
    is_pie = comparison.pies.is_pie
    columns: Columns = {}
    for owner, subject in (("", comparison.subject), ("reference_", comparison.reference)):
        for top, correct in (("top1", subject.correct), ("top5", subject.correct_top5)):
            reduced = None if correct is None else stats.reduced_accuracy_from_correct(correct, is_pie)
            columns[f"{owner}{top}_on_pies"] = np.nan if reduced is None else reduced.on_pies.mean
            columns[f"{owner}{top}_without_pies"] = np.nan if reduced is None else reduced.without_pies.mean
    return columns | {"reference_top1_mean": float(comparison.reference.correct.mean())}


def _pair_columns(comparison: Comparison) -> Columns:
    """CIE and CIE-U over the pairs of equal seed (Joseph et al., arXiv 2012.01604)."""
    pairs = comparison.pairs
    if pairs is None:
        return dict.fromkeys(("cie_mean", "cie_std", "cie_u_mean", "cie_u_std"), np.nan)
    return {
        "cie_mean": pairs.mean_cie,
        "cie_std": pairs.std_cie,
        "cie_u_mean": pairs.mean_cie_u,
        "cie_u_std": pairs.std_cie_u,
    }


def _mean(values: np.ndarray | None) -> float:
    """NaN where nothing is stored."""
    return np.nan if values is None else float(values.mean(dtype=np.float64))


def spread_over_members(per_member: np.ndarray) -> float:
    """Standard deviation [members] (divisor members - 1); NaN for one member."""
    return float(np.std(per_member, ddof=1)) if len(per_member) > 1 else np.nan
