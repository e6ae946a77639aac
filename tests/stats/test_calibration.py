"""Expected calibration error and reliability bins."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binned_statistic

from pie_ray.errors import InputError
from pie_ray.stats import expected_calibration_error, reliability

pytestmark = pytest.mark.filterwarnings("error")


def some_predictions(seed, num_members=3, num_examples=200, dtype=np.float32):
    rng = np.random.default_rng(seed)
    confidence = rng.beta(4, 1.5, (num_members, num_examples)).astype(dtype)
    return confidence, rng.random(confidence.shape) < confidence**2


def brute_force(confidence, correct, num_bins):
    """One member, as the paper has it: bin after bin, each open on the left."""
    error = 0.0
    for index in range(num_bins):
        low, high = (np.asarray(edge / num_bins, confidence.dtype) for edge in (index, index + 1))
        inside = [
            (value, right)
            for value, right in zip(confidence, correct, strict=True)
            if low < value <= high or (index == 0 and value == 0)
        ]
        if inside:
            accuracy = sum(bool(right) for _, right in inside) / len(inside)
            mean = sum(float(value) for value, _ in inside) / len(inside)
            error += len(inside) / confidence.size * abs(accuracy - mean)
    return error


def test_by_hand():
    confidence = [[0.95, 0.85, 0.9, 0.55], [1.0, 1.0, 1.0, 1.0]]
    correct = np.array([[True, False, True, False], [True, True, False, False]])
    # .85 and .9 share a bin: half right against a mean of .875
    expected = [0.25 * 0.05 + 0.5 * 0.375 + 0.25 * 0.55, 0.5]
    np.testing.assert_allclose(expected_calibration_error(confidence, correct), expected)


@pytest.mark.parametrize("num_bins", [1, 2, 10, 15])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_equals_a_loop_over_the_bins(dtype, num_bins):
    confidence, correct = some_predictions(num_bins, dtype=dtype)
    expected = [brute_force(*member, num_bins) for member in zip(confidence, correct, strict=True)]
    np.testing.assert_allclose(expected_calibration_error(confidence, correct, num_bins=num_bins), expected)


@pytest.mark.parametrize("num_bins", [3, 10, 15])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_edge_belongs_to_the_bin_below(dtype, num_bins):
    edges = (np.arange(num_bins + 1) / num_bins).astype(dtype)
    bins = reliability(edges[None], np.ones((1, num_bins + 1), bool), num_bins=num_bins)
    assert bins.num_predictions.tolist() == [2] + [1] * (num_bins - 1)
    above = np.nextafter(edges[1:-1], dtype(1))
    bins = reliability(above[None], np.ones((1, num_bins - 1), bool), num_bins=num_bins)
    assert bins.num_predictions.tolist() == [0] + [1] * (num_bins - 1)


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_bins_equal_scipy(num_bins):
    confidence, correct = some_predictions(0, dtype=np.float64)
    bins = reliability(confidence, correct, num_bins=num_bins)
    # scipy's bins are open on the right; no confidence is an edge here
    for values, found in ((confidence, bins.mean_confidence), (correct, bins.accuracy)):
        expected = binned_statistic(confidence.ravel(), values.ravel(), "mean", num_bins, (0, 1)).statistic
        np.testing.assert_allclose(found, expected)
    counts, edges = np.histogram(confidence, num_bins, (0, 1))
    assert bins.num_predictions.tolist() == counts.tolist()
    np.testing.assert_allclose(bins.edges, edges)
    np.testing.assert_allclose(bins.gap, bins.accuracy - bins.mean_confidence)


def test_an_empty_bin_is_nan():
    bins = reliability([[0.9, 0.55, 0.6]], np.array([[True, False, True]]), num_bins=2)
    assert bins.num_predictions.tolist() == [0, 3]
    assert math.isnan(bins.accuracy[0]) and math.isnan(bins.mean_confidence[0]) and math.isnan(bins.gap[0])
    assert (bins.accuracy[1], bins.mean_confidence[1]) == (pytest.approx(2 / 3), pytest.approx(2.05 / 3))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_properties(seed, num_bins):
    confidence, correct = some_predictions(seed)
    rng = np.random.default_rng(seed)
    members, examples = rng.permutation(3), rng.permutation(200)
    error = expected_calibration_error(confidence, correct, num_bins=num_bins)
    shuffled = (array[members][:, examples] for array in (confidence, correct))
    np.testing.assert_allclose(expected_calibration_error(*shuffled, num_bins=num_bins), error[members])
    twice = (np.tile(array, (1, 2)) for array in (confidence, correct))
    np.testing.assert_allclose(expected_calibration_error(*twice, num_bins=num_bins), error)
    # between the error of one bin and that of a bin an example
    overall = np.abs(confidence.mean(axis=1, dtype=float) - correct.mean(axis=1))
    single = np.abs(confidence - correct.astype(float)).mean(axis=1)
    assert (overall <= error + 1e-12).all() and (error <= single + 1e-12).all()
    bins = reliability(confidence, correct, num_bins=num_bins)
    pooled = np.nansum(np.abs(bins.gap) * bins.num_predictions) / correct.size
    assert pooled <= error.mean() + 1e-12
    assert bins.num_predictions.sum() == correct.size


def test_certain_and_right_or_wrong():
    sure = np.ones((2, 5), np.float32)
    assert expected_calibration_error(sure, np.ones((2, 5), bool)).tolist() == [0.0, 0.0]
    assert expected_calibration_error(sure, np.zeros((2, 5), bool)).tolist() == [1.0, 1.0]


def test_calibrated_members_have_next_to_none():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, (2, 100_000))
    correct = rng.random(confidence.shape) < confidence
    assert (expected_calibration_error(confidence, correct) < 0.006).all()
    assert (
        np.abs(expected_calibration_error(confidence**0.5, correct) - np.mean(confidence**0.5 - confidence)) < 0.01
    ).all()


@pytest.mark.parametrize("function", [expected_calibration_error, reliability])
@pytest.mark.parametrize(
    ("confidence", "correct", "num_bins", "message"),
    [
        ([0.5], [True], 10, "confidence: found shape (1,); accepted is [members, examples], at least one of each"),
        ([[0.5]], [[True, False]], 10, "correct: found shape (1, 2); accepted is (1, 1), that of confidence"),
        ([[0.5]], [[1]], 10, "correct: found dtype int64; accepted are booleans"),
        (
            [[0.5, 1.5]],
            [[True] * 2],
            10,
            "confidence: found values from 0.5 to 1.5; accepted are probabilities from 0 to 1",
        ),
        (
            [[-0.5, 0]],
            [[True] * 2],
            10,
            "confidence: found values from -0.5 to 0; accepted are probabilities from 0 to 1",
        ),
        ([[math.nan]], [[True]], 10, "confidence: found nan at member 0, example 0; accepted are finite numbers"),
        ([[0.5]], [[True]], 0, "num_bins: found 0; accepted is an integer of at least 1"),
    ],
)
def test_what_is_wrong_is_named(function, confidence, correct, num_bins, message):
    with pytest.raises(InputError) as caught:
        function(confidence, correct, num_bins=num_bins)
    assert str(caught.value) == message
