"""PIEs: where the modes of two populations differ, and how far their votes are apart."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pie_ray.errors import InputError
from pie_ray.stats import (
    PieCorrectness,
    Pies,
    find_pies,
    find_pies_from_votes,
    label_counts,
    modal_vote,
    pie_correctness,
    taxicab,
)

pytestmark = pytest.mark.filterwarnings("error")

REFERENCE = np.array(
    [
        [0, 1, 2, 0, 1],
        [0, 1, 2, 1, 1],
        [0, 2, 1, 0, 2],
        [1, 2, 2, 2, 1],
    ]
)
VARIANT = np.array(
    [
        [0, 1, 0, 2, 0],
        [0, 1, 0, 2, 0],
        [1, 1, 0, 0, 2],
        [1, 2, 2, 1, 0],
    ]
)


def random_populations(seed, *, equal_size=True):
    rng = np.random.default_rng(seed)
    num_reference, num_variant, num_examples, num_classes = rng.integers(1, 12, 4).tolist()
    num_variant = num_reference if equal_size else num_variant
    reference = rng.integers(0, num_classes, (num_reference, num_examples * 10))
    variant = rng.integers(0, num_classes, (num_variant, num_examples * 10))
    return reference, variant, num_classes


def as_lists(pies):
    return {field.name: getattr(pies, field.name).tolist() for field in dataclasses.fields(pies)}


def test_a_pie_is_an_example_whose_mode_moved():
    pies = find_pies(REFERENCE, VARIANT, num_classes=3)
    assert as_lists(pies) == {
        "reference_mode": [0, 2, 2, 0, 1],
        "variant_mode": [1, 1, 0, 2, 0],
        "is_pie": [True, True, True, True, True],
        "reference_agreement": [0.75, 0.5, 0.75, 0.5, 0.75],
        "variant_agreement": [0.5, 0.75, 0.75, 0.5, 0.75],
        "reference_tied": [False, True, False, False, False],
        "variant_tied": [True, False, False, False, False],
    }
    assert (pies.num_pies, pies.pie_fraction, pies.num_tied_reference, pies.num_tied_variant) == (5, 1.0, 1, 1)


def test_the_tie_rule_decides_which_examples_are_pies():
    pies = find_pies(REFERENCE, VARIANT, num_classes=3, tie="smallest")
    assert pies.reference_mode.tolist() == [0, 1, 2, 0, 1]
    assert pies.variant_mode.tolist() == [0, 1, 0, 2, 0]
    assert pies.is_pie.tolist() == [False, False, True, True, True]
    assert (pies.num_pies, pies.pie_fraction) == (3, 0.6)


def test_a_partial_population_is_compared_by_its_own_mode():
    pies = find_pies(REFERENCE, VARIANT[:1], num_classes=3)
    assert pies.variant_mode.tolist() == [0, 1, 0, 2, 0]
    assert pies.variant_agreement.tolist() == [1.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_published_rule_example_by_example(seed):
    reference, variant, num_classes = random_populations(seed, equal_size=False)
    published = [
        pd.Series(before).mode().max() != pd.Series(after).mode().max()
        for before, after in zip(reference.T, variant.T, strict=True)
    ]
    assert find_pies(reference, variant, num_classes=num_classes).is_pie.tolist() == published


@pytest.mark.parametrize("seed", range(8))
def test_swapping_the_populations_swaps_the_result(seed):
    reference, variant, num_classes = random_populations(seed, equal_size=False)
    there = as_lists(find_pies(reference, variant, num_classes=num_classes))
    back = as_lists(find_pies(variant, reference, num_classes=num_classes))
    swapped = {"reference": "variant", "variant": "reference"}
    for name, values in there.items():
        side, _, rest = name.partition("_")
        assert back[f"{swapped.get(side, side)}_{rest}"] == values


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_members_plays_no_part(seed):
    reference, variant, num_classes = random_populations(seed)
    shuffled = np.random.default_rng(0).permutation(variant)
    assert as_lists(find_pies(reference, variant, num_classes=num_classes)) == as_lists(
        find_pies(reference, shuffled, num_classes=num_classes)
    )


def test_a_population_has_no_pies_against_itself():
    assert find_pies(REFERENCE, REFERENCE, num_classes=3).num_pies == 0


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from(["largest", "smallest"]))
def test_one_vote_of_the_reference_serves_every_variant(seed, tie):
    reference, variant, num_classes = random_populations(seed, equal_size=False)
    vote = modal_vote(reference, num_classes=num_classes, tie=tie)
    for population in (variant, reference, variant[:1]):
        counted = modal_vote(population, num_classes=num_classes, tie=tie)
        direct = find_pies(reference, population, num_classes=num_classes, tie=tie)
        assert as_lists(find_pies_from_votes(vote, counted)) == as_lists(direct)


def test_what_is_wrong_with_votes_is_named():
    vote = modal_vote(REFERENCE, num_classes=3)
    with pytest.raises(InputError, match=r"^variant: found ndarray; accepted is the result of modal_vote$"):
        find_pies_from_votes(vote, vote.labels)
    with pytest.raises(InputError, match=r"^reference: found Pies; accepted is the result of modal_vote$"):
        find_pies_from_votes(find_pies(REFERENCE, VARIANT, num_classes=3), vote)
    with pytest.raises(InputError) as caught:
        find_pies_from_votes(vote, modal_vote(VARIANT[:, :4], num_classes=3))
    assert str(caught.value) == (
        "variant: found 4 examples where reference has 5; accepted are the same examples in the same order"
    )


def test_pies_are_counted_by_which_mode_is_right():
    pies = find_pies(REFERENCE, VARIANT, num_classes=3, tie="smallest")
    broken = pie_correctness(pies, [0, 0, 2, 0, 0])
    assert broken == PieCorrectness(num_pies=3, num_reference_correct=2, num_variant_correct=1)
    assert broken.num_neither_correct == 0
    mended = pie_correctness(pies, [0, 0, 1, 2, 2])
    assert mended == PieCorrectness(num_pies=3, num_reference_correct=0, num_variant_correct=1)
    assert mended.num_neither_correct == 2


def test_taxicab_adds_up_what_the_votes_moved():
    assert taxicab(REFERENCE, VARIANT, num_classes=3).tolist() == [2.0, 2.0, 6.0, 2.0, 6.0]


def test_taxicab_scales_the_variant_to_the_size_of_the_reference():
    reference = [[0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]
    variant = [[0, 0, 1], [0, 1, 1]]
    assert taxicab(reference, variant, num_classes=2).tolist() == [0.0, 2.0, 8.0]
    assert taxicab(variant, reference, num_classes=2).tolist() == [0.0, 1.0, 4.0]


def test_equal_vote_shares_are_exactly_zero_apart():
    shares = np.array([0, 0, 1, 1, 1, 1, 2])[:, None]
    assert taxicab(np.tile(shares, (3, 1)), np.tile(shares, (7, 1)), num_classes=3).tolist() == [0.0]


@pytest.mark.parametrize("seed", range(8))
def test_taxicab_of_equal_sizes_is_the_formula_on_counts(seed):
    reference, variant, num_classes = random_populations(seed)
    moved = label_counts(variant, num_classes=num_classes) - label_counts(reference, num_classes=num_classes)
    distances = taxicab(reference, variant, num_classes=num_classes)
    assert np.array_equal(distances, np.abs(moved).sum(axis=1))
    assert np.array_equal(distances, taxicab(variant, reference, num_classes=num_classes))


@pytest.mark.parametrize("seed", range(8))
def test_taxicab_is_bounded_and_above_zero_on_every_pie(seed):
    reference, variant, num_classes = random_populations(seed, equal_size=False)
    distances = taxicab(reference, variant, num_classes=num_classes)
    is_pie = find_pies(reference, variant, num_classes=num_classes).is_pie
    assert (distances >= 0).all() and (distances <= 2 * len(reference)).all()
    assert (distances[is_pie] > 0).all()


def test_the_size_of_blocks_plays_no_part(monkeypatch):
    reference, variant, num_classes = random_populations(3)
    distances = taxicab(reference, variant, num_classes=num_classes)
    monkeypatch.setattr("pie_ray.stats._arrays.CELLS_AT_ONCE", 31)
    assert np.array_equal(taxicab(reference, variant, num_classes=num_classes), distances)


@pytest.mark.parametrize("function", [find_pies, taxicab])
@pytest.mark.parametrize(
    ("reference", "variant", "message"),
    [
        ([0], [[0]], "reference: found shape (1,); accepted is [members, examples], at least one of each"),
        ([[0]], [0], "variant: found shape (1,); accepted is [members, examples], at least one of each"),
        ([[0]], [[0.5]], "variant: found dtype float64; accepted are integer class labels"),
        ([[3]], [[0]], "reference: found label 3 at member 0, example 0; accepted are 0 to 2 (num_classes=3)"),
        (
            [[0, 1]],
            [[0], [1]],
            "variant: found 1 examples where reference has 2; accepted are the same examples in the same order",
        ),
    ],
)
def test_what_is_wrong_is_named(function, reference, variant, message):
    with pytest.raises(InputError) as caught:
        function(reference, variant, num_classes=3)
    assert str(caught.value) == message


def test_options_are_checked():
    with pytest.raises(InputError, match=r"^num_classes: found -1; accepted is an integer of at least 1$"):
        find_pies([[0]], [[0]], num_classes=-1)
    with pytest.raises(InputError, match=r"^num_classes: found None; accepted is an integer of at least 1$"):
        taxicab([[0]], [[0]], num_classes=None)
    with pytest.raises(InputError, match=r"^tie: found 'middle'; accepted are 'largest', 'smallest'$"):
        find_pies([[0]], [[0]], num_classes=1, tie="middle")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "labels: found shape (2,); accepted is (5,), one value an example"),
        ([0.0, 1, 2, 0, 1], "labels: found dtype float64; accepted are integer class labels"),
    ],
)
def test_true_labels_are_checked(labels, message):
    pies = find_pies(REFERENCE, VARIANT, num_classes=3)
    with pytest.raises(InputError) as caught:
        pie_correctness(pies, labels)
    assert str(caught.value) == message


def test_correctness_needs_the_result_of_find_pies():
    with pytest.raises(InputError, match=r"^pies: found list; accepted is the result of find_pies$"):
        pie_correctness([True], [0])


def test_results_cannot_be_changed():
    pies = find_pies(REFERENCE, VARIANT, num_classes=3)
    assert isinstance(pies, Pies)
    with pytest.raises(dataclasses.FrozenInstanceError):
        pies.is_pie = None
