"""What holds for any populations: members, classes and examples may come in any order and under any name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pie_ray import stats

pytestmark = pytest.mark.filterwarnings("error")

NUM_CLASSES = 4


@dataclass(frozen=True)
class Case:
    reference: np.ndarray
    variant: np.ndarray
    labels: np.ndarray
    rng: np.random.Generator


@st.composite
def cases(draw, same_size=False):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    num_reference, num_variant = draw(st.integers(2, 6)), draw(st.integers(2, 6))
    num_examples = draw(st.integers(1, 12))
    shape = (num_reference if same_size else num_variant, num_examples)
    labels = rng.integers(0, NUM_CLASSES, num_examples)
    populations = (
        np.where(rng.random(shape) < 0.6, labels, rng.integers(0, NUM_CLASSES, shape))
        for shape in ((num_reference, num_examples), shape)
    )
    return Case(*populations, labels, rng)


holds = settings(deadline=None, max_examples=50)


@holds
@given(cases())
def test_who_is_which_member_plays_no_part(case):
    other = case.rng.permutation(case.reference), case.rng.permutation(case.variant)
    for statistic in (_pies, _taxicab, _classes, _reduced):
        _assert_same(statistic(case.reference, case.variant, case.labels), statistic(*other, case.labels))
    _assert_same(
        stats.vote_entropy(case.reference, num_classes=NUM_CLASSES),
        stats.vote_entropy(other[0], num_classes=NUM_CLASSES),
    )


@holds
@given(cases())
def test_the_order_of_examples_plays_no_part(case):
    order = case.rng.permutation(case.labels.size)
    for statistic in (_pies, _taxicab):
        there = statistic(case.reference, case.variant, case.labels)
        here = statistic(case.reference[:, order], case.variant[:, order], case.labels[order])
        _assert_same([values[..., order] for values in there], here)
    for statistic in (_classes, _reduced):
        there = statistic(case.reference, case.variant, case.labels)
        _assert_same(there, statistic(case.reference[:, order], case.variant[:, order], case.labels[order]))


@holds
@given(cases())
def test_what_classes_are_called_plays_no_part(case):
    names = case.rng.permutation(NUM_CLASSES)
    renamed = names[case.reference], names[case.variant], names[case.labels]
    _assert_same(_taxicab(*renamed), _taxicab(case.reference, case.variant, case.labels))
    there, here = (
        stats.class_impact(*each, num_classes=NUM_CLASSES)
        for each in ((case.reference, case.variant, case.labels), renamed)
    )
    _assert_same([there.change, there.p_value], [here.change[names], here.p_value[names]])
    # Ties go by the class's index, so a PIE may come or go where there is one, and nowhere else.
    before, after = (
        stats.find_pies(*each[:2], num_classes=NUM_CLASSES) for each in ((case.reference, case.variant), renamed)
    )
    settled = ~(before.reference_tied | before.variant_tied)
    _assert_same([before.is_pie[settled]], [after.is_pie[settled]])


@holds
@given(cases())
def test_identical_populations_have_no_pie(case):
    pies = stats.find_pies(case.reference, case.reference, num_classes=NUM_CLASSES)
    assert pies.num_pies == 0
    assert not stats.taxicab(case.reference, case.reference, num_classes=NUM_CLASSES).any()
    assert not stats.compare_pairs(case.reference, case.reference, case.labels).num_cie.any()
    impact = stats.class_impact(case.reference, case.reference, case.labels, num_classes=NUM_CLASSES)
    assert not impact.significant.any() and not np.nan_to_num(impact.change).any()


@holds
@given(cases(same_size=True))
def test_reference_and_variant_may_trade_places(case):
    there, here = _pies(case.reference, case.variant, case.labels), _pies(case.variant, case.reference, case.labels)
    _assert_same(there[:1], here[:1])
    _assert_same(_taxicab(case.reference, case.variant, None), _taxicab(case.variant, case.reference, None))


@holds
@given(cases(same_size=True))
def test_pies_are_those_that_the_taxicab_distance_sees(case):
    pies = stats.find_pies(case.reference, case.variant, num_classes=NUM_CLASSES)
    assert (stats.taxicab(case.reference, case.variant, num_classes=NUM_CLASSES)[pies.is_pie] > 0).all()


@holds
@given(cases(same_size=True))
def test_halves_of_an_unchanged_variant_are_the_noise_floor(case):
    options = {"num_classes": NUM_CLASSES, "num_splits": 10_000}
    floor = stats.noise_floor(case.reference, rng=np.random.default_rng(0), **options)
    halves = stats.half_pies(case.reference, case.reference, rng=np.random.default_rng(0), **options)
    assert floor.exhaustive and halves.mean == pytest.approx(floor.mean)
    shuffled = stats.noise_floor(case.rng.permutation(case.reference), rng=np.random.default_rng(0), **options)
    np.testing.assert_allclose(np.sort(floor.pie_fractions), np.sort(shuffled.pie_fractions))


@holds
@given(cases(same_size=True))
def test_what_a_loss_preserves_depends_on_no_order_or_name(case):
    """The figures as they were found; intervals and the spread's correction are drawn."""
    plain = np.where(case.rng.random(case.variant.shape) < 0.5, case.variant, case.reference)
    there = _preservation(case.reference, plain, case.variant, case.labels)
    members, examples, names = map(case.rng.permutation, (len(plain), case.labels.size, NUM_CLASSES))
    shuffled = (each[members][:, examples] for each in (case.reference, plain, case.variant))
    here = _preservation(*(names[each] for each in shuffled), names[case.labels[examples]])
    _assert_same(there[:-2], here[:-2])
    _assert_same(there[-2:], [changes[names] for changes in here[-2:]])


def _preservation(reference, plain, preserving, labels):
    options = {"num_classes": NUM_CLASSES, "rng": np.random.default_rng(0), "num_resamples": 5}
    found = stats.label_preservation(reference, plain, preserving, labels, **options)
    ratios = [found.cie_ratio.value, found.cie_u_ratio.value, found.top1_change.value]
    worst = [found.worst_class_difference.value, found.plain.worst_class_change, found.preserving.worst_class_change]
    return [*ratios, *worst, found.plain.class_change, found.preserving.class_change]


def _pies(reference, variant, labels):
    pies = stats.find_pies(reference, variant, num_classes=NUM_CLASSES)
    return [pies.is_pie, pies.reference_mode, pies.variant_mode, pies.reference_agreement, pies.variant_agreement]


def _taxicab(reference, variant, labels):
    return [stats.taxicab(reference, variant, num_classes=NUM_CLASSES) / len(reference)]


def _classes(reference, variant, labels):
    impact = stats.class_impact(reference, variant, labels, num_classes=NUM_CLASSES)
    return [impact.change, impact.p_value, impact.effect_size, impact.low, impact.high, impact.q_value]


def _reduced(reference, variant, labels):
    is_pie = stats.find_pies(reference, variant, num_classes=NUM_CLASSES).is_pie
    reduced = stats.reduced_accuracy(variant, labels, is_pie)
    return [np.array([part.mean for part in (reduced.on_all, reduced.on_pies, reduced.without_pies)])]


def _assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
