"""Vote entropy, and the two parts of a population's uncertainty."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from pie_ray.errors import InputError
from pie_ray.stats import uncertainty, vote_entropy

pytestmark = pytest.mark.filterwarnings("error")


def some_logits(seed, num_members=5, num_examples=30, num_classes=7, scale=4.0):
    return np.random.default_rng(seed).normal(0, scale, (num_members, num_examples, num_classes)).astype(np.float32)


def test_votes_by_hand():
    entropies = vote_entropy([[0, 1, 0, 2], [0, 1, 1, 1], [0, 0, 1, 0], [0, 0, 1, 3]], num_classes=4)
    quarter = 0.75 * math.log(4 / 3) + 0.25 * math.log(4)
    np.testing.assert_allclose(entropies, [0, math.log(2), quarter, math.log(4)], atol=1e-12)
    assert entropies[0] == 0.0
    assert vote_entropy([[3, 0]], num_classes=4).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("num_classes", [1, 2, 10, 1000])
@pytest.mark.parametrize("num_members", [1, 2, 7, 30])
def test_votes_equal_scipy(num_members, num_classes):
    predictions = np.random.default_rng(num_members).integers(0, num_classes, (num_members, 50))
    votes = np.stack([(predictions == label).sum(axis=0) for label in range(num_classes)])
    np.testing.assert_allclose(vote_entropy(predictions, num_classes=num_classes), entropy(votes), atol=1e-11)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 6))
def test_equal_votes_are_exactly_equal(seed, num_members, num_classes):
    rng = np.random.default_rng(seed)
    predictions = rng.integers(0, num_classes, (num_members, 20))
    entropies = vote_entropy(predictions, num_classes=num_classes)
    renamed = rng.permutation(num_classes)[rng.permuted(predictions, axis=0)]
    assert vote_entropy(renamed, num_classes=num_classes).tolist() == entropies.tolist()
    assert vote_entropy(np.tile(predictions, (2, 1)), num_classes=num_classes) == pytest.approx(entropies, abs=1e-11)
    assert (entropies >= 0).all() and (entropies <= math.log(min(num_members, num_classes)) + 1e-11).all()


def test_two_members_by_hand():
    # one is sure of class 0 and the other of class 1, then both toss a coin, then both are sure of class 1
    found = uncertainty(np.array([[[40, 0], [3, 3], [0, 40]], [[0, 40], [-2, -2], [0, 40]]], np.float32))
    np.testing.assert_allclose(found.entropy, [math.log(2), math.log(2), 0], atol=1e-12)
    np.testing.assert_allclose(found.expected_entropy, [0, math.log(2), 0], atol=1e-12)
    np.testing.assert_allclose(found.mutual_information, [math.log(2), 0, 0], atol=1e-12)


@pytest.mark.parametrize(("num_members", "num_classes"), [(1, 3), (2, 2), (5, 10), (30, 4)])
def test_equals_scipy(num_members, num_classes):
    logits = some_logits(num_members, num_members=num_members, num_classes=num_classes)
    found = uncertainty(logits)
    distributions = softmax(logits.astype(np.float64), axis=2)
    np.testing.assert_allclose(found.entropy, entropy(distributions.mean(axis=0), axis=1))
    np.testing.assert_allclose(found.expected_entropy, entropy(distributions, axis=2).mean(axis=0))
    divergences = [entropy(member, distributions.mean(axis=0), axis=1) for member in distributions]
    np.testing.assert_allclose(found.mutual_information, np.mean(divergences, axis=0), atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100))
def test_properties(seed, scale):
    logits = some_logits(seed, scale=scale)
    rng = np.random.default_rng(seed)
    found = uncertainty(logits)
    assert (found.mutual_information >= 0).all()
    assert (found.expected_entropy >= 0).all() and (found.entropy <= math.log(7) + 1e-12).all()
    assert (found.mutual_information <= math.log(5) + 1e-12).all()
    orders = [rng.permutation(size) for size in logits.shape]
    shuffled = uncertainty(logits[np.ix_(*orders)])
    np.testing.assert_allclose(shuffled.entropy, found.entropy[orders[1]], atol=1e-12)
    np.testing.assert_allclose(shuffled.expected_entropy, found.expected_entropy[orders[1]], atol=1e-12)
    shifted = uncertainty(logits.astype(np.float64) + rng.normal(0, 5, (5, 30, 1)))
    np.testing.assert_allclose(shifted.entropy, found.entropy, atol=1e-10)


def test_members_that_agree_have_no_mutual_information():
    found = uncertainty(np.tile(some_logits(0, num_members=1), (9, 1, 1)))
    np.testing.assert_allclose(found.mutual_information, 0, atol=1e-14)
    assert (uncertainty(some_logits(1, num_members=1)).mutual_information <= 1e-14).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_extreme_logits_are_safe(dtype):
    largest = float(np.finfo(dtype).max) / 4
    found = uncertainty(np.array([[[largest, -largest, 0], [-largest] * 3, [0, -1e4, -2e4]]], dtype))
    np.testing.assert_allclose(found.entropy, [0, math.log(3), 0], atol=1e-12)
    np.testing.assert_allclose(found.expected_entropy, [0, math.log(3), 0], atol=1e-12)


def test_the_size_of_blocks_plays_no_part(monkeypatch):
    logits, predictions = some_logits(2), some_logits(2).argmax(axis=2)
    before, votes = uncertainty(logits), vote_entropy(predictions, num_classes=7)
    monkeypatch.setattr("pie_ray.stats._arrays.CELLS_AT_ONCE", 37)
    np.testing.assert_allclose(uncertainty(logits).entropy, before.entropy, rtol=1e-12)
    np.testing.assert_allclose(uncertainty(logits).expected_entropy, before.expected_entropy, rtol=1e-12)
    assert vote_entropy(predictions, num_classes=7).tolist() == votes.tolist()


def test_logits_are_not_copied_whole():
    logits = np.zeros((10, 200_000, 10), np.float32)
    tracemalloc.start()
    try:
        uncertainty(logits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < logits.nbytes


def test_logits_are_left_as_they_were():
    logits = some_logits(3).astype(np.float64)
    before = logits.copy()
    uncertainty(logits)
    assert np.array_equal(logits, before)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (
            np.zeros((2, 3)),
            "logits: found shape (2, 3); accepted is [members, examples, classes], at least one of each",
        ),
        (
            np.zeros((2, 0, 3)),
            "logits: found shape (2, 0, 3); accepted is [members, examples, classes], at least one of each",
        ),
        (np.zeros((2, 3, 4), int), "logits: found dtype int64; accepted are floating-point logits"),
        (np.full((1, 1, 2), np.nan), "logits: found infinite ones or NaN; accepted are finite numbers"),
        (np.array([[[0, -np.inf]]]), "logits: found infinite ones or NaN; accepted are finite numbers"),
    ],
)
def test_what_is_wrong_with_logits_is_named(logits, message):
    with pytest.raises(InputError) as caught:
        uncertainty(logits)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("predictions", "num_classes", "message"),
    [
        ([0, 1], 2, "predictions: found shape (2,); accepted is [members, examples], at least one of each"),
        ([[0, 2]], 2, "predictions: found label 2 at member 0, example 1; accepted are 0 to 1 (num_classes=2)"),
        ([[0.5]], 2, "predictions: found dtype float64; accepted are integer class labels"),
        ([[0]], 0, "num_classes: found 0; accepted is an integer of at least 1"),
    ],
)
def test_what_is_wrong_with_votes_is_named(predictions, num_classes, message):
    with pytest.raises(InputError) as caught:
        vote_entropy(predictions, num_classes=num_classes)
    assert str(caught.value) == message
