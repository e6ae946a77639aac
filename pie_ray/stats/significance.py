"""Does an example move at all: do two populations' labels of it differ by more than the choice of members explains?

Not in the papers: a PIE (arXiv 1911.05248) says that the mode differs, and on a borderline example it also does between
two populations of which nothing distinguishes. Here the members are permuted, example by example: under the null
hypothesis their labels are exchangeable, so that every permutation is as likely as what was observed. Control the
false discovery rate over examples with

    test = permutation_test(reference, variant, num_classes=10, rng=np.random.default_rng(0))
    q = benjamini_hochberg(test.p_value, tested=test.testable(0.05))

The test sees any change of the label distribution, such as members becoming less sure, not of the mode alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import BoolArray, FloatArray
from ._pair_flip import Pattern, draw_flows, flip_patterns
from ._pair_flip import drawn_masses as drawn_flip_masses
from ._pair_flip import exact_masses as exact_flip_masses
from ._pair_flip import is_affordable as is_affordable_flip
from ._validation import (
    PermutationMethod,
    check_alpha,
    check_count,
    check_method,
    check_pairs,
    check_populations,
    check_rng,
)
from ._vote_permutation import Weights, draw_members, drawn_masses, exact_masses, is_affordable, pooled_patterns
from .pie import taxicab


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """One test an example. All arrays are [examples]."""

    statistic: FloatArray
    """The taxicab distance of the two populations' votes, as `taxicab` gives it."""
    p_value: FloatArray
    """Chance of a distance at least as large when members are permuted; not corrected for the number of examples."""
    min_p_value: FloatArray
    """The smallest p that these votes could have given, whoever cast which; 1 where all members agree."""
    is_exact: BoolArray
    """Whether both p were counted out; otherwise they come from `num_permutations` random permutations."""
    num_permutations: int
    """Random permutations where not exact."""

    def testable(self, alpha: float) -> BoolArray:
        """Whether an example could be significant at `alpha` at all: min_p_value <= alpha.

        Leaving out the others before correcting for many tests costs no validity, as min_p_value does not depend on
        which member belongs to which population (Tarone 1990; Gilbert 2005; Bourgon et al. 2010), and gains power:
        most examples are undisputed and could never be found.

        Raises InputError for alpha outside (0, 1).
        """
        return self.min_p_value <= check_alpha(alpha)

    @property
    def num_exact(self) -> int:
        """Number of examples whose p is exact."""
        return int(self.is_exact.sum())


def smallest_p_value(num_reference: int, num_variant: int, *, is_paired: bool = False) -> float:
    """The smallest p that populations of so many members can give: how much the tests below could ever find.

    It is that of an example whose every member changes its answer: 2 (of unequal sizes 1) of the
    comb(num_reference + num_variant, num_variant) ways to choose the variant's members, and 2^(1 - n) for n pairs.

    Raises InputError for sizes below 1, and pairs of which one side has more.
    """
    sizes = check_count("num_reference", num_reference), check_count("num_variant", num_variant)
    if is_paired:
        if sizes[0] != sizes[1]:
            raise InputError(f"num_variant: found {sizes[1]} beside {sizes[0]}; accepted are equally many for pairs")
        return float(2.0 ** (1 - sizes[0]))
    num_extreme = 2 if sizes[0] == sizes[1] else 1
    return num_extreme / comb(sum(sizes), sizes[1])


def permutation_test(
    reference: ArrayLike,
    variant: ArrayLike,
    *,
    num_classes: int,
    rng: np.random.Generator,
    num_permutations: int = 10_000,
    method: PermutationMethod = "auto",
) -> PermutationTest:
    """Test for each example whether two populations trained apart vote alike, permuting members between them.

    Both are integer labels [members, examples] in [0, num_classes), on the same examples in the same order; the numbers
    of members may differ. The statistic is the taxicab distance T of `taxicab` (arXiv 2010.03058), in whole numbers.
    Given the pooled votes the variant's are multivariate hypergeometric, so that p depends on an example's sorted
    pooled counts and T alone, and equal patterns are worked out once. `method`:

    * "exact": p = P(T* >= T), by dynamic programming over the classes on the states (votes of the variant, distance so
      far). Costly for many disputed examples of large populations whose sizes have no common divisor.
    * "monte_carlo": p = (1 + #{T* >= T}) / (1 + num_permutations) over random permutations, which is valid and never 0
      (Phipson and Smyth 2010), and at least 1 / (1 + num_permutations). All patterns share one set of permutations,
      which takes 4 (members of both + 1) num_permutations bytes. min_p_value is that of the largest distance drawn; an
      observed one beyond all of them has a smaller p.
    * "auto": exact where an example's pattern takes no more than four million multiplications, whatever other examples
      there are (always for 30 + 30 members), and Monte Carlo elsewhere.

    `rng` is used only where there is something to draw.

    Raises InputError for predictions of another shape, type or range, different numbers of examples, another method,
    num_permutations below 1, and an rng that is no numpy Generator.
    """
    num_classes, num_permutations = _check_options(num_classes, num_permutations, method, rng)
    checked = check_populations(reference, variant, num_classes=num_classes)
    weights = Weights(*map(len, checked))
    statistic = taxicab(*checked, num_classes=num_classes)
    pooled = pooled_patterns(*checked, num_classes=num_classes)
    patterns, pattern_of = np.unique(pooled, axis=0, return_inverse=True)
    affordable = is_affordable(patterns, weights) if method == "auto" else np.full(len(patterns), method == "exact")
    p_values = _PValues(pattern_of.reshape(-1), weights.of_taxicab(statistic), affordable, num_permutations)
    p_values.fill(affordable, exact_masses(patterns[affordable], weights))
    if not affordable.all():
        num_chosen = draw_members(weights, num_permutations, rng)
        p_values.fill(~affordable, drawn_masses(patterns[~affordable], weights, num_chosen))
    return p_values.test(statistic)


def paired_permutation_test(
    reference: ArrayLike,
    variant: ArrayLike,
    *,
    num_classes: int,
    rng: np.random.Generator,
    num_permutations: int = 10_000,
    method: PermutationMethod = "auto",
) -> PermutationTest:
    """`permutation_test` for a variant derived from the reference's members, as quantized ones are.

    Row m of both is one pair, and the null hypothesis exchanges the two labels of a pair: 2^pairs equally likely
    outcomes. Pairs of equal labels change nothing; with n pairs between classes a and b, 2 Bin(n, 1/2) - n votes flow
    from a to b, independently for each unordered pair of classes. For two classes this is the sign test (McNemar's,
    exact). Examples whose changes are alike up to relabelling are worked out once. The options are those of
    `permutation_test`; "auto" is exact where a bound on the outcomes to be told apart is at most 16,384, which it
    always is for up to 13 changed pairs.

    Raises InputError as `permutation_test` does, and for different numbers of members.
    """
    num_classes, num_permutations = _check_options(num_classes, num_permutations, method, rng)
    checked = check_populations(reference, variant, num_classes=num_classes)
    check_pairs(*checked)
    statistic = taxicab(*checked, num_classes=num_classes)
    patterns, pattern_of = flip_patterns(*checked, num_classes=num_classes)
    affordable = np.array([is_affordable_flip(each) if method == "auto" else method == "exact" for each in patterns])
    p_values = _PValues(pattern_of, Weights(*map(len, checked)).of_taxicab(statistic), affordable, num_permutations)
    p_values.fill(affordable, map(exact_flip_masses, _chosen(patterns, affordable)))
    if not affordable.all():
        flows = draw_flows(len(checked[0]), num_permutations, rng)
        p_values.fill(~affordable, (drawn_flip_masses(each, flows) for each in _chosen(patterns, ~affordable)))
    return p_values.test(statistic)


def _check_options(
    num_classes: int, num_permutations: int, method: PermutationMethod, rng: np.random.Generator
) -> tuple[int, int]:
    check_method(method)
    check_rng(rng)
    return check_count("num_classes", num_classes), check_count("num_permutations", num_permutations)


def _chosen(patterns: list[Pattern], chosen: BoolArray) -> Iterator[Pattern]:
    return (patterns[place] for place in np.flatnonzero(chosen))


class _PValues:
    """Looks examples up in the null distributions of their patterns."""

    def __init__(
        self, pattern_of: NDArray[np.int64], excess: NDArray[np.int64], is_exact: BoolArray, num_permutations: int
    ) -> None:
        self._order = np.argsort(pattern_of, kind="stable")
        self._ends = np.bincount(pattern_of, minlength=is_exact.size).cumsum()
        self._excess = excess
        self._is_exact = is_exact
        self._pattern_of = pattern_of
        self._num_permutations = num_permutations
        self._p_value = np.empty(excess.size)
        self._min_p_value = np.empty(excess.size)

    def fill(self, chosen: BoolArray, nulls: Iterable[NDArray[Any]]) -> None:
        """Take the masses of each excess, [excess] a pattern, for the patterns that are `chosen`."""
        for place, masses in zip(np.flatnonzero(chosen), nulls, strict=True):
            at_least = masses[::-1].cumsum()[::-1]
            # Drawn masses are numbers of draws, and the add-one rule counts what was observed as one more.
            added = 0 if self._is_exact[place] else 1
            p_value = (added + at_least) / (added + at_least[0])
            examples = self._order[self._ends[place - 1] if place else 0 : self._ends[place]]
            self._p_value[examples] = p_value[self._excess[examples]]
            self._min_p_value[examples] = p_value[np.flatnonzero(masses)[-1]]

    def test(self, statistic: FloatArray) -> PermutationTest:
        return PermutationTest(
            statistic=statistic,
            p_value=self._p_value,
            min_p_value=self._min_p_value,
            is_exact=self._is_exact[self._pattern_of],
            num_permutations=self._num_permutations,
        )
