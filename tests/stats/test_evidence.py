"""Evidence about PIEs against scipy's tests, and evidence that is planted."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pie_ray.errors import InputError
from pie_ray.stats import compare_evidence

pytestmark = pytest.mark.filterwarnings("error")

SEEDS = st.integers(0, 1000)


def rng(seed=0):
    return np.random.default_rng(seed)


def simulated(seed, num_examples=200, shift=0.5):
    random = rng(seed)
    is_pie = random.random(num_examples) < 0.3
    is_pie[:2] = [True, False]
    return random.exponential(1 + shift * is_pie), is_pie


def test_small_evidence_by_hand():
    found = compare_evidence([3.0, np.nan, 1.0, 2.0, 0.0, np.nan], [True, True, False, True, False, False], rng=rng())
    assert (found.num_pies, found.num_rest, found.num_unknown) == (2, 2, 2)
    assert (found.mean_on_pies, found.mean_on_rest, found.difference, found.auroc) == (2.5, 0.5, 2.0, 1.0)
    assert not found.is_exact
    # Of the 6 ways to choose 2 of 4, the one found and its opposite differ by as much.
    assert found.p_value == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize(("seed", "shift"), [(0, 0.0), (1, 0.3), (2, 0.0)])
def test_p_is_that_of_scipys_permutation_test(seed, shift):
    values, is_pie = simulated(seed, shift=shift)

    def size_of_difference(first, second, axis):
        return np.abs(first.mean(axis=axis) - second.mean(axis=axis))

    expected = scipy.stats.permutation_test(
        (values[is_pie], values[~is_pie]),
        size_of_difference,
        n_resamples=10_000,
        alternative="greater",
        vectorized=True,
        rng=rng(1),
    )
    found = compare_evidence(values, is_pie, rng=rng(2))
    assert abs(found.difference) == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)


@pytest.mark.parametrize("num_pies", [3, 6])
def test_p_is_the_share_of_all_choices_of_pies(num_pies):
    # Without tolerance for rounding, half of the choices that differ by as much would seem to differ by less.
    values = np.array([0.3, 0.2, 0.1, 0.2, 0.1, 0.2, 0.3, 0.0, 0.1])
    is_pie = np.arange(9) >= 6 if num_pies == 3 else np.arange(9) < 6
    differences = []
    for chosen in combinations(range(9), num_pies):
        flags = np.isin(np.arange(9), chosen)
        differences.append(abs(values[flags].mean() - values[~flags].mean()))
    as_large = np.mean(np.array(differences) >= abs(values[is_pie].mean() - values[~is_pie].mean()) - 1e-12)
    assert compare_evidence(values, is_pie, rng=rng()).p_value == pytest.approx(as_large, abs=0.02)


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.integers(2, 60), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_p_of_flags_is_fishers(seed, num_examples, share, flagged):
    random = rng(seed)
    values, is_pie = random.random(num_examples) < share, random.random(num_examples) < flagged
    is_pie[:2] = [True, False]
    table = [[np.sum(values & is_pie), np.sum(~values & is_pie)], [np.sum(values & ~is_pie), np.sum(~values & ~is_pie)]]
    found = compare_evidence(values, is_pie, rng=rng())
    assert found.is_exact
    assert found.p_value == pytest.approx(scipy.stats.fisher_exact(table).pvalue)


def test_two_values_of_any_kind_are_flags():
    flags, is_pie = rng(0).random(50) < 0.4, rng(1).random(50) < 0.4
    numbers = compare_evidence(np.where(flags, -2.5, 7.0), is_pie, rng=rng())
    assert numbers.is_exact and numbers.p_value == compare_evidence(flags, is_pie, rng=rng()).p_value


def test_fishers_test_holds_for_many_examples():
    values, is_pie = np.arange(50_000) % 10 == 0, np.arange(50_000) % 7 == 0
    values[:400] = is_pie[:400] = True
    table = [[np.sum(values & is_pie), np.sum(~values & is_pie)], [np.sum(values & ~is_pie), np.sum(~values & ~is_pie)]]
    found = compare_evidence(values, is_pie, rng=rng())
    assert found.p_value == pytest.approx(scipy.stats.fisher_exact(table).pvalue, rel=1e-6)


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.integers(2, 40))
def test_auroc_is_mann_and_whitneys_with_ties(seed, num_examples):
    random = rng(seed)
    values, is_pie = random.integers(0, 5, num_examples), random.random(num_examples) < 0.5
    is_pie[:2] = [True, False]
    found = compare_evidence(values, is_pie, rng=rng(), num_permutations=1)
    statistic = scipy.stats.mannwhitneyu(values[is_pie], values[~is_pie]).statistic
    assert found.auroc == pytest.approx(statistic / (is_pie.sum() * (~is_pie).sum()))
    assert found.auroc == pytest.approx(roc_auc_score(is_pie, values))


def test_p_is_uniform_where_pies_are_drawn_at_random():
    random = rng(0)
    values = random.exponential(1, 60)
    p = [
        compare_evidence(values, random.permutation(60) < 12, rng=random, num_permutations=199).p_value
        for _ in range(400)
    ]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_planted_evidence_is_found_and_p_is_never_zero():
    values, is_pie = simulated(0, 500, shift=4.0)
    found = compare_evidence(values, is_pie, rng=rng(), num_permutations=999)
    assert found.difference > 2 and found.auroc > 0.7 and found.p_value == 1 / 1000


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_the_examples_and_those_unknown_play_no_part(seed, random):
    values, is_pie = simulated(seed, 40)
    there = compare_evidence(values, is_pie, rng=rng(), num_permutations=2000)
    longer, flags = np.append(values, [np.nan] * 3), np.append(is_pie, [True, False, True])
    order = random.sample(range(43), 43)
    back = compare_evidence(longer[order], flags[order], rng=rng(), num_permutations=2000)
    assert (back.num_pies, back.num_rest, back.num_unknown) == (there.num_pies, there.num_rest, 3)
    assert back.difference == pytest.approx(there.difference) and back.auroc == pytest.approx(there.auroc)
    assert back.p_value == pytest.approx(there.p_value, abs=0.07)


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.floats(0.01, 1000), st.floats(-1000, 1000))
def test_units_play_no_part(seed, scale, offset):
    values, is_pie = simulated(seed, 40)
    there = compare_evidence(values, is_pie, rng=rng(), num_permutations=500)
    scaled = compare_evidence(scale * values + offset, is_pie, rng=rng(), num_permutations=500)
    assert scaled.difference == pytest.approx(scale * there.difference, rel=1e-6, abs=1e-9 * scale)
    assert scaled.p_value == pytest.approx(there.p_value, abs=0.003)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_pies_and_the_rest_change_places(seed):
    values, is_pie = simulated(seed, 40)
    there = compare_evidence(values, is_pie, rng=rng(), num_permutations=500)
    back = compare_evidence(values, ~is_pie, rng=rng(), num_permutations=500)
    assert (back.num_pies, back.num_rest) == (there.num_rest, there.num_pies)
    assert back.difference == -there.difference and back.auroc == pytest.approx(1 - there.auroc)
    assert back.p_value == there.p_value


def test_evidence_that_never_varies_says_nothing():
    found = compare_evidence([2.0] * 5, [True, True, False, False, False], rng=rng())
    assert (found.difference, found.auroc, found.p_value) == (0.0, 0.5, 1.0)


@pytest.mark.parametrize("is_pie", [[False] * 3, [True] * 3, [True, False, False]])
def test_one_empty_side_has_no_test(is_pie):
    found = compare_evidence([np.nan, 1.0, 3.0], is_pie, rng=rng())
    assert found.num_unknown == 1 and found.num_pies + found.num_rest == 2
    assert np.isnan([found.difference, found.auroc, found.p_value]).all()
    assert sorted([found.mean_on_pies, found.mean_on_rest])[0] == 2.0 or np.isnan(found.mean_on_pies)


def test_nothing_known_is_no_error():
    found = compare_evidence([np.nan] * 3, [True, False, True], rng=rng())
    assert (found.num_pies, found.num_rest, found.num_unknown) == (0, 0, 3)
    assert np.isnan([found.mean_on_pies, found.mean_on_rest, found.p_value]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [[1.0]]}, r"values: found float64 \(1, 1\); accepted are numbers or booleans, one an example"),
        ({"values": ["a", "b"]}, "values: found <U1"),
        ({"values": [1.0, np.inf]}, "values: found inf at example 1; accepted are finite numbers"),
        ({"is_pie": [True]}, r"is_pie: found shape \(1,\)"),
        ({"is_pie": [1, 0]}, "is_pie: found dtype int64"),
        ({"num_permutations": 0}, "num_permutations: found 0"),
        ({"rng": 0}, "rng: found int"),
    ],
)
def test_what_is_wrong_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        compare_evidence(**{"values": [1.0, 2.0], "is_pie": [True, False], "rng": rng(), **arguments})
