"""Counting votes on valid input: the kernels under modal labels, PIEs and resampling."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ._arrays import BoolArray, IntArray, blocks
from ._validation import Tie


def narrow(predictions: IntArray, *, num_classes: int) -> IntArray:
    """A copy in the narrowest type that numpy sorts fast."""
    return predictions.astype(np.uint16 if num_classes <= 1 << 16 else np.int64)


def elect(
    predictions: IntArray, *, num_classes: int, tie: Tie
) -> tuple[NDArray[np.int64], NDArray[np.int64], BoolArray]:
    """Winning label, its number of votes and whether the first place is shared, each [examples]."""
    num_members, num_examples = predictions.shape
    labels = np.empty(num_examples, np.int64)
    num_votes = np.empty(num_examples, np.int64)
    tied = np.empty(num_examples, np.bool_)
    for block in blocks(num_examples, num_members):
        ballots = narrow(predictions[:, block], num_classes=num_classes)
        labels[block], num_votes[block], tied[block] = elect_block(ballots, tie=tie)
    return labels, num_votes, tied


def elect_block(ballots: IntArray, *, tie: Tie) -> tuple[IntArray, IntArray, BoolArray]:
    """`elect` for a block that fits the cache, [members, ...]; sorts `ballots` in place."""
    # Sorting the few members and measuring runs costs the same for 10 classes as for 1,000; a table of counts does not.
    ballots.sort(axis=0)
    num_members, shape = len(ballots), ballots.shape[1:]
    labels = ballots[0].copy()
    run = np.ones(shape, np.min_scalar_type(num_members))
    num_votes = run.copy()
    tied = np.zeros(shape, np.bool_)
    beats = np.greater_equal if tie == "largest" else np.greater
    for before, ballot in pairwise(ballots):
        run *= before == ballot
        run += 1
        tied &= run <= num_votes
        tied |= run == num_votes
        # Runs come in ascending order of their label, so "at least as long" keeps the largest label of a tie.
        np.copyto(labels, ballot, where=beats(run, num_votes))
        np.maximum(num_votes, run, out=num_votes)
    return labels, num_votes, tied


def add_votes(table: IntArray, predictions: IntArray, *, weight: int) -> None:
    """Add `weight` to table[example, label] for each prediction; `table` is contiguous."""
    cells = table.reshape(-1)
    starts = np.arange(table.shape[0]) * table.shape[1]
    for member in predictions:
        # No cell comes twice: a member casts one vote an example.
        cells[starts + member] += weight
