"""Compression Impacted Exemplars: what changes between one compressed member and the one member it is held against.

Definitions: Joseph et al., arXiv 2012.01604. A CIE is an example on which the two members' predictions differ (the
quantization literature says "flip"); a CIE-U is one that the reference member also got right. PIEs compare populations;
these compare members, row m with row m, and make most sense where the variant's member was derived from the
reference's. For members trained apart, `null_cie` is what two trainings alone differ in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from ..errors import InputError
from ._arrays import FloatArray, IntArray, blocks, spread
from ._validation import check_alpha, check_labels, check_pairs, check_populations, check_predictions
from .multiplicity import benjamini_hochberg


@dataclass(frozen=True, eq=False)
class Pairs:
    """Members of a variant against their reference members, pair by pair. Arrays are [members]."""

    num_examples: int
    num_cie: NDArray[np.int64]
    """Examples on which the predictions of the pair differ."""
    num_cie_u: NDArray[np.int64]
    """Of those, the ones that the reference member got right: only the reference was right (McNemar's b)."""
    num_only_variant_right: NDArray[np.int64]
    """Examples that the variant's member mended (McNemar's c)."""
    p_value: FloatArray
    """McNemar's exact test, two-sided: are the members of the pair right equally often? Not corrected for the pairs."""
    q_value: FloatArray
    """Benjamini and Hochberg's, over the pairs."""
    alpha: float

    @property
    def num_both_wrong(self) -> NDArray[np.int64]:
        """CIEs that both members got wrong, in different ways, [members]."""
        return self.num_cie - self.num_cie_u - self.num_only_variant_right

    @property
    def cie_fraction(self) -> FloatArray:
        """CIEs as a fraction of all examples, [members]."""
        return self.num_cie / self.num_examples

    @property
    def cie_u_fraction(self) -> FloatArray:
        """CIE-Us as a fraction of all examples, [members]."""
        return self.num_cie_u / self.num_examples

    @property
    def only_variant_right_fraction(self) -> FloatArray:
        """Examples that the variant mended as a fraction of all examples, [members]."""
        return self.num_only_variant_right / self.num_examples

    @property
    def mean_cie(self) -> float:
        """Mean CIE fraction over the pairs."""
        return float(self.cie_fraction.mean())

    @property
    def std_cie(self) -> float:
        """Standard deviation of the CIE fraction over the pairs (divisor members - 1); NaN for one pair."""
        return spread(self.cie_fraction)

    @property
    def mean_cie_u(self) -> float:
        """Mean CIE-U fraction over the pairs."""
        return float(self.cie_u_fraction.mean())

    @property
    def std_cie_u(self) -> float:
        """Standard deviation of the CIE-U fraction over the pairs (divisor members - 1); NaN for one pair."""
        return spread(self.cie_u_fraction)

    @property
    def num_significant(self) -> int:
        """Number of pairs with p_value <= alpha."""
        return int((self.p_value <= self.alpha).sum())

    @property
    def num_discoveries(self) -> int:
        """Number of pairs with q_value <= alpha."""
        return int((self.q_value <= self.alpha).sum())


@dataclass(frozen=True, eq=False)
class NullCie:
    """CIEs between members of one population, pair by pair.

    Pairs share members: the spreads say how much one pair tells, and are not the error of the means.
    """

    num_examples: int
    num_members: int
    cie_fractions: FloatArray
    """[members (members - 1) / 2], one for each two members; fractions of all examples."""
    cie_u_fractions: FloatArray
    """[members (members - 1)]: a pair counts twice, as either of the two may be the reference."""

    @property
    def mean_cie(self) -> float:
        """Mean CIE fraction over the pairs."""
        return float(self.cie_fractions.mean())

    @property
    def std_cie(self) -> float:
        """Standard deviation of the CIE fraction over the pairs (divisor pairs - 1); NaN for one pair."""
        return spread(self.cie_fractions)

    @property
    def mean_cie_u(self) -> float:
        """Mean CIE-U fraction over the pairs, either way."""
        return float(self.cie_u_fractions.mean())

    @property
    def std_cie_u(self) -> float:
        """Standard deviation of the CIE-U fraction over the pairs, either way (divisor their number - 1)."""
        return spread(self.cie_u_fractions)


def compare_pairs(reference: ArrayLike, variant: ArrayLike, labels: ArrayLike, *, alpha: float = 0.05) -> Pairs:
    """CIEs and CIE-Us of each variant member against its reference member (arXiv 2012.01604), with McNemar's test.

    `reference` and `variant` are integer labels [members, examples], row m of one to be held against row m of the
    other; `labels` the true ones [examples].

    Where the reference is right and the prediction differs, the variant is wrong: the CIE-Us are the examples that only
    the reference gets right, McNemar's b. With c those that only the variant gets right, the exact two-sided p-value is
    min(1, 2 P(X <= min(b, c))) for X binomial of b + c trials at 1/2 (McNemar, 1947), and 1 where b + c = 0. The test
    is of one pair: it asks whether *these* two networks are right equally often on examples such as these, not whether
    the compression method is to blame. Many CIEs that break as much as they mend are not significant.

    Raises InputError for arrays of another shape or type, different numbers of members or examples, and alpha outside
    (0, 1).
    """
    alpha = check_alpha(alpha)
    before, after = check_populations(reference, variant)
    check_pairs(before, after)
    truth = check_labels(labels, num_examples=before.shape[1])
    num_cie, num_cie_u, num_mended = _count_pairs(before, after, truth)
    p_value = _mcnemar(num_cie_u, num_mended)
    return Pairs(
        num_examples=truth.size,
        num_cie=num_cie,
        num_cie_u=num_cie_u,
        num_only_variant_right=num_mended,
        p_value=p_value,
        q_value=benjamini_hochberg(p_value),
        alpha=alpha,
    )


def null_cie(population: ArrayLike, labels: ArrayLike) -> NullCie:
    """CIEs and CIE-Us between any two members of one population: what two trainings alone differ in.

    The baseline for `compare_pairs` of a variant whose members were trained apart from the reference's. Not in the
    paper, which compares a network with the one it was compressed from.

    `population` are integer labels [members, examples] of at least two members, `labels` the true ones [examples]. On
    an example with n_c votes for class c of K members, the mean over the pairs of "differs" is
    1 - sum of n_c (n_c - 1) / (K (K - 1)); and that of CIE-U, r (K - r) / (K (K - 1)) with r members right.

    Raises InputError for arrays of another shape or type, and for one member.
    """
    members = check_predictions("population", population)
    if len(members) < 2:
        raise InputError("population: found 1 member; accepted are at least 2, to be held against each other")
    num_members, num_examples = members.shape
    truth = check_labels(labels, num_examples=num_examples)
    num_cie, num_cie_u = _count_all_pairs(members, truth)
    return NullCie(
        num_examples=num_examples,
        num_members=num_members,
        cie_fractions=num_cie[np.triu_indices(num_members, 1)] / num_examples,
        cie_u_fractions=num_cie_u[~np.eye(num_members, dtype=np.bool_)] / num_examples,
    )


def _count_pairs(
    before: IntArray, after: IntArray, labels: IntArray
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Examples that differ, that only the reference gets right, and that only the variant does; [members] each."""
    counts = np.empty((3, len(before)), np.int64)
    for member, (first, second) in enumerate(zip(before, after, strict=True)):
        differs = first != second
        counts[:, member] = (
            np.count_nonzero(differs),
            np.count_nonzero(differs & (first == labels)),
            np.count_nonzero(differs & (second == labels)),
        )
    return counts[0], counts[1], counts[2]


def _mcnemar(first: NDArray[np.int64], second: NDArray[np.int64]) -> FloatArray:
    return np.minimum(2 * bdtr(np.minimum(first, second), first + second, 0.5), 1.0)


def _count_all_pairs(members: IntArray, labels: IntArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Examples on which two members differ (above the diagonal), and that only the first gets right.

    [members, members] each.
    """
    num_members, num_examples = members.shape
    num_cie, num_cie_u = np.zeros((2, num_members, num_members), np.int64)
    for block in blocks(num_examples, num_members):
        ballots = np.ascontiguousarray(members[:, block])
        for member in range(num_members - 1):
            num_cie[member, member + 1 :] += np.count_nonzero(ballots[member + 1 :] != ballots[member], axis=1)
        # Exact: a block has fewer examples than float32 has whole numbers.
        right = (ballots == labels[block]).astype(np.float32)
        num_cie_u += np.rint(right @ (1 - right).T).astype(np.int64)
    return num_cie, num_cie_u
