"""Permutation tests: p against all permutations counted by hand and scipy, and what they promise on simulated nulls."""

from __future__ import annotations

import dataclasses
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pie_ray.errors import InputError
from pie_ray.stats import (
    benjamini_hochberg,
    paired_permutation_test,
    permutation_test,
    smallest_p_value,
    taxicab,
)

pytestmark = pytest.mark.filterwarnings("error")

TESTS = [permutation_test, paired_permutation_test]
METHODS = ["auto", "exact", "monte_carlo"]


def generator(seed=0):
    return np.random.default_rng(seed)


def votes(rng, chances, num_members):
    """Members that vote independently, with the chances [examples, classes] of each label."""
    uniform = rng.random((num_members, len(chances), 1))
    return np.minimum((uniform > chances.cumsum(axis=1)).sum(axis=2), chances.shape[1] - 1)


def mixed_chances(rng, num_examples, num_classes):
    """Sure and borderline examples."""
    return rng.dirichlet(np.full(num_classes, 0.3), num_examples)


def populations(seed, num_reference, num_variant, num_examples, num_classes):
    rng = generator(seed)
    return (
        votes(rng, mixed_chances(rng, num_examples, num_classes), num_reference),
        votes(rng, mixed_chances(rng, num_examples, num_classes), num_variant),
    )


def p_and_smallest_p(observed, permuted):
    """From the distances of all permutations, [permutations, examples]."""
    permuted = np.array(permuted)
    return (permuted >= observed - 1e-9).mean(axis=0), (permuted >= permuted.max(axis=0) - 1e-9).mean(axis=0)


def all_permutations(reference, variant, num_classes):
    pooled = np.concatenate([reference, variant])
    permuted = []
    for chosen in combinations(range(len(pooled)), len(variant)):
        others = [member for member in range(len(pooled)) if member not in chosen]
        permuted.append(taxicab(pooled[others], pooled[list(chosen)], num_classes=num_classes))
    return p_and_smallest_p(taxicab(reference, variant, num_classes=num_classes), permuted)


def all_flips(reference, variant, num_classes):
    permuted = []
    for flips in product([False, True], repeat=len(reference)):
        flipped = np.array(flips)[:, None]
        before, after = np.where(flipped, variant, reference), np.where(flipped, reference, variant)
        permuted.append(taxicab(before, after, num_classes=num_classes))
    return p_and_smallest_p(taxicab(reference, variant, num_classes=num_classes), permuted)


def assert_equal(first, second):
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), err_msg=field.name)


def assert_drawn(estimated, exact, num_permutations=10_000):
    """The draws that an add-one p counts are binomial with the exact p."""
    num_drawn = np.rint(estimated * (1 + num_permutations) - 1)
    exact = np.minimum(exact, 1)
    assert np.all(num_drawn >= stats.binom.ppf(1e-6, num_permutations, exact))
    assert np.all(num_drawn <= stats.binom.isf(1e-6, num_permutations, exact))


def assert_agree(drawn, exact):
    assert not drawn.is_exact.any() and exact.is_exact.all()
    assert_drawn(drawn.p_value, exact.p_value)
    certainly_drawn = exact.min_p_value > 3e-3
    assert certainly_drawn.sum() > 30 and np.unique(exact.min_p_value[certainly_drawn]).size > 4
    assert_drawn(drawn.min_p_value[certainly_drawn], exact.min_p_value[certainly_drawn])


@pytest.mark.parametrize(
    ("num_reference", "num_variant", "num_classes"),
    [(1, 1, 2), (4, 4, 3), (5, 5, 5), (5, 3, 4), (3, 6, 3), (2, 1, 5), (1, 6, 4), (4, 5, 2), (6, 4, 3)],
)
def test_every_permutation_counted_by_hand(num_reference, num_variant, num_classes):
    reference, variant = populations(1, num_reference, num_variant, 40, num_classes)
    p_value, min_p_value = all_permutations(reference, variant, num_classes)
    test = permutation_test(reference, variant, num_classes=num_classes, rng=generator())
    np.testing.assert_allclose(test.p_value, p_value, rtol=1e-12)
    np.testing.assert_allclose(test.min_p_value, min_p_value, rtol=1e-12)
    np.testing.assert_array_equal(test.statistic, taxicab(reference, variant, num_classes=num_classes))
    assert test.is_exact.all() and test.num_exact == 40


@pytest.mark.parametrize(("num_members", "num_classes"), [(1, 2), (3, 3), (6, 4), (9, 3), (9, 9), (10, 5)])
def test_every_flip_counted_by_hand(num_members, num_classes):
    reference, variant = populations(2, num_members, num_members, 40, num_classes)
    p_value, min_p_value = all_flips(reference, variant, num_classes)
    test = paired_permutation_test(reference, variant, num_classes=num_classes, rng=generator())
    np.testing.assert_array_equal(test.p_value, p_value)
    np.testing.assert_array_equal(test.min_p_value, min_p_value)
    np.testing.assert_array_equal(test.statistic, taxicab(reference, variant, num_classes=num_classes))
    assert test.is_exact.all()


def test_two_classes_are_fishers_exact_test():
    reference, variant = populations(3, 12, 12, 60, 2)
    test = permutation_test(reference, variant, num_classes=2, rng=generator())
    ones = zip(reference.sum(axis=0), variant.sum(axis=0), strict=True)
    expected = [stats.fisher_exact([[first, 12 - first], [second, 12 - second]]).pvalue for first, second in ones]
    np.testing.assert_allclose(test.p_value, expected, rtol=1e-9)


def test_two_classes_paired_are_the_sign_test():
    reference, variant = populations(4, 30, 30, 60, 2)
    test = paired_permutation_test(reference, variant, num_classes=2, rng=generator())
    change = variant - reference
    up, down = (change == 1).sum(axis=0), (change == -1).sum(axis=0)
    expected = [stats.binomtest(int(a), int(a + b)).pvalue if a + b else 1.0 for a, b in zip(up, down, strict=True)]
    np.testing.assert_allclose(test.p_value, expected, rtol=1e-12)
    np.testing.assert_array_equal(test.min_p_value, np.minimum(2.0 ** (1 - up - down), 1))


def test_agrees_with_scipys_permutation_test():
    reference, variant = populations(5, 4, 6, 8, 4)

    def distance(first, second, axis):
        shares = [(chosen[..., None] == np.arange(4)).mean(axis=-2) for chosen in (first, second)]
        return np.abs(shares[0] - shares[1]).sum(axis=-1).round(9)

    test = permutation_test(reference, variant, num_classes=4, rng=generator())
    for example in range(8):
        columns = (reference[:, example], variant[:, example])
        expected = stats.permutation_test(
            columns, distance, alternative="greater", n_resamples=np.inf, axis=-1, vectorized=True
        )
        assert test.p_value[example] == pytest.approx(expected.pvalue, rel=1e-9)


def nearly_sure(seed, num_reference, num_variant, num_examples=300):
    """The same chances in both populations, most of them close to 0 or 1."""
    rng = generator(seed)
    chances = rng.dirichlet(np.full(6, 0.1), num_examples)
    return votes(rng, chances, num_reference), votes(rng, chances, num_variant)


@pytest.mark.parametrize(("num_reference", "num_variant"), [(30, 30), (30, 29), (12, 18)])
def test_random_permutations_agree_with_the_exact_ones(num_reference, num_variant):
    members = nearly_sure(6, num_reference, num_variant)
    exact = permutation_test(*members, num_classes=6, rng=generator(), method="exact")
    drawn = permutation_test(*members, num_classes=6, rng=generator(), method="monte_carlo")
    assert_agree(drawn, exact)


def test_random_flips_agree_with_the_exact_ones():
    members = nearly_sure(7, 16, 16)
    exact = paired_permutation_test(*members, num_classes=6, rng=generator(), method="exact")
    drawn = paired_permutation_test(*members, num_classes=6, rng=generator(), method="monte_carlo")
    assert_agree(drawn, exact)


@pytest.mark.parametrize("num_pairs", [[3] * 9, [1] + [3] * 8, [1, 2, 3, 4, 5, 6, 7]])
def test_pairs_around_one_class_are_exact_however_many(num_pairs):
    variant = np.repeat(np.arange(1, len(num_pairs) + 1), num_pairs)[:, None]
    reference = np.zeros_like(variant)
    options = {"num_classes": 10, "rng": generator()}
    leaving = paired_permutation_test(reference, variant, **options)
    assert leaving.is_exact.all()
    # All leave or all come: the largest distance is reached by these two of 2^pairs outcomes alone.
    assert leaving.p_value.tolist() == leaving.min_p_value.tolist() == [2.0 ** (1 - len(variant))]
    comes = generator(1).random(variant.shape) < 0.3
    mixed = (np.where(comes, variant, 0), np.where(comes, 0, variant))
    exact, drawn = (paired_permutation_test(*mixed, **options, method=method) for method in ("auto", "monte_carlo"))
    assert exact.is_exact.all() and not drawn.is_exact.any()
    assert 0.001 < exact.p_value.item() < 1
    assert_drawn(drawn.p_value, exact.p_value)


def test_what_is_too_much_to_count_is_drawn():
    rng = generator()
    reference, variant = rng.integers(0, 10, (2, 40, 3))
    variant[:, 0] = reference[:, 0]
    paired = paired_permutation_test(reference, variant, num_classes=10, rng=rng)
    assert paired.is_exact.tolist() == [True, False, False]
    unequal = permutation_test(rng.integers(0, 10, (99, 3)), np.tile([0, 1, 2], (100, 1)), num_classes=10, rng=rng)
    assert not unequal.is_exact.any()
    assert unequal.p_value.tolist() == [1 / 10_001] * 3


def test_up_to_thirteen_changed_pairs_are_counted():
    rng = generator()
    reference, variant = rng.integers(0, 40, (2, 13, 200))
    assert paired_permutation_test(reference, variant, num_classes=40, rng=rng).is_exact.all()


@pytest.mark.parametrize("num_members", [1, 2, 3, 4])
@pytest.mark.parametrize("num_variant", [1, 2, 3])
def test_no_votes_give_a_smaller_p_than_the_smallest(num_members, num_variant):
    rng = generator()
    reference, variant = rng.integers(0, 3, (num_members, 400)), rng.integers(0, 3, (num_variant, 400))
    found = permutation_test(reference, variant, num_classes=3, rng=rng).min_p_value.min()
    assert found == pytest.approx(smallest_p_value(num_members, num_variant))
    pairs = paired_permutation_test(reference, rng.integers(0, 3, reference.shape), num_classes=3, rng=rng)
    assert pairs.min_p_value.min() == smallest_p_value(num_members, num_members, is_paired=True)


def test_the_smallest_p_of_pairs_takes_pairs():
    with pytest.raises(InputError, match="num_variant: found 2 beside 3; accepted are equally many for pairs"):
        smallest_p_value(3, 2, is_paired=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("function", TESTS)
def test_members_that_all_agree_prove_nothing(function, method):
    same = np.tile([0, 1, 2], (6, 1))
    test = function(same, same, num_classes=3, rng=generator(), method=method)
    assert test.statistic.tolist() == [0.0] * 3
    assert test.p_value.tolist() == test.min_p_value.tolist() == [1.0] * 3
    assert not test.testable(0.99).any()


@pytest.mark.parametrize("method", METHODS)
def test_an_unchanged_derived_population_has_p_1(method):
    reference, _ = populations(8, 15, 15, 100, 5)
    test = paired_permutation_test(reference, reference.copy(), num_classes=5, rng=generator(), method=method)
    assert (test.p_value == 1).all() and (test.min_p_value == 1).all()


def test_pairs_tell_what_the_pooled_votes_cannot():
    # Six of ten members change from 0 to 1, and all others vote evenly: only the pairing shows that nobody came back.
    reference = np.array([0] * 6 + [0, 0, 1, 1])[:, None]
    variant = np.array([1] * 6 + [0, 0, 1, 1])[:, None]
    options = {"num_classes": 2, "rng": generator()}
    assert paired_permutation_test(reference, variant, **options).p_value.item() == 2 / 2**6
    assert permutation_test(reference, variant, **options).p_value.item() == pytest.approx(
        stats.fisher_exact([[8, 2], [2, 8]]).pvalue
    )


@pytest.mark.parametrize("num_permutations", [1, 19, 999])
def test_a_drawn_p_is_never_0(num_permutations):
    reference, variant = np.zeros((20, 1), int), np.ones((20, 1), int)
    for function in TESTS:
        test = function(
            reference, variant, num_classes=2, rng=generator(), num_permutations=num_permutations, method="monte_carlo"
        )
        assert test.p_value.tolist() == [1 / (1 + num_permutations)]
        assert test.num_permutations == num_permutations


SIZES = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(2, 6)
)


@settings(deadline=None, max_examples=50)
@given(SIZES, st.sampled_from(METHODS))
def test_the_order_of_members_examples_and_classes_plays_no_part(sizes, method):
    reference, variant = populations(*sizes)
    num_examples, num_classes = sizes[3:]
    rng = generator(sizes[0])

    def test(first, second):
        return permutation_test(first, second, num_classes=num_classes, rng=generator(), method=method)

    expected = test(reference, variant)
    assert_equal(test(rng.permutation(reference), rng.permutation(variant)), expected)
    relabelled = rng.permutation(num_classes)
    assert_equal(test(relabelled[reference], relabelled[variant]), expected)
    order = rng.permutation(num_examples)
    moved = test(reference[:, order], variant[:, order])
    np.testing.assert_array_equal(moved.p_value, expected.p_value[order])
    np.testing.assert_array_equal(moved.min_p_value, expected.min_p_value[order])
    alone = test(reference[:, :1], variant[:, :1])
    assert (alone.p_value[0], alone.min_p_value[0]) == (expected.p_value[0], expected.min_p_value[0])
    if len(reference) == len(variant):
        assert_equal(test(variant, reference), expected)


@settings(deadline=None, max_examples=50)
@given(SIZES, st.sampled_from(METHODS))
def test_the_order_of_pairs_examples_and_classes_plays_no_part(sizes, method):
    reference, variant = populations(sizes[0], sizes[1], *sizes[1:2], *sizes[3:])
    num_examples, num_classes = sizes[3:]
    rng = generator(sizes[0])

    def test(first, second):
        return paired_permutation_test(first, second, num_classes=num_classes, rng=generator(), method=method)

    expected = test(reference, variant)
    assert_equal(test(variant, reference), expected)
    pairs = rng.permutation(len(reference))
    assert_equal(test(reference[pairs], variant[pairs]), expected)
    order = rng.permutation(num_examples)
    np.testing.assert_array_equal(test(reference[:, order], variant[:, order]).p_value, expected.p_value[order])
    if method != "monte_carlo":
        relabelled = rng.permutation(num_classes)
        assert_equal(test(relabelled[reference], relabelled[variant]), expected)
        flipped = rng.random(reference.shape) < 0.5
        other = test(np.where(flipped, variant, reference), np.where(flipped, reference, variant))
        np.testing.assert_array_equal(other.min_p_value, expected.min_p_value)


@settings(deadline=None, max_examples=50)
@given(SIZES, st.sampled_from(METHODS))
def test_the_smallest_p_depends_on_the_pooled_votes_alone(sizes, method):
    reference, variant = populations(*sizes)
    pooled = generator(sizes[0]).permuted(np.concatenate([reference, variant]), axis=0)
    options = {"num_classes": sizes[4], "method": method}
    expected = permutation_test(reference, variant, rng=generator(), **options)
    dealt = permutation_test(pooled[: sizes[1]], pooled[sizes[1] :], rng=generator(), **options)
    np.testing.assert_array_equal(dealt.min_p_value, expected.min_p_value)
    if method == "exact":
        assert np.all(dealt.p_value >= dealt.min_p_value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("function", TESTS)
def test_the_same_generator_gives_the_same_result_whatever_the_size_of_blocks(function, method, monkeypatch):
    reference, variant = populations(9, 20, 20, 100, 5)
    options = {"num_classes": 5, "method": method, "num_permutations": 500}
    expected = function(reference, variant, rng=generator(), **options)
    monkeypatch.setattr("pie_ray.stats._arrays.CELLS_AT_ONCE", 50)
    assert_equal(function(reference, variant, rng=generator(), **options), expected)


@pytest.mark.parametrize("function", TESTS)
def test_another_generator_gives_other_draws(function):
    reference, variant = populations(9, 20, 20, 100, 5)
    options = {"num_classes": 5, "method": "monte_carlo", "num_permutations": 500}
    first, second = (function(reference, variant, rng=generator(seed), **options) for seed in (0, 1))
    assert np.any(first.p_value != second.p_value)


@pytest.mark.parametrize(("function", "method"), list(product(TESTS, ["auto", "monte_carlo"])))
def test_where_nothing_changed_p_is_at_most_as_often_small_as_it_says(function, method):
    rng = generator()
    chances = rng.dirichlet([2, 2, 1], 400)
    p_value = []
    for _ in range(25):
        reference, variant = votes(rng, chances, 12), votes(rng, chances, 12)
        options = {"num_classes": 3, "rng": rng, "method": method, "num_permutations": 39}
        p_value.append(function(reference, variant, **options).p_value)
    p_value = np.concatenate(p_value)
    for level in (0.01, 0.025, 0.05, 0.1, 0.25, 0.5):
        assert np.mean(p_value <= level) <= level + 4 * np.sqrt(level * (1 - level) / p_value.size)
    assert np.mean(p_value <= 0.5) > 0.25


def planted(rng, *, depends, num_members=22, num_examples=250, num_planted=50):
    """Two populations, the second with other labels on the first examples; where `depends`, members err together."""
    difficulty = rng.normal(-1, 1, num_examples)
    shift = np.where(np.arange(num_examples) < num_planted, 2.5, 0)

    def population(offset):
        skill = rng.normal(0, 1.5 if depends else 0, (num_members, 1))
        noise = rng.logistic(size=(num_members, num_examples))
        return (difficulty + offset + skill + noise > 0).astype(np.int64)

    return population(0), population(shift)


@pytest.mark.parametrize(("function", "depends"), list(product(TESTS, [False, True])))
def test_the_false_discovery_rate_is_kept_and_planted_changes_are_found(function, depends):
    rng = generator(1)
    shares, uncorrected, found = [], [], []
    for _ in range(120):
        test = function(*planted(rng, depends=depends), num_classes=2, rng=rng)
        discovered = benjamini_hochberg(test.p_value, tested=test.testable(0.05)) <= 0.05
        raw = test.p_value <= 0.05
        shares.append(discovered[50:].sum() / max(discovered.sum(), 1))
        uncorrected.append(raw[50:].sum() / max(raw.sum(), 1))
        found.append(discovered[:50].mean())
    assert np.mean(shares) <= 0.05 + 2 * np.std(shares) / np.sqrt(len(shares))
    assert np.mean(found) > 0.2
    assert np.mean(uncorrected) > 0.05


def test_leaving_out_what_cannot_be_significant_gains_power():
    rng = generator(2)
    gained = []
    for _ in range(20):
        test = permutation_test(*planted(rng, depends=False), num_classes=2, rng=rng)
        q_value = benjamini_hochberg(test.p_value, tested=test.testable(0.05))
        every = benjamini_hochberg(test.p_value)
        chosen = test.testable(0.05)
        assert np.all(q_value[chosen] <= every[chosen])
        assert not np.any(every[~chosen] <= 0.05)
        gained.append((q_value <= 0.05).sum() - (every <= 0.05).sum())
    assert sum(gained) > 0


@pytest.mark.parametrize("function", TESTS)
@pytest.mark.parametrize(
    ("reference", "options", "message"),
    [
        ([0, 1], {}, "reference: found shape (2,); accepted is [members, examples], at least one of each"),
        ([[0], [3]], {}, "reference: found label 3 at member 1, example 0; accepted are 0 to 2 (num_classes=3)"),
        (
            [[0, 1], [1, 1]],
            {},
            "variant: found 1 examples where reference has 2; accepted are the same examples in the ",
        ),
        ([[0], [1]], {"num_classes": 0}, "num_classes: found 0; accepted is an integer of at least 1"),
        ([[0], [1]], {"num_permutations": 0}, "num_permutations: found 0; accepted is an integer of at least 1"),
        (
            [[0], [1]],
            {"method": "asymptotic"},
            "method: found 'asymptotic'; accepted are 'auto', 'exact', 'monte_carlo'",
        ),
        ([[0], [1]], {"rng": 0}, "rng: found int; accepted is a numpy Generator, such as numpy.random.default_rng(0)"),
    ],
)
def test_what_is_wrong_is_named(function, reference, options, message):
    options = {"num_classes": 3, "rng": generator(), **options}
    with pytest.raises(InputError) as caught:
        function(reference, [[0], [1]], **options)
    assert str(caught.value).startswith(message)


def test_pairs_are_equally_many():
    with pytest.raises(InputError) as caught:
        paired_permutation_test([[0], [1]], [[0]], num_classes=2, rng=generator())
    assert str(caught.value) == (
        "variant: found 1 members where reference has 2; accepted are equally many, row m of both being one pair"
    )


def test_a_level_is_a_fraction():
    test = permutation_test([[0], [1]], [[0], [1]], num_classes=2, rng=generator())
    with pytest.raises(InputError, match=r"alpha: found 1\.5; accepted is a fraction above 0 and below 1"):
        test.testable(1.5)
