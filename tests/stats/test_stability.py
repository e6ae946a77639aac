"""Stability of PIE sets: against all subsets by hand, and extrapolations against the truth of large populations."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pie_ray.errors import InputError
from pie_ray.stats import PieStability, find_pies, members_needed, pie_stability
from pie_ray.stats._jaccard_curve import _signs_differ, overlap
from pie_ray.stats.stability import _errors

pytestmark = pytest.mark.filterwarnings("error")


def generator(seed=0):
    return np.random.default_rng(seed)


def leaning(rng, num_examples):
    """How far each example leans to label 1: most of them surely to one side, one in five near the boundary."""
    return np.where(rng.random(num_examples) < 0.8, rng.normal(0, 6, num_examples), rng.normal(0, 1, num_examples))


def votes(rng, lean, num_members):
    """Members that vote 1 or 0 as the examples lean, and one time in twenty 2."""
    noise = rng.logistic(size=(num_members, lean.size))
    return np.where(rng.random(noise.shape) < 0.05, 2, lean + noise > 0)


def moved(seed, movement, num_members, num_examples=2000):
    """Two populations; the second's examples lean otherwise, by `movement` in the mean square."""
    rng = generator(seed)
    lean = leaning(rng, num_examples)
    return votes(rng, lean, num_members), votes(
        rng, lean + movement * rng.laplace(0, np.sqrt(0.5), lean.size), num_members
    )


def derived(seed, movement, num_members, num_examples=2000):
    """Two populations of which each member of the second differs a little from its own in the first."""
    rng = generator(seed)
    lean = leaning(rng, num_examples) + rng.logistic(size=(num_members, num_examples))
    shift = movement * rng.laplace(0, np.sqrt(0.5), num_examples)
    return (lean > 0).astype(int), (lean + shift + 0.3 * rng.normal(size=lean.shape) > 0).astype(int)


def arrays(result):
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}


def assert_equal(first, second):
    for name, value in arrays(first).items():
        np.testing.assert_array_equal(value, getattr(second, name), err_msg=name)


def jaccard(first, second):
    return (first & second).sum() / (first | second).sum()


def every_pair_of_subsets(reference, variant, size, *, is_paired, tie="largest"):
    """Jaccard similarity of all pairs of disjoint subsets, and the mean PIE fraction."""

    def choices(num_members):
        for first in combinations(range(num_members), size):
            for second in combinations(sorted(set(range(num_members)) - set(first)), size):
                yield list(first), list(second)

    similarities, fractions = [], []
    for first, second in choices(len(reference)):
        for other_first, other_second in [(first, second)] if is_paired else choices(len(variant)):
            pies = [
                find_pies(reference[mine], variant[others], num_classes=3, tie=tie).is_pie
                for mine, others in ((first, other_first), (second, other_second))
            ]
            fractions.append(np.mean(pies))
            if np.any(pies):
                similarities.append(jaccard(*pies))
    return np.array(similarities), np.mean(fractions)


@pytest.mark.parametrize("tie", ["largest", "smallest"])
@pytest.mark.parametrize("is_paired", [False, True])
def test_all_pairs_of_subsets_counted_by_hand(is_paired, tie):
    reference, variant = (derived if is_paired else moved)(1, 2, 5, num_examples=30)
    stability = pie_stability(
        reference, variant, num_classes=3, rng=generator(), tie=tie, num_resamples=4000, is_paired=is_paired
    )
    similarities, pie_fraction = every_pair_of_subsets(reference, variant, 2, is_paired=is_paired, tie=tie)
    error = similarities.std() / np.sqrt(4000)
    assert stability.num_members.tolist() == [2]
    assert stability.jaccard_mean.item() == pytest.approx(similarities.mean(), abs=5 * error)
    assert stability.jaccard_std.item() == pytest.approx(similarities.std(), rel=0.1)
    assert stability.pie_fraction.item() == pytest.approx(pie_fraction, rel=0.05)
    assert error > 0 and stability.is_paired == is_paired


def test_a_single_resample_is_two_disjoint_subsets():
    # Each member marks one example: PIE sets of disjoint subsets of one example a pair share nothing.
    reference = np.zeros((8, 8), int)
    variant = np.eye(8, dtype=int)
    stability = pie_stability(reference, variant, num_classes=2, rng=generator(), is_paired=True)
    # Of two members one vote is a tie, which goes to label 1; of three or more it is lost.
    assert stability.num_members.tolist() == [2, 3, 4]
    assert stability.jaccard_mean.tolist()[0] == 0
    assert stability.num_resamples.tolist() == [50, 0, 0]
    assert stability.pie_fraction.tolist() == [2 / 8, 0, 0]
    assert np.isnan(stability.jaccard_mean[1:]).all() and np.isnan(stability.jaccard_std[1:]).all()


@pytest.mark.parametrize("is_paired", [False, True])
def test_an_unchanged_population_that_always_agrees_has_no_pies(is_paired):
    same = np.tile([0, 1, 2], (9, 1))
    stability = pie_stability(same, same.copy(), num_classes=3, rng=generator(), is_paired=is_paired)
    assert stability.num_resamples.tolist() == [0, 0, 0]
    assert stability.pie_fraction.tolist() == [0, 0, 0]
    needed = members_needed(stability, 0.5)
    assert (needed.num_members, needed.low, needed.high, needed.basis) == (None, None, None, "too few sizes")
    assert np.isnan([needed.jaccard_now, needed.jaccard_now_low, needed.jaccard_now_high]).all()


def test_an_unchanged_derived_population_has_no_pies_however_its_members_disagree():
    reference, _ = moved(2, 0, 12)
    stability = pie_stability(reference, reference.copy(), num_classes=3, rng=generator(), is_paired=True)
    assert not stability.pie_fraction.any() and not stability.num_resamples.any()


def test_pies_that_are_all_certain_are_stable_at_once():
    reference = np.tile([0, 1, 2, 0], (10, 1))
    variant = np.tile([1, 1, 2, 2], (12, 1))
    stability = pie_stability(reference, variant, num_classes=3, rng=generator())
    assert stability.num_members.tolist() == [2, 3, 4, 5]
    assert stability.jaccard_mean.tolist() == [1] * 4 and stability.jaccard_std.tolist() == [0] * 4
    assert stability.pie_fraction.tolist() == [0.5] * 4
    needed = members_needed(stability, 1.0)
    assert (needed.num_members, needed.basis, needed.num_members_now) == (2, "measured", 10)


@pytest.mark.parametrize(
    ("num_members", "sizes"),
    [
        (1, []),
        (3, []),
        (4, [2]),
        (9, [2, 3, 4]),
        (26, list(range(2, 14))),
        (30, [2, 3, 4, 5, 6, 7, 9, 10, 12, 15]),
        (400, [2, 3, 5, 7, 11, 16, 25, 37, 57, 87, 132, 200]),
    ],
)
def test_sizes_reach_half_of_the_smaller_population(num_members, sizes):
    reference, variant = np.zeros((num_members, 1), int), np.ones((num_members + 3, 1), int)
    stability = pie_stability(reference, variant, num_classes=2, rng=generator(), num_resamples=1)
    assert stability.num_members.tolist() == sizes
    assert all(len(value) == len(sizes) for name, value in arrays(stability).items() if name != "is_paired")
    assert members_needed(stability, 0.5).num_members_now == (2 * sizes[-1] if sizes else None)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(4, 12), st.integers(4, 12), st.booleans())
def test_the_order_of_examples_and_classes_plays_no_part(seed, num_reference, num_variant, is_paired):
    reference, _ = moved(seed, 1, num_reference, num_examples=40)
    _, variant = moved(seed, 1, num_reference if is_paired else num_variant, num_examples=40)

    def measure(first, second, tie="largest"):
        return pie_stability(
            first, second, num_classes=3, rng=generator(), num_resamples=5, is_paired=is_paired, tie=tie
        )

    expected = measure(reference, variant)
    assert np.nanmax(np.append(expected.jaccard_mean, 0)) <= 1
    order = generator(seed).permutation(40)
    assert_equal(measure(reference[:, order], variant[:, order]), expected)
    # Relabelled in reverse, ties must go the other way.
    assert_equal(measure(2 - reference, 2 - variant, tie="smallest"), expected)
    if is_paired:
        assert_equal(measure(variant, reference), expected)


@pytest.mark.parametrize("is_paired", [False, True])
def test_the_size_of_blocks_plays_no_part(is_paired, monkeypatch):
    reference, variant = moved(3, 1, 12, num_examples=200)
    options = {"num_classes": 3, "is_paired": is_paired}
    expected = pie_stability(reference, variant, rng=generator(), **options)
    monkeypatch.setattr("pie_ray.stats._arrays.CELLS_AT_ONCE", 100)
    assert_equal(pie_stability(reference, variant, rng=generator(), **options), expected)
    other = pie_stability(reference, variant, rng=generator(1), **options)
    assert np.any(other.jaccard_mean != expected.jaccard_mean)


def test_subsets_are_repetitions():
    """What halves of one population share is what populations trained anew, of that size, share."""
    rng = generator(4)
    lean = leaning(rng, 3000)
    after = lean + rng.laplace(size=lean.size)
    fresh = []
    for _ in range(40):
        pies = [find_pies(votes(rng, lean, 10), votes(rng, after, 10), num_classes=3).is_pie for _ in range(2)]
        fresh.append(jaccard(*pies))
    stability = pie_stability(votes(rng, lean, 20), votes(rng, after, 20), num_classes=3, rng=rng)
    assert stability.jaccard_mean[-1] == pytest.approx(np.mean(fresh), abs=0.03)
    assert stability.num_members[-1] == 10


def members_in_truth(truth, target):
    """Interpolated between the measured sizes."""
    reached = np.flatnonzero(truth.jaccard_mean >= target)[0]
    around = slice(reached - 1, reached + 1)
    return np.exp(np.interp(target, truth.jaccard_mean[around], np.log(truth.num_members[around])))


@pytest.mark.parametrize("num_members", [20, 30])
@pytest.mark.parametrize(
    ("make", "movement", "targets"),
    [(moved, 1.0, (0.45, 0.5)), (moved, 2.0, (0.6, 0.65)), (derived, 1.0, (0.4, 0.5))],
)
def test_extrapolation_holds_against_200_members(make, movement, targets, num_members):
    reference, variant = make(5, movement, 200, num_examples=3000)
    options = {"num_classes": 3, "is_paired": make is derived}
    truth = pie_stability(reference, variant, rng=generator(), num_resamples=20, **options)
    covered, jaccard_errors, number_errors = [], [], []
    for seed in range(5):
        rng = generator(seed)
        chosen = rng.permutation(200)[:num_members]
        others = chosen if make is derived else rng.permutation(200)[:num_members]
        stability = pie_stability(reference[chosen], variant[others], rng=rng, **options)
        expected = np.interp(np.log(num_members), np.log(truth.num_members), truth.jaccard_mean)
        for target in targets:
            needed = members_needed(stability, target)
            in_truth = members_in_truth(truth, target)
            assert needed.basis == "extrapolated" and needed.num_members > stability.num_members[-1]
            high = np.inf if needed.high is None else needed.high
            assert needed.low <= needed.num_members <= high
            covered.append(needed.low - 1 <= in_truth <= high + 1)
            covered.append(needed.jaccard_now_low - 0.01 <= expected <= needed.jaccard_now_high + 0.01)
            jaccard_errors.append(needed.jaccard_now - expected)
            number_errors.append(np.log(needed.num_members / in_truth))
    assert np.mean(covered) > 0.9
    assert np.abs(jaccard_errors).max() < 0.06
    assert np.abs(number_errors).max() < np.log(2)


@pytest.mark.parametrize("make", [moved, derived])
def test_noise_is_never_promised_to_become_stable(make):
    reference, variant = make(6, 0.0, 30)
    stability = pie_stability(reference, variant, num_classes=3, rng=generator(), is_paired=make is derived)
    assert stability.pie_fraction[-1] > 0.005
    needed = members_needed(stability, 0.8)
    assert (needed.num_members, needed.high, needed.basis) == (None, None, "out of reach")
    assert needed.jaccard_now < 0.3


def curve(sizes, means, **options):
    sizes = np.asarray(sizes)
    fields = {"jaccard_std": np.full(sizes.size, 0.01), "num_resamples": np.full(sizes.size, 50), **options}
    return PieStability(sizes, np.asarray(means, float), pie_fraction=np.full(sizes.size, 0.1), **fields)


def test_what_was_measured_is_read_off():
    stability = curve([2, 3, 4, 5, 6, 7, 8], [0.44, 0.46, 0.50, 0.49, 0.53, 0.55, 0.57])
    assert members_needed(stability, 0.5).num_members == 6, "five members fell short of it"
    assert members_needed(stability, 0.45).num_members == 3
    assert members_needed(stability, 0.55).basis == "measured"
    beyond = members_needed(stability, 0.6)
    assert beyond.basis == "extrapolated" and 8 < beyond.num_members < 20
    assert beyond.num_members_now == 16 and 0.6 < beyond.jaccard_now < 0.7


def test_the_interval_is_as_wide_as_the_measurements_are_uncertain():
    sizes, means = np.arange(2, 11), 1 - 0.9 / np.sqrt(np.arange(2, 11))
    few, many = (members_needed(curve(sizes, means, jaccard_std=np.full(9, std)), 0.8) for std in (0.2, 0.01))
    assert few.low < many.low < many.num_members < many.high
    assert few.high is None or few.high > many.high
    assert few.jaccard_now_low < many.jaccard_now_low < many.jaccard_now_high < few.jaccard_now_high


def test_the_error_counts_the_repetitions_that_share_no_member():
    stability = curve([2, 5, 6, 10], [0.3, 0.4, 0.4, 0.5], num_resamples=np.array([10**9, 50, 50, 50]))
    # Twenty members hold five repetitions of two arms of two members, two of five, one of six or ten.
    shared = 0.01**2 * np.array([1 / 5, 1 / 2 + 1 / 50, 1 + 1 / 50, 1 + 1 / 50])
    expected = np.sqrt(shared + 0.003**2 + (0.1 / np.array([2, 5, 6, 10])) ** 2)
    np.testing.assert_allclose(_errors(stability), expected)


def test_more_is_asked_for_by_higher_targets():
    stability = pie_stability(*moved(7, 2, 24), num_classes=3, rng=generator())
    needed = [members_needed(stability, target) for target in np.linspace(0.35, 0.95, 25)]
    numbers = [each.num_members for each in needed if each.num_members is not None]
    assert numbers == sorted(numbers) and len(set(numbers)) > 5
    lows = [each.low for each in needed if each.low is not None]
    assert lows == sorted(lows)
    assert {each.basis for each in needed} >= {"measured", "extrapolated"}
    farthest = 20 * stability.num_members[-1]
    assert all(each.num_members is None or each.num_members <= farthest for each in needed)


@pytest.mark.parametrize(
    ("stability", "basis", "num_members"),
    [
        (curve([2, 3], [0.3, 0.4]), "too few sizes", None),
        (curve([2, 3], [0.5, 0.6]), "measured", 2),
        (curve([2, 3, 4], [0.3, 0.4, 0.45], jaccard_std=np.array([0.1, np.nan, 0.1])), "too few sizes", None),
        (curve([2, 3, 4], [0.3, np.nan, 0.45]), "too few sizes", None),
        (curve([2, 3, 4, 5, 6], [0.40, 0.36, 0.33, 0.31, 0.30]), "out of reach", None),
    ],
)
def test_no_number_without_support(stability, basis, num_members):
    needed = members_needed(stability, 0.5)
    assert (needed.basis, needed.num_members) == (basis, num_members)


def test_a_table_is_enough():
    stability = pie_stability(*moved(8, 1, 20), num_classes=3, rng=generator())
    rows = {name: np.array(value.tolist()) for name, value in arrays(stability).items() if name != "is_paired"}
    assert members_needed(PieStability(**rows), 0.6) != members_needed(PieStability(**rows), 0.5)
    assert_equal(members_needed(PieStability(**rows), 0.6), members_needed(stability, 0.6))


@pytest.mark.parametrize("correlation", [0.0, 0.36, 0.92, 0.995])
@pytest.mark.parametrize(("breadth", "movement"), [(0.1, 0.3), (1.0, 0.5), (3.0, 0.1), (5.0, 4.0)])
def test_the_curves_are_those_of_simulated_repetitions(breadth, movement, correlation):
    rng = generator(9)
    gap = breadth * rng.normal(size=(200_000, 1))
    move = movement * rng.laplace(0, np.sqrt(0.5), size=gap.shape)
    noise = rng.normal(size=(2, 200_000, 2))
    noise[1] = correlation * noise[0] + np.sqrt(1 - correlation**2) * noise[1]
    is_pie = (gap - move / 2 + noise[0] > 0) != (gap + move / 2 + noise[1] > 0)
    expected = overlap(np.log([[breadth]]), np.log([[movement]]), correlation).item()
    assert jaccard(is_pie[:, 0], is_pie[:, 1]) == pytest.approx(expected, abs=0.02)


@settings(deadline=None, max_examples=50)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 0.99))
def test_the_chance_of_different_signs_is_the_bivariate_normals(first, second, correlation):
    if min(abs(first), abs(second)) < 1e-6:
        return
    both = stats.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf([first, second])
    expected = stats.norm.cdf(first) + stats.norm.cdf(second) - 2 * both
    found = _signs_differ(np.array(first), np.array(second), correlation)
    assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tie": "random"}, "tie: found 'random'; accepted are 'largest', 'smallest'"),
        ({"rng": 0}, "rng: found int; accepted is a numpy Generator, such as numpy.random.default_rng(0)"),
        ({"num_classes": 0}, "num_classes: found 0; accepted is an integer of at least 1"),
        ({"num_classes": 1}, "reference: found label 1 at member 1, example 0; accepted are 0 to 0 (num_classes=1)"),
        ({"num_resamples": 0}, "num_resamples: found 0; accepted is an integer of at least 1"),
        ({"is_paired": True}, "variant: found 1 members where reference has 2; accepted are equally many for a paired"),
    ],
)
def test_what_is_wrong_is_named(options, message):
    with pytest.raises(InputError) as caught:
        pie_stability([[0], [1]], [[0]], **{"num_classes": 2, "rng": generator(), **options})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("stability", "target", "message"),
    [
        (0.5, 0.5, "stability: found float; accepted is the result of pie_stability"),
        (curve([2, 3, 4], [0.4, 0.5, 0.6]), 0.0, "target: found 0.0; accepted is a fraction above 0 and at most 1"),
        (curve([2, 3, 4], [0.4, 0.5, 0.6]), 80, "target: found 80; accepted is a fraction above 0 and at most 1"),
    ],
)
def test_what_is_wrong_with_a_target_is_named(stability, target, message):
    with pytest.raises(InputError) as caught:
        members_needed(stability, target)
    assert str(caught.value) == message
