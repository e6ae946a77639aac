"""Groups of examples: whose errors does compression raise (Hooker et al., arXiv 2010.03058)?

Error, false-positive and false-negative rates of each group, as change normalised by the dense value:
(x_variant - x_reference) / x_reference. Intervals draw the members of both populations anew, with replacement: they are
about networks trained again and judged on these very examples, not about other examples of the groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import BoolArray, FloatArray
from ._counting import joint_counts, ratio
from ._validation import (
    check_alpha,
    check_binary,
    check_count,
    check_groups,
    check_labels,
    check_mask,
    check_paired,
    check_populations,
    check_rng,
    check_same_examples,
)


@dataclass(frozen=True, eq=False)
class GroupRates:
    """One rate of every group in both populations. Arrays are [groups]; NaN where the rate has no examples."""

    num_examples: NDArray[np.int64]
    """Examples that the rate is a share of: the group's, its negatives (FPR) or its positives (FNR)."""
    is_small: BoolArray
    """Whether these are fewer than `min_examples`."""
    reference: FloatArray
    """Mean rate over the reference's members, in [0, 1]."""
    variant: FloatArray
    """Mean rate over the variant's members, in [0, 1]."""
    change: FloatArray
    """variant - reference."""
    normalised_change: FloatArray
    """change / reference, at least -1; NaN where the reference's rate is 0."""
    change_low: FloatArray
    """Lower end of the interval of `change`; NaN where a population has fewer than two members."""
    change_high: FloatArray
    normalised_change_low: FloatArray
    """Lower end of the interval of `normalised_change`; NaN where there is none of either."""
    normalised_change_high: FloatArray
    """Infinite where the reference's rate is so close to 0 that the ratio has no upper bound."""


@dataclass(frozen=True, eq=False)
class ErrorGap:
    """Distance between the worst and the best group's error, over the groups that are not small.

    The largest of several noisy rates is overestimated, and the smallest underestimated, so a gap is a little above 0
    even where all groups are alike; its change is free of that as far as both populations are equally noisy.
    """

    reference_worst: str | None
    """The group of the largest error among the reference's; None where all groups are small."""
    variant_worst: str | None
    reference: float
    """max - min error; NaN where fewer than two groups are not small."""
    variant: float
    change_low: float
    """Lower end of the interval of `change`."""
    change_high: float

    @property
    def change(self) -> float:
        """variant - reference: above 0 where compression sets the groups apart."""
        return self.variant - self.reference


@dataclass(frozen=True, eq=False)
class GroupImpact:
    """What compression does to each group's rates."""

    names: tuple[str, ...]
    """Of the groups, in the order of all arrays."""
    error: GroupRates
    false_positive: GroupRates | None
    """None where no positive class was named."""
    false_negative: GroupRates | None
    gap: ErrorGap
    alpha: float
    """The intervals hold 1 - alpha."""
    num_resamples: int
    is_paired: bool

    @property
    def num_examples(self) -> NDArray[np.int64]:
        """Examples of each group."""
        return self.error.num_examples

    @property
    def is_small(self) -> BoolArray:
        """Groups of fewer examples than `min_examples`."""
        return self.error.is_small


def group_impact(
    reference: ArrayLike,
    variant: ArrayLike,
    labels: ArrayLike,
    groups: Mapping[str, ArrayLike],
    *,
    positive: int | None = None,
    rng: np.random.Generator,
    num_resamples: int = 1000,
    alpha: float = 0.05,
    min_examples: int = 30,
    is_paired: bool = False,
) -> GroupImpact:
    """Each group's error and its normalised change, with bootstrap intervals over members (arXiv 2010.03058).

    `reference` and `variant` are integer labels [members, examples], `labels` the true ones [examples], `groups` masks
    [examples] by name; groups may overlap. `positive` names the class whose false-positive and false-negative rates
    are asked for, one against the rest: FPR is the share of the other classes' examples that a member calls `positive`,
    FNR that of its own examples that a member calls anything else.

    Intervals are percentiles of `num_resamples` draws, members with replacement; `is_paired` draws the same rows of
    both, for variants derived from the reference's members (row m of both is the same seed). They assume nothing of the
    rates' distribution, but are too short for few members: at alpha = .05, of 800 simulated pairs of populations (error
    about .2 and .3) they held the true change in 94 % with 20 or 30 members each, 92 % with 10, 87 % with 5 and 72 %
    with 2. Their ends are the draws next outside of the percentiles. A draw whose reference rate is 0 says nothing
    about the ratio: it counts as -1 for the lower end and as infinite for the upper one.

    Memory is 8 bytes x num_resamples x groups, a few times over.

    Raises InputError for arrays of another shape or type, different numbers of examples, no groups, paired populations
    of different size, and options outside their range.
    """
    before, after = check_populations(reference, variant)
    truth = check_labels(labels, num_examples=before.shape[1])
    options = _Options.of(rng, num_resamples, alpha, min_examples, is_paired, before, after)
    names, masks = check_groups(groups, num_examples=truth.size)
    if positive is None:
        return _group_impact(names, masks, {"error": (before != truth, after != truth, None)}, options)
    if isinstance(positive, bool) or not isinstance(positive, int | np.integer):
        raise InputError(f"positive: found {positive!r}; accepted is a class label")
    is_positive = truth == positive
    wrong = (before != truth, after != truth, None)
    return _group_impact(
        names,
        masks,
        {"error": wrong, **_one_against_rest(before == positive, after == positive, is_positive)},
        options,
    )


def binary_group_impact(
    reference: ArrayLike,
    variant: ArrayLike,
    labels: ArrayLike,
    groups: Mapping[str, ArrayLike],
    *,
    rng: np.random.Generator,
    num_resamples: int = 1000,
    alpha: float = 0.05,
    min_examples: int = 30,
    is_paired: bool = False,
) -> GroupImpact:
    """`group_impact` of one binary attribute, True being the positive class.

    `reference` and `variant` are booleans [members, examples], `labels` the true ones [examples]: what each member
    predicts. Attribute j of multi-label predictions [members, examples, attributes] is the view `predictions[:, :, j]`.

    Raises InputError as `group_impact` does.
    """
    before, after = check_binary("reference", reference), check_binary("variant", variant)
    check_same_examples(before.shape[1], after.shape[1])
    truth = check_mask("labels", labels, num_examples=before.shape[1])
    options = _Options.of(rng, num_resamples, alpha, min_examples, is_paired, before, after)
    names, masks = check_groups(groups, num_examples=truth.size)
    wrong = (before != truth, after != truth, None)
    return _group_impact(names, masks, {"error": wrong, **_one_against_rest(before, after, truth)}, options)


def intersections(attributes: Mapping[str, ArrayLike], *, order: int) -> dict[str, BoolArray]:
    """Masks [examples] of all groups that `order` attributes make together, such as `Male & not Young`.

    `attributes` are booleans, integers or strings [examples] by name, None (in an array of objects) where unknown: such
    an example is in no group of that attribute. A boolean attribute makes the groups `Male` and `not Male`, another one
    `origin=asia` for each of its values in ascending order. Groups without examples are left out. `order` of 1 gives
    the attributes' own groups.

    Raises InputError for attributes of other types or different lengths, two groups of one name, and an `order` that is
    below 1 or above the number of attributes.
    """
    order = check_count("order", order)
    if order > len(attributes):
        raise InputError(f"order: found {order}; accepted is at most the number of attributes, {len(attributes)}")
    single = [list(_values_of(name, values)) for name, values in attributes.items()]
    lengths = {mask.size for groups in single for _, mask in groups}
    if len(lengths) > 1:
        raise InputError(f"attributes: found lengths {sorted(lengths)}; accepted is one value an example in each")
    found: dict[str, BoolArray] = {}
    for groups in (groups for chosen in combinations(single, order) for groups in product(*chosen)):
        name, mask = " & ".join(part for part, _ in groups), np.logical_and.reduce([part for _, part in groups])
        if name in found:
            raise InputError(f"attributes: found two groups named {name!r}; accepted are attributes of different names")
        if mask.any():
            found[name] = mask
    return found


def _values_of(name: str, values: ArrayLike) -> Iterator[tuple[str, BoolArray]]:
    """One attribute's groups."""
    array = np.asarray(values)
    is_known = np.ones(array.shape, np.bool_)
    if array.dtype == object:
        is_known = np.array([value is not None for value in array.ravel()], np.bool_).reshape(array.shape)
    known = np.array(array[is_known].tolist()) if array.dtype == object else array
    if array.ndim != 1 or (known.size and known.dtype.kind not in "biuU"):
        raise InputError(
            f"attributes[{name!r}]: found {known.dtype} {array.shape}; "
            "accepted are booleans, integers or strings, one an example"
        )
    is_boolean = known.dtype == np.bool_
    for value in np.unique(known)[:: -1 if is_boolean else 1]:
        mask = is_known.copy()
        mask[is_known] = known == value
        yield (name if value else f"not {name}") if is_boolean else f"{name}={value}", mask


_Indicators = tuple[BoolArray, BoolArray, BoolArray | None]
"""What is counted in the reference and the variant, [members, examples], and of which examples; None is all."""


def _one_against_rest(before: BoolArray, after: BoolArray, is_positive: BoolArray) -> dict[str, _Indicators]:
    return {
        "false_positive": (before & ~is_positive, after & ~is_positive, ~is_positive),
        "false_negative": (~before & is_positive, ~after & is_positive, is_positive),
    }


@dataclass(frozen=True, eq=False)
class _Options:
    """How often each member is drawn, [resamples, members]: the same draws for every rate and group."""

    reference_draws: FloatArray
    variant_draws: FloatArray
    alpha: float
    min_examples: int
    is_paired: bool

    @classmethod
    def of(
        cls,
        rng: np.random.Generator,
        num_resamples: int,
        alpha: float,
        min_examples: int,
        is_paired: bool,
        reference: NDArray[Any],
        variant: NDArray[Any],
    ) -> _Options:
        check_rng(rng)
        check_paired(is_paired, reference, variant)
        num_resamples = check_count("num_resamples", num_resamples)
        reference_draws = _draws(len(reference), num_resamples, rng)
        return cls(
            reference_draws=reference_draws,
            variant_draws=reference_draws if is_paired else _draws(len(variant), num_resamples, rng),
            alpha=check_alpha(alpha),
            min_examples=check_count("min_examples", min_examples),
            is_paired=bool(is_paired),
        )


def _draws(num_members: int, num_resamples: int, rng: np.random.Generator) -> FloatArray:
    """One member alone says nothing about the next: NaN."""
    if num_members < 2:
        return np.full((num_resamples, num_members), np.nan)
    equal = np.full(num_members, 1 / num_members)
    return rng.multinomial(num_members, equal, size=num_resamples).astype(np.float64)


def _group_impact(
    names: tuple[str, ...], masks: BoolArray, indicators: Mapping[str, _Indicators], options: _Options
) -> GroupImpact:
    counts = {
        rate: _Counts.of(before, after, of_which, masks, options)
        for rate, (before, after, of_which) in indicators.items()
    }
    rates = {rate: count.rates(options) for rate, count in counts.items()}
    return GroupImpact(
        names=names,
        error=rates["error"],
        false_positive=rates.get("false_positive"),
        false_negative=rates.get("false_negative"),
        gap=_gap(names, counts["error"], rates["error"], options),
        alpha=options.alpha,
        num_resamples=len(options.reference_draws),
        is_paired=options.is_paired,
    )


@dataclass(frozen=True, eq=False)
class _Counts:
    """One rate's means over the members, [groups], and over drawn members, [resamples, groups]."""

    num_examples: NDArray[np.int64]
    reference: FloatArray
    variant: FloatArray
    drawn_reference: FloatArray
    drawn_variant: FloatArray

    @classmethod
    def of(
        cls, before: BoolArray, after: BoolArray, of_which: BoolArray | None, masks: BoolArray, options: _Options
    ) -> _Counts:
        num_examples = np.count_nonzero(masks if of_which is None else masks & of_which, axis=1)
        reference, variant = joint_counts(before.T, masks.T), joint_counts(after.T, masks.T)
        # Sums of whole numbers, divided once: equal populations differ by exactly 0.
        return cls(
            num_examples=num_examples,
            reference=ratio(reference.sum(axis=0), len(reference) * num_examples),
            variant=ratio(variant.sum(axis=0), len(variant) * num_examples),
            drawn_reference=ratio(options.reference_draws @ reference, len(reference) * num_examples),
            drawn_variant=ratio(options.variant_draws @ variant, len(variant) * num_examples),
        )

    def rates(self, options: _Options) -> GroupRates:
        change, drawn_change = self.variant - self.reference, self.drawn_variant - self.drawn_reference
        normalised_change = ratio(change, self.reference)
        drawn_normalised = ratio(drawn_change, self.drawn_reference)
        says_nothing = (self.drawn_reference == 0) & (self.reference > 0)
        return GroupRates(
            num_examples=self.num_examples,
            is_small=self.num_examples < options.min_examples,
            reference=self.reference,
            variant=self.variant,
            change=change,
            normalised_change=normalised_change,
            change_low=_low(drawn_change, options.alpha),
            change_high=_high(drawn_change, options.alpha),
            normalised_change_low=_low(np.where(says_nothing, -1.0, drawn_normalised), options.alpha),
            normalised_change_high=_high(np.where(says_nothing, np.inf, drawn_normalised), options.alpha),
        )


def _low(drawn: FloatArray, alpha: float) -> FloatArray:
    return np.quantile(drawn, alpha / 2, axis=0, method="lower")


def _high(drawn: FloatArray, alpha: float) -> FloatArray:
    return np.quantile(drawn, 1 - alpha / 2, axis=0, method="higher")


def _gap(names: tuple[str, ...], counts: _Counts, error: GroupRates, options: _Options) -> ErrorGap:
    compared = np.flatnonzero(~error.is_small)
    if compared.size < 2:
        only = names[compared[0]] if compared.size else None
        nan = float("nan")
        return ErrorGap(only, only, nan, nan, nan, nan)
    change = np.ptp(counts.drawn_variant[:, compared], axis=1) - np.ptp(counts.drawn_reference[:, compared], axis=1)
    return ErrorGap(
        reference_worst=names[compared[np.argmax(error.reference[compared])]],
        variant_worst=names[compared[np.argmax(error.variant[compared])]],
        reference=float(np.ptp(error.reference[compared])),
        variant=float(np.ptp(error.variant[compared])),
        change_low=float(_low(change, options.alpha)),
        change_high=float(_high(change, options.alpha)),
    )
