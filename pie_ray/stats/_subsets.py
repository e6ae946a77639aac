"""Modes of subsets of a population's members."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._arrays import BoolArray, IntArray, blocks
from ._validation import Tie
from ._voting import elect, elect_block, narrow


@dataclass(frozen=True, eq=False)
class Arm:
    """A population with its modes and their votes."""

    predictions: IntArray
    """[members, examples]"""
    mode: NDArray[np.int64]
    """[examples]"""
    num_votes: NDArray[np.int64]
    """For the mode, [examples]."""
    num_classes: int
    tie: Tie

    @classmethod
    def of(cls, predictions: IntArray, num_classes: int, tie: Tie) -> Arm:
        mode, num_votes, _ = elect(predictions, num_classes=num_classes, tie=tie)
        return cls(predictions, mode, num_votes, num_classes, tie)

    def settled(self, subset_size: int) -> BoolArray:
        """Where *every* subset of that size has the mode of all members: none needs counting. [examples]"""
        fewest_votes_in_subset = self.num_votes - (len(self.predictions) - subset_size)
        return 2 * fewest_votes_in_subset > subset_size

    def modes(self, examples: NDArray[np.int64], subsets: NDArray[np.int64]) -> IntArray:
        """The mode of each subset on some examples, [subsets, examples]; `subsets` is [subsets, members of each].

        One of the two labels that most members vote for nearly always wins in a subset as well, and their votes in all
        subsets are one matrix product each. Votes are sorted only where a third label could win.
        """
        num_members, subset_size = len(self.predictions), subsets.shape[1]
        ballots = narrow(self.predictions.take(examples, axis=1), num_classes=self.num_classes)
        first, num_first = self.mode[examples].astype(ballots.dtype), self.num_votes[examples]
        second, num_second, _ = elect_block(ballots.copy(), tie=self.tie, without=first)
        is_in = np.zeros((len(subsets), num_members), np.float32)
        np.put_along_axis(is_in, subsets, 1, axis=1)
        # Whole numbers far below 2^24, so exact in the type that the matrix product is fastest in.
        of_first, of_second = (is_in @ (ballots == label).astype(np.float32) for label in (first, second))
        modes = np.where(of_first + _wins_ties(first, second, self.tie) > of_second, first, second)
        # A third label has no more votes than the second, nor than are left over.
        most_in_all = np.minimum(num_second, num_members - num_first - num_second).astype(np.float32)
        most_in_subset = np.minimum(subset_size - of_first - of_second, most_in_all)
        which, where = np.nonzero(np.maximum(of_first, of_second) <= most_in_subset)
        for block in blocks(which.size, subset_size):
            some = ballots[subsets[which[block]].T, where[block]]
            modes[which[block], where[block]] = elect_block(some, tie=self.tie)[0]
        return modes


def _wins_ties(first: IntArray, second: IntArray, tie: Tie) -> NDArray[np.float32]:
    """Half a vote more where the first of two labels wins ties, none elsewhere."""
    return np.float32(0.5) * (first > second if tie == "largest" else first < second)
