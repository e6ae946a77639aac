"""Multi-label measures against scikit-learn, pandas and `find_pies`, attribute by attribute."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.special import expit, logit
from sklearn.linear_model import LinearRegression
from sklearn.metrics import confusion_matrix, precision_score, recall_score, roc_auc_score

from pie_ray.errors import InputError
from pie_ray.stats import (
    attribute_auroc,
    attribute_calibration_error,
    attribute_pies,
    attribute_rates,
    find_pies,
    interdependence,
    is_uncertain,
    predict_attributes,
    rarer_values,
    susceptible_examples,
    threshold_calibration_bias,
    uncertain_members,
    uncertainty_share,
)

pytestmark = pytest.mark.filterwarnings("error")

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 12), st.integers(1, 4))
SEEDS = st.integers(0, 1000)


def simulated(seed, shape=(4, 300, 5), dtype=np.float32):
    """Logits that know their labels, of attributes of different frequency."""
    random = np.random.default_rng(seed)
    labels = random.random(shape[1:]) < np.linspace(0.1, 0.8, shape[2])
    logits = random.normal(np.where(labels, 1.0, -1.0), 1.5, shape)
    return logits.astype(dtype), labels


def cells(array):
    """Every (member, attribute) with its column of examples."""
    return [((m, a), array[m, :, a]) for m in range(array.shape[0]) for a in range(array.shape[2])]


def test_predictions_are_strictly_above_the_threshold():
    logits = np.array([[[0.0, 1.0], [0.1, -1.0]], [[2.0, 3.0], [-0.1, 0.0]]])
    assert predict_attributes(logits).tolist() == [[[False, True], [True, False]], [[True, True], [False, False]]]
    assert predict_attributes(logits, [0.1, -1.0])[0].tolist() == [[False, True], [False, False]]
    by_member = predict_attributes(logits, [[-np.inf, np.inf], [2.0, -0.5]])
    assert by_member.tolist() == [[[True, False], [True, False]], [[False, True], [False, True]]]


def test_a_threshold_is_not_rounded_to_the_logits_precision():
    logits = np.array([[[1.0]]], np.float32)
    assert predict_attributes(logits, 1.0 - 1e-12).tolist() == [[[True]]]
    assert predict_attributes(logits, 1.0 + 1e-12).tolist() == [[[False]]]


def test_rates_are_those_of_sklearns_confusion_matrix():
    logits, labels = simulated(0)
    predictions = predict_attributes(logits)
    rates = attribute_rates(predictions, labels)
    assert rates.true_rate.tolist() == labels.mean(axis=0).tolist()
    for (m, a), column in cells(predictions):
        (true_negative, false_positive), (false_negative, true_positive) = confusion_matrix(labels[:, a], column)
        assert rates.accuracy[m, a] == pytest.approx((true_negative + true_positive) / 300)
        assert rates.predicted_rate[m, a] == pytest.approx((false_positive + true_positive) / 300)
        assert rates.false_positive_rate[m, a] == pytest.approx(false_positive / (false_positive + true_negative))
        assert rates.false_negative_rate[m, a] == pytest.approx(false_negative / (false_negative + true_positive))


def test_rates_of_what_is_not_there_are_nan():
    rates = attribute_rates(np.array([[[True, False]] * 3]), np.array([[True, False]] * 3))
    assert rates.accuracy.tolist() == [[1.0, 1.0]]
    assert np.isnan(rates.false_positive_rate).tolist() == [[True, False]]
    assert np.isnan(rates.false_negative_rate).tolist() == [[False, True]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("within", [0.4, 0.1])
def test_uncertainty_is_a_probability_near_one_half(dtype, within):
    logits, _ = simulated(1, dtype=dtype)
    expected = np.abs(expit(logits.astype(np.float64)) - 0.5) < within
    assert is_uncertain(logits, within=within).tolist() == expected.tolist()
    assert uncertainty_share(logits, within=within).tolist() == expected.mean(axis=1).tolist()
    assert uncertain_members(logits, within=within).tolist() == expected.mean(axis=0).tolist()


def test_uncertainty_is_told_apart_close_to_its_limits():
    probabilities = np.array([0.9001, 0.8999, 0.5, 0.1001, 0.0999, 1.0])
    assert is_uncertain(logit(probabilities)[None, :, None])[0, :, 0].tolist() == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]


def related(seed, num_attributes=6, num_examples=400):
    """Predictions of which some follow others."""
    random = np.random.default_rng(seed)
    common = random.random((3, num_examples, 1))
    return (common + random.random((3, num_examples, num_attributes))) > np.linspace(0.5, 1.6, num_attributes)


@pytest.mark.parametrize("seed", range(3))
def test_interdependence_is_sklearns_score_of_a_linear_regression(seed):
    predictions = related(seed)
    found = interdependence(predictions)
    assert (found > 0.05).all()
    for (m, a), column in cells(predictions):
        others = np.delete(predictions[m], a, axis=1)
        assert found[m, a] == pytest.approx(LinearRegression().fit(others, column).score(others, column))


def test_attributes_that_follow_from_others_are_explained_wholly():
    predictions = related(0)
    twice = np.concatenate([predictions, predictions[:, :, :1], ~predictions[:, :, 1:2]], axis=2)
    found = interdependence(twice)
    assert found[:, [0, 1, 6, 7]] == pytest.approx(1.0)
    for m, a in ((0, 2), (1, 3), (2, 5)):  # those beside them lose nothing by it
        others = np.delete(twice[m], a, axis=1)
        assert found[m, a] == pytest.approx(
            LinearRegression().fit(others, twice[m, :, a]).score(others, twice[m, :, a])
        )


def test_attributes_that_nearly_follow_from_others_are_no_rounding():
    predictions = related(0)
    nearly = np.concatenate([predictions, predictions[:, :, :1]], axis=2)
    nearly[:, 7, 6] ^= True  # one example of 400
    for (m, a), column in cells(nearly):
        others = np.delete(nearly[m], a, axis=1)
        expected = LinearRegression().fit(others, column).score(others, column)
        assert interdependence(nearly)[m, a] == pytest.approx(expected, abs=1e-9)


def test_what_never_varies_has_no_interdependence_and_tells_nothing():
    predictions = related(0)
    constant = np.concatenate([predictions, np.ones((3, 400, 1), bool), np.zeros((3, 400, 1), bool)], axis=2)
    found = interdependence(constant)
    np.testing.assert_allclose(found[:, :6], interdependence(predictions))
    assert np.isnan(found[:, 6:]).all()
    assert interdependence(constant[:, :, 5:]).tolist() == pytest.approx(
        np.array([[0.0, np.nan, np.nan]] * 3), nan_ok=True
    )


def test_unrelated_attributes_have_an_interdependence_of_their_number():
    found = interdependence(np.random.default_rng(0).random((8, 1000, 21)) < 0.3)
    assert found.mean() == pytest.approx(20 / 999, rel=0.1)


def test_threshold_calibration_bias_by_hand():
    labels = np.array([[True, True], [False, True], [False, True], [False, False]])
    predictions = np.array([[[True, True]] * 4, [[False, False], [False, True], [False, False], [False, True]]])
    assert threshold_calibration_bias(predictions, labels, [True, False]).tolist() == [[4.0, 0.0], [0.0, 2.0]]
    assert rarer_values(labels).tolist() == [True, False]
    assert rarer_values(labels[:2]).tolist() == [True, False]
    missing = threshold_calibration_bias(predictions, np.zeros((4, 2), bool), [True, False])
    assert missing.tolist() == pytest.approx(np.array([[np.nan, 0.0], [np.nan, 0.5]]), nan_ok=True)


def test_calibration_error_is_that_of_ten_bins_of_the_positive_probability():
    logits, labels = simulated(2, dtype=np.float64)
    found = attribute_calibration_error(logits, labels)
    for (m, a), column in cells(expit(logits)):
        table = pd.DataFrame({"p": column, "label": labels[:, a], "bin": np.floor(column * 10)})
        bins = table.groupby("bin").agg(p=("p", "mean"), label=("label", "mean"), size=("p", "size"))
        assert found[m, a] == pytest.approx(((bins["p"] - bins["label"]).abs() * bins["size"]).sum() / 300)


def test_calibrated_probabilities_have_nearly_no_calibration_error():
    random = np.random.default_rng(0)
    probability = random.random((20_000, 1))
    labels = random.random((20_000, 1)) < probability
    calibrated, doubled = attribute_calibration_error(logit(probability) * np.array([1.0, 2.0])[:, None, None], labels)
    assert calibrated[0] < 0.015 < 0.05 < doubled[0]


def test_auroc_is_sklearns_with_ties():
    logits, labels = simulated(3)
    coarse = np.round(logits)
    found = attribute_auroc(coarse, labels)
    for (m, a), column in cells(coarse):
        assert found[m, a] == pytest.approx(roc_auc_score(labels[:, a], column))
    assert np.isnan(attribute_auroc(logits, labels & False)).all()


@settings(deadline=None, max_examples=50)
@given(SEEDS, SHAPES, st.sampled_from(["largest", "smallest"]))
def test_pies_are_find_pies_attribute_by_attribute(seed, shape, tie):
    random = np.random.default_rng(seed)
    reference, variant = random.random(shape) < 0.5, random.random((random.integers(1, 7), *shape[1:])) < 0.5
    pies = attribute_pies(reference, variant, tie=tie)
    assert pies.pie_fraction.tolist() == (pies.num_pies / shape[1]).tolist()
    for attribute in range(shape[2]):
        columns = reference[..., attribute].astype(int), variant[..., attribute].astype(int)
        expected = find_pies(*columns, num_classes=2, tie=tie)
        assert pies.num_pies[attribute] == expected.num_pies
        for name, value in vars(expected).items():
            assert getattr(pies, name)[:, attribute].tolist() == value.tolist(), name


@settings(deadline=None, max_examples=50)
@given(npst.arrays(np.bool_, SHAPES), st.randoms(use_true_random=False))
def test_the_order_of_the_members_plays_no_part_in_pies(predictions, random):
    order = random.sample(range(len(predictions)), len(predictions))
    assert not attribute_pies(predictions, predictions[order]).is_pie.any()


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_examples_and_attributes_plays_no_part(seed, random):
    logits, labels = simulated(seed, (3, 40, 4))
    examples, attributes = random.sample(range(40), 40), random.sample(range(4), 4)
    moved, moved_labels = logits[:, examples][..., attributes], labels[examples][:, attributes]
    measures = {
        "uncertainty": lambda scores, truth: uncertainty_share(scores),
        "auroc": attribute_auroc,
        "calibration": attribute_calibration_error,
        "interdependence": lambda scores, truth: interdependence(scores > 0),
        "bias": lambda scores, truth: threshold_calibration_bias(scores > 0, truth, rarer_values(truth)),
        "accuracy": lambda scores, truth: attribute_rates(scores > 0, truth).accuracy,
    }
    for name, measure in measures.items():
        np.testing.assert_allclose(
            measure(moved, moved_labels), measure(logits, labels)[:, attributes], atol=1e-9, err_msg=name
        )


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_the_complement_of_an_attribute_is_measured_alike(seed):
    logits, labels = simulated(seed, (3, 60, 4))
    np.testing.assert_allclose(uncertainty_share(-logits), uncertainty_share(logits))
    np.testing.assert_allclose(attribute_auroc(-logits, ~labels), attribute_auroc(logits, labels))
    np.testing.assert_allclose(interdependence(logits < 0), interdependence(logits > 0), atol=1e-9)


def test_susceptible_examples_by_hand():
    uncertain = np.array([[1.0, 0.0], [0.6, 0.0], [0.5, 0.0], [0.0, 0.0]])
    is_pie = np.array([[True, True], [False, False], [True, False], [False, False]])
    found = susceptible_examples(uncertain, is_pie)
    assert found.num_susceptible.tolist() == [2, 0]
    assert found.num_pies.tolist() == [2, 1]
    assert found.num_both.tolist() == [1, 0]
    assert found.precision.tolist() == pytest.approx([0.5, np.nan], nan_ok=True)
    assert found.recall.tolist() == [0.5, 0.0]
    assert found.auroc.tolist() == [0.75, 0.5]
    assert np.isnan(susceptible_examples(uncertain, is_pie & False).auroc).all()


def test_susceptible_examples_are_scored_as_sklearn_does():
    logits, _ = simulated(4, (9, 500, 3))
    uncertain = uncertain_members(logits)
    is_pie = np.random.default_rng(0).random(uncertain.shape) < 0.1 + 0.5 * uncertain
    found = susceptible_examples(uncertain, is_pie)
    for a in range(3):
        assert found.precision[a] == pytest.approx(precision_score(is_pie[:, a], uncertain[:, a] > 0.5))
        assert found.recall[a] == pytest.approx(recall_score(is_pie[:, a], uncertain[:, a] > 0.5))
        assert found.auroc[a] == pytest.approx(roc_auc_score(is_pie[:, a], uncertain[:, a]))


def test_members_that_are_sure_of_opposites_are_not_uncertain():
    assert uncertain_members(np.array([[[9.0]], [[-9.0]]])).tolist() == [[0.0]]


def test_majorities_that_flip_are_foretold_by_the_dense_populations_uncertainty():
    random = np.random.default_rng(0)
    difficulty = random.normal(0, 4, (2000, 2))
    dense = difficulty + random.normal(0, 1, (15, 2000, 2))
    pruned = difficulty + random.normal(0, 1, (2000, 2)) + random.normal(0, 1, (15, 2000, 2))
    pies = attribute_pies(dense > 0, pruned > 0)
    found = susceptible_examples(uncertain_members(dense), pies.is_pie)
    assert (found.num_pies > 30).all() and (found.auroc > 0.8).all() and (found.recall > 0.8).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uncertainty_share(np.zeros((2, 3))), r"logits: found shape \(2, 3\); accepted is \[members, examples"),
        (lambda: uncertainty_share(np.zeros((1, 3, 0))), r"logits: found shape \(1, 3, 0\)"),
        (lambda: uncertainty_share(np.zeros((1, 3, 2), int)), "logits: found dtype int64; accepted are floating-point"),
        (lambda: uncertainty_share(np.full((1, 3, 2), np.nan)), "logits: found NaN"),
        (lambda: uncertainty_share(np.zeros((1, 3, 2)), within=0.5), "within: found 0.5; accepted is a number above 0"),
        (lambda: interdependence(np.zeros((1, 3, 2))), "predictions: found dtype float64; accepted are booleans"),
        (lambda: attribute_rates(np.ones((1, 3, 2), bool), np.ones((3, 3), bool)), r"labels: found shape \(3, 3\)"),
        (lambda: attribute_rates(np.ones((1, 3, 2), bool), np.ones((3, 2))), "labels: found dtype float64"),
        (lambda: predict_attributes(np.zeros((1, 3, 2)), [0.0] * 3), r"threshold: found float64 \(3,\)"),
        (lambda: predict_attributes(np.zeros((1, 3, 2)), np.nan), "threshold: found NaN"),
        (
            lambda: threshold_calibration_bias(np.ones((1, 3, 2), bool), np.ones((3, 2), bool), [1, 0]),
            r"rarer: found int64 \(2,\); accepted are booleans \(2,\)",
        ),
        (lambda: rarer_values(True), r"training_labels: found shape \(\)"),
        (lambda: rarer_values(np.ones((0, 2), bool)), r"training_labels: found shape \(0, 2\)"),
        (
            lambda: attribute_calibration_error(np.zeros((1, 3, 2)), np.ones((3, 2), bool), num_bins=0),
            "num_bins: found 0",
        ),
        (
            lambda: attribute_pies(np.ones((2, 3, 2), bool), np.ones((2, 3, 1), bool)),
            r"variant: found shape \(2, 3, 1\) where reference has \(2, 3, 2\)",
        ),
        (lambda: attribute_pies(np.ones((2, 3, 2), bool), np.ones((2, 3, 2), bool), tie="first"), "tie: found 'first'"),
        (lambda: susceptible_examples(np.full((3, 2), 1.5), np.ones((3, 2), bool)), "uncertain: found float64"),
        (lambda: susceptible_examples(np.ones((3, 2)), np.ones((3, 1), bool)), r"is_pie: found shape \(3, 1\)"),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
