"""Counting votes on valid input: the kernels under modal labels, PIEs and resampling."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ._arrays import BoolArray, IntArray, blocks
from ._validation import Tie


def narrow(predictions: IntArray, *, num_classes: int) -> IntArray:
    """A copy in the narrowest type that holds the labels: the fewer bytes, the more ballots an instruction takes."""
    narrowest = np.uint8 if num_classes <= 1 << 8 else np.uint16 if num_classes <= 1 << 16 else np.int64
    return predictions.astype(narrowest)


def elect(
    predictions: IntArray, *, num_classes: int, tie: Tie
) -> tuple[NDArray[np.int64], NDArray[np.int64], BoolArray]:
    """Winning label, its number of votes and whether the first place is shared, each [examples]."""
    num_members, num_examples = predictions.shape
    labels = np.empty(num_examples, np.int64)
    num_votes = np.empty(num_examples, np.int64)
    for block in blocks(num_examples, num_members):
        ballots = predictions[:, block]
        labels[block] = guess = _middle_of_three(ballots)
        num_votes[block] = _count(ballots, guess)
    # More than half of the votes win, whatever the others are for. Most examples of most populations end here.
    tied = np.zeros(num_examples, np.bool_)
    open_examples = np.flatnonzero(num_votes <= num_members // 2)
    for block in blocks(open_examples.size, num_members):
        some = open_examples[block]
        ballots = narrow(predictions.take(some, axis=1), num_classes=num_classes)
        labels[some], num_votes[some], tied[some] = elect_block(ballots, tie=tie)
    return labels, num_votes, tied


def elect_block(
    ballots: IntArray, *, tie: Tie, without: IntArray | None = None
) -> tuple[IntArray, IntArray, BoolArray]:
    """`elect` for a block that fits the cache, [members, ...], which is overwritten.

    `without` is a label of each example, [...], that is not to win: the votes for the next are then told, 0 where there
    are none.
    """
    # Sorting the few members and measuring runs costs the same for 10 classes as for 1,000; a table of counts does not.
    num_members, shape = len(ballots), ballots.shape[1:]
    ranks = sort_members(ballots)
    labels = ranks[0].copy()
    run = np.ones(shape, np.min_scalar_type(num_members))
    if without is not None:
        run *= labels != without
    num_votes = run.copy()
    tied = np.zeros(shape, np.bool_)
    beats = np.greater_equal if tie == "largest" else np.greater
    for before, ballot in pairwise(ranks):
        run *= before == ballot
        run += 1 if without is None else ballot != without
        tied &= run <= num_votes
        tied |= run == num_votes
        # Runs come in ascending order of their label: "at least as long" keeps the largest label of a tie, and a label
        # is never below an earlier winner. A maximum is many times as fast as a masked copy.
        np.maximum(labels, ballot * beats(run, num_votes), out=labels)
        np.maximum(num_votes, run, out=num_votes)
    return labels, num_votes, tied


def add_votes(table: IntArray, predictions: IntArray, *, weight: int) -> None:
    """Add `weight` to table[example, label] for each prediction; `table` is contiguous."""
    cells = table.reshape(-1)
    starts = np.arange(table.shape[0]) * table.shape[1]
    for member in predictions:
        # No cell comes twice: a member casts one vote an example.
        cells[starts + member] += weight


def sort_members(ballots: IntArray) -> list[IntArray]:
    """Every example's ballots in ascending order, [members] of [...]; `ballots` is overwritten.

    A network of comparisons between whole members runs at the speed of the vector unit; ndarray.sort along the first
    axis takes an example at a time.
    """
    rows, spare = list(ballots), np.empty(ballots.shape[1:], ballots.dtype)
    for low, high in _comparators(len(rows)):
        np.minimum(rows[low], rows[high], out=spare)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = spare, rows[low]
    return rows


def _middle_of_three(ballots: IntArray) -> IntArray:
    """The median of three members' labels: the mode wherever two of the three voted for it. [examples]"""
    first, second, third = ballots[0], ballots[len(ballots) // 2], ballots[-1]
    return np.maximum(np.minimum(first, second), np.minimum(np.maximum(first, second), third))


def _count(ballots: IntArray, labels: IntArray) -> IntArray:
    """How many members vote for the label, [examples]."""
    return (ballots == labels).view(np.uint8).sum(axis=0, dtype=np.min_scalar_type(len(ballots)))


@cache
def _comparators(num_rows: int) -> tuple[tuple[int, int], ...]:
    """Pairs of rows that sort them when each in its turn is put in order: Batcher's merge exchange, for any number.

    Batcher, Sorting networks and their applications, AFIPS 1968; as Algorithm 5.2.2M in Knuth, The Art of Computer
    Programming, volume 3.
    """
    pairs: list[tuple[int, int]] = []
    widest = 1 << (num_rows - 1).bit_length() >> 1
    bit = widest
    while bit:
        step, distance, residue = widest, bit, 0
        while True:
            pairs += [(row, row + distance) for row in range(num_rows - distance) if row & bit == residue]
            if step == bit:
                break
            step, distance, residue = step >> 1, step - bit, bit
        bit >>= 1
    return tuple(pairs)
