"""Accuracy on all examples, on PIEs only and without them."""

import math

import numpy as np
import pytest

from pie_ray.errors import InputError
from pie_ray.stats import reduced_accuracy, reduced_accuracy_from_correct

pytestmark = pytest.mark.filterwarnings("error")

PREDICTIONS = np.array([[0, 1, 2, 0, 1], [0, 1, 1, 0, 2]])
LABELS = np.array([0, 1, 2, 2, 2])
IS_PIE = np.array([False, False, True, True, False])


def test_each_member_is_scored_on_the_three_sets():
    accuracy = reduced_accuracy(PREDICTIONS, LABELS, IS_PIE)
    assert accuracy.on_all.per_member.tolist() == [3 / 5, 3 / 5]
    assert accuracy.on_pies.per_member.tolist() == [1 / 2, 0.0]
    assert accuracy.without_pies.per_member.tolist() == [2 / 3, 1.0]
    assert [part.num_examples for part in (accuracy.on_all, accuracy.on_pies, accuracy.without_pies)] == [5, 2, 3]


def test_mean_and_spread_are_over_the_members():
    on_pies = reduced_accuracy(PREDICTIONS, LABELS, IS_PIE).on_pies
    assert on_pies.mean == 0.25
    assert on_pies.std == pytest.approx(math.sqrt(2 * 0.25**2))


def test_one_member_has_a_mean_and_no_spread():
    on_all = reduced_accuracy(PREDICTIONS[:1], LABELS, IS_PIE).on_all
    assert on_all.mean == 0.6
    assert math.isnan(on_all.std)


def test_an_empty_set_is_nan():
    nothing_moved = reduced_accuracy(PREDICTIONS, LABELS, np.zeros(5, bool))
    assert nothing_moved.on_pies.num_examples == 0
    assert np.isnan(nothing_moved.on_pies.per_member).tolist() == [True, True]
    assert math.isnan(nothing_moved.on_pies.mean) and math.isnan(nothing_moved.on_pies.std)
    assert nothing_moved.without_pies.per_member.tolist() == nothing_moved.on_all.per_member.tolist()
    everything_moved = reduced_accuracy(PREDICTIONS, LABELS, np.ones(5, bool))
    assert math.isnan(everything_moved.without_pies.mean)


def test_top_5_comes_as_booleans():
    correct = np.array([[True, True, False, True, False], [True, True, True, False, False]])
    accuracy = reduced_accuracy_from_correct(correct, IS_PIE)
    assert accuracy.on_all.per_member.tolist() == [3 / 5, 3 / 5]
    assert accuracy.on_pies.per_member.tolist() == [1 / 2, 1 / 2]
    assert accuracy.without_pies.per_member.tolist() == [2 / 3, 2 / 3]


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_add_up_to_the_whole(seed):
    rng = np.random.default_rng(seed)
    correct, is_pie = rng.random((7, 200)) < 0.8, rng.random(200) < 0.1
    accuracy = reduced_accuracy_from_correct(correct, is_pie)
    parts = [accuracy.on_pies, accuracy.without_pies]
    hits = sum(part.per_member * part.num_examples for part in parts)
    np.testing.assert_allclose(hits, accuracy.on_all.per_member * 200)
    assert accuracy.on_all.mean == pytest.approx(correct.mean())
    assert accuracy.on_all.std == pytest.approx(correct.mean(axis=1).std(ddof=1))


@pytest.mark.parametrize(
    ("predictions", "labels", "is_pie", "message"),
    [
        ([0], [0], [True], "predictions: found shape (1,); accepted is [members, examples], at least one of each"),
        ([[0]], [0, 1], [True], "labels: found shape (2,); accepted is (1,), one value an example"),
        ([[0]], ["cat"], [True], "labels: found dtype <U3; accepted are integer class labels"),
        ([[0]], [0], [True, False], "is_pie: found shape (2,); accepted is (1,), one value an example"),
        ([[0]], [0], [1], "is_pie: found dtype int64; accepted are booleans"),
    ],
)
def test_what_is_wrong_is_named(predictions, labels, is_pie, message):
    with pytest.raises(InputError) as caught:
        reduced_accuracy(predictions, labels, is_pie)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("correct", "is_pie", "message"),
    [
        ([True], [True], "correct: found shape (1,); accepted is [members, examples], at least one of each"),
        ([[1]], [True], "correct: found dtype int64; accepted are booleans"),
        ([[True]], [[True]], "is_pie: found shape (1, 1); accepted is (1,), one value an example"),
    ],
)
def test_what_is_wrong_with_booleans_is_named(correct, is_pie, message):
    with pytest.raises(InputError) as caught:
        reduced_accuracy_from_correct(correct, is_pie)
    assert str(caught.value) == message
