"""Modal labels: the published tie rule, agreement, and vote tables."""

import tracemalloc
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pie_ray.errors import InputError
from pie_ray.stats import label_counts, modal_labels, modal_vote
from pie_ray.stats._voting import sort_members

pytestmark = pytest.mark.filterwarnings("error")

PREDICTIONS = np.array(
    [
        [0, 1, 2, 2, 3],
        [0, 2, 1, 2, 0],
        [1, 2, 0, 2, 3],
        [0, 2, 3, 2, 0],
    ]
)


def random_population(seed, num_members, num_examples, num_classes):
    return np.random.default_rng(seed).integers(0, num_classes, (num_members, num_examples))


@st.composite
def populations(draw):
    """Predictions and the number of classes; of some examples most members are of one mind, of others they are not."""
    num_members, num_examples = draw(st.integers(1, 40)), draw(st.integers(1, 30))
    num_classes = draw(st.sampled_from([1, 2, 3, 10, 256, 257, 1000, 65_536, 65_537]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    # Of the labels that a type holds the last is the one to go wrong.
    common = rng.choice([0, num_classes - 1, num_classes // 2], num_examples)
    dissents = rng.random((num_members, num_examples)) < rng.random(num_examples)
    others = rng.integers(max(0, num_classes - draw(st.integers(1, 5))), num_classes, dissents.shape)
    return np.where(dissents, others, common), num_classes


def vote_by_definition(ballots, tie):
    """Label, number of votes and whether it ties, of one example."""
    votes = Counter(ballots.tolist())
    most = max(votes.values())
    winners = [label for label, count in votes.items() if count == most]
    return (max if tie == "largest" else min)(winners), most, len(winners) > 1


@settings(deadline=None, max_examples=50)
@given(populations(), st.sampled_from(["largest", "smallest"]), st.sampled_from([np.uint32, np.int64]))
def test_equals_the_definition(population, tie, dtype):
    predictions, num_classes = population
    predictions = predictions.astype(dtype)
    predictions.flags.writeable = False
    vote = modal_vote(predictions, num_classes=num_classes, tie=tie)
    found = list(zip(vote.labels.tolist(), vote.agreement.tolist(), vote.tied.tolist(), strict=True))
    expected = [vote_by_definition(ballots, tie) for ballots in predictions.T]
    assert found == [(label, most / len(predictions), tied) for label, most, tied in expected]


@settings(deadline=None, max_examples=30)
@given(populations(), st.integers(0, 2**32))
def test_the_order_of_members_and_examples_and_of_memory_plays_no_part(population, seed):
    predictions, num_classes = population
    vote = modal_vote(predictions, num_classes=num_classes)
    rng = np.random.default_rng(seed)
    order = rng.permutation(predictions.shape[1])
    shuffled = modal_vote(np.asfortranarray(rng.permutation(predictions)[:, order]), num_classes=num_classes)
    assert np.array_equal(shuffled.labels, vote.labels[order])
    assert np.array_equal(shuffled.agreement, vote.agreement[order])
    assert np.array_equal(shuffled.tied, vote.tied[order])


@pytest.mark.parametrize("num_members", range(1, 17))
def test_members_are_sorted(num_members):
    # Comparing and exchanging sorts everything if it sorts every sequence of zeros and ones (Knuth, 5.3.4, theorem Z).
    sequences = (np.arange(2**num_members) >> np.arange(num_members)[:, None] & 1).astype(np.uint8)
    assert np.array_equal(sort_members(sequences.copy()), np.sort(sequences, axis=0))


@pytest.mark.parametrize("num_members", [31, 64, 100, 257])
def test_many_members_are_sorted(num_members):
    ballots = random_population(0, num_members, 20, 1000)
    assert np.array_equal(sort_members(ballots.copy()), np.sort(ballots, axis=0))


def test_the_largest_of_tied_labels_is_the_mode():
    assert modal_labels(PREDICTIONS, num_classes=4).tolist() == [0, 2, 3, 2, 3]


def test_the_smallest_of_tied_labels_on_request():
    assert modal_labels(PREDICTIONS, num_classes=4, tie="smallest").tolist() == [0, 2, 0, 2, 0]


@pytest.mark.parametrize("tie", ["largest", "smallest"])
def test_agreement_and_ties_do_not_depend_on_the_rule(tie):
    vote = modal_vote(PREDICTIONS, num_classes=4, tie=tie)
    assert vote.agreement.tolist() == [0.75, 0.75, 0.25, 1.0, 0.5]
    assert vote.tied.tolist() == [False, False, True, False, True]
    assert (vote.num_tied, vote.num_members) == (2, 4)


def test_one_member_is_its_own_mode():
    vote = modal_vote([[3, 0, 1]], num_classes=4)
    assert vote.labels.tolist() == [3, 0, 1]
    assert vote.agreement.tolist() == [1.0, 1.0, 1.0]
    assert vote.tied.tolist() == [False, False, False]


@pytest.mark.parametrize("num_classes", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("num_members", [1, 2, 3, 4, 7, 30])
def test_equals_the_published_rule_example_by_example(num_members, num_classes):
    predictions = random_population(num_members, num_members, 60, num_classes)
    modes = [pd.Series(column).mode() for column in predictions.T]
    assert modal_labels(predictions, num_classes=num_classes).tolist() == [mode.max() for mode in modes]
    assert modal_labels(predictions, num_classes=num_classes, tie="smallest").tolist() == [mode.min() for mode in modes]
    assert modal_vote(predictions, num_classes=num_classes).tied.tolist() == [len(mode) > 1 for mode in modes]


@pytest.mark.parametrize("num_members", [255, 256, 300, 513, 600])
def test_many_members_do_not_overflow(num_members):
    predictions = np.ones((num_members, 2), np.uint8)
    predictions[: num_members // 2, 1] = 0
    vote = modal_vote(predictions, num_classes=2)
    assert vote.labels.tolist() == [1, 1]
    assert vote.agreement.tolist() == [1.0, (num_members - num_members // 2) / num_members]
    assert vote.tied.tolist() == [False, num_members % 2 == 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint64])
def test_any_integer_type_is_accepted_and_left_as_it_was(dtype):
    predictions = PREDICTIONS.astype(dtype)
    assert modal_labels(predictions, num_classes=4).dtype == np.int64
    assert modal_labels(predictions, num_classes=4).tolist() == [0, 2, 3, 2, 3]
    assert label_counts(predictions, num_classes=4)[2].tolist() == [1, 1, 1, 1]
    assert np.array_equal(predictions, PREDICTIONS)


def test_more_classes_than_16_bits_hold():
    assert modal_labels([[70_000, 4], [70_000, 4], [4, 70_000]], num_classes=70_001).tolist() == [70_000, 4]


def test_counts_are_examples_by_classes():
    counts = label_counts(PREDICTIONS, num_classes=4)
    assert counts.tolist() == [[3, 1, 0, 0], [0, 1, 3, 0], [1, 1, 1, 1], [0, 0, 4, 0], [2, 0, 0, 2]]
    assert counts.dtype == np.int16


@pytest.mark.parametrize("seed", range(5))
def test_modes_are_the_maxima_of_the_counts(seed):
    rng = np.random.default_rng(seed)
    num_members, num_examples, num_classes = rng.integers(1, 40, 3)
    predictions = rng.integers(0, num_classes, (num_members, num_examples))
    counts = label_counts(predictions, num_classes=num_classes)
    vote = modal_vote(predictions, num_classes=num_classes)
    assert (counts.sum(axis=1) == num_members).all()
    assert np.array_equal(vote.agreement, counts.max(axis=1) / num_members)
    assert np.array_equal(vote.labels, num_classes - 1 - counts[:, ::-1].argmax(axis=1))
    assert np.array_equal(vote.tied, (counts == counts.max(axis=1, keepdims=True)).sum(axis=1) > 1)


def test_the_order_of_members_plays_no_part():
    predictions = random_population(0, 6, 200, 3)
    shuffled = np.random.default_rng(1).permutation(predictions)
    assert np.array_equal(modal_labels(predictions, num_classes=3), modal_labels(shuffled, num_classes=3))


def test_the_size_of_blocks_plays_no_part(monkeypatch):
    predictions = random_population(0, 5, 23, 4)
    vote, counts = modal_vote(predictions, num_classes=4), label_counts(predictions, num_classes=4)
    monkeypatch.setattr("pie_ray.stats._arrays.CELLS_AT_ONCE", 37)
    assert np.array_equal(modal_vote(predictions, num_classes=4).labels, vote.labels)
    assert np.array_equal(modal_vote(predictions, num_classes=4).tied, vote.tied)
    assert np.array_equal(label_counts(predictions, num_classes=4), counts)


def test_an_imagenet_population_fits_a_small_memory():
    predictions = random_population(0, 30, 50_000, 1000).astype(np.uint16)
    tracemalloc.start()
    try:
        modal_labels(predictions, num_classes=1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("function", [modal_labels, modal_vote, label_counts])
@pytest.mark.parametrize(
    ("predictions", "num_classes", "message"),
    [
        ([0, 1], 2, "predictions: found shape (2,); accepted is [members, examples], at least one of each"),
        ([], 2, "predictions: found shape (0,); accepted is [members, examples], at least one of each"),
        ([[]], 2, "predictions: found shape (1, 0); accepted is [members, examples], at least one of each"),
        ([[0, 1], [1]], 2, "predictions: found rows of different lengths; accepted is a full array"),
        ([[0.0, 1.0]], 2, "predictions: found dtype float64; accepted are integer class labels"),
        ([[True, False]], 2, "predictions: found dtype bool; accepted are integer class labels"),
        (
            [[0, 1, 0], [1, 0, 2]],
            2,
            "predictions: found label 2 at member 1, example 2; accepted are 0 to 1 (num_classes=2)",
        ),
        ([[0, -1]], 2, "predictions: found label -1 at member 0, example 1; accepted are 0 to 1 (num_classes=2)"),
        ([[0, 1]], 0, "num_classes: found 0; accepted is an integer of at least 1"),
        ([[0, 1]], 2.0, "num_classes: found 2.0; accepted is an integer of at least 1"),
        ([[0, 1]], True, "num_classes: found True; accepted is an integer of at least 1"),
    ],
)
def test_what_is_wrong_is_named(function, predictions, num_classes, message):
    with pytest.raises(InputError) as caught:
        function(predictions, num_classes=num_classes)
    assert str(caught.value) == message


@pytest.mark.parametrize("tie", ["first", None, np.array([1, 2])])
def test_another_tie_rule_is_refused(tie):
    with pytest.raises(InputError) as caught:
        modal_labels([[0]], num_classes=1, tie=tie)
    assert str(caught.value) == f"tie: found {tie!r}; accepted are 'largest', 'smallest'"
