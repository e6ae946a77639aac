"""The taxicab distance when the members of two populations are permuted between them, for patterns of pooled votes.

A pattern is what all members together vote on an example: the number of votes of each class, ascending (zeros first),
as which class it is plays no part. Permuting members deals a class's n votes to the variant hypergeometrically.

The distance is handled as the *excess*, a whole number. With reduced weights w (see `Weights`) class c contributes
x_c = w.variant * n_c(variant) - w.reference * n_c(reference); these add up to 0, so the sum of |x_c| is twice that of
the positive ones, which is the excess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from ._arrays import BoolArray, FloatArray, IntArray, blocks
from ._voting import narrow

EXACT_COST = 4_000_000
"""Multiplications that a pattern's exact distribution may take on its own; some milliseconds."""

State = TypeVar("State")


@dataclass(frozen=True)
class Weights:
    """Sizes of two populations, and what a vote of a member of each counts, in whole numbers without common divisor."""

    num_reference: int
    num_variant: int

    @property
    def variant(self) -> int:
        """Weight of a variant's member's vote."""
        return self.num_reference // gcd(self.num_reference, self.num_variant)

    @property
    def reference(self) -> int:
        """Weight of a reference's member's vote."""
        return self.num_variant // gcd(self.num_reference, self.num_variant)

    @property
    def largest_excess(self) -> int:
        """The excess of populations without a label in common."""
        return self.variant * self.num_variant

    def of_taxicab(self, distance: FloatArray) -> NDArray[np.int64]:
        """The excess of a distance that is in the reference's votes."""
        return np.rint(distance * self.reference / 2).astype(np.int64)


def pooled_patterns(reference: IntArray, variant: IntArray, *, num_classes: int) -> IntArray:
    """Pooled votes of each example, [examples, classes voted for], ascending, with zeros before them."""
    num_members, num_examples = len(reference) + len(variant), reference.shape[1]
    patterns = np.zeros((num_examples, num_members), np.min_scalar_type(num_members))
    for block in blocks(num_examples, num_members):
        ballots = np.concatenate([reference[:, block], variant[:, block]])
        ballots = narrow(ballots, num_classes=num_classes)
        ballots.sort(axis=0)
        run = np.zeros(ballots.shape, np.int64)
        np.cumsum(ballots[1:] != ballots[:-1], axis=0, out=run[1:])
        cells = run + num_members * np.arange(ballots.shape[1])
        votes = np.bincount(cells.ravel(), minlength=ballots.size).reshape(-1, num_members)
        patterns[block] = np.sort(votes, axis=1)
    return patterns[:, num_members - np.count_nonzero(patterns, axis=1).max() :]


def is_affordable(patterns: IntArray, weights: Weights) -> BoolArray:
    """Whether a pattern's exact distribution takes at most `EXACT_COST` multiplications, [patterns]."""
    smaller = patterns[:, :-1].astype(np.float64)
    dealt = np.minimum(smaller.cumsum(axis=1) - smaller, weights.num_variant)
    states = (dealt + 1) * (weights.variant * dealt + 1)
    return ((smaller > 0) * (smaller + 1) * states).sum(axis=1) <= EXACT_COST


def exact_masses(patterns: IntArray, weights: Weights) -> Iterator[FloatArray]:
    """Probability of each excess, up to a common factor, pattern by pattern; `patterns` in lexicographic order."""
    deal = _Deal(weights)
    for (num_votes, states), largest in _walk(patterns, (0, np.ones((1, 1))), deal.add_class):
        yield deal.finish(states, num_votes, largest)


def draw_members(weights: Weights, num_permutations: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """For random choices of the variant's members among all: how many are among the first i, [members + 1, draws]."""
    num_members = weights.num_reference + weights.num_variant
    is_variant = np.tile(np.arange(num_members) < weights.num_variant, (num_permutations, 1))
    rng.permuted(is_variant, axis=1, out=is_variant)
    num_chosen = np.zeros((num_members + 1, num_permutations), np.int32)
    np.cumsum(is_variant.T, axis=0, out=num_chosen[1:])
    return num_chosen


def drawn_masses(patterns: IntArray, weights: Weights, num_chosen: NDArray[np.int32]) -> Iterator[NDArray[np.integer]]:
    """Number of draws of each excess, pattern by pattern; `patterns` in lexicographic order.

    Every pattern is dealt by the same draws, its smallest class to the first members: what a pattern gets does not
    depend on which others there are.
    """
    each = weights.variant + weights.reference

    def add_class(state: tuple[int, NDArray[np.int32]], votes: int) -> tuple[int, NDArray[np.int32]]:
        start, excess = state
        share = num_chosen[start + votes] - num_chosen[start]
        share *= each
        share -= votes * weights.reference
        np.maximum(share, 0, out=share)
        share += excess
        return start + votes, share

    root = (0, np.zeros(num_chosen.shape[1], np.int32))
    for state, largest in _walk(patterns, root, add_class):
        _, excess = add_class(state, largest)
        yield np.bincount(excess, minlength=weights.largest_excess + 1)


def _walk(patterns: IntArray, root: State, add_class: Callable[[State, int], State]) -> Iterator[tuple[State, int]]:
    """The state after all classes but the largest, and that class's votes, for each pattern.

    In lexicographic order neighbours share their smaller classes, and with them their states: each is computed once.
    """
    num_smaller = patterns.shape[1] - 1
    states = [root] * (num_smaller + 1)
    first_new = np.zeros(len(patterns), np.int64)
    first_new[1:] = (patterns[1:] != patterns[:-1]).argmax(axis=1)
    for votes, start in zip(patterns.tolist(), first_new.tolist(), strict=True):
        for place in range(start, num_smaller):
            states[place + 1] = add_class(states[place], votes[place]) if votes[place] else states[place]
        yield states[num_smaller], votes[-1]


class _Deal:
    """Dealing votes class by class: a table [votes dealt to the variant, excess] of probabilities.

    Classes are dealt as independent binomials; keeping only what gives the variant all its votes, no more and no fewer,
    makes them hypergeometric.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._binomials: dict[int, FloatArray] = {}

    def add_class(self, state: tuple[int, FloatArray], votes: int) -> tuple[int, FloatArray]:
        """Deal the `votes` of one more class to a table of `state[0]` votes."""
        before, table = state
        most = min(before + votes, self._weights.num_variant)
        after = np.zeros((most + 1, self._weights.variant * most + 1))
        for dealt, chance in enumerate(self._binomial(votes)[: most + 1]):
            gain = self._gain(dealt, votes)
            part = table[: most + 1 - dealt, : after.shape[1] - gain]
            after[dealt : dealt + part.shape[0], gain : gain + part.shape[1]] += chance * part
        return before + votes, after

    def finish(self, table: FloatArray, before: int, votes: int) -> FloatArray:
        """Probability of each excess once the last class gives the variant the votes it lacks."""
        masses = np.zeros(self._weights.largest_excess + 1)
        chances = self._binomial(votes)
        for dealt, row in enumerate(table):
            lacking = self._weights.num_variant - dealt
            if lacking <= votes:
                gain = self._gain(lacking, votes)
                part = row[: masses.size - gain]
                masses[gain : gain + part.size] += chances[lacking] * part
        return masses

    def _gain(self, dealt: int, votes: int) -> int:
        return max(0, self._weights.variant * dealt - self._weights.reference * (votes - dealt))

    def _binomial(self, votes: int) -> FloatArray:
        if votes not in self._binomials:
            dealt = np.arange(votes + 1.0)
            share = self._weights.num_variant / (self._weights.num_reference + self._weights.num_variant)
            logarithm = gammaln(votes + 1) - gammaln(dealt + 1) - gammaln(votes - dealt + 1)
            logarithm += dealt * np.log(share) + (votes - dealt) * np.log1p(-share)
            self._binomials[votes] = np.exp(logarithm)
        return self._binomials[votes]
