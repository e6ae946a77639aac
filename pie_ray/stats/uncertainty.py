"""How unsure a population is of an example, from its members' labels or from their logits. In nats throughout.

The total, the entropy of the members' mean distribution, parts in two: what each member is unsure of by itself
(expected entropy; noise in the example), and what they disagree on (mutual information between the prediction and
which member makes it). Sources: Houlsby et al., arXiv 1112.5745, for the decomposition; Lakshminarayanan et al., arXiv
1612.01474, for members trained apart in the place of a posterior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

from ._arrays import FloatArray, IntArray, blocks
from ._validation import check_class_logits, check_count, check_predictions
from ._voting import add_votes

_GRAIN = 2.0**-40
"""Logarithms are rounded to whole multiples of it, some 1e-12, so that their sums are exact in any order."""


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Of one population. Arrays are [examples], in nats, from 0 to the logarithm of the number of classes."""

    entropy: FloatArray
    """Of the members' mean distribution."""
    expected_entropy: FloatArray
    """Mean over the members of the entropy of each one's distribution; at most `entropy`."""

    @property
    def mutual_information(self) -> FloatArray:
        """entropy - expected_entropy, at least 0 [examples]: 0 where all members give the same distribution."""
        return np.maximum(self.entropy - self.expected_entropy, 0.0)


def vote_entropy(predictions: ArrayLike, *, num_classes: int) -> FloatArray:
    """Entropy of the members' votes on each example, [examples] in nats.

    With n_c votes for class c of K members: sum over c of n_c / K log(K / n_c), from 0 where all agree to
    log(min(K, num_classes)). Equal vote shares give exactly equal entropies; each is right to 1e-12.

    `predictions` are integer labels [members, examples] in [0, num_classes).

    Raises InputError for predictions of another shape, type or range.
    """
    num_classes = check_count("num_classes", num_classes)
    ballots = check_predictions("predictions", predictions, num_classes=num_classes)
    num_members, num_examples = ballots.shape
    surprise = np.log(num_members / np.maximum(np.arange(num_members + 1), 1))
    surprise = np.rint(surprise / _GRAIN) * _GRAIN
    entropy = np.empty(num_examples, np.float64)
    for block in blocks(num_examples, max(num_classes, num_members)):
        entropy[block] = surprise[_company(ballots[:, block], num_classes)].sum(axis=0)
    return entropy / num_members


def _company(ballots: IntArray, num_classes: int) -> NDArray[np.int32]:
    """How many members vote as each member does, itself included, [members, examples]."""
    num_examples = ballots.shape[1]
    table = np.zeros((num_examples, num_classes), np.int32)
    add_votes(table, ballots, weight=1)
    return table[np.arange(num_examples), ballots]


def uncertainty(logits: ArrayLike) -> Uncertainty:
    """Entropy of the mean distribution and mean entropy of the members, example by example.

    `logits` are finite floats [members, examples, classes] of any precision, whose softmax is each member's
    distribution; an array mapped from a file is read block by block. Computed in double precision.

    Raises InputError for logits of another shape or type, and for logits that are not finite.
    """
    return _uncertainty(check_class_logits("logits", logits))


def _uncertainty(logits: NDArray[np.floating[Any]]) -> Uncertainty:
    num_members, num_examples, num_classes = logits.shape
    entropy, expected_entropy = np.zeros((2, num_examples))
    for block in blocks(num_examples, num_classes):
        total = np.zeros((block.stop - block.start, num_classes))
        for member in range(num_members):
            distribution, member_entropy = _softmax(logits[member, block])
            total += distribution
            expected_entropy[block] += member_entropy
        entropy[block] = entr(total / num_members).sum(axis=1)
    return Uncertainty(entropy=entropy, expected_entropy=expected_entropy / num_members)


def _softmax(logits: NDArray[np.floating[Any]]) -> tuple[FloatArray, FloatArray]:
    """Distributions [examples, classes] and their entropies [examples]."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    distribution = np.exp(shifted)
    total = distribution.sum(axis=1)
    distribution /= total[:, None]
    # log p = shifted - log total, which is finite where p itself has vanished.
    return distribution, np.log(total) - np.einsum("ec,ec->e", distribution, shifted)
