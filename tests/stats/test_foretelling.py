"""Scores that foretell PIEs, against scikit-learn and by brute force."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from pie_ray.errors import InputError
from pie_ray.stats import auroc, average_precision, foretell, recall_at_top

pytestmark = pytest.mark.filterwarnings("error")

SCORES = np.array([0.9, 0.5, 0.5, 0.5, 0.1, 0.0])
POSITIVES = np.array([True, True, False, False, True, False])

EXAMPLES = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40)
"""Scores, many of which tie, and whether each is positive."""


def both_kinds(examples):
    scores, positives = (np.array(column) for column in zip(*examples, strict=True))
    assume(0 < positives.sum() < positives.size)
    return scores, positives


def test_by_hand():
    # .9 is above all three others; .5 is above one, ties with two; .1 is above one
    assert auroc(SCORES, POSITIVES) == (3 + 1 + 2 / 2 + 1) / 9
    assert average_precision(SCORES, POSITIVES) == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)
    # the best, and one of the three next
    assert recall_at_top(SCORES, POSITIVES, 2 / 6) == pytest.approx((1 + 1 / 3) / 3)
    found = foretell(SCORES, POSITIVES, top=(1 / 6, 1 / 3, 1.0))
    assert (found.num_examples, found.num_pies, found.base_rate) == (6, 3, 0.5)
    assert found.top == (1 / 6, 1 / 3, 1.0)
    np.testing.assert_allclose(found.recall_at_top, [1 / 3, 4 / 9, 1])
    assert (found.auroc, found.average_precision) == (auroc(SCORES, POSITIVES), average_precision(SCORES, POSITIVES))


@settings(deadline=None, max_examples=50)
@given(EXAMPLES)
def test_equals_scikit_learn(examples):
    scores, positives = both_kinds(examples)
    assert auroc(scores, positives) == pytest.approx(roc_auc_score(positives, scores))
    assert average_precision(scores, positives) == pytest.approx(average_precision_score(positives, scores))


@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn_on_many_examples(seed):
    rng = np.random.default_rng(seed)
    positives = rng.random(50_000) < 0.03
    scores = np.round(rng.normal(positives, 1.0), 2).astype(np.float32)
    assert auroc(scores, positives) == pytest.approx(roc_auc_score(positives, scores), rel=1e-12)
    assert average_precision(scores, positives) == pytest.approx(average_precision_score(positives, scores), rel=1e-9)


@settings(deadline=None, max_examples=50)
@given(EXAMPLES)
def test_the_area_is_the_share_of_pairs_in_the_right_order(examples):
    scores, positives = both_kinds(examples)
    difference = scores[positives][:, None] - scores[~positives]
    assert auroc(scores, positives) == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean())


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=6), st.integers(1, 6))
def test_recall_is_the_mean_over_all_orders_of_the_tied(examples, num_top):
    scores, positives = both_kinds(examples)
    num_top = min(num_top, scores.size)
    recalls = [
        positives[list(order)][:num_top].sum() / positives.sum()
        for order in permutations(range(scores.size))
        if (np.diff(scores[list(order)]) <= 0).all()
    ]
    assert recall_at_top(scores, positives, num_top / scores.size) == pytest.approx(np.mean(recalls))


@settings(deadline=None, max_examples=50)
@given(EXAMPLES, st.floats(0.001, 1), st.randoms(use_true_random=False))
def test_only_the_order_of_the_scores_counts(examples, fraction, random):
    scores, positives = both_kinds(examples)
    order = np.array(random.sample(range(scores.size), scores.size))
    found = foretell(scores, positives, top=(fraction,))
    for same in (
        foretell(scores**3 / 7.0 + 1, positives, top=(fraction,)),
        foretell(np.exp(scores).astype(np.float32), positives, top=(fraction,)),
        foretell((scores + 4).astype(np.uint8), positives, top=(fraction,)),
        foretell(np.where(scores == scores.max(), math.inf, scores), positives, top=(fraction,)),
        foretell(scores[order], positives[order], top=(fraction,)),
    ):
        assert same.auroc == found.auroc
        assert same.average_precision == found.average_precision
        assert same.recall_at_top.tolist() == found.recall_at_top.tolist()


@settings(deadline=None, max_examples=50)
@given(EXAMPLES, st.floats(0.001, 0.999))
def test_symmetries_and_bounds(examples, fraction):
    scores, positives = both_kinds(examples)
    area = auroc(scores, positives)
    assert auroc(-scores, positives) == pytest.approx(1 - area)
    assert auroc(scores, ~positives) == pytest.approx(1 - area)
    recall = recall_at_top(scores, positives, fraction)
    assert recall_at_top(-scores, positives, 1 - fraction) == pytest.approx(1 - recall)
    assert 0 <= recall <= min(1, fraction * scores.size / positives.sum()) + 1e-12
    assert positives.mean() / scores.size < average_precision(scores, positives) <= 1


@settings(deadline=None, max_examples=30)
@given(EXAMPLES, st.floats(0.001, 1))
def test_a_score_that_knows_nothing_and_one_that_knows_all(examples, fraction):
    _, positives = both_kinds(examples)
    nothing = foretell(np.zeros(positives.size), positives, top=(fraction,))
    assert nothing.auroc == 0.5
    assert nothing.average_precision == pytest.approx(nothing.base_rate)
    assert nothing.recall_at_top[0] == pytest.approx(fraction)
    everything = foretell(positives.astype(float), positives, top=(positives.mean(), fraction))
    assert (everything.auroc, everything.average_precision) == (1.0, 1.0)
    assert everything.recall_at_top == pytest.approx([1, min(1, fraction / positives.mean())])


@pytest.mark.parametrize("positives", [[False] * 6, [True] * 6])
def test_without_or_with_only_pies_there_is_nothing_to_foretell(positives):
    found = foretell(SCORES, positives)
    assert math.isnan(found.auroc) and math.isnan(found.average_precision)
    assert np.isnan(found.recall_at_top).tolist() == [True] * 3
    assert found.base_rate == float(positives[0])
    assert math.isnan(auroc(SCORES, positives)) and math.isnan(recall_at_top(SCORES, positives, 0.5))


def test_no_fractions_are_no_recalls():
    assert foretell(SCORES, POSITIVES, top=()).recall_at_top.shape == (0,)


@pytest.mark.parametrize(
    ("scores", "is_pie", "top", "message"),
    [
        ([0.5, math.nan], [True, False], (0.1,), "scores: found NaN at example 1; accepted are numbers"),
        ([[0.5]], [True], (0.1,), "scores: found shape (1, 1); accepted is [examples], at least one"),
        ([], [], (0.1,), "scores: found shape (0,); accepted is [examples], at least one"),
        ([True], [True], (0.1,), "scores: found dtype bool; accepted are real numbers"),
        ([0.5, 1], [True], (0.1,), "is_pie: found shape (1,); accepted is (2,), one value an example"),
        ([0.5], [1], (0.1,), "is_pie: found dtype int64; accepted are booleans"),
        ([0.5], [True], (0.1, 0), "top[1]: found 0; accepted is a fraction above 0 and at most 1"),
        ([0.5], [True], (1.5,), "top[0]: found 1.5; accepted is a fraction above 0 and at most 1"),
        ([0.5], [True], (math.nan,), "top[0]: found nan; accepted is a fraction above 0 and at most 1"),
    ],
)
def test_what_is_wrong_is_named(scores, is_pie, top, message):
    with pytest.raises(InputError) as caught:
        foretell(scores, is_pie, top=top)
    assert str(caught.value) == message


@pytest.mark.parametrize("function", [auroc, average_precision, lambda *given: recall_at_top(*given, 0.1)])
def test_what_is_wrong_with_one_figure_is_named(function):
    with pytest.raises(InputError, match="scores: found NaN at example 0"):
        function([math.nan, 1.0], [True, False])
    with pytest.raises(InputError, match="positives: found dtype int64; accepted are booleans"):
        function([0.0, 1.0], [1, 0])
    with pytest.raises(InputError, match="fraction: found 'half'; accepted is a fraction"):
        recall_at_top([0.0, 1.0], [True, False], "half")
