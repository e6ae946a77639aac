"""The table `fragility`: on which examples populations disagree under corruption, and which of them break at what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import stats
from .comparison import Comparison
from .evaluation_sets import SetKind


@dataclass(frozen=True, eq=False)
class _Tally:
    """One population's modes that were wrong so far, [answers]."""

    was_right: np.ndarray
    """Whether the clean mode is right."""
    num_wrong: np.ndarray
    first_wrong: np.ndarray
    """The lowest severity at which the mode was wrong; infinite where it never was."""

    @classmethod
    def of(cls, clean_mode: np.ndarray, labels: np.ndarray) -> _Tally:
        return cls(clean_mode == labels, np.zeros(labels.size, np.int32), np.full(labels.size, np.inf, np.float32))

    def add(self, places: np.ndarray, is_wrong: np.ndarray, severity: float) -> None:
        wrong = places[is_wrong]
        self.num_wrong[wrong] += 1
        self.first_wrong[wrong] = np.fmin(self.first_wrong[wrong], severity)

    def columns(self, num_sets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Share of the sets in which the mode is wrong, and first severity, [rows]; NaN where it was never right."""
        was_right, first = self.was_right[rows], self.first_wrong[rows].astype(np.float64)
        share = np.where(was_right, self.num_wrong[rows] / num_sets[rows], np.nan)
        return share, np.where(was_right & np.isfinite(first), first, np.nan)


@dataclass(frozen=True, eq=False)
class Breaks:
    """One corrupted set: whose mode is wrong where, and where they differ. A few kilobytes, to travel and be kept."""

    kind: SetKind
    num_answers: int
    places: np.ndarray | None
    """Where the set's answers are among the clean ones; None where they are all of these."""
    is_pie: np.ndarray
    """Eight answers a byte, as the following."""
    reference_wrong: np.ndarray
    variant_wrong: np.ndarray

    @classmethod
    def of(cls, kind: SetKind, places: np.ndarray | None, pies: stats.Pies, labels: np.ndarray) -> Breaks:
        """`labels` are the set's, [answers]."""
        return cls(
            kind=kind,
            num_answers=labels.size,
            places=places,
            is_pie=np.packbits(pies.is_pie),
            reference_wrong=np.packbits(pies.reference_mode != labels),
            variant_wrong=np.packbits(pies.variant_mode != labels),
        )

    def unpack(self, bits: np.ndarray) -> np.ndarray:
        """Booleans [answers]."""
        return np.unpackbits(bits, count=self.num_answers).view(np.bool_)


def fragility_table(clean: Comparison, breaks: Iterable[Breaks]) -> pd.DataFrame:
    """A row an answer whose mode moved on any of the corrupted sets, the most often moved first."""
    fragility = _Fragility(clean)
    for each in breaks:
        fragility.add(each)
    return fragility.table()


class _Fragility:
    """Collects corrupted sets of one variant, whose examples are among the clean set's, one by one."""

    def __init__(self, clean: Comparison) -> None:
        self._clean = clean
        self._num_sets = np.zeros(clean.labels.size, np.int32)
        self._reference = _Tally.of(clean.pies.reference_mode, clean.labels)
        self._variant = _Tally.of(clean.pies.variant_mode, clean.labels)
        self._pies: dict[str, np.ndarray] = {}

    def add(self, breaks: Breaks) -> None:
        places = np.arange(breaks.num_answers) if breaks.places is None else breaks.places
        self._num_sets[places] += 1
        self._reference.add(places, breaks.unpack(breaks.reference_wrong), breaks.kind.severity)
        self._variant.add(places, breaks.unpack(breaks.variant_wrong), breaks.kind.severity)
        self._pies[breaks.kind.name] = places[breaks.unpack(breaks.is_pie)].astype(np.int32)

    def table(self) -> pd.DataFrame:
        """As `fragility_table` has it."""
        clean = self._clean
        places = np.concatenate([np.empty(0, np.int32), *self._pies.values()])
        rows, num_pie_sets = np.unique(places, return_counts=True)
        share, first = self._variant.columns(self._num_sets, rows)
        reference_share, reference_first = self._reference.columns(self._num_sets, rows)
        table = pd.DataFrame(
            clean.names
            | {
                "example_id": clean.by_answer(clean.reference.population.example_ids)[rows],
                "key": clean.by_answer(clean.examples.keys)[rows],
                **self._attributes(rows),
                "label": clean.labels[rows],
                "is_clean_pie": clean.pies.is_pie[rows],
                "num_sets": self._num_sets[rows],
                "num_pie_sets": num_pie_sets,
                "pie_sets": self._set_names(places, num_pie_sets),
                "break_fraction": share,
                "reference_break_fraction": reference_share,
                "first_break": first,
                "reference_first_break": reference_first,
            }
        )
        return table.sort_values(["num_pie_sets", "example_id"], ascending=[False, True], kind="stable")

    def _attributes(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Which attribute an answer is about; nothing of classes."""
        source = self._clean.source
        if not source.is_multilabel:
            return {}
        return {"attribute": np.tile(np.asarray(source.class_names, object), self._clean.reference.num_examples)[rows]}

    def _set_names(self, places: np.ndarray, num_pie_sets: np.ndarray) -> list[list[str]]:
        """Of each answer in ascending order, the sets in which it is a PIE, in the order of the sets."""
        names = np.repeat(np.array(list(self._pies), object), [len(found) for found in self._pies.values()])
        in_order = names[np.argsort(places, kind="stable")]
        return [some.tolist() for some in np.split(in_order, np.cumsum(num_pie_sets)[:-1])] if len(places) else []
