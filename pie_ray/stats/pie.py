"""Pruning Identified Exemplars: the examples on which a compressed population changes its mind.

Definitions: Hooker et al., arXiv 1911.05248 (PIE) and arXiv 2010.03058 (modal CIE, which is the PIE for any
compression, and taxicab CIE). True labels play no part in either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import BoolArray, FloatArray, blocks
from ._validation import Tie, check_count, check_labels, check_populations, check_same_examples, check_tie
from ._voting import add_votes
from .modal import ModalVote, vote_of


@dataclass(frozen=True, eq=False)
class Pies:
    """Two populations' modes and where they differ. All arrays are [examples]."""

    reference_mode: NDArray[np.int64]
    variant_mode: NDArray[np.int64]
    is_pie: BoolArray
    """Whether the two modes differ."""
    reference_agreement: FloatArray
    """Fraction of the reference's members that vote for the reference's mode, in (0, 1]."""
    variant_agreement: FloatArray
    """Fraction of the variant's members that vote for the variant's mode, in (0, 1]."""
    reference_tied: BoolArray
    """Whether the tie rule chose the reference's mode."""
    variant_tied: BoolArray
    """Whether the tie rule chose the variant's mode."""

    @property
    def num_pies(self) -> int:
        """Number of examples whose mode moved."""
        return int(self.is_pie.sum())

    @property
    def pie_fraction(self) -> float:
        """PIEs as a fraction of all examples."""
        return self.num_pies / self.is_pie.size

    @property
    def num_tied_reference(self) -> int:
        """Number of examples on which the reference's members tie."""
        return int(self.reference_tied.sum())

    @property
    def num_tied_variant(self) -> int:
        """Number of examples on which the variant's members tie."""
        return int(self.variant_tied.sum())


@dataclass(frozen=True)
class PieCorrectness:
    """How many PIEs each population's mode gets right: the modes differ, so never both."""

    num_pies: int
    num_reference_correct: int
    """PIEs whose reference mode is the true label: compression broke them."""
    num_variant_correct: int
    """PIEs whose variant mode is the true label: compression mended them; the published code counts them apart."""

    @property
    def num_neither_correct(self) -> int:
        """PIEs that both modes get wrong, in different ways."""
        return self.num_pies - self.num_reference_correct - self.num_variant_correct


def find_pies(reference: ArrayLike, variant: ArrayLike, *, num_classes: int, tie: Tie = "largest") -> Pies:
    """Find the examples whose modal label differs between two populations (arXiv 1911.05248).

    Both are integer labels [members, examples] in [0, num_classes), on the same examples in the same order; the numbers
    of members may differ. `tie` is the rule of `modal_labels`, applied to both.

    Raises InputError for predictions of another shape, type or range, for different numbers of examples, and for
    another tie rule.
    """
    num_classes = check_count("num_classes", num_classes)
    check_tie(tie)
    checked_reference, checked_variant = check_populations(reference, variant, num_classes=num_classes)
    return find_pies_from_votes(
        vote_of(checked_reference, num_classes, tie), vote_of(checked_variant, num_classes, tie)
    )


def find_pies_from_votes(reference: ModalVote, variant: ModalVote) -> Pies:
    """`find_pies` on two populations' `modal_vote`, so that a reference of many variants is counted once.

    Both are votes on the same examples in the same order, found by the same tie rule.

    Raises InputError for what is no vote, and for different numbers of examples.
    """
    _check_votes(reference, variant)
    return Pies(
        reference_mode=reference.labels,
        variant_mode=variant.labels,
        is_pie=reference.labels != variant.labels,
        reference_agreement=reference.agreement,
        variant_agreement=variant.agreement,
        reference_tied=reference.tied,
        variant_tied=variant.tied,
    )


def _check_votes(reference: ModalVote, variant: ModalVote) -> None:
    for name, vote in (("reference", reference), ("variant", variant)):
        if not isinstance(vote, ModalVote):
            raise InputError(f"{name}: found {type(vote).__name__}; accepted is the result of modal_vote")
    check_same_examples(reference.labels.size, variant.labels.size)


def pie_correctness(pies: Pies, labels: ArrayLike) -> PieCorrectness:
    """Count the PIEs that each population's mode gets right, given the true labels [examples].

    Raises InputError for labels that are not one integer an example.
    """
    if not isinstance(pies, Pies):
        raise InputError(f"pies: found {type(pies).__name__}; accepted is the result of find_pies")
    truth = check_labels(labels, num_examples=pies.is_pie.size)
    return PieCorrectness(
        num_pies=pies.num_pies,
        num_reference_correct=int((pies.is_pie & (pies.reference_mode == truth)).sum()),
        num_variant_correct=int((pies.is_pie & (pies.variant_mode == truth)).sum()),
    )


def taxicab(reference: ArrayLike, variant: ArrayLike, *, num_classes: int) -> FloatArray:
    """Taxicab distance between two populations' votes on each example, [examples] (arXiv 2010.03058).

    With n_c votes for class c of K members: sum over c of |n_c(variant) * K(reference) / K(variant) - n_c(reference)|.
    Populations of equal size give the paper's sum of |n_c(variant) - n_c(reference)|, a whole number; otherwise the
    variant's votes are scaled to the reference's size, so that partial populations can be ranked side by side. From 0
    (same vote shares) to 2 K(reference) (no label in common). It moves even where the mode does not.

    Both are integer labels [members, examples] in [0, num_classes), on the same examples in the same order.

    Raises InputError for predictions of another shape, type or range, and for different numbers of examples.
    """
    num_classes = check_count("num_classes", num_classes)
    checked_reference, checked_variant = check_populations(reference, variant, num_classes=num_classes)
    num_reference, num_examples = checked_reference.shape
    num_variant = len(checked_variant)
    distances = np.empty(num_examples, np.float64)
    for block in blocks(num_examples, num_classes):
        # Counted in units of 1 / num_variant votes, whole numbers, so that equal shares differ by exactly 0.
        difference = np.zeros((block.stop - block.start, num_classes), np.int64)
        add_votes(difference, checked_variant[:, block], weight=num_reference)
        add_votes(difference, checked_reference[:, block], weight=-num_variant)
        distances[block] = np.abs(difference, out=difference).sum(axis=1)
    return distances / num_variant
