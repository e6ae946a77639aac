"""The noise floor: PIEs between two halves of one population, and halves of two."""

import math
from itertools import combinations

import numpy as np
import pytest

from pie_ray.errors import InputError
from pie_ray.stats import find_pies, half_pies, noise_floor

pytestmark = pytest.mark.filterwarnings("error")

POPULATION = np.array(
    [
        [0, 0, 0, 2],
        [0, 0, 1, 0],
        [0, 1, 1, 1],
        [0, 1, 1, 2],
    ]
)


def generator():
    return np.random.default_rng(0)


def borderline(rng, num_members, num_examples, num_classes=3):
    """Members that vote independently, with a chance of each label that differs from example to example."""
    chances = np.random.default_rng(99).dirichlet(np.full(num_classes, 0.3), num_examples)
    uniform = rng.random((num_members, num_examples, 1))
    return np.minimum((uniform > chances.cumsum(axis=1)).sum(axis=2), num_classes - 1)


def brute_force(reference, variant, num_classes, *, ordered, tie="largest"):
    """PIE fractions of all halvings, through `find_pies`, as a sorted list."""
    num_members = len(reference)
    half = num_members // 2
    fractions = []
    for first in combinations(range(num_members), half):
        for second in combinations(set(range(num_members)) - set(first), half):
            if ordered or first < second:
                pies = find_pies(reference[list(first)], variant[list(second)], num_classes=num_classes, tie=tie)
                fractions.append(pies.pie_fraction)
    return sorted(fractions)


def test_four_members_have_three_halvings():
    floor = noise_floor(POPULATION, num_classes=3, rng=generator())
    # {0, 1} against {2, 3}, then {0, 2} against {1, 3}, then {0, 3} against {1, 2}
    assert floor.pie_fractions.tolist() == [0.25, 0.0, 0.25]
    assert floor.mean == pytest.approx(1 / 6)
    assert floor.std == pytest.approx(math.sqrt(1 / 48))
    assert (floor.num_splits, floor.num_members_per_half, floor.exhaustive) == (3, 2, True)


def test_the_tie_rule_is_applied_to_both_halves():
    floor = noise_floor(POPULATION, num_classes=3, rng=generator(), tie="smallest")
    assert floor.pie_fractions.tolist() == [0.75, 0.5, 0.5]


def test_two_members_have_one_halving_and_no_spread():
    floor = noise_floor(POPULATION[1:3], num_classes=3, rng=generator())
    assert floor.pie_fractions.tolist() == [0.5]
    assert floor.num_members_per_half == 1
    assert math.isnan(floor.std)


@pytest.mark.parametrize("tie", ["largest", "smallest"])
@pytest.mark.parametrize(("num_members", "num_halvings"), [(2, 1), (3, 3), (4, 3), (5, 15), (6, 10), (7, 70), (8, 35)])
def test_few_members_are_halved_in_every_way(num_members, num_halvings, tie):
    population = borderline(np.random.default_rng(num_members), num_members, 50)
    floor = noise_floor(population, num_classes=3, rng=generator(), tie=tie)
    assert floor.exhaustive
    assert floor.num_splits == num_halvings
    assert sorted(floor.pie_fractions) == brute_force(population, population, 3, ordered=False, tie=tie)


@pytest.mark.parametrize("num_members", [2, 3, 4, 5, 6])
def test_halves_of_two_populations_in_every_way(num_members):
    rng = np.random.default_rng(num_members)
    reference = borderline(rng, num_members, 50)
    variant = borderline(rng, num_members, 50)[:, ::-1]
    halves = half_pies(reference, variant, num_classes=3, rng=generator())
    assert halves.exhaustive
    assert sorted(halves.pie_fractions) == brute_force(reference, variant, 3, ordered=True)


@pytest.mark.parametrize("num_members", [7, 8])
def test_random_halvings_are_drawn_from_all_of_them(num_members):
    population = borderline(np.random.default_rng(5), num_members, 200)
    every = noise_floor(population, num_classes=3, rng=generator(), num_splits=70)
    drawn = [
        noise_floor(population, num_classes=3, rng=np.random.default_rng(seed), num_splits=30) for seed in range(20)
    ]
    assert every.exhaustive and not any(floor.exhaustive for floor in drawn)
    assert {floor.num_splits for floor in drawn} == {30}
    assert set(np.concatenate([floor.pie_fractions for floor in drawn])) == set(every.pie_fractions)
    assert np.mean([floor.mean for floor in drawn]) == pytest.approx(every.mean, rel=0.02)


def test_the_same_generator_gives_the_same_splits():
    population = borderline(np.random.default_rng(0), 12, 300)
    first, second = (noise_floor(population, num_classes=3, rng=generator()) for _ in range(2))
    assert first.pie_fractions.tolist() == second.pie_fractions.tolist()


def test_the_floor_is_the_rate_between_fresh_populations_of_half_the_size():
    rng = np.random.default_rng(1)
    floor = noise_floor(borderline(rng, 20, 4000), num_classes=3, rng=rng)
    fresh = [
        find_pies(borderline(rng, 10, 4000), borderline(rng, 10, 4000), num_classes=3).pie_fraction for _ in range(10)
    ]
    full = find_pies(borderline(rng, 20, 4000), borderline(rng, 20, 4000), num_classes=3).pie_fraction
    assert floor.mean == pytest.approx(np.mean(fresh), rel=0.1)
    assert full < floor.mean


def test_a_variant_that_changed_nothing_gives_the_floor_itself():
    population = borderline(np.random.default_rng(0), 11, 300)
    floor = noise_floor(population, num_classes=3, rng=generator())
    halves = half_pies(population, population.copy(), num_classes=3, rng=generator())
    assert halves.pie_fractions.tolist() == floor.pie_fractions.tolist()


def test_members_that_always_agree_have_no_noise():
    population = np.tile([0, 1, 2], (9, 1))
    assert noise_floor(population, num_classes=3, rng=generator()).pie_fractions.tolist() == [0.0] * 100
    halves = half_pies(population, (population + 1) % 3, num_classes=3, rng=generator())
    assert halves.pie_fractions.tolist() == [1.0] * 100


@pytest.mark.parametrize("num_members", [3, 4, 5, 6])
def test_the_order_of_members_plays_no_part_where_all_halvings_are_seen(num_members):
    population = borderline(np.random.default_rng(2), num_members, 100)
    shuffled = np.random.default_rng(3).permutation(population)
    floors = [noise_floor(members, num_classes=3, rng=generator()) for members in (population, shuffled)]
    assert sorted(floors[0].pie_fractions) == sorted(floors[1].pie_fractions)


def test_the_size_of_blocks_plays_no_part(monkeypatch):
    rng = np.random.default_rng(4)
    reference, variant = borderline(rng, 10, 60), borderline(rng, 10, 60)
    halves = half_pies(reference, variant, num_classes=3, rng=generator())
    monkeypatch.setattr("pie_ray.stats._arrays.CELLS_AT_ONCE", 150)
    again = half_pies(reference, variant, num_classes=3, rng=generator())
    assert again.pie_fractions.tolist() == halves.pie_fractions.tolist()


@pytest.mark.parametrize(
    ("reference", "options", "message"),
    [
        ([[0, 1]], {}, "reference: found 1 member; accepted are at least 2, to be split in two halves"),
        ([0, 1], {}, "reference: found shape (2,); accepted is [members, examples], at least one of each"),
        ([[0], [3]], {}, "reference: found label 3 at member 1, example 0; accepted are 0 to 2 (num_classes=3)"),
        ([[0], [1]], {"num_classes": 0}, "num_classes: found 0; accepted is an integer of at least 1"),
        ([[0], [1]], {"num_splits": 0}, "num_splits: found 0; accepted is an integer of at least 1"),
        ([[0], [1]], {"tie": "random"}, "tie: found 'random'; accepted are 'largest', 'smallest'"),
        (
            [[0], [1]],
            {"rng": 0},
            "rng: found int; accepted is a numpy Generator, such as numpy.random.default_rng(0)",
        ),
    ],
)
def test_what_is_wrong_is_named(reference, options, message):
    options = {"num_classes": 3, "rng": generator(), **options}
    with pytest.raises(InputError) as caught:
        noise_floor(reference, **options)
    assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        half_pies(reference, reference, **options)
    assert str(caught.value) == message


def test_halves_of_two_populations_need_equally_many_members():
    with pytest.raises(InputError) as caught:
        half_pies([[0], [1]], [[0], [1], [1]], num_classes=2, rng=generator())
    assert str(caught.value) == (
        "variant: found 3 members where reference has 2; accepted are equally many, such as the seeds that both have"
    )
    with pytest.raises(InputError) as caught:
        half_pies([[0], [1]], [[0, 1], [1, 1]], num_classes=2, rng=generator())
    assert str(caught.value) == (
        "variant: found 2 examples where reference has 1; accepted are the same examples in the same order"
    )
