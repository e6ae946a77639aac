"""Drops and their tests, corruption errors with bootstrap intervals, and examples that break."""

import math
from itertools import combinations, product

import numpy as np
import pytest
import scipy.stats

from pie_ray.errors import InputError
from pie_ray.stats import (
    accuracy_drop,
    break_rates,
    excess_drop,
    mean_corruption_error,
    member_mean,
    normalised_change,
    relative_mean_corruption_error,
)

pytestmark = pytest.mark.filterwarnings("error")

NAN = math.nan


def generator(seed=0):
    return np.random.default_rng(seed)


def accuracies(rng, num_members, num_sets, mean=0.8, std=0.01, luck=0.01):
    """Members' accuracies [members, sets]; a member's luck is the same on every set."""
    return mean + luck * rng.normal(size=(num_members, 1)) + std * rng.normal(size=(num_members, num_sets))


def within(share, expected, num_trials, deviations=4):
    """Whether a share of trials is what chance makes of the expected one."""
    return abs(share - expected) <= deviations * math.sqrt(expected * (1 - expected) / num_trials)


# ------------------------------------------------------------------------------------------------ means over members


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_a_mean_has_students_interval(alpha):
    values = accuracies(generator(), 7, 3)
    found = member_mean(values, alpha=alpha)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(1 - alpha)
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    np.testing.assert_allclose(found.std, scipy.stats.tstd(values))
    np.testing.assert_allclose([found.low, found.high], expected)
    assert found.num_members == 7


def test_one_set_needs_no_second_axis():
    values = accuracies(generator(), 5, 2)
    both, first = member_mean(values), member_mean(values[:, 0])
    assert np.ndim(first.mean) == np.ndim(first.low) == 0
    for name in ("mean", "std", "low", "high"):
        assert getattr(first, name) == getattr(both, name)[0]


def test_one_member_has_no_interval():
    found = member_mean([0.5])
    assert found.mean == 0.5
    assert np.isnan([found.std, found.low, found.high]).all()


def test_members_that_do_not_differ_have_no_interval():
    # The mean of three .1 is not .1 in binary, which must not pass for spread.
    found = member_mean([[0.1, 0.5], [0.1, 0.6], [0.1, 0.7]])
    assert found.std.tolist() == [0, pytest.approx(0.1)]
    assert np.isnan([found.low[0], found.high[0]]).all() and found.low[1] < 0.6 < found.high[1]


def test_a_drop_is_each_members_own():
    clean, other = np.array([0.9, 0.8, 0.85]), np.array([0.7, 0.7, 0.6])
    found = accuracy_drop(clean, other)
    np.testing.assert_allclose(found.mean, 0.55 / 3)
    np.testing.assert_allclose(
        [found.low, found.high], scipy.stats.ttest_1samp([0.2, 0.1, 0.25], 0).confidence_interval()
    )


def test_members_that_all_lose_as_much_have_no_interval_whatever_their_accuracies():
    found = accuracy_drop([0.9, 0.7, 0.3], [0.8, 0.6, 0.2])
    assert found.mean == pytest.approx(0.1) and found.std == 0
    assert np.isnan([found.low, found.high]).all()


def test_students_interval_holds_the_mean_as_often_as_it_says():
    values = accuracies(generator(), 6, 4000, luck=0)
    found = member_mean(values)
    assert within(np.mean((found.low <= 0.8) & (found.high >= 0.8)), 0.95, 4000)


# ------------------------------------------------------------------------------------------------------ excess drop


@pytest.mark.parametrize(("num_reference", "num_variant"), [(8, 8), (9, 4), (2, 30)])
def test_unpaired_drops_have_welchs_test(num_reference, num_variant):
    before = accuracies(generator(1), num_reference, 5, mean=0.1)
    after = accuracies(generator(2), num_variant, 5, mean=0.12, std=0.03)
    found, expected = excess_drop(before, after), scipy.stats.ttest_ind(after, before, equal_var=False)
    np.testing.assert_allclose(found.excess, after.mean(axis=0) - before.mean(axis=0))
    np.testing.assert_allclose(found.statistic, expected.statistic)
    np.testing.assert_allclose(found.p_value, expected.pvalue)
    np.testing.assert_allclose([found.low, found.high], expected.confidence_interval(0.95))


def test_paired_drops_have_students_test_of_the_differences():
    before = accuracies(generator(1), 6, 5, mean=0.1)
    after = before + 0.002 + 0.001 * generator(2).normal(size=before.shape)
    found, expected = excess_drop(before, after, is_paired=True), scipy.stats.ttest_rel(after, before)
    np.testing.assert_allclose(found.statistic, expected.statistic)
    np.testing.assert_allclose(found.p_value, expected.pvalue)
    np.testing.assert_allclose([found.low, found.high], expected.confidence_interval(0.95))
    apart = excess_drop(before, after)
    np.testing.assert_allclose(found.excess, apart.excess)
    assert (found.p_value < apart.p_value).all()


@pytest.mark.parametrize("is_paired", [False, True])
def test_where_nothing_happened_few_sets_are_significant(is_paired):
    rng = generator()
    before, after = accuracies(rng, 5, 4000, luck=0), accuracies(rng, 5, 4000, luck=0)
    found = excess_drop(before, after, is_paired=is_paired)
    assert within(np.mean(found.p_value <= 0.05), 0.05, 4000)
    assert within(np.mean((found.low <= 0) & (found.high >= 0)), 0.95, 4000)


def test_a_planted_excess_is_found_and_its_interval_holds_it():
    rng = generator()
    before, after = accuracies(rng, 30, 1000, mean=0.1), accuracies(rng, 30, 1000, mean=0.13, luck=0.02)
    found = excess_drop(before, after)
    assert np.mean(found.p_value <= 0.05) > 0.99
    # Luck is shared by the sets: they hold it, or miss it, together.
    held = [
        excess_drop(accuracies(rng, 10, 1, mean=0.1), accuracies(rng, 10, 1, mean=0.13, luck=0.02)) for _ in range(1000)
    ]
    assert within(np.mean([each.low[0] <= 0.03 <= each.high[0] for each in held]), 0.95, 1000)


def sign_flip_p(differences):
    """The permutation test of paired samples, by going through all of it."""
    flipped = [abs(np.mean(signs * np.array(differences))) for signs in product((-1, 1), repeat=len(differences))]
    return np.mean(np.array(flipped) >= abs(np.mean(differences)) - 1e-12)


def exchange_p(before, after):
    """The permutation test of two samples, by going through all of it."""
    pooled, places = np.concatenate([before, after]), range(len(before) + len(after))
    observed = abs(np.mean(after) - np.mean(before))
    differences = [
        abs(pooled[list(chosen)].mean() - np.delete(pooled, list(chosen)).mean())
        for chosen in combinations(places, len(after))
    ]
    return np.mean(np.array(differences) >= observed - 1e-12)


@pytest.mark.parametrize("num_pairs", [2, 3, 6])
def test_every_pair_apart_by_as_much_is_judged_by_permutations(num_pairs):
    before = np.array([0.1, 0.3, 0.25, 0.07, 0.11, 0.2])[:num_pairs]
    found = excess_drop(before, before - 0.02, is_paired=True)
    assert found.excess == pytest.approx(-0.02) and found.statistic == -np.inf
    assert found.p_value == sign_flip_p(np.full(num_pairs, -0.02)) == 2 ** (1 - num_pairs)
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize(("num_reference", "num_variant"), [(2, 2), (3, 2), (4, 4), (2, 5)])
def test_two_constant_populations_are_judged_by_permutations(num_reference, num_variant):
    before, after = np.full(num_reference, 0.1), np.full(num_variant, 0.3)
    found = excess_drop(before, after)
    assert found.statistic == np.inf and np.isnan([found.low, found.high]).all()
    assert found.p_value == pytest.approx(exchange_p(before, after))


@pytest.mark.parametrize("is_paired", [False, True])
def test_no_difference_at_all_is_no_test(is_paired):
    same = np.full((4, 2), 0.1)
    found = excess_drop(same, same, is_paired=is_paired)
    assert found.excess.tolist() == [0, 0]
    assert np.isnan([found.statistic, found.p_value, found.low, found.high]).all()


def test_rounding_is_no_difference():
    before = np.array([0.9, 0.8, 0.7]) - np.array([0.6, 0.5, 0.4])
    found = excess_drop(before, np.full(3, 0.3), is_paired=True)
    assert (before != 0.3).any() and found.excess == 0 and np.isnan(found.p_value)


@pytest.mark.parametrize(("num_reference", "num_variant"), [(1, 5), (5, 1), (1, 1)])
def test_one_member_has_no_test(num_reference, num_variant):
    found = excess_drop(accuracies(generator(), num_reference, 3), accuracies(generator(1), num_variant, 3))
    assert np.isfinite(found.excess).all()
    assert np.isnan([found.statistic, found.p_value, found.low, found.high]).all()


# ------------------------------------------------------------------------------------------------ normalised change


def percentiles(drawn, alpha=0.05):
    """The draws next outside of the percentiles, by sorting."""
    ordered, last = np.sort(drawn, axis=0), len(drawn) - 1
    return ordered[math.floor(last * alpha / 2)], ordered[math.ceil(last * (1 - alpha / 2))]


def drawn_members(rng, num_members, num_resamples):
    """The members of each draw, as often as they are drawn."""
    return rng.integers(num_members, size=(num_resamples, num_members))


@pytest.mark.parametrize("is_paired", [False, True])
def test_a_normalised_change_and_its_draws_by_hand(is_paired):
    before, after = accuracies(generator(1), 5, 3), accuracies(generator(2), 5, 3, mean=0.6)
    found = normalised_change(before, after, rng=generator(), num_resamples=200, is_paired=is_paired)
    np.testing.assert_allclose(found.value, (after.mean(axis=0) - before.mean(axis=0)) / before.mean(axis=0))
    rng = generator()
    first = drawn_members(rng, 5, 200)
    second = first if is_paired else drawn_members(rng, 5, 200)
    drawn = [
        after[theirs].mean(axis=0) / before[ours].mean(axis=0) - 1 for ours, theirs in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose([found.low, found.high], percentiles(drawn))


def test_the_interval_of_a_normalised_change_holds_it_about_as_often_as_it_says():
    rng, held = generator(), 0
    for _ in range(600):
        before, after = 0.8 + 0.02 * rng.normal(size=20), 0.7 + 0.03 * rng.normal(size=20)
        found = normalised_change(before, after, rng=rng, num_resamples=300)
        held += bool(found.low <= -0.125 <= found.high)
    assert 0.91 <= held / 600 <= 0.97


def test_pairs_narrow_the_interval_of_a_normalised_change():
    before = accuracies(generator(1), 20, 1, luck=0.05)[:, 0]
    after = before - 0.01 + 0.001 * generator(2).normal(size=20)
    paired, apart = (normalised_change(before, after, rng=generator(), is_paired=each) for each in (True, False))
    assert paired.value == apart.value
    assert 5 * (paired.high - paired.low) < apart.high - apart.low


def test_a_reference_that_is_never_right_has_no_normalised_change():
    found = normalised_change(np.zeros((3, 1)), np.full((3, 1), 0.5), rng=generator())
    assert np.isnan([found.value, found.low, found.high]).all()


def test_draws_without_a_right_answer_leave_the_change_unbounded():
    found = normalised_change([0.2, 0.0, 0.0], [0.1, 0.2, 0.3], rng=generator())
    assert found.value == pytest.approx(2) and found.low == -1 and found.high == np.inf


@pytest.mark.parametrize(("num_reference", "num_variant"), [(1, 3), (3, 1)])
def test_one_member_has_no_draws(num_reference, num_variant):
    before, after = accuracies(generator(), num_reference, 2), accuracies(generator(1), num_variant, 2)
    found = normalised_change(before, after, rng=generator())
    assert np.isfinite(found.value).all() and np.isnan([found.low, found.high]).all()


def test_draws_that_do_not_differ_are_no_interval():
    values = accuracies(generator(), 4, 2)
    found = normalised_change(values, values, rng=generator(), is_paired=True)
    assert found.value.tolist() == [0, 0] and np.isnan([found.low, found.high]).all()


# ----------------------------------------------------------------------------------------------- corruption errors

CORRUPTIONS = ["fog", "snow", "fog", "snow", "snow", "frost"]


def brute_mce(before, after):
    """The definition, with loops: before and after are errors [members, sets]."""
    ratios = []
    for corruption in dict.fromkeys(CORRUPTIONS):
        sets = [index for index, name in enumerate(CORRUPTIONS) if name == corruption]
        ratios.append(sum(after[:, s].mean() for s in sets) / sum(before[:, s].mean() for s in sets))
    return sum(ratios) / len(ratios)


STATISTICS = pytest.mark.parametrize("statistic", [mean_corruption_error, relative_mean_corruption_error])


@STATISTICS
@pytest.mark.parametrize("is_paired", [False, True])
def test_mce_and_its_draws_by_hand(statistic, is_paired):
    before, after = accuracies(generator(1), 4, 6, mean=0.2), accuracies(generator(2), 4, 6, mean=0.25)
    options = {"rng": generator(), "num_resamples": 150, "is_paired": is_paired}
    found = statistic(before, after, CORRUPTIONS, **options)
    assert found.value == pytest.approx(brute_mce(before, after))
    rng = generator()
    first = drawn_members(rng, 4, 150)
    second = first if is_paired else drawn_members(rng, 4, 150)
    drawn = [brute_mce(before[ours], after[theirs]) for ours, theirs in zip(first, second, strict=True)]
    np.testing.assert_allclose([found.low, found.high], percentiles(drawn))


@STATISTICS
def test_a_population_is_as_robust_as_itself(statistic):
    errors = accuracies(generator(), 5, 6, mean=0.3)
    found = statistic(errors, errors, CORRUPTIONS, rng=generator())
    assert found.value == pytest.approx(1) and found.low < 1 < found.high
    paired = statistic(errors, errors, CORRUPTIONS, rng=generator(), is_paired=True)
    assert paired.value == pytest.approx(1) and np.isnan([paired.low, paired.high]).all()


@STATISTICS
def test_a_corruption_weighs_as_much_however_many_severities_it_has(statistic):
    before, after = np.full((3, 4), 0.2), np.full((3, 4), 0.2)
    after[:, 3] = 0.4
    found = statistic(before, after, ["fog", "fog", "fog", "snow"], rng=generator())
    assert found.value == pytest.approx(1.5)


@STATISTICS
def test_members_are_drawn_for_all_sets_at_once(statistic):
    """Ten sets on which a member is always as good tell no more than one of them."""
    before, after = accuracies(generator(1), 20, 1, mean=0.2, luck=0.02), accuracies(generator(2), 20, 1, mean=0.3)
    one = statistic(before, after, ["fog"], rng=generator())
    ten = statistic(np.tile(before, 10), np.tile(after, 10), [f"c{i}" for i in range(10)], rng=generator())
    np.testing.assert_allclose([ten.value, ten.low, ten.high], [one.value, one.low, one.high])


def test_the_interval_of_mce_holds_it_about_as_often_as_it_says():
    rng, held = generator(), 0
    for _ in range(500):
        before, after = (accuracies(rng, 20, 6, mean=mean, luck=0.03) for mean in (0.2, 0.3))
        found = mean_corruption_error(before, after, CORRUPTIONS, rng=rng, num_resamples=300)
        held += bool(found.low <= 1.5 <= found.high)
    assert 0.90 <= held / 500 <= 0.97


def test_mce_is_undefined_where_the_reference_makes_no_errors_on_a_corruption():
    before, after = np.full((3, 6), 0.2), accuracies(generator(), 3, 6, mean=0.3)
    before[:, 5] = 0
    found = mean_corruption_error(before, after, CORRUPTIONS, rng=generator())
    assert np.isnan([found.value, found.low, found.high]).all()
    assert mean_corruption_error(before[:, :5], after[:, :5], CORRUPTIONS[:5], rng=generator()).value > 1


def test_draws_without_errors_leave_mce_unbounded():
    before, after = np.array([[0.3], [0.0], [0.0]]), np.array([[0.1], [0.2], [0.3]])
    found = mean_corruption_error(before, after, ["fog"], rng=generator())
    assert found.value == pytest.approx(2) and found.low == 0 and found.high == np.inf


def test_draws_without_a_drop_leave_relative_mce_unbounded():
    before, after = np.array([[0.3], [-0.1], [-0.1]]), np.array([[0.1], [0.2], [0.3]])
    found = relative_mean_corruption_error(before, after, ["fog"], rng=generator())
    assert found.value == pytest.approx(6) and found.low == -np.inf and found.high == np.inf
    assert np.isnan(relative_mean_corruption_error(-before, after, ["fog"], rng=generator()).value)


# ----------------------------------------------------------------------------------------------------------- breaks


def test_breaks_by_hand():
    labels = np.array([0, 1, 2, 0, 1, 2])
    clean = np.array([0, 1, 2, 1, 1, 2])
    modes = np.array([0, 2, 1, 0, 1, 0])
    is_pie = np.array([True, True, False, True, False, False])
    found = break_rates(clean, modes, labels, is_pie)
    # On PIEs: right, broken, and one that was wrong before. Elsewhere: broken, right, broken.
    assert (found.on_pies, found.num_on_pies) == (0.5, 2)
    assert (found.elsewhere, found.num_elsewhere) == (pytest.approx(2 / 3), 3)


@pytest.mark.parametrize("seed", range(3))
def test_breaks_equal_a_loop(seed):
    rng = generator(seed)
    labels, clean, modes = rng.integers(0, 3, (3, 50))
    is_pie = rng.random(50) < 0.3
    found = break_rates(clean, modes, labels, is_pie)
    for chosen, share in ((is_pie, found.on_pies), (~is_pie, found.elsewhere)):
        right = [i for i in range(50) if chosen[i] and clean[i] == labels[i]]
        assert share == sum(modes[i] != labels[i] for i in right) / len(right)


def test_nothing_to_break_is_undefined():
    found = break_rates(np.array([1, 0]), np.array([0, 0]), np.array([0, 0]), np.array([True, False]))
    assert math.isnan(found.on_pies) and found.num_on_pies == 0 and found.elsewhere == 0


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: member_mean([]), r"values: found shape \(0,\); accepted is \[members\] or \[members, sets\]"),
        (lambda: member_mean([[0.1], [0.1, 0.2]]), "values: found rows of different lengths"),
        (lambda: member_mean([0.1, NAN]), "values: found infinite ones or NaN"),
        (lambda: member_mean(["a"]), "values: found dtype <U1; accepted are numbers"),
        (lambda: member_mean([0.1], alpha=1.0), "alpha: found 1.0"),
        (lambda: accuracy_drop([0.1], [0.1, 0.2]), r"other: found shape \(2,\) where clean has \(1,\)"),
        (lambda: excess_drop([[0.1]], [[0.1, 0.2]]), r"variant_drop: found shape \(1, 2\) where reference_drop has"),
        (lambda: excess_drop([0.1, 0.2], [0.1], is_paired=True), "variant_drop: found 1 members where reference_drop"),
        (lambda: normalised_change([0.1], [0.1], rng=0), "rng: found int"),
        (lambda: normalised_change([-0.1], [0.1], rng=generator()), "reference: found -0.1; accepted are numbers of"),
        (lambda: normalised_change([0.1], [0.1], rng=generator(), num_resamples=0), "num_resamples: found 0"),
        (lambda: mean_corruption_error([0.1], [0.1], ["a"], rng=generator()), r"found shape \(1,\); accepted is \[mem"),
        (lambda: mean_corruption_error([[0.1]], [[0.1]], "a", rng=generator()), "corruptions: found 'a'; accepted is"),
        (lambda: mean_corruption_error([[0.1]], [[0.1]], ["a", "b"], rng=generator()), "one name for each of 1 sets"),
        (lambda: mean_corruption_error([[0.1]], [[-0.1]], ["a"], rng=generator()), "variant: found -0.1"),
        (lambda: break_rates([0], [0], [0, 1], [True]), "labels: found shape"),
        (lambda: break_rates([0.5], [0], [0], [True]), r"clean_modes: found float64 \(1,\); accepted are integer"),
        (lambda: break_rates([0], [0, 1], [0], [True]), r"modes: found int64 \(2,\)"),
        (lambda: break_rates([0], [0], [0], [1]), "is_pie: found dtype int64; accepted are booleans"),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, message):
    with pytest.raises(InputError, match=message):
        call()
