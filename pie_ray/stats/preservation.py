"""Label preservation: does a loss that holds networks to their references keep more labels than the plain loss does?

Joseph et al. (arXiv 2012.01604) count the CIEs and CIE-Us (see `pairs`) of networks compressed with either loss, all
against the same references, and tell the ratio plain / preserving. They also say that the preserving loss is fairer to
classes; here that is how far the classes' accuracy changes spread, and the change of the class that loses most.
Intervals, and how fairness is measured, are ours.

Axes: m members of equal seed; n answers, an example's label, or one for each of its attributes; b draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import BoolArray, FloatArray, IntArray, blocks
from ._counting import ratio
from ._intervals import draw_counts, percentiles
from ._validation import check_alpha, check_count, check_labels, check_pairs, check_populations, check_rng
from .corruption_error import Resampled


@dataclass(frozen=True, eq=False)
class Preserved:
    """What networks of one loss make of their references' labels, mean over members."""

    cie_fraction: float
    """CIEs as a fraction of all answers."""
    cie_u_fraction: float
    class_change: FloatArray
    """Accuracy on each class minus the reference's, [classes]; NaN of a class without answers."""
    class_spread: float
    """Standard deviation of `class_change` over classes, less what chance adds; 0 where chance explains all of it."""

    @property
    def worst_class(self) -> int:
        """The class that loses most; the first among equals."""
        return int(np.nanargmin(self.class_change))

    @property
    def worst_class_change(self) -> float:
        return float(self.class_change[self.worst_class])


@dataclass(frozen=True, eq=False)
class LabelPreservation:
    """A label-preserving loss against the plain one: ratios above 1 and differences above 0 speak for it.

    A ratio is infinite where the preserving loss alone has none, and NaN where neither loss has any.
    """

    plain: Preserved
    preserving: Preserved
    cie_ratio: Resampled
    """CIEs, plain / preserving."""
    cie_u_ratio: Resampled
    top1_change: Resampled
    """Top-1, preserving - plain."""
    class_spread_ratio: Resampled
    """`class_spread`, plain / preserving."""
    worst_class_difference: Resampled
    """Change of the worst class, preserving - plain; which class that is may differ."""


def label_preservation(
    reference: ArrayLike,
    plain: ArrayLike,
    preserving: ArrayLike,
    labels: ArrayLike,
    *,
    num_classes: int,
    rng: np.random.Generator,
    classes: ArrayLike | None = None,
    examples: ArrayLike | None = None,
    num_resamples: int = 1000,
    alpha: float = 0.05,
) -> LabelPreservation:
    """CIEs, top-1 and class fairness of a label-preserving loss against the plain one (arXiv 2012.01604).

    The populations are integer labels [members, answers], row m of each of one seed; `labels` the true ones [answers].
    `classes`, integers [answers] in [0, num_classes), are what fairness is over: the labels where it is None.
    `examples`, integers [answers], say which example an answer is about: each is its own where it is None.

    Intervals are percentiles of a two-way bootstrap. Each draw takes members and examples anew, both with replacement,
    as both are samples: one of trainings, one of images. Drawing members alone would speak of these images only,
    drawing examples alone of these networks only. The three networks of a seed stay together, and so do the answers of
    an example. The draws vary rather too much than too little, as what depends on member and example at once is counted
    twice (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007); of few members percentiles are
    too short none the less.

    Classes spread by chance alone, and more so in networks that change more labels, so that a raw ratio of spreads
    finds the preserving loss fairer where both are equally fair. From the variance over classes the mean variance of
    the draws is taken, and from a draw's, in which chance is there twice, two of it. A class that a draw leaves out
    keeps the change that was found.

    A draw in which neither loss has any says nothing of a ratio: it counts as 0 for the lower end, as infinite for the
    upper one. One member has no intervals (NaN).

    Raises InputError for arrays of another shape, type or range, different numbers of members or examples, and options
    outside their range.
    """
    check_rng(rng)
    num_resamples, alpha = check_count("num_resamples", num_resamples), check_alpha(alpha)
    before, with_plain = check_populations(reference, plain)
    _, with_preserving = check_populations(reference, preserving)
    for variant in (with_plain, with_preserving):
        check_pairs(before, variant)
    truth = check_labels(labels, num_examples=before.shape[1])
    about = _About.of(truth, classes, examples, check_count("num_classes", num_classes))
    answers = _Answers.of(before, (with_plain, with_preserving), truth, about)

    found = answers.figures(np.ones((1, len(before)), np.int64), np.ones((1, about.num_examples), np.int64))
    draws = _draws(len(before), about.num_examples, num_resamples, rng)
    drawn = _joined([answers.figures(*weights) for weights in draws])
    return _compare(found, drawn, alpha, has_interval=len(before) > 1)


@dataclass(frozen=True, eq=False)
class _About:
    """Which class and example each answer is about, both [answers]."""

    classes: IntArray
    examples: NDArray[np.intp]
    num_classes: int
    num_examples: int

    @classmethod
    def of(cls, labels: IntArray, classes: ArrayLike | None, examples: ArrayLike | None, num_classes: int) -> _About:
        known = check_labels(labels if classes is None else classes, num_examples=labels.size, num_classes=num_classes)
        if examples is None:
            return cls(known, np.arange(labels.size), num_classes, labels.size)
        ids, places = np.unique(check_labels(examples, num_examples=labels.size), return_inverse=True)
        return cls(known, places, num_classes, ids.size)


@dataclass(frozen=True, eq=False)
class _Figures:
    """Of both losses, plain first, in each draw of members and examples; fractions of all answers, or of a class's."""

    cie: FloatArray
    """[2, draws]."""
    cie_u: FloatArray
    top1_change: FloatArray
    """Against the reference's."""
    class_change: FloatArray
    """[2, draws, classes]; NaN of a class without answers."""


_COUNTS = 3
"""CIE, CIE-U, and right less the reference's right: what an answer adds to each, for both losses."""


@dataclass(frozen=True, eq=False)
class _Class:
    """The answers of one class."""

    examples: NDArray[np.intp]
    """Which example each is about, [answers of the class]."""
    moved: NDArray[np.intp]
    """The same of those that add anything to any count, [moved]."""
    counts: NDArray[np.float32]
    """What these add, each -1, 0 or 1: [2 losses x counts x members, moved]."""


@dataclass(frozen=True, eq=False)
class _Answers:
    by_class: tuple[_Class, ...]

    @classmethod
    def of(cls, reference: IntArray, variants: tuple[IntArray, IntArray], labels: IntArray, about: _About) -> _Answers:
        was_right = reference == labels
        counts = np.empty((len(variants), _COUNTS, *reference.shape), np.int8)
        for each, variant in zip(counts, variants, strict=True):
            differs = variant != reference
            each[:] = differs, differs & was_right, (variant == labels) - was_right.astype(np.int8)
        has_moved: BoolArray = np.asarray(counts.any(axis=(0, 1, 2)))
        order = np.argsort(about.classes, kind="stable")
        places = np.split(order, np.cumsum(np.bincount(about.classes, minlength=about.num_classes))[:-1])
        moved = [mine[has_moved[mine]] for mine in places]
        return cls(
            tuple(
                _Class(
                    about.examples[all_of],
                    about.examples[some],
                    counts[..., some].reshape(2 * _COUNTS * len(reference), some.size).astype(np.float32),
                )
                for all_of, some in zip(places, moved, strict=True)
            )
        )

    def figures(self, members: NDArray[np.int64], examples: NDArray[np.int64]) -> _Figures:
        """Of draws that weigh members [draws, members] and examples [draws, examples] by whole numbers."""
        num_draws, num_members = members.shape
        # float32 counts exactly up to 2^24 answers, in the fast matrix product.
        weights = examples.astype(np.float32)
        sizes = np.empty((num_draws, len(self.by_class)))
        sums = np.empty((2, _COUNTS, num_draws, len(self.by_class)))
        for index, mine in enumerate(self.by_class):
            sizes[:, index] = weights[:, mine.examples].sum(axis=1)
            by_member = (weights[:, mine.moved] @ mine.counts.T).reshape(num_draws, 2, _COUNTS, num_members)
            sums[..., index] = np.einsum("blkm,bm->lkb", by_member, members)
        cie, cie_u, change = np.moveaxis(sums, 1, 0) / num_members
        num_answers = sizes.sum(axis=1)
        return _Figures(
            cie=cie.sum(axis=2) / num_answers,
            cie_u=cie_u.sum(axis=2) / num_answers,
            top1_change=change.sum(axis=2) / num_answers,
            class_change=ratio(change, sizes[None]),
        )


def _draws(
    num_members: int, num_examples: int, num_resamples: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Weights of members and examples, some draws at a time."""
    for some in blocks(num_resamples, num_examples):
        num_draws = some.stop - some.start
        yield draw_counts(num_members, num_draws, rng), draw_counts(num_examples, num_draws, rng)


def _joined(parts: Sequence[_Figures]) -> _Figures:
    """All draws."""

    def joined(name: str) -> FloatArray:
        return np.concatenate([getattr(part, name) for part in parts], axis=1)

    return _Figures(joined("cie"), joined("cie_u"), joined("top1_change"), joined("class_change"))


def _compare(found: _Figures, drawn: _Figures, alpha: float, *, has_interval: bool) -> LabelPreservation:
    def resampled(value: FloatArray, draws: FloatArray) -> Resampled:
        low, high = percentiles(draws, alpha=alpha, least=0.0) if has_interval else (np.array(np.nan),) * 2
        return Resampled(np.asarray(value[0]), low, high)

    has_answers = ~np.isnan(found.class_change[0, 0])
    change = found.class_change[..., has_answers]
    changes = drawn.class_change[..., has_answers]
    changes = np.where(np.isnan(changes), change, changes)
    centred = changes - changes.mean(axis=2, keepdims=True)
    noise = centred.var(axis=1).mean(axis=1, keepdims=True)
    spread, spreads = _spread(change, noise), _spread(changes, 2 * noise)
    worst, worsts = change.min(axis=2), changes.min(axis=2)
    plain, preserving = (
        Preserved(
            cie_fraction=float(found.cie[loss, 0]),
            cie_u_fraction=float(found.cie_u[loss, 0]),
            class_change=found.class_change[loss, 0],
            class_spread=float(spread[loss, 0]),
        )
        for loss in (0, 1)
    )
    return LabelPreservation(
        plain=plain,
        preserving=preserving,
        cie_ratio=resampled(_plain_over_preserving(found.cie), _plain_over_preserving(drawn.cie)),
        cie_u_ratio=resampled(_plain_over_preserving(found.cie_u), _plain_over_preserving(drawn.cie_u)),
        top1_change=resampled(_gain(found.top1_change), _gain(drawn.top1_change)),
        class_spread_ratio=resampled(_plain_over_preserving(spread), _plain_over_preserving(spreads)),
        worst_class_difference=resampled(_gain(worst), _gain(worsts)),
    )


def _spread(change: FloatArray, noise: FloatArray) -> FloatArray:
    """Standard deviation over classes [2, draws], with `noise` taken from the variance."""
    return np.sqrt(np.maximum(change.var(axis=2) - noise, 0.0))


def _plain_over_preserving(both: FloatArray) -> FloatArray:
    """[draws]; infinite where the second alone is 0, NaN where both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(both[0] / both[1])


def _gain(both: FloatArray) -> FloatArray:
    return np.asarray(both[1] - both[0])
