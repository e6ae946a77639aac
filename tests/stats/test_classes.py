"""Class impact: Welch's test of each class's recall against the change of the whole."""

import math
import warnings

import numpy as np
import pytest
from scipy.stats import ttest_ind

from pie_ray.errors import InputError
from pie_ray.stats import class_impact

pytestmark = pytest.mark.filterwarnings("error")

LABELS = np.array([0, 0, 1, 1])
REFERENCE = np.array([[0, 0, 1, 1], [0, 0, 1, 0]])
VARIANT = np.array([[0, 0, 0, 0], [0, 1, 1, 0]])


def noisy(rng, labels, num_members, num_classes, error):
    wrong = rng.random((num_members, labels.size)) < error[labels]
    return np.where(wrong, rng.integers(0, num_classes, wrong.shape), labels)


def test_small_populations_by_hand():
    impact = class_impact(REFERENCE, VARIANT, LABELS, num_classes=2)
    assert impact.num_examples.tolist() == [2, 2]
    assert impact.reference_recall.tolist() == [1.0, 0.75]
    assert impact.variant_recall.tolist() == [0.75, 0.25]
    assert impact.change.tolist() == [-0.25, -0.5]
    assert (impact.reference_accuracy, impact.variant_accuracy) == (0.875, 0.5)
    assert impact.overall_change == -0.375
    assert impact.normalised_change.tolist() == [0.125, -0.125]
    # class 0: recalls 1, 1 against 1, .5, so the error is sqrt(0 + .125 / 2) = .25, with one degree of freedom
    np.testing.assert_allclose(impact.statistic, [0.5, -0.125 / math.sqrt(0.125)])
    np.testing.assert_allclose(impact.p_value[0], 1 - 2 * math.atan(0.5) / math.pi)
    assert impact.significant.tolist() == [False, False]
    assert (impact.num_significant, impact.alpha) == (0, 0.05)


@pytest.mark.parametrize(("num_reference", "num_variant"), [(30, 30), (5, 8), (2, 3)])
def test_equals_scipy_class_by_class(num_reference, num_variant):
    rng = np.random.default_rng(num_reference)
    num_classes = 12
    labels = rng.permutation(np.repeat(np.arange(num_classes), rng.integers(20, 60, num_classes)))
    reference = noisy(rng, labels, num_reference, num_classes, rng.uniform(0.1, 0.3, num_classes))
    variant = noisy(rng, labels, num_variant, num_classes, rng.uniform(0.1, 0.5, num_classes))
    impact = class_impact(reference, variant, labels, num_classes=num_classes)
    for label in range(num_classes):
        before, after = (
            (population == labels)[:, labels == label].mean(axis=1) - (population == labels).mean()
            for population in (reference, variant)
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Precision loss")  # where few members have equal recalls
            expected = ttest_ind(after, before, equal_var=False)
        assert impact.statistic[label] == pytest.approx(expected.statistic)
        assert impact.p_value[label] == pytest.approx(expected.pvalue)
        assert impact.significant[label] == (expected.pvalue <= 0.05)
        assert impact.normalised_change[label] == pytest.approx(after.mean() - before.mean())
    assert impact.num_significant == impact.significant.sum()


def test_a_class_that_is_hit_alone_is_found():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 100)
    reference = noisy(rng, labels, 20, 5, np.full(5, 0.1))
    variant = noisy(rng, labels, 20, 5, np.array([0.1, 0.1, 0.6, 0.1, 0.1]))
    impact = class_impact(reference, variant, labels, num_classes=5)
    assert impact.normalised_change[2] < -0.2
    assert impact.significant[2]


def test_alpha_of_the_classes_are_significant_when_nothing_changed():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(400), 20)
    reference, variant = (noisy(rng, labels, 10, 400, np.full(400, 0.3)) for _ in range(2))
    for alpha in (0.05, 0.5):
        impact = class_impact(reference, variant, labels, num_classes=400, alpha=alpha)
        assert impact.num_significant / 400 == pytest.approx(alpha, rel=0.3)


def test_swapping_the_populations_changes_signs_only():
    there = class_impact(REFERENCE, VARIANT, LABELS, num_classes=2)
    back = class_impact(VARIANT, REFERENCE, LABELS, num_classes=2)
    np.testing.assert_allclose(back.normalised_change, -there.normalised_change)
    np.testing.assert_allclose(back.statistic, -there.statistic)
    np.testing.assert_allclose(back.p_value, there.p_value)


def test_a_class_without_examples_is_nan():
    impact = class_impact(REFERENCE, VARIANT, LABELS, num_classes=3)
    assert impact.num_examples.tolist() == [2, 2, 0]
    for name in ("reference_recall", "variant_recall", "change", "normalised_change", "statistic", "p_value"):
        assert np.isnan(getattr(impact, name)).tolist() == [False, False, True], name
    assert impact.significant.tolist() == [False, False, False]


@pytest.mark.parametrize(("reference", "variant"), [(REFERENCE[:1], VARIANT), (REFERENCE, VARIANT[:1])])
def test_one_member_has_recalls_and_no_test(reference, variant):
    impact = class_impact(reference, variant, LABELS, num_classes=2)
    assert not np.isnan(impact.normalised_change).any()
    assert np.isnan(impact.statistic).all() and np.isnan(impact.p_value).all()
    assert impact.significant.tolist() == [False, False]


def test_recalls_that_never_vary_take_the_limit_of_the_test():
    reference = np.array([[0, 0, 1, 1]] * 3)
    variant = np.array([[0, 0, 0, 0]] * 2)
    impact = class_impact(reference, variant, LABELS, num_classes=2)
    assert impact.normalised_change.tolist() == [0.5, -0.5]
    assert impact.statistic.tolist() == [math.inf, -math.inf]
    assert impact.p_value.tolist() == [0.0, 0.0]
    assert impact.significant.tolist() == [True, True]


def test_nothing_varies_and_nothing_moved():
    labels = np.repeat([0, 1], 10)
    member = np.where(np.arange(20) % 10 == 0, 1 - labels, labels)  # recall .9 in both classes
    impact = class_impact(np.tile(member, (3, 1)), np.tile(member, (7, 1)), labels, num_classes=2)
    assert impact.normalised_change.tolist() == [0.0, 0.0]
    assert np.isnan(impact.p_value).all()
    assert impact.significant.tolist() == [False, False]


@pytest.mark.parametrize(
    ("variant", "labels", "options", "message"),
    [
        (
            [[0, 1]],
            LABELS,
            {},
            "variant: found 2 examples where reference has 4; accepted are the same examples in the same order",
        ),
        (VARIANT, [0, 1], {}, "labels: found shape (2,); accepted is (4,), one value an example"),
        (VARIANT, [0, 1, 2, 0], {}, "labels: found label 2 at example 2; accepted are 0 to 1 (num_classes=2)"),
        (VARIANT, LABELS, {"num_classes": "2"}, "num_classes: found '2'; accepted is an integer of at least 1"),
        (VARIANT, LABELS, {"alpha": 5}, "alpha: found 5; accepted is a fraction above 0 and below 1"),
        (VARIANT, LABELS, {"alpha": math.nan}, "alpha: found nan; accepted is a fraction above 0 and below 1"),
    ],
)
def test_what_is_wrong_is_named(variant, labels, options, message):
    with pytest.raises(InputError) as caught:
        class_impact(REFERENCE, variant, labels, **{"num_classes": 2, **options})
    assert str(caught.value) == message
