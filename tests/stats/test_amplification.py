"""Bias amplification by hand and by pandas, its exclusions, and what foretells it where that is planted."""

from __future__ import annotations

import dataclasses
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pie_ray.errors import InputError
from pie_ray.stats import (
    amplification_criteria,
    bias_amplification,
    foretell_amplification,
    interdependence,
    predict_attributes,
    threshold_calibration_bias,
    training_rates,
    uncertainty_share,
)

pytestmark = pytest.mark.filterwarnings("error")

SEEDS = st.integers(0, 1000)
NAMES = ("Smiling", "Blond", "Beard", "Male")


def rng(seed=0):
    return np.random.default_rng(seed)


def simulated(seed=0, num_members=4, num_examples=2000):
    """Labels of which Blond and Beard follow Male, the last attribute; noisy predictions of them."""
    random = rng(seed)
    male = random.random(num_examples) < 0.4
    young = random.random(num_examples) < 0.7
    shares = [np.full(num_examples, 0.5), np.where(male, 0.05, 0.3), np.where(male, 0.4, 0.02)]
    labels = np.stack([*(random.random(num_examples) < share for share in shares), male], axis=1)
    predictions = labels ^ (random.random((num_members, *labels.shape)) < 0.1)
    return predictions, labels, np.stack([male, young], axis=1)


def rates_of(labels, categories, attribute_names=NAMES, category_names=("Male", "Young")):
    return training_rates(labels, categories, attribute_names=attribute_names, category_names=category_names)


def test_training_rates_by_hand():
    labels = np.array([[True, True], [True, False], [False, False], [True, False]])
    rates = rates_of(labels, labels[:, 1:], ("Smiling", "Male"), ("Male",))
    assert rates.with_category.tolist() == [[1.0], [1.0]]
    assert rates.without_category.tolist() == [[2 / 3], [0.0]]
    assert rates.side.tolist() == [[True], [True]]
    assert rates.relative_gap.tolist() == [[pytest.approx(0.5)], [np.inf]]
    assert rates.rarer.tolist() == [False, True]
    assert np.isnan(rates_of(labels, labels[:, :1] | True, ("Smiling", "Male"), ("any",)).relative_gap).all()


def test_amplification_by_hand():
    male = np.arange(100) < 50
    beard = np.isin(
        np.arange(100), [*range(30), *range(50, 60)]
    )  # 30 of 50 against 10 of 50: 3 / 4 on the side of Male
    predicted = np.stack([beard, beard & male, np.arange(100) >= 50, np.zeros(100, bool)])
    rates = rates_of(beard[:, None], male[:, None], ("Beard",), ("Male",))
    found = bias_amplification(predicted[:, :, None], beard[:, None], male[:, None], training=rates)
    np.testing.assert_allclose(found.value[:, 0, 0], [0.0, 0.25, -0.75, np.nan])
    assert found.reason.tolist() == [[""]]
    assert found.mean.tolist() == [[pytest.approx(-0.5 / 3)]]


def test_the_side_is_where_the_attribute_was_more_frequent_in_training():
    male = np.arange(100) < 50
    blond = np.isin(np.arange(100), [*range(10), *range(50, 80)])
    rates = rates_of(blond[:, None], male[:, None], ("Blond",), ("Male",))
    predicted = (blond & ~male)[None, :, None]
    found = bias_amplification(predicted, blond[:, None], male[:, None], training=rates)
    assert found.side.tolist() == [[False]] and found.value.tolist() == [[[0.25]]]
    # Labels of the evaluation set that lie the other way round do not change the side.
    turned = bias_amplification(predicted, blond[::-1, None], male[:, None], training=rates)
    assert turned.side.tolist() == [[False]] and turned.value.tolist() == [[[0.75]]]


@pytest.mark.parametrize("seed", range(3))
def test_amplification_is_that_of_pandas(seed):
    predictions, labels, categories = simulated(seed)
    training = rates_of(*simulated(seed + 100)[1:])
    found = bias_amplification(predictions, labels, categories, training=training)
    assert found.reason[1:3, 0].tolist() == ["", ""]
    for m, a, c in np.argwhere(~np.isnan(found.value)):
        table = pd.DataFrame({"truth": labels[:, a], "predicted": predictions[m, :, a], "category": categories[:, c]})
        side = training.with_category[a, c] > training.without_category[a, c]
        on_side = [(table[table[name]]["category"] == side).mean() for name in ("predicted", "truth")]
        assert found.value[m, a, c] == pytest.approx(on_side[0] - on_side[1])


def test_what_is_left_out_says_why():
    predictions, labels, categories = simulated()
    training = rates_of(labels, categories)
    labels = labels.copy()
    labels[np.flatnonzero(labels[:, 2] & ~categories[:, 0])[9:], 2] = False
    found = bias_amplification(predictions, labels, categories, training=training)
    assert found.reason[:, 0].tolist() == [
        "training rates differ by less than 10 %",
        "",
        "fewer than 10 positives on a side",
        "same attribute",
    ]
    assert np.isnan(found.value).tolist() == np.broadcast_to(found.reason != "", found.value.shape).tolist()
    assert np.isnan(found.mean).tolist() == (found.reason != "").tolist()


def test_ten_positives_on_either_side_are_enough():
    male = np.arange(200) < 100
    beard = np.isin(np.arange(200), [*range(60), *range(100, 110)])
    rates = rates_of(beard[:, None], male[:, None], ("Beard",), ("Male",))
    assert bias_amplification(beard[None, :, None], beard[:, None], male[:, None], training=rates).reason == [[""]]
    beard = beard & (np.arange(200) != 100)
    found = bias_amplification(beard[None, :, None], beard[:, None], male[:, None], training=rates)
    assert found.reason == [["fewer than 10 positives on a side"]]


@pytest.mark.parametrize(("num_with", "reason"), [(111, ""), (109, "training rates differ by less than 10 %")])
def test_the_gap_is_relative_to_the_smaller_rate(num_with, reason):
    # 111 against 100 of 1000 each: a gap of 11 % of the smaller rate, and 9.9 % of the larger one.
    male, beard = np.arange(2000) < 1000, np.isin(np.arange(2000), [*range(num_with), *range(1000, 1100)])
    rates = rates_of(beard[:, None], male[:, None], ("Beard",), ("Male",))
    assert bias_amplification(beard[None, :, None], beard[:, None], male[:, None], training=rates).reason == [[reason]]


def test_a_category_that_all_or_none_have_in_training_has_no_side():
    predictions, labels, categories = simulated()
    training = rates_of(labels, categories | np.array([False, True]))
    found = bias_amplification(predictions, labels, categories, training=training)
    assert found.reason[:, 1].tolist() == ["a side without training examples"] * 4


def test_predictions_that_follow_the_category_more_are_found():
    predictions, labels, categories = simulated()
    training = rates_of(labels, categories)
    follows = np.where(categories[:, :1], [[False, False, True, True]], [[False, True, False, False]])
    pruned = np.where(rng(1).random(predictions.shape) < 0.15, follows, predictions)
    dense, pruned = (bias_amplification(each, labels, categories, training=training) for each in (predictions, pruned))
    growth = (pruned.mean - dense.mean)[1:3, 0]
    assert (growth > 0.03).all() and (pruned.value.min(axis=0) > dense.value.max(axis=0))[1:3, 0].all()


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_members_examples_attributes_and_categories_plays_no_part(seed, random):
    predictions, labels, categories = simulated(seed, num_examples=200)
    members, examples, attributes = (random.sample(range(size), size) for size in predictions.shape)
    there = bias_amplification(predictions, labels, categories, training=rates_of(labels, categories))
    moved = labels[examples][:, attributes], categories[examples][:, ::-1]
    training = rates_of(*moved, [NAMES[a] for a in attributes], ("Young", "Male"))
    back = bias_amplification(predictions[members][:, examples][..., attributes], *moved, training=training)
    np.testing.assert_allclose(back.value, there.value[members][:, attributes][..., ::-1])
    assert back.reason.tolist() == there.reason[attributes][:, ::-1].tolist()


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_the_labels_themselves_amplify_nothing_and_a_categorys_complement_as_much(seed):
    predictions, labels, categories = simulated(seed, num_examples=300)
    training = rates_of(labels, categories)
    assert np.nan_to_num(bias_amplification(labels[None], labels, categories, training=training).value).max() == 0.0
    there = bias_amplification(predictions, labels, categories, training=training)
    back = bias_amplification(predictions, labels, ~categories, training=rates_of(labels, ~categories))
    np.testing.assert_allclose(back.value, there.value, atol=1e-12)
    assert (np.abs(np.nan_to_num(there.value)) <= 1).all()


def test_the_criteria_are_means_over_the_dense_members():
    predictions, labels, categories = simulated()
    logits = rng(1).normal(np.where(predictions, 2.0, -2.0), 1.0)
    training = rates_of(labels, categories)
    found = amplification_criteria(logits, labels, categories, training=training, threshold=0.5, within=0.1)
    predicted = predict_attributes(logits, 0.5)
    bias = threshold_calibration_bias(predicted, labels, training.rarer)
    assert list(found) == [
        "uncertainty",
        "interdependence",
        "threshold_calibration_bias",
        "positive_rate",
        "bias_amplification",
    ]
    np.testing.assert_allclose(found["uncertainty"], uncertainty_share(logits, within=0.1).mean(axis=0))
    np.testing.assert_allclose(found["interdependence"], interdependence(predicted).mean(axis=0))
    np.testing.assert_allclose(found["threshold_calibration_bias"], bias.mean(axis=0))
    np.testing.assert_allclose(found["positive_rate"], predicted.mean(axis=(0, 1)))
    amplification = bias_amplification(predicted, labels, categories, training=training)
    np.testing.assert_array_equal(found["bias_amplification"], amplification.mean)


def test_a_criterion_leaves_out_members_of_whom_it_is_undefined():
    predictions, labels, categories = simulated()
    logits = np.where(predictions, 2.0, -2.0)
    logits[0, :, 0] = 2.0  # a member that always predicts the first attribute
    found = amplification_criteria(logits, labels, categories, training=rates_of(labels, categories))
    others = interdependence(predictions[1:])[:, 0].mean()
    assert found["interdependence"][0] == pytest.approx(others)


def changes(seed, num_attributes=30):
    random = rng(seed)
    score = random.normal(size=num_attributes)
    change = np.stack([0.8 * score + 0.5 * random.normal(size=num_attributes), random.normal(size=num_attributes)], 1)
    change[:3, 0] = np.nan
    return np.round(score, 1), change


def foretold(criteria, change, **options):
    return foretell_amplification(criteria, change, **{"category_names": ("Male", "Young"), "rng": rng(), **options})


def test_foretelling_is_scipys_spearman_and_sklearns_auroc():
    score, change = changes(0)
    score[10] = np.nan
    change[5:7] = [[0.1], [0.1001]]  # exactly `more_than` is not more
    by_category = np.stack([score, -score], axis=1)
    found = foretold({"one": score, "two": by_category}, change, more_than=0.1)
    assert (found.criteria, found.categories, found.more_than) == (("one", "two"), ("Male", "Young"), 0.1)
    assert found.num_attributes.tolist() == [[26, 29], [26, 29]]
    for c in range(2):
        known = ~np.isnan(score) & ~np.isnan(change[:, c])
        expected = scipy.stats.spearmanr(score[known], change[known, c])
        assert found.num_amplified[0, c] == (change[known, c] > 0.1).sum()
        assert found.correlation[0, c] == pytest.approx(expected.statistic)
        assert found.p_value[0, c] == pytest.approx(expected.pvalue, abs=0.02)
        assert found.auroc[0, c] == pytest.approx(roc_auc_score(change[known, c] > 0.1, score[known]))
    assert found.correlation[1, 1] == pytest.approx(-found.correlation[0, 1])
    assert found.p_value[0, 0] < 0.001 and found.auroc[0, 0] > 0.75
    assert found.p_value[0, 1] > 0.05


def test_p_is_the_share_of_all_orders_of_few_attributes():
    score, change = np.array([1.0, 2.0, 3.0, 4.0, 4.0]), np.array([0.1, 0.3, 0.2, 0.5, 0.9])
    own = abs(scipy.stats.spearmanr(score, change).statistic)
    orders = [abs(scipy.stats.spearmanr(score, order).statistic) >= own - 1e-12 for order in permutations(change)]
    found = foretold({"it": score}, change[:, None], category_names=["Male"])
    assert found.p_value[0, 0] == pytest.approx(np.mean(orders), abs=0.015)


def test_p_is_never_zero():
    found = foretold({"it": np.arange(30.0)}, np.arange(60.0).reshape(30, 2), num_permutations=99)
    assert found.correlation == pytest.approx(1.0) and found.p_value.tolist() == [[0.01, 0.01]]


def test_p_is_uniform_where_nothing_foretells():
    random = rng(0)
    p = foretold(
        {str(i): random.normal(size=8) for i in range(150)},
        random.normal(size=(8, 2)),
        rng=random,
        num_permutations=199,
    ).p_value
    assert scipy.stats.kstest(p[:, 0], "uniform").pvalue > 0.01


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_the_attributes_and_the_scale_of_a_criterion_play_no_part(seed, random):
    score, change = changes(seed)
    order = random.sample(range(30), 30)
    there = foretold({"it": score}, change, num_permutations=500)
    back = foretold({"it": np.exp(score[order])}, change[order], num_permutations=500)
    for name in ("num_attributes", "num_amplified", "correlation", "auroc"):
        np.testing.assert_allclose(getattr(back, name), getattr(there, name))
    np.testing.assert_allclose(back.p_value, there.p_value, atol=0.12)


def test_what_cannot_be_ranked_is_nan():
    change = np.array([[0.1, np.nan], [0.2, np.nan], [0.3, 0.1]])
    found = foretold({"constant": [1.0] * 3, "rising": [1.0, 2.0, 3.0]}, change)
    assert found.num_attributes.tolist() == [[3, 1], [3, 1]]
    assert np.isnan(found.correlation).tolist() == [[True, True], [False, True]]
    assert np.isnan(found.p_value).tolist() == [[True, True], [False, True]]
    assert np.isnan(found.auroc).all()  # all amplify
    nothing = foretold({"it": [np.nan] * 3}, change)
    assert nothing.num_attributes.tolist() == [[0, 0]] and np.isnan(nothing.auroc).all()


def test_attributes_that_the_dense_population_is_uncertain_of_amplify():
    """Pruned members fall back on the category where the dense ones are uncertain; uncertainty foretells it."""
    random = rng(0)
    num_attributes, num_examples = 24, 3000
    male = random.random(num_examples) < 0.5
    labels = random.random((num_examples, num_attributes)) < np.where(male, 0.45, 0.25)[:, None]
    noise = np.linspace(0.2, 3, num_attributes)[random.permutation(num_attributes)]
    evidence = np.where(labels, 3.0, -3.0) + noise * random.normal(size=labels.shape)
    dense = evidence + 0.2 * random.normal(size=(6, *labels.shape))
    pruned = dense + np.where(np.abs(evidence) < 2, np.where(male, 2.5, -2.5)[:, None], 0)
    names = [f"a{index}" for index in range(num_attributes)]
    training = rates_of(labels, male[:, None], names, ("Male",))
    before, after = (
        bias_amplification(logits > 0, labels, male[:, None], training=training).mean for logits in (dense, pruned)
    )
    criteria = amplification_criteria(dense, labels, male[:, None], training=training)
    found = foretold(criteria, after - before, category_names=["Male"], more_than=0.02)
    uncertainty = found.criteria.index("uncertainty")
    assert found.correlation[uncertainty, 0] > 0.9 and found.p_value[uncertainty, 0] < 0.001
    assert found.auroc[uncertainty, 0] > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"predictions": np.ones((1, 2000, 3), bool)},
            "predictions: found 3 attributes; accepted are the 4 of training",
        ),
        ({"predictions": np.ones((1, 2000, 4))}, "predictions: found dtype float64"),
        ({"labels": np.ones((2000, 3), bool)}, r"labels: found shape \(2000, 3\); accepted is \(2000 examples, 4\)"),
        ({"categories": np.ones((2000, 1), bool)}, r"categories: found shape \(2000, 1\)"),
        ({"training": None}, "training: found NoneType; accepted is the result of training_rates"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    predictions, labels, categories = simulated()
    arguments = {"predictions": predictions, "labels": labels, "categories": categories, **change}
    with pytest.raises(InputError, match=message):
        bias_amplification(**{"training": rates_of(labels, categories), **arguments})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b", "c"), "attribute_names: found .*; accepted are 4 different names"),
        (("a", "b", "c", "c"), "attribute_names: found .*; accepted are 4 different names"),
        ("abcd", "attribute_names: found .*; accepted are 4 different names"),
    ],
)
def test_names_fit_their_array(names, message):
    _, labels, categories = simulated()
    with pytest.raises(InputError, match=message):
        rates_of(labels, categories, names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"criteria": {}}, "criteria: found none"),
        ({"criteria": {"it": [1.0]}}, r"criteria\['it'\]: found shape \(1,\); accepted are \(30, 2\) and \(30,\)"),
        ({"criteria": {"it": [np.inf] * 30}}, r"criteria\['it'\]: found float64 \(30,\); accepted are finite numbers"),
        ({"change": np.zeros(30)}, r"change: found shape \(30,\); accepted is \[attributes, categories\]"),
        ({"more_than": np.nan}, "more_than: found nan"),
        ({"category_names": ["Male"]}, "category_names: found"),
        ({"num_permutations": 0}, "num_permutations: found 0"),
        ({"rng": 0}, "rng: found int"),
    ],
)
def test_what_is_wrong_in_foretelling_is_named(arguments, message):
    score, change = changes(0)
    with pytest.raises(InputError, match=message):
        foretold(**{"criteria": {"it": score}, "change": change, **arguments})


def test_results_cannot_be_changed():
    predictions, labels, categories = simulated()
    found = bias_amplification(predictions, labels, categories, training=rates_of(labels, categories))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.value = None
