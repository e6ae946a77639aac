"""Evidence about PIEs: are they the examples that people disagree on, that are mislabelled, that are of low quality?

Hooker et al. (arXiv 1911.05248) asked people; here any number or flag an example is held against the PIEs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from ..errors import InputError
from ._arrays import BoolArray, FloatArray
from ._validation import check_count, check_mask, check_rng
from .foretelling import auroc


@dataclass(frozen=True, eq=False)
class EvidenceDifference:
    """One kind of evidence on PIEs and on all other examples; means and tests are NaN where either has none known."""

    num_pies: int
    """PIEs whose value is known."""
    num_rest: int
    """Other examples whose value is known."""
    num_unknown: int
    """Examples left out, PIEs and others."""
    mean_on_pies: float
    """NaN only where there are no such PIEs; for booleans the share that is True."""
    mean_on_rest: float
    difference: float
    """mean_on_pies - mean_on_rest."""
    auroc: float
    """Probability that a PIE has the larger value than another example, equal values counting half."""
    p_value: float
    """Two-sided: of no association between value and PIE."""
    is_exact: bool
    """Whether p_value is Fisher's exact test of a two-valued evidence, rather than of random permutations."""


def compare_evidence(
    values: ArrayLike, is_pie: ArrayLike, *, rng: np.random.Generator, num_permutations: int = 10_000
) -> EvidenceDifference:
    """Hold per-example evidence on PIEs against that on all other examples.

    `values` are numbers or booleans [examples], NaN where unknown: those examples are left out and counted. `is_pie`
    are booleans [examples].

    Of the p-value the null hypothesis is that the flags fall on the examples at random:

    - evidence of more than two values: p = (1 + number of permutations with |difference| at least as large) /
      (1 + num_permutations), so never below 1 / (1 + num_permutations);
    - of two values, such as booleans: Fisher's exact test, the probability of all tables that are no likelier than the
      one found; `rng` is not used.

    Time is proportional to num_permutations x the smaller of PIEs and others, memory to the examples.

    Raises InputError for arrays of another shape or type, infinite values, fewer than one permutation, and an rng that
    is no numpy Generator.
    """
    check_rng(rng)
    num_permutations = check_count("num_permutations", num_permutations)
    evidence = _check_evidence(values)
    flags = check_mask("is_pie", is_pie, num_examples=evidence.size)
    is_known = ~np.isnan(evidence)
    known, flags = evidence[is_known], flags[is_known]
    num_pies = int(np.count_nonzero(flags))
    num_rest = flags.size - num_pies
    is_exact, p_value = _test(known, flags, rng, num_permutations) if num_pies and num_rest else (False, float("nan"))
    mean_on_pies, mean_on_rest = _mean(known[flags]), _mean(known[~flags])
    return EvidenceDifference(
        num_pies=num_pies,
        num_rest=num_rest,
        num_unknown=int(evidence.size - known.size),
        mean_on_pies=mean_on_pies,
        mean_on_rest=mean_on_rest,
        difference=mean_on_pies - mean_on_rest,
        auroc=float(auroc(known, flags)) if num_pies and num_rest else float("nan"),
        p_value=p_value,
        is_exact=is_exact,
    )


def _check_evidence(values: ArrayLike) -> FloatArray:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "biuf":
        raise InputError(f"values: found {array.dtype} {array.shape}; accepted are numbers or booleans, one an example")
    evidence = array.astype(np.float64)
    if np.isinf(evidence).any():
        raise InputError(
            f"values: found {evidence[np.isinf(evidence)][0]} at example {int(np.isinf(evidence).argmax())}; accepted "
            "are finite numbers, or NaN for unknown"
        )
    return evidence


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _test(values: FloatArray, flags: BoolArray, rng: np.random.Generator, num_permutations: int) -> tuple[bool, float]:
    """Whether the test is exact, and its p-value."""
    is_larger = values > values.min()
    if np.ptp(values[is_larger]) == 0 if is_larger.any() else True:
        return True, _fisher(is_larger, flags)
    return False, _permutation(values, flags, rng, num_permutations)


def _fisher(is_larger: BoolArray, flags: BoolArray) -> float:
    """Fisher's exact test, two-sided: the probability of the tables that are no likelier than the one found."""
    num_examples, num_larger, num_flagged = flags.size, int(is_larger.sum()), int(flags.sum())
    found = int((is_larger & flags).sum())
    smallest = max(0, num_larger + num_flagged - num_examples)
    both = np.arange(smallest, min(num_larger, num_flagged) + 1)
    likelihood = _log_choose(num_larger, both) + _log_choose(num_examples - num_larger, num_flagged - both)
    likelihood -= likelihood.max()
    # Tables that are equally likely may differ by the rounding of the logarithms.
    as_rare = likelihood <= likelihood[found - smallest] + 1e-7
    return float(min(np.exp(likelihood[as_rare]).sum() / np.exp(likelihood).sum(), 1.0))


def _log_choose(number: int, chosen: NDArray[np.int64]) -> FloatArray:
    """Logarithm of the binomial coefficient."""
    return gammaln(number + 1) - gammaln(chosen + 1) - gammaln(number - chosen + 1)


def _permutation(values: FloatArray, flags: BoolArray, rng: np.random.Generator, num_permutations: int) -> float:
    # About their mean, values sum to 0, so a difference of means is that of the sums but for a factor: summing the
    # smaller side alone is enough, and a random side costs its own size only.
    centred = (values - values.mean()) / np.ptp(values)
    side = flags if 2 * np.count_nonzero(flags) <= flags.size else ~flags
    size = np.count_nonzero(side)
    found = abs(centred[side].sum()) - 1e-12 * np.abs(centred).sum()  # sums of equal value may round differently
    sums = np.array(
        [centred[rng.choice(centred.size, size, replace=False, shuffle=False)].sum() for _ in range(num_permutations)]
    )
    return float((1 + np.count_nonzero(np.abs(sums) >= found)) / (1 + num_permutations))
