"""Countermeasures: thresholds that count right, overrides that change nothing else, and bias that they undo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import accuracy_score

from pie_ray.errors import InputError
from pie_ray.stats import (
    adjusted_thresholds,
    bias_amplification,
    countermeasure_effect,
    is_uncertain,
    modal_labels,
    override,
    predict_attributes,
    training_rates,
    uncertain_members,
)

pytestmark = pytest.mark.filterwarnings("error")

SEEDS = st.integers(0, 1000)
LABELS = np.array([[True, False, True], [False, False, True], [True, False, True], [False, False, True]])
PREDICTIONS = np.zeros((2, 4, 3), bool)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_thresholds_by_hand():
    logits = np.array([[[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [4.0, 4.0, 4.0], [8.0, 8.0, 8.0]]])
    tau = adjusted_thresholds(logits, LABELS)
    assert tau.tolist() == [[3.0, np.inf, -np.inf]]
    assert np.count_nonzero(predict_attributes(logits, tau), axis=1).tolist() == [[2, 0, 4]]


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.integers(1, 40), st.sampled_from([np.float16, np.float32, np.float64]))
def test_as_many_are_predicted_as_there_are(seed, num_examples, dtype):
    random = rng(seed)
    labels = random.random((num_examples, 3)) < random.random(3)
    logits = random.permuted(np.broadcast_to(np.arange(num_examples)[:, None], (4, num_examples, 3)), axis=1)
    # Neighbouring floats: there is nothing between them to put the threshold at.
    crowded = np.ones((), dtype) + logits.astype(dtype) * np.finfo(dtype).eps
    for scores in (random.normal(size=logits.shape).astype(np.float64), crowded, -crowded):
        predictions = predict_attributes(scores, adjusted_thresholds(scores, labels))
        assert np.count_nonzero(predictions, axis=1).tolist() == [np.count_nonzero(labels, axis=0).tolist()] * 4


def test_logits_that_tie_across_the_line_are_not_predicted():
    logits = np.array([[[1.0], [2.0], [2.0], [3.0]]])
    labels = np.array([[True], [False], [False], [True]])
    tau = adjusted_thresholds(logits, labels)
    assert tau.tolist() == [[2.0]]
    assert predict_attributes(logits, tau)[0, :, 0].tolist() == [False, False, False, True]


def test_infinite_and_huge_logits_have_thresholds():
    labels = np.array([[True], [True], [False], [False]])
    for column in (
        [np.inf, np.inf, -np.inf, -np.inf],
        [1.7e308, 1.6e308, 1.5e308, 0.0],
        [np.inf, 2.0, -np.inf, -np.inf],
    ):
        logits = np.array(column)[None, :, None]
        assert predict_attributes(logits, adjusted_thresholds(logits, labels))[0].tolist() == labels.tolist()


def test_adjusted_thresholds_mend_the_rate_on_other_examples():
    random = rng(0)
    labels = random.random((2, 4000, 2)) < 0.1
    logits = np.where(labels, 1.0, -3.0) + random.normal(size=(5, *labels.shape)) - 2  # too rarely above 0
    validation, evaluation = logits[:, 0], logits[:, 1]
    tau = adjusted_thresholds(validation, labels[0])
    rates = [predict_attributes(evaluation, threshold).mean(axis=1) for threshold in (0.0, tau)]
    assert (rates[0] < 0.04).all() and np.abs(rates[1] - 0.1).max() < 0.02


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.floats(0.1, 10), st.floats(-5, 5))
def test_thresholds_follow_the_logits(seed, scale, offset):
    random = rng(seed)
    logits, labels = random.normal(size=(2, 20, 3)), random.random((20, 3)) < 0.5
    labels[:2] = [[True], [False]]
    there, back = adjusted_thresholds(logits, labels), adjusted_thresholds(scale * logits + offset, labels)
    np.testing.assert_allclose(back, scale * there + offset, atol=1e-9)
    order = random.permutation(20)
    np.testing.assert_array_equal(adjusted_thresholds(logits[::-1, order], labels[order]), there[::-1])


def test_the_dense_members_decide_where_they_are_uncertain():
    dense = np.array([[True, True], [False, False]])[:, :, None]
    variant = np.array([[False, False], [True, False]])[:, :, None]
    uncertain = np.array([[True, False], [True, True]])[:, :, None]
    found = override(dense, variant, uncertain)
    assert found.predictions[:, :, 0].tolist() == [[True, False], [False, False]]
    assert found.share_overridden.tolist() == [[0.5], [1.0]]
    assert found.share_changed.tolist() == [[0.5], [0.5]]


def test_a_population_decides_for_all_members():
    found = override(np.array([7, 8, 9]), np.array([[0, 1, 2], [3, 8, 5]]), np.array([False, True, False]))
    assert found.predictions.tolist() == [[0, 8, 2], [3, 8, 5]]
    assert found.share_overridden.tolist() == [1 / 3, 1 / 3]
    assert found.share_changed.tolist() == [1 / 3, 0.0]


@settings(deadline=None, max_examples=50)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3)).flatmap(
        lambda shape: st.tuples(*(npst.arrays(np.bool_, shape) for _ in range(3)))
    )
)
def test_an_override_changes_what_is_uncertain_and_nothing_else(arrays):
    dense, variant, uncertain = arrays
    found = override(dense, variant, uncertain)
    assert found.predictions[uncertain].tolist() == dense[uncertain].tolist()
    assert found.predictions[~uncertain].tolist() == variant[~uncertain].tolist()
    assert (found.share_changed <= found.share_overridden).all()
    np.testing.assert_array_equal(override(variant, variant, uncertain).predictions, variant)
    assert override(dense, variant, uncertain & False).share_overridden.max() == 0.0


def biased(num_members=6, num_examples=4000):
    """Dense logits, and pruned ones that follow Male where the dense ones are uncertain; labels and Male."""
    random = rng(0)
    male = random.random(num_examples) < 0.5
    labels = np.stack([random.random(num_examples) < np.where(male, 0.4, 0.2), male], axis=1)
    evidence = np.where(labels, 3.0, -3.0) + 2.5 * random.normal(size=labels.shape)
    dense = evidence + 0.2 * random.normal(size=(num_members, *labels.shape))
    fallback = np.where(male, 3.0, -3.0)[:, None] * np.array([1, 0])
    pruned = evidence + 0.2 * random.normal(size=dense.shape) + np.where(np.abs(evidence) < 2, fallback, 0)
    return dense, pruned, labels, male[:, None]


def test_override_undoes_a_planted_bias():
    dense, pruned, labels, male = biased()
    training = training_rates(labels, male, attribute_names=("Beard", "Male"), category_names=("Male",))
    reference = bias_amplification(dense > 0, labels, male, training=training).mean[0, 0]
    by_member = override(dense > 0, pruned > 0, is_uncertain(dense))
    majority = modal_labels((dense > 0).reshape(6, -1).astype(int), num_classes=2).reshape(4000, 2) == 1
    by_population = override(majority, pruned > 0, uncertain_members(dense) > 0.5)
    for mended in (by_member, by_population):
        effect = countermeasure_effect(
            pruned > 0,
            mended.predictions,
            labels,
            male,
            training=training,
            share_overridden=mended.share_overridden,
        )
        before, after = effect.amplification_before.mean[0, 0], effect.amplification_after.mean[0, 0]
        assert before > reference + 0.05
        assert after == pytest.approx(reference, abs=0.015)
        assert effect.amplification_change[0, 0] == after - before
        assert effect.accuracy_change[0] > 0.02 and effect.accuracy_change[1] == pytest.approx(0, abs=0.005)
        np.testing.assert_allclose(effect.share_overridden, mended.share_overridden.mean(axis=0))
        np.testing.assert_allclose(effect.share_changed, mended.share_changed.mean(axis=0))


def test_the_effect_is_measured_as_sklearn_does():
    dense, pruned, labels, male = biased(num_members=3, num_examples=500)
    training = training_rates(labels, male, attribute_names=("Beard", "Male"), category_names=("Male",))
    effect = countermeasure_effect(pruned > 0, dense > 0, labels, male, training=training)
    for attribute in range(2):
        for accuracy, logits in ((effect.accuracy_before, pruned), (effect.accuracy_after, dense)):
            scores = [accuracy_score(labels[:, attribute], member[:, attribute] > 0) for member in logits]
            assert accuracy[attribute] == pytest.approx(np.mean(scores))
        changed = (pruned[..., attribute] > 0) != (dense[..., attribute] > 0)
        assert effect.share_changed[attribute] == pytest.approx(changed.mean())
    assert effect.share_overridden.tolist() == [0.0, 0.0]
    assert np.isnan(effect.amplification_change).tolist() == [[False], [True]]
    assert effect.amplification_after.reason.tolist() == [[""], ["same attribute"]]


def test_a_countermeasure_that_does_nothing_has_no_effect():
    dense, _, labels, male = biased(num_members=2, num_examples=300)
    training = training_rates(labels, male, attribute_names=("Beard", "Male"), category_names=("Male",))
    effect = countermeasure_effect(dense > 0, dense > 0, labels, male, training=training)
    assert effect.accuracy_change.tolist() == [0.0, 0.0]
    assert effect.share_changed.tolist() == [0.0, 0.0]
    assert effect.amplification_change[0, 0] == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: adjusted_thresholds(PREDICTIONS, LABELS), "validation_logits: found dtype bool"),
        (lambda: adjusted_thresholds(np.zeros((1, 4, 3)), LABELS[:3]), r"validation_labels: found shape \(3, 3\)"),
        (lambda: override(LABELS, PREDICTIONS[0, 0], LABELS), r"variant: found bool \(3,\)"),
        (lambda: override(PREDICTIONS, PREDICTIONS * 1.0, PREDICTIONS), "variant: found float64"),
        (
            lambda: override(LABELS[:3], PREDICTIONS, LABELS),
            r"deciding: found shape \(3, 3\); accepted are \(2, 4, 3\)",
        ),
        (lambda: override(LABELS * 1, PREDICTIONS, LABELS), "deciding: found dtype int64; accepted are predictions"),
        (lambda: override(LABELS, PREDICTIONS, LABELS * 1), "is_uncertain: found dtype int64; accepted are booleans"),
        (lambda: override(LABELS, PREDICTIONS, LABELS[:, 0]), r"is_uncertain: found shape \(4,\)"),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"after": PREDICTIONS[:1]}, r"after: found shape \(1, 4, 3\) where before has \(2, 4, 3\)"),
        ({"after": PREDICTIONS * 1}, "after: found dtype int64"),
        ({"labels": LABELS[:3]}, r"labels: found shape \(3, 3\)"),
        ({"share_overridden": [[0.5, 0.5, 2.0]] * 2}, r"share_overridden: found float64 \(2, 3\); accepted are shares"),
        ({"share_overridden": [0.5]}, r"share_overridden: found float64 \(1,\)"),
    ],
)
def test_what_is_wrong_in_an_effect_is_named(change, message):
    training = training_rates(LABELS, LABELS[:, :1], attribute_names=("a", "b", "c"), category_names=("a",))
    arguments = {
        "before": PREDICTIONS,
        "after": PREDICTIONS,
        "labels": LABELS,
        "categories": LABELS[:, :1],
        "training": training,
        **change,
    }
    with pytest.raises(InputError, match=message):
        countermeasure_effect(**arguments)
