"""One row of the table `robustness`: a variant and the reference on one set, beside the clean one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .. import stats
from .comparison import SIGNIFICANCE, Comparison, Subject
from .corruption_errors import SetErrors
from .evaluation_sets import CORRUPTION, SetKind
from .fragility import Breaks

NUM_SPLITS = 20
"""Random halvings at most, for the PIEs that chance makes on one set of many."""

Columns = dict[str, Any]
BySeed = dict[int, float]


@dataclass(frozen=True, eq=False)
class Side:
    """One population on a set and on the clean one. Accuracies are the members', by seed."""

    here: Subject
    clean: Subject | None
    places: np.ndarray | None
    """Where this set's answers are among the clean ones; None where all clean ones are to be taken."""

    @cached_property
    def accuracy(self) -> BySeed:
        return _by_seed(self.here, self.here.top1)

    @cached_property
    def clean_accuracy(self) -> BySeed:
        """Of the members that are on both sets."""
        if self.clean is None:
            return {}
        if self.places is None:
            found = _by_seed(self.clean, self.clean.top1)
        else:
            found = _by_seed(self.clean, self.clean.correct[:, self.places].mean(axis=1))
        return {seed: found[seed] for seed in self.accuracy if seed in found}

    @cached_property
    def drop(self) -> BySeed:
        return {seed: clean - self.accuracy[seed] for seed, clean in self.clean_accuracy.items()}


@dataclass(frozen=True, eq=False)
class Shift:
    """A variant and the reference on one set, beside the clean one. The reference is also held against itself."""

    kind: SetKind
    here: Comparison
    clean: Comparison | None

    @cached_property
    def places(self) -> np.ndarray | None:
        """Where the answers of a corrupted set are among the clean ones; None where they are others, or of others."""
        if self.clean is None or self.kind.kind != CORRUPTION:
            return None
        ids, known = (each.reference.population.example_ids for each in (self.here, self.clean))
        found = np.arange(ids.size) if np.array_equal(known, ids) else np.searchsorted(known, ids)
        if found[-1] >= known.size or not np.array_equal(known[found], ids):
            return None
        num_each = self.here.reference.num_answers_each
        places: np.ndarray = (found[:, None] * num_each + np.arange(num_each)).ravel()
        return places if np.array_equal(self.clean.labels[places], self.here.labels) else None

    @cached_property
    def _chosen(self) -> np.ndarray | None:
        """`places`, where the set has but some of the clean answers; None where there is nothing to choose."""
        if self.clean is None or self.places is None or self.places.size == self.clean.labels.size:
            return None
        return self.places

    @cached_property
    def reference(self) -> Side:
        return Side(self.here.reference, None if self.clean is None else self.clean.reference, self._chosen)

    @cached_property
    def variant(self) -> Side:
        return Side(self.here.subject, None if self.clean is None else self.clean.subject, self._chosen)

    @property
    def is_paired(self) -> bool:
        """Whether members are to be compared with those of the same seed; each with itself of the reference."""
        return self.here.is_paired or self.here.variant.is_reference

    def errors(self) -> SetErrors:
        """What the errors over many sets are made of: numbers alone, as sets' predictions are not kept."""
        return SetErrors(
            kind=self.kind,
            variant_id=self.here.variant.variant_id,
            is_paired=self.is_paired,
            reference=_errors(self.reference.accuracy),
            variant=_errors(self.variant.accuracy),
            reference_drop=self.reference.drop,
            variant_drop=self.variant.drop,
            seed=int(self._rng("corruption errors").integers(2**63)),
        )

    def breaks(self) -> Breaks | None:
        """What fragility is made of; None where the examples are not among the clean ones."""
        if self.places is None:
            return None
        return Breaks.of(self.kind, self._chosen, self.here.pies, self.here.labels)

    def _rng(self, purpose: str) -> np.random.Generator:
        return self.here.subject.rng(f"{purpose} {self.here.variant.variant_id}")

    def columns(self) -> Columns:
        """The row of the `robustness` table, but for what takes all variants."""
        drop = self._drop_columns()
        test = {name: drop.pop(name) for name in ("statistic", "p_value")}
        return {
            **self.here.names,
            **self._descriptive_columns(),
            **self._accuracy_columns(),
            **drop,
            **self._change_columns(),
            **test,
            **self._pie_columns(),
            **self._clean_pie_columns(),
        }

    def _descriptive_columns(self) -> Columns:
        subject, variant = self.here.subject, self.here.variant
        return {
            "kind": self.kind.kind,
            "family": self.kind.family,
            "corruption": self.kind.corruption,
            "severity": self.kind.severity,
            "sparsity": variant.sparsity,
            "quantization": variant.quantization,
            "is_paired": self.here.is_paired,
            "num_members": subject.num_members,
            "num_examples": subject.num_examples,
        }

    def _accuracy_columns(self) -> Columns:
        top1 = stats.member_mean(_values(self.variant.accuracy), alpha=SIGNIFICANCE)
        num_top5, num_answers = self.here.subject.num_correct_top5, self.here.subject.predictions.size
        return {
            "top1_mean": float(top1.mean),
            "top1_std": float(top1.std),
            "top1_low": float(top1.low),
            "top1_high": float(top1.high),
            "top5_mean": np.nan if num_top5 is None else num_top5.sum() / num_answers,
            "reference_top1_mean": _mean(self.reference.accuracy),
            "clean_top1_mean": _mean(self.variant.clean_accuracy),
            "reference_clean_top1_mean": _mean(self.reference.clean_accuracy),
        }

    def _drop_columns(self) -> Columns:
        """Where paired members are missing on either set, the excess is over the pairs that are whole."""
        before, after = _matched(self.reference.drop, self.variant.drop, is_paired=self.is_paired)
        if not (before.size and after.size):
            return dict.fromkeys(_DROPS, np.nan)
        drop = stats.member_mean(_values(self.variant.drop), alpha=SIGNIFICANCE)
        reference_drop = _mean(self.reference.drop)
        test = stats.excess_drop(before, after, is_paired=self.is_paired, alpha=SIGNIFICANCE)
        drops = (drop.mean, drop.low, drop.high, reference_drop)
        excess = (test.excess, test.low, test.high, _over(float(drop.mean), reference_drop))
        values = (float(value) for value in (*drops, *excess, test.statistic, test.p_value))
        return dict(zip(_DROPS, values, strict=True))

    def _change_columns(self) -> Columns:
        before, after = _matched(self.reference.accuracy, self.variant.accuracy, is_paired=self.is_paired)
        rng = self._rng("change")
        change = stats.normalised_change(before, after, rng=rng, alpha=SIGNIFICANCE, is_paired=self.is_paired)
        clean = _matched(self.reference.clean_accuracy, self.variant.clean_accuracy, is_paired=self.is_paired)
        clean_before, clean_after = (float(values.mean()) if values.size else np.nan for values in clean)
        return {
            "change": float(change.value),
            "change_low": float(change.low),
            "change_high": float(change.high),
            "clean_change": _over(clean_after, clean_before) - 1,
        }

    def _pie_columns(self) -> Columns:
        """PIEs of this set, and what chance does."""
        pies, reference, subject = self.here.pies, self.here.reference, self.here.subject
        before, after = self.here.matched
        is_whole = len(before) == len(after) == reference.num_members >= 2
        half = floor = None
        if self.here.variant.is_reference:
            floor = self._halves(stats.noise_floor, before, vote=reference.vote) if is_whole else None
        elif is_whole:
            # All members vote alike, in whatever order they are matched.
            is_known = len(after) == subject.num_members
            half = self._halves(
                stats.half_pies, before, after, votes=(reference.vote, subject.vote) if is_known else None
            )
        return {
            "num_pies": pies.num_pies,
            "pie_fraction": pies.pie_fraction,
            "half_pie_fraction": np.nan if half is None else half.mean,
            "null_pie_fraction": np.nan if floor is None else floor.mean,
            "null_pie_std": np.nan if floor is None else floor.std,
            **self._reduced(pies.is_pie, "pies"),
        }

    def _halves(self, statistic: Any, *predictions: np.ndarray, **votes: Any) -> stats.HalfPies:
        evaluation, subject = self.here.source.evaluation, self.here.subject
        found: stats.HalfPies = statistic(
            *predictions,
            num_classes=subject.num_classes,
            tie=evaluation.tie,
            num_splits=min(NUM_SPLITS, evaluation.num_noise_splits),
            rng=subject.rng("halves"),
            **votes,
        )
        return found

    def _clean_pie_columns(self) -> Columns:
        """How the clean set's PIEs fare here; NaN where the examples are others."""
        if self.places is None or self.clean is None:
            return dict.fromkeys(_CLEAN_PIES, np.nan)
        clean, here = self.clean.pies, self.here.pies
        is_pie = clean.is_pie[self.places]
        breaks = {
            owner: stats.break_rates(clean_modes[self.places], modes, self.here.labels, is_pie)
            for owner, clean_modes, modes in (
                ("", clean.variant_mode, here.variant_mode),
                ("reference_", clean.reference_mode, here.reference_mode),
            )
        }
        columns = {"num_clean_pies": int(is_pie.sum()), **self._reduced(is_pie, "clean_pies")}
        for owner, rates in breaks.items():
            columns |= {f"{owner}break_on_clean_pies": rates.on_pies, f"{owner}break_elsewhere": rates.elsewhere}
        return columns

    def _reduced(self, is_pie: np.ndarray, name: str) -> Columns:
        """Top-1 on and without some examples, of both populations."""
        columns: Columns = {}
        for owner, subject in (("", self.here.subject), ("reference_", self.here.reference)):
            reduced = stats.reduced_accuracy_from_correct(subject.correct, is_pie)
            columns |= {f"{owner}top1_on_{name}": reduced.on_pies.mean}
            columns |= {f"{owner}top1_without_{name}": reduced.without_pies.mean}
        return columns


_DROPS = (
    *("drop", "drop_low", "drop_high", "reference_drop"),
    *("excess_drop", "excess_low", "excess_high", "drop_ratio"),
    *("statistic", "p_value"),
)
_CLEAN_PIES = (
    "num_clean_pies",
    *(f"{owner}top1_{which}_clean_pies" for owner in ("", "reference_") for which in ("on", "without")),
    *(f"{owner}break_{which}" for owner in ("", "reference_") for which in ("on_clean_pies", "elsewhere")),
)


def _matched(reference: BySeed, variant: BySeed, *, is_paired: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values [members] of both: of paired members those of common seeds, else all there are."""
    if is_paired:
        common = [seed for seed in reference if seed in variant]
        reference, variant = ({seed: values[seed] for seed in common} for values in (reference, variant))
    return _values(reference), _values(variant)


def _by_seed(subject: Subject, values: np.ndarray) -> BySeed:
    """Each member's own, of [members]."""
    return dict(zip(subject.population.seeds, values.tolist(), strict=True))


def _errors(accuracy: BySeed) -> BySeed:
    return {seed: 1 - value for seed, value in accuracy.items()}


def _values(by_seed: BySeed) -> np.ndarray:
    return np.array(list(by_seed.values()), np.float64)


def _mean(by_seed: BySeed) -> float:
    """NaN where there are no members."""
    return float(_values(by_seed).mean()) if by_seed else np.nan


def _over(numerator: float, denominator: float) -> float:
    """NaN where the denominator is not above 0."""
    return numerator / denominator if denominator > 0 else np.nan
