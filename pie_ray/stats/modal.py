"""The modal label: what most members of a population predict for an example.

Hooker et al. (arXiv 1911.05248) compare populations by it. Their published code breaks ties in favour of the *largest*
class index (pandas `mode().max()`), in both populations; that is the default here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import BoolArray, FloatArray, IntArray, blocks
from ._validation import Tie, check_count, check_predictions, check_tie
from ._voting import add_votes, elect


@dataclass(frozen=True, eq=False)
class ModalVote:
    """What a population votes, example by example. All arrays are [examples]."""

    labels: NDArray[np.int64]
    """The modal label."""
    agreement: FloatArray
    """Fraction of the members that vote for the modal label, in (0, 1]."""
    tied: BoolArray
    """Whether another label has as many votes, so that the tie rule chose."""
    num_members: int

    @property
    def num_tied(self) -> int:
        """Number of examples whose mode the tie rule chose."""
        return int(self.tied.sum())


def modal_labels(predictions: ArrayLike, *, num_classes: int, tie: Tie = "largest") -> NDArray[np.int64]:
    """The label that most members predict, [examples]; `modal_vote` says how many and whether they tie.

    `predictions` are integer labels [members, examples] in [0, num_classes). Among tied labels, `tie` takes the
    "largest" (the published rule) or the "smallest".

    Raises InputError for predictions of another shape, type or range, and for another tie rule.
    """
    return modal_vote(predictions, num_classes=num_classes, tie=tie).labels


def modal_vote(predictions: ArrayLike, *, num_classes: int, tie: Tie = "largest") -> ModalVote:
    """`modal_labels` with the fraction of members that agree on it and the examples that tie.

    Raises InputError as `modal_labels` does.
    """
    num_classes = check_count("num_classes", num_classes)
    check_tie(tie)
    return vote_of(check_predictions("predictions", predictions, num_classes=num_classes), num_classes, tie)


def vote_of(ballots: IntArray, num_classes: int, tie: Tie) -> ModalVote:
    """`modal_vote` on valid input."""
    labels, num_votes, tied = elect(ballots, num_classes=num_classes, tie=tie)
    return ModalVote(labels=labels, agreement=num_votes / len(ballots), tied=tied, num_members=len(ballots))


def label_counts(predictions: ArrayLike, *, num_classes: int) -> NDArray[np.signedinteger[Any]]:
    """How many members predict each class, [examples, classes]; every row adds up to the number of members.

    `predictions` are integer labels [members, examples] in [0, num_classes). The counts are int16 (int32 for more than
    32,767 members): signed, so that two tables can be subtracted; 50,000 examples x 1,000 classes take 100 MB, and
    computing them takes a few more.

    Raises InputError for predictions of another shape, type or range.
    """
    num_classes = check_count("num_classes", num_classes)
    ballots = check_predictions("predictions", predictions, num_classes=num_classes)
    num_members, num_examples = ballots.shape
    counts = np.zeros((num_examples, num_classes), np.int16 if num_members <= np.iinfo(np.int16).max else np.int32)
    for block in blocks(num_examples, num_classes):
        add_votes(counts[block], ballots[:, block], weight=1)
    return counts
