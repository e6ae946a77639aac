"""Time left is told from the members that are in."""

from __future__ import annotations

import pytest

from pie_ray.identity import make_plan
from pie_ray.progress import Estimate, clock


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


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (65, "1 min 05 s"), (3599, "59 min 59 s"), (11_999, "3 h 19 min")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text
