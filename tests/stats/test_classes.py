"""Class impact: Welch's test of each class's recall against the change of the whole."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.oneway import anova_oneway

from pie_ray.errors import InputError
from pie_ray.stats import class_anova, class_impact, class_impacts

pytestmark = pytest.mark.filterwarnings("error")

LABELS = np.array([0, 0, 1, 1])
REFERENCE = np.array([[0, 0, 1, 1], [0, 0, 1, 0]])
VARIANT = np.array([[0, 0, 0, 0], [0, 1, 1, 0]])


def noisy(rng, labels, num_members, num_classes, error):
    wrong = rng.random((num_members, labels.size)) < error[labels]
    return np.where(wrong, rng.integers(0, num_classes, wrong.shape), labels)


def some_populations(seed, num_populations, num_classes=12):
    """Labels, and populations of different sizes whose classes err differently."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(num_classes), rng.integers(20, 60, num_classes)))
    populations = {
        f"variant {index}": noisy(
            rng, labels, int(rng.integers(4, 12)), num_classes, rng.uniform(0.1, 0.3, num_classes)
        )
        for index in range(num_populations)
    }
    return labels, populations


def normalised_recalls(population, labels, label):
    """recall_c(m) - a of each member m."""
    return (population == labels)[:, labels == label].mean(axis=1) - (population == labels).mean()


def hedges_g(first, second):
    """By hand, from the definition."""
    degrees = len(first) + len(second) - 2
    pooled = math.sqrt((((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum()) / degrees)
    correction = math.gamma(degrees / 2) / (math.sqrt(degrees / 2) * math.gamma((degrees - 1) / 2))
    return correction * (first.mean() - second.mean()) / pooled


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
        before, after = (normalised_recalls(population, labels, label) for population in (reference, variant))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Precision loss")  # where few members have equal recalls
            expected = ttest_ind(after, before, equal_var=False)
        assert impact.statistic[label] == pytest.approx(expected.statistic)
        assert impact.p_value[label] == pytest.approx(expected.pvalue)
        assert impact.significant[label] == (expected.pvalue <= 0.05)
        assert impact.normalised_change[label] == pytest.approx(after.mean() - before.mean())
        interval = expected.confidence_interval(0.95)
        assert (impact.low[label], impact.high[label]) == pytest.approx((interval.low, interval.high))
        assert impact.effect_size[label] == pytest.approx(hedges_g(after, before))
        assert impact.significant[label] == (not impact.low[label] <= 0 <= impact.high[label])
    assert impact.num_significant == impact.significant.sum()
    np.testing.assert_allclose(impact.q_value, multipletests(impact.p_value, method="fdr_bh")[1])
    assert impact.num_discoveries == (impact.q_value <= 0.05).sum()


def test_the_interval_is_at_the_level_of_the_test():
    labels, populations = some_populations(0, 2)
    impact = class_impact(*populations.values(), labels, num_classes=12, alpha=0.2)
    first, second = (normalised_recalls(population, labels, 3) for population in populations.values())
    interval = ttest_ind(second, first, equal_var=False).confidence_interval(0.8)
    assert (impact.low[3], impact.high[3]) == pytest.approx((interval.low, interval.high))


def test_the_effect_size_by_hand():
    # class 0 falls from recalls 1, 1/2 to 1/2, 0, and class 1 stays at 1, 1
    labels = np.array([0, 0, 1, 1])
    reference = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
    variant = np.array([[0, 1, 1, 1], [1, 1, 1, 1]])
    impact = class_impact(reference, variant, labels, num_classes=2)
    assert impact.normalised_change.tolist() == [-0.25, 0.25]
    # standard deviation sqrt(1/8) in both, 2 degrees of freedom: J = Gamma(1) / Gamma(1/2)
    assert impact.effect_size[0] == pytest.approx(-0.25 / math.sqrt(1 / 8) / math.sqrt(math.pi))
    assert impact.effect_size[1] == math.inf


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
    np.testing.assert_allclose(back.effect_size, -there.effect_size)
    np.testing.assert_allclose([back.low, back.high], [-there.high, -there.low])


def test_a_class_without_examples_is_nan():
    impact = class_impact(REFERENCE, VARIANT, LABELS, num_classes=3)
    assert impact.num_examples.tolist() == [2, 2, 0]
    moments = ("reference_recall", "variant_recall", "change", "normalised_change")
    for name in (*moments, "statistic", "p_value", "effect_size", "low", "high", "q_value"):
        assert np.isnan(getattr(impact, name)).tolist() == [False, False, True], name
    assert impact.significant.tolist() == [False, False, False]


@pytest.mark.parametrize(("reference", "variant"), [(REFERENCE[:1], VARIANT), (REFERENCE, VARIANT[:1])])
def test_one_member_has_recalls_and_no_test(reference, variant):
    impact = class_impact(reference, variant, LABELS, num_classes=2)
    assert not np.isnan(impact.normalised_change).any()
    for name in ("statistic", "p_value", "effect_size", "low", "high", "q_value"):
        assert np.isnan(getattr(impact, name)).all(), name
    assert impact.significant.tolist() == [False, False]


def test_recalls_that_never_vary_take_the_limit_of_the_test():
    reference = np.array([[0, 0, 1, 1]] * 3)
    variant = np.array([[0, 0, 0, 0]] * 2)
    impact = class_impact(reference, variant, LABELS, num_classes=2)
    assert impact.normalised_change.tolist() == [0.5, -0.5]
    assert impact.statistic.tolist() == [math.inf, -math.inf]
    assert impact.effect_size.tolist() == [math.inf, -math.inf]
    assert impact.p_value.tolist() == impact.q_value.tolist() == [0.0, 0.0]
    assert impact.low.tolist() == impact.high.tolist() == [0.5, -0.5]
    assert impact.significant.tolist() == [True, True]


def test_classes_that_moved_exactly_as_the_whole_are_exactly_0():
    # class 0 falls from 9/10 to 8/10, the whole from 8/10 to 7/10: in floats, these changes differ
    labels = np.repeat([0, 1], 10)
    reference = np.where(np.arange(20) < 9, 0, np.where(np.arange(20) >= 13, 1, 1 - labels))
    variant = np.where(np.arange(20) < 8, 0, np.where(np.arange(20) >= 14, 1, 1 - labels))
    assert 0.8 - 0.9 != 0.7 - 0.8
    impact = class_impact(np.tile(reference, (3, 1)), np.tile(variant, (3, 1)), labels, num_classes=2)
    assert impact.reference_recall.tolist() == [0.9, 0.7]
    assert impact.variant_recall.tolist() == [0.8, 0.6]
    assert impact.normalised_change.tolist() == [0.0, 0.0]
    assert np.isnan(impact.p_value).all()


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


FIELDS = ("normalised_change", "statistic", "p_value", "effect_size", "low", "high", "q_value")


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_orders_play_no_part(seed):
    rng = np.random.default_rng(seed)
    labels, populations = some_populations(seed, 3)
    examples, classes = rng.permutation(labels.size), rng.permutation(12)
    shuffled = {name: classes[rng.permutation(population)[:, examples]] for name, population in populations.items()}
    impacts = [
        class_impact(given["variant 0"], given["variant 1"], truth, num_classes=12)
        for given, truth in ((populations, labels), (shuffled, classes[labels[examples]]))
    ]
    for name in FIELDS:
        np.testing.assert_allclose(getattr(impacts[1], name)[classes], getattr(impacts[0], name), atol=1e-12)
    anovas = [
        class_anova(given, truth, num_classes=12)
        for given, truth in ((populations, labels), (dict(reversed(shuffled.items())), classes[labels[examples]]))
    ]
    np.testing.assert_allclose(anovas[1].statistic[classes], anovas[0].statistic, rtol=1e-6)
    np.testing.assert_allclose(anovas[1].p_value[classes], anovas[0].p_value, atol=1e-9)


def test_many_variants_have_one_family_of_q_values():
    labels, populations = some_populations(1, 4)
    reference = populations.pop("variant 0")
    impacts = class_impacts(reference, populations, labels, num_classes=12, alpha=0.1)
    assert list(impacts) == ["variant 1", "variant 2", "variant 3"]
    together = multipletests(np.concatenate([impact.p_value for impact in impacts.values()]), method="fdr_bh")[1]
    np.testing.assert_allclose(np.concatenate([impact.q_value for impact in impacts.values()]), together)
    for name, impact in impacts.items():
        alone = class_impact(reference, populations[name], labels, num_classes=12, alpha=0.1)
        for field in FIELDS[:-1]:
            np.testing.assert_array_equal(getattr(impact, field), getattr(alone, field))
        assert impact.alpha == 0.1
    assert class_impacts(reference, {}, labels, num_classes=12) == {}


@pytest.mark.parametrize("num_populations", [2, 3, 7])
def test_the_analysis_of_variance_equals_statsmodels(num_populations):
    labels, populations = some_populations(num_populations, num_populations)
    anova = class_anova(populations, labels, num_classes=12)
    assert anova.populations == tuple(populations)
    assert anova.degrees_between == num_populations - 1
    for label in range(12):
        recalls = [normalised_recalls(population, labels, label) for population in populations.values()]
        expected = anova_oneway(recalls, use_var="unequal", welch_correction=True)
        assert anova.statistic[label] == pytest.approx(expected.statistic)
        assert anova.degrees_within[label] == pytest.approx(expected.df_denom)
        assert anova.p_value[label] == pytest.approx(expected.pvalue)
        np.testing.assert_allclose(anova.normalised_recall[:, label], [values.mean() for values in recalls])
    np.testing.assert_allclose(anova.q_value, multipletests(anova.p_value, method="fdr_bh")[1])
    assert anova.num_significant == (anova.p_value <= 0.05).sum()
    assert anova.num_discoveries == (anova.q_value <= 0.05).sum()


def test_two_populations_are_one_class_impact():
    labels, populations = some_populations(2, 2)
    anova = class_anova(populations, labels, num_classes=13)
    impact = class_impact(*populations.values(), labels, num_classes=13)
    np.testing.assert_allclose(anova.statistic, impact.statistic**2)
    np.testing.assert_allclose(anova.p_value, impact.p_value)
    assert np.isnan(anova.p_value).tolist() == [False] * 12 + [True]
    assert anova.num_examples.tolist() == impact.num_examples.tolist()


def test_the_class_that_one_population_drops_is_found():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 100)
    populations = {f"level {level}": noisy(rng, labels, 10, 5, np.full(5, 0.1)) for level in range(5)}
    populations["last"] = noisy(rng, labels, 10, 5, np.array([0.1, 0.1, 0.4, 0.1, 0.1]))
    anova = class_anova(populations, labels, num_classes=5)
    assert anova.p_value.argmin() == 2 and anova.q_value[2] < 1e-6


def test_alpha_of_the_classes_differ_between_equal_populations():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(400), 20)
    populations = {str(level): noisy(rng, labels, 10, 400, np.full(400, 0.3)) for level in range(4)}
    for alpha in (0.05, 0.5):
        anova = class_anova(populations, labels, num_classes=400, alpha=alpha)
        assert anova.num_significant / 400 == pytest.approx(alpha, rel=0.3)


def recalls_of(*recalls):
    """Members with these recalls of class 0, of ten examples, and as many mistakes in class 1 as make top-1 .5."""
    members = []
    for recall in recalls:
        first = np.where(np.arange(10) < round(10 * recall), 0, 1)
        members.append(np.concatenate([first, first]))
    return np.array(members)


def test_populations_that_never_vary_take_the_limit():
    labels = np.repeat([0, 1], 10)
    varying = [recalls_of(0.4, 0.5, 0.7), recalls_of(0.2, 0.5, 0.6, 0.6)]
    steady = [recalls_of(0.5, 0.5), recalls_of(0.5, 0.5, 0.5)]

    def limit(populations):
        """Variances of nearly 0, by hand: values that straddle the steady ones by next to nothing."""
        values = []
        for population in populations:
            recalls = normalised_recalls(population, labels, 0)
            if np.ptp(recalls) == 0:
                spread = np.zeros(len(recalls))
                spread[:2] = 1e-6, -1e-6
                recalls = recalls + spread * math.sqrt((len(recalls) - 1) / 2)
            values.append(recalls)
        return anova_oneway(values, use_var="unequal", welch_correction=True)

    for populations in ([*varying, steady[0]], [*varying, *steady], [varying[0], steady[1]]):
        anova = class_anova(dict(enumerate(populations)), labels, num_classes=2)
        expected = limit(populations)
        assert anova.statistic[0] == pytest.approx(expected.statistic, rel=1e-4)
        assert anova.p_value[0] == pytest.approx(expected.pvalue, rel=1e-4)
    same = class_anova({"a": steady[0], "b": steady[1]}, labels, num_classes=2)
    assert np.isnan(same.statistic).all() and np.isnan(same.p_value).all()
    apart = class_anova({"a": steady[0], "b": varying[0], "c": recalls_of(0.8, 0.8)}, labels, num_classes=2)
    assert apart.statistic.tolist() == [math.inf, math.inf]
    assert apart.p_value.tolist() == [0.0, 0.0]


def test_identical_populations_do_not_differ():
    labels, populations = some_populations(3, 1)
    population = populations["variant 0"]
    anova = class_anova({"a": population, "b": population, "c": population}, labels, num_classes=12)
    assert anova.statistic.tolist() == [0.0] * 12
    assert anova.p_value.tolist() == [1.0] * 12
    impact = class_impact(population, population, labels, num_classes=12)
    assert impact.effect_size.tolist() == [0.0] * 12
    assert impact.num_discoveries == 0


def test_a_population_of_one_member_has_no_analysis_of_variance():
    anova = class_anova({"a": REFERENCE, "b": VARIANT, "c": VARIANT[:1]}, LABELS, num_classes=2)
    assert np.isnan(anova.statistic).all() and np.isnan(anova.p_value).all() and np.isnan(anova.q_value).all()
    assert anova.normalised_recall.shape == (3, 2) and not np.isnan(anova.normalised_recall).any()


def test_what_is_wrong_with_many_populations_is_named():
    with pytest.raises(InputError) as caught:
        class_impacts(REFERENCE, {"half": VARIANT, "most": VARIANT[:, :2]}, LABELS, num_classes=2)
    assert str(caught.value) == (
        "variants['most']: found 2 examples where the others have 4; accepted are the same examples in the same order"
    )
    with pytest.raises(InputError) as caught:
        class_impacts(REFERENCE, [VARIANT], LABELS, num_classes=2)
    assert str(caught.value) == "variants: found list; accepted are populations by name"
    with pytest.raises(InputError) as caught:
        class_anova({"dense": REFERENCE}, LABELS, num_classes=2)
    assert str(caught.value) == "populations: found 1; accepted are at least 2 populations"
    with pytest.raises(InputError) as caught:
        class_anova({"dense": REFERENCE, "half": VARIANT + 1}, LABELS, num_classes=2)
    assert str(caught.value) == (
        "populations['half']: found label 2 at member 1, example 1; accepted are 0 to 1 (num_classes=2)"
    )
