"""Modes of subsets of members, and what is taken from votes that are known: held against counting each anew."""

from __future__ import annotations

import numpy as np
import pytest

from pie_ray import stats
from pie_ray.errors import InputError
from pie_ray.stats._subsets import Arm

SHAPES = [(2, 1), (3, 2), (5, 2), (8, 4), (8, 3), (30, 15), (31, 6)]
"""Members, and members of a subset."""


def spread_predictions(num_members, num_examples, num_classes, rng):
    """uint16 [members, examples]: from agreement to labels at random, and many that are torn between few labels."""
    options = rng.integers(num_classes, size=(4, num_examples))
    weights = rng.dirichlet([0.7] * 4, size=num_examples)
    chosen = (rng.random((num_members, num_examples, 1)) > weights.cumsum(axis=1)[:, :-1]).sum(axis=2)
    torn = np.take_along_axis(options, chosen, axis=0)
    anything = rng.integers(num_classes, size=torn.shape)
    return np.where(rng.random(torn.shape) < rng.random(num_examples), anything, torn).astype(np.uint16)


@pytest.mark.parametrize("tie", ["largest", "smallest"])
@pytest.mark.parametrize("num_classes", [2, 3, 12, 1_000])
@pytest.mark.parametrize(("num_members", "size"), SHAPES)
def test_modes_of_subsets_are_those_of_their_members_alone(num_members, size, num_classes, tie):
    rng = np.random.default_rng(num_members * num_classes)
    predictions = spread_predictions(num_members, 300, num_classes, rng)
    subsets = np.array([rng.choice(num_members, size, replace=False) for _ in range(7)])
    examples = np.flatnonzero(rng.random(300) < 0.8)
    found = Arm.of(predictions, num_classes, tie).modes(examples, subsets)
    expected = [stats.modal_labels(predictions[some], num_classes=num_classes, tie=tie)[examples] for some in subsets]
    np.testing.assert_array_equal(found, expected)


def test_some_subsets_are_won_by_a_third_label():
    """Else the test above would not see that they are."""
    rng = np.random.default_rng(0)
    predictions = spread_predictions(30, 300, 12, rng)
    votes = stats.label_counts(predictions, num_classes=12)
    first_two = np.argsort(votes, axis=1)[:, -2:]
    mode = stats.modal_labels(predictions[:15], num_classes=12)
    assert (mode[:, None] != first_two).all(axis=1).sum() > 10


@pytest.mark.parametrize("num_members", [4, 5, 30])
def test_known_votes_change_nothing(num_members):
    rng = np.random.default_rng(num_members)
    before, after = (spread_predictions(num_members, 400, 50, rng) for _ in range(2))
    votes = tuple(stats.modal_vote(each, num_classes=50) for each in (before, after))

    def halves(statistic, *predictions, **known):
        found = statistic(*predictions, num_classes=50, rng=np.random.default_rng(1), num_splits=9, **known)
        return found.pie_fractions

    floor = halves(stats.noise_floor, before)
    assert len(set(floor)) > 1
    np.testing.assert_array_equal(halves(stats.noise_floor, before, vote=votes[0]), floor)
    np.testing.assert_array_equal(
        halves(stats.half_pies, before, after, votes=votes), halves(stats.half_pies, before, after)
    )


def test_votes_of_others_are_refused():
    rng = np.random.default_rng(0)
    predictions = spread_predictions(4, 10, 5, rng)
    of_fewer = stats.modal_vote(predictions[:3], num_classes=5)
    of_other_examples = stats.modal_vote(predictions[:, :9], num_classes=5)
    with pytest.raises(InputError, match="vote: found 3 members and 10 examples where the predictions have 4 and 10"):
        stats.noise_floor(predictions, num_classes=5, rng=rng, vote=of_fewer)
    known = (stats.modal_vote(predictions, num_classes=5), of_other_examples)
    with pytest.raises(InputError, match=r"votes\[1\]: found 4 members and 9 examples"):
        stats.half_pies(predictions, predictions, num_classes=5, rng=rng, votes=known)
