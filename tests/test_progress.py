"""Time left is told from the members that are in."""

from __future__ import annotations

import pytest

from pie_ray.identity import make_plan
from pie_ray.progress import Estimate, clock
from pie_ray.recipe import parse_recipe


@pytest.fixture
def members(tiny_recipe):
    return make_plan(tiny_recipe).members


def test_nothing_is_estimated_before_the_first_member_is_in():
    assert Estimate(3, 1).seconds_left() is None


def test_trained_and_derived_members_cost_differently(members):
    trained = next(m for m in members if m.parent_id is None)
    derived = next(m for m in members if m.parent_id is not None)
    estimate = Estimate(num_trained_left=5, num_derived_left=3, num_slots=2)
    estimate.add(trained, 10)
    assert estimate.seconds_left() == (4 * 10 + 3 * 1) / 2
    estimate.add(derived, 2)
    assert estimate.seconds_left() == (4 * 10 + 2 * 2) / 2
    estimate.drop(trained)
    assert estimate.seconds_left() == (3 * 10 + 2 * 2) / 2


def test_a_member_pruned_from_a_dense_one_counts_as_trained_where_it_is(tiny_text):
    grids = ", ".join(
        f"{{pruning: {{kind: one_shot, sparsities: [0.5]{tuned}}}}}" for tuned in ("", ", fine_tuning: {epochs: 1}")
    )
    members = make_plan(parse_recipe(tiny_text, [f"variants=[{grids}]", "population.num_members=1"])).members
    _, cut, tuned = members
    estimate = Estimate(num_trained_left=4, num_derived_left=2)
    estimate.add(tuned, 10)
    estimate.add(cut, 2)
    assert (estimate.num_trained_left, estimate.num_derived_left) == (3, 1)
    assert estimate.seconds_left() == 3 * 10 + 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (65, "1 min 05 s"), (3599, "59 min 59 s"), (11_999, "3 h 19 min")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text
