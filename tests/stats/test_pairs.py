"""CIEs of pairs of members, McNemar's test, and what two trainings alone differ in."""

import math
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from pie_ray.errors import InputError
from pie_ray.stats import compare_pairs, null_cie

pytestmark = pytest.mark.filterwarnings("error")

LABELS = np.array([0, 1, 2, 0, 1])
REFERENCE = np.array([[0, 1, 2, 1, 2], [0, 1, 1, 0, 1]])
VARIANT = np.array([[0, 2, 1, 0, 0], [0, 1, 1, 0, 1]])


def noisy(rng, labels, num_members, num_classes, error):
    wrong = rng.random((num_members, labels.size)) < error
    return np.where(wrong, rng.integers(0, num_classes, wrong.shape), labels)


def two_populations(seed, num_members=6, num_examples=200, num_classes=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_examples)
    reference, variant = (noisy(rng, labels, num_members, num_classes, error) for error in (0.2, 0.3))
    return reference, variant, labels


def test_a_pair_by_hand():
    pairs = compare_pairs(REFERENCE, VARIANT, LABELS)
    assert pairs.num_examples == 5
    assert pairs.num_cie.tolist() == [4, 0]
    assert pairs.num_cie_u.tolist() == [2, 0]
    assert pairs.num_only_variant_right.tolist() == [1, 0]
    assert pairs.num_both_wrong.tolist() == [1, 0]
    assert pairs.cie_fraction.tolist() == [0.8, 0.0]
    assert pairs.cie_u_fraction.tolist() == [0.4, 0.0]
    assert pairs.only_variant_right_fraction.tolist() == [0.2, 0.0]
    assert (pairs.mean_cie, pairs.mean_cie_u) == (0.4, 0.2)
    assert pairs.std_cie == pytest.approx(0.8 / math.sqrt(2))
    assert pairs.std_cie_u == pytest.approx(0.4 / math.sqrt(2))
    # 2 against 1: P(X <= 1) = 4 / 8 on either side; none against none is no evidence
    assert pairs.p_value.tolist() == [1.0, 1.0]
    assert (pairs.num_significant, pairs.num_discoveries) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_equals_statsmodels_pair_by_pair(seed):
    reference, variant, labels = two_populations(seed)
    pairs = compare_pairs(reference, variant, labels, alpha=0.1)
    for member, (first, second) in enumerate(zip(reference, variant, strict=True)):
        table = np.zeros((2, 2), int)
        for before, after, label in zip(first, second, labels, strict=True):
            table[int(before != label), int(after != label)] += 1
        assert pairs.num_cie_u[member] == table[0, 1]
        assert pairs.num_only_variant_right[member] == table[1, 0]
        assert pairs.num_cie[member] == sum(before != after for before, after in zip(first, second, strict=True))
        assert pairs.p_value[member] == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert pairs.num_significant == (pairs.p_value <= 0.1).sum()
    np.testing.assert_allclose(pairs.q_value, multipletests(pairs.p_value, method="fdr_bh")[1])
    assert pairs.num_discoveries == (pairs.q_value <= 0.1).sum()


@pytest.mark.parametrize(
    ("broken", "mended"), [(0, 9), (5, 5), (1, 12), (3000, 2900), (20_000, 20_500), (9000, 20_000)]
)
def test_large_counts_are_exact(broken, mended):
    num_examples = 50_000
    labels = np.zeros(num_examples, int)
    reference, variant = np.zeros((2, 1, num_examples), int)
    variant[0, :broken] = 1
    reference[0, broken : broken + mended] = 1
    pairs = compare_pairs(reference, variant, labels)
    expected = mcnemar([[num_examples - broken - mended, broken], [mended, 0]], exact=True).pvalue
    assert pairs.p_value[0] == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_the_test_is_at_its_level():
    # Exact tests are conservative: at most alpha of the pairs that differ by chance are significant.
    rng = np.random.default_rng(0)
    labels = np.zeros(500, int)
    reference, variant = (noisy(rng, labels, 600, 2, 0.2) for _ in range(2))
    pairs = compare_pairs(reference, variant, labels)
    assert 0.02 < pairs.num_significant / 600 < 0.06
    assert pairs.num_discoveries <= 3
    harmed = compare_pairs(reference, noisy(rng, labels, 600, 2, 0.5), labels)
    assert harmed.num_discoveries > 550


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_orders_and_names_play_no_part(seed):
    reference, variant, labels = two_populations(seed)
    rng = np.random.default_rng(seed)
    examples, members, classes = rng.permutation(labels.size), rng.permutation(6), rng.permutation(4)
    pairs = compare_pairs(reference, variant, labels)
    shuffled = compare_pairs(
        classes[reference[members][:, examples]], classes[variant[members][:, examples]], classes[labels[examples]]
    )
    for name in ("num_cie", "num_cie_u", "num_only_variant_right", "p_value", "q_value"):
        assert getattr(shuffled, name).tolist() == getattr(pairs, name)[members].tolist(), name
    null = null_cie(reference, labels)
    shuffled_null = null_cie(classes[reference[members][:, examples]], classes[labels[examples]])
    for name in ("cie_fractions", "cie_u_fractions"):
        assert sorted(getattr(shuffled_null, name)) == sorted(getattr(null, name)), name


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_swapping_the_populations_swaps_what_broke_and_what_was_mended(seed):
    there = compare_pairs(*two_populations(seed))
    reference, variant, labels = two_populations(seed)
    back = compare_pairs(variant, reference, labels)
    assert back.num_cie.tolist() == there.num_cie.tolist()
    assert back.num_cie_u.tolist() == there.num_only_variant_right.tolist()
    assert back.p_value.tolist() == there.p_value.tolist()


def test_identical_members_have_no_cie():
    reference, _, labels = two_populations(0)
    pairs = compare_pairs(reference, reference, labels)
    assert pairs.num_cie.tolist() == pairs.num_cie_u.tolist() == pairs.num_both_wrong.tolist() == [0] * 6
    assert pairs.p_value.tolist() == pairs.q_value.tolist() == [1.0] * 6
    null = null_cie(np.tile(reference[0], (4, 1)), labels)
    assert (null.mean_cie, null.std_cie, null.mean_cie_u, null.std_cie_u) == (0.0, 0.0, 0.0, 0.0)


def test_all_pairs_of_one_population_by_hand():
    null = null_cie([[0, 1, 2, 1], [0, 1, 1, 0], [0, 2, 1, 1]], [0, 1, 2, 0])
    assert (null.num_members, null.num_examples) == (3, 4)
    assert null.cie_fractions.tolist() == [0.5, 0.5, 0.5]
    # the first right alone on example 2, with the second on 1; the second alone on 3
    assert null.cie_u_fractions.tolist() == [0.25, 0.5, 0.25, 0.5, 0.0, 0.0]


@pytest.mark.parametrize(("seed", "num_members"), [(0, 2), (1, 3), (2, 9), (3, 30)])
def test_the_baseline_equals_comparing_every_two_members(seed, num_members):
    population, _, labels = two_populations(seed, num_members=num_members)
    null = null_cie(population, labels)
    either = [compare_pairs(population[[i]], population[[j]], labels) for i, j in combinations(range(num_members), 2)]
    assert null.cie_fractions.tolist() == [pair.cie_fraction[0] for pair in either]
    both_ways = [
        compare_pairs(population[[i]], population[[j]], labels) for i, j in permutations(range(num_members), 2)
    ]
    assert null.cie_u_fractions.tolist() == [pair.cie_u_fraction[0] for pair in both_ways]
    assert null.mean_cie == pytest.approx(np.mean(null.cie_fractions))
    if num_members > 2:
        assert null.std_cie == pytest.approx(np.std(null.cie_fractions, ddof=1))
        assert null.std_cie_u == pytest.approx(np.std(null.cie_u_fractions, ddof=1))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 5))
def test_the_means_follow_from_the_votes(seed, num_members, num_classes):
    population, _, labels = two_populations(seed, num_members, 50, num_classes)
    votes = np.stack([(population == label).sum(axis=0) for label in range(num_classes)])
    agreeing = (votes * (votes - 1)).sum(axis=0)
    num_right = (population == labels).sum(axis=0)
    num_pairs = num_members * (num_members - 1)
    null = null_cie(population, labels)
    assert null.mean_cie == pytest.approx(np.mean(1 - agreeing / num_pairs))
    assert null.mean_cie_u == pytest.approx(np.mean(num_right * (num_members - num_right) / num_pairs))


def test_two_members_have_one_pair_and_no_spread():
    null = null_cie(REFERENCE, LABELS)
    assert null.cie_fractions.shape == (1,) and null.cie_u_fractions.shape == (2,)
    assert math.isnan(null.std_cie) and not math.isnan(null.std_cie_u)
    pairs = compare_pairs(REFERENCE[:1], VARIANT[:1], LABELS)
    assert math.isnan(pairs.std_cie) and math.isnan(pairs.std_cie_u)


def test_the_baseline_is_what_members_trained_apart_differ_in():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 4000)
    null = null_cie(noisy(rng, labels, 20, 5, 0.3), labels)
    apart = compare_pairs(*(noisy(rng, labels, 20, 5, 0.3) for _ in range(2)), labels)
    assert apart.mean_cie == pytest.approx(null.mean_cie, rel=0.03)
    assert apart.std_cie == pytest.approx(null.std_cie, rel=0.5)
    assert apart.mean_cie_u == pytest.approx(null.mean_cie_u, rel=0.03)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint64])
def test_any_integer_type_and_size_of_blocks(monkeypatch, dtype):
    reference, variant, labels = two_populations(4)
    before = null_cie(reference, labels), compare_pairs(reference, variant, labels)
    monkeypatch.setattr("pie_ray.stats._arrays.CELLS_AT_ONCE", 37)
    null, pairs = null_cie(reference.astype(dtype), labels), compare_pairs(reference.astype(dtype), variant, labels)
    assert null.cie_fractions.tolist() == before[0].cie_fractions.tolist()
    assert null.cie_u_fractions.tolist() == before[0].cie_u_fractions.tolist()
    assert pairs.num_cie_u.tolist() == before[1].num_cie_u.tolist()


@pytest.mark.parametrize(
    ("variant", "labels", "options", "message"),
    [
        (
            VARIANT[:1],
            LABELS,
            {},
            "variant: found 1 members where reference has 2; accepted are equally many, row m of both being one pair",
        ),
        (
            VARIANT[:, :2],
            LABELS,
            {},
            "variant: found 2 examples where reference has 5; accepted are the same examples in the same order",
        ),
        (VARIANT, LABELS[:2], {}, "labels: found shape (2,); accepted is (5,), one value an example"),
        (VARIANT / 1, LABELS, {}, "variant: found dtype float64; accepted are integer class labels"),
        (VARIANT, LABELS, {"alpha": 1.0}, "alpha: found 1.0; accepted is a fraction above 0 and below 1"),
    ],
)
def test_what_is_wrong_is_named(variant, labels, options, message):
    with pytest.raises(InputError) as caught:
        compare_pairs(REFERENCE, variant, labels, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("population", "labels", "message"),
    [
        (REFERENCE[:1], LABELS, "population: found 1 member; accepted are at least 2, to be held against each other"),
        (REFERENCE[0], LABELS, "population: found shape (5,); accepted is [members, examples], at least one of each"),
        (REFERENCE, LABELS / 1, "labels: found dtype float64; accepted are integer class labels"),
    ],
)
def test_what_is_wrong_with_one_population_is_named(population, labels, message):
    with pytest.raises(InputError) as caught:
        null_cie(population, labels)
    assert str(caught.value) == message
