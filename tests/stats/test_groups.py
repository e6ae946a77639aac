"""Groups: rates and their changes against counting by hand and scipy's bootstrap, and gaps that are planted."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from pie_ray.errors import InputError
from pie_ray.stats import binary_group_impact, group_impact, intersections

pytestmark = pytest.mark.filterwarnings("error")

LABELS = np.array([0, 1, 1, 2, 0, 1])
REFERENCE = np.array([[0, 1, 1, 2, 0, 0], [0, 1, 2, 1, 0, 1]])
VARIANT = np.array([[0, 0, 1, 1, 0, 0], [1, 1, 2, 1, 0, 1], [0, 2, 2, 1, 0, 0]])
GROUPS = {"all": np.ones(6, bool), "first": np.array([True, True, True, False, False, False])}
RATES = ("error", "false_positive", "false_negative")


def rng():
    return np.random.default_rng(0)


def impact_of(reference=REFERENCE, variant=VARIANT, labels=LABELS, groups=GROUPS, **options):
    return group_impact(reference, variant, labels, groups, **{"rng": rng(), "min_examples": 3, **options})


def simulated(seed, num_members=(6, 9), num_classes=3, num_examples=200):
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_examples)
    wrong = [random.random((num, num_examples)) < share for num, share in zip(num_members, (0.2, 0.4), strict=True)]
    populations = [np.where(flags, random.integers(0, num_classes, flags.shape), labels) for flags in wrong]
    groups = {name: random.random(num_examples) < share for name, share in (("few", 0.1), ("half", 0.5), ("most", 0.9))}
    return *populations, labels, groups


def test_rates_by_hand():
    impact = impact_of(positive=1)
    assert impact.names == ("all", "first")
    assert impact.num_examples.tolist() == [6, 3]
    # Wrong in the reference: 1 and 2 of 6, 0 and 1 of the first 3; in the variant: 3, 3 and 4, and 1, 2 and 2.
    assert impact.error.reference.tolist() == [3 / 12, 1 / 6]
    assert impact.error.variant.tolist() == [10 / 18, 5 / 9]
    # Negatives are examples 0, 3, 4 and 0; the reference calls example 3 a 1 once of two times.
    assert impact.false_positive.num_examples.tolist() == [3, 1]
    assert impact.false_positive.reference.tolist() == [1 / 6, 0.0]
    assert impact.false_positive.variant.tolist() == [4 / 9, 1 / 3]
    assert impact.false_positive.normalised_change.tolist() == pytest.approx([5 / 3, np.nan], nan_ok=True)
    assert impact.false_negative.num_examples.tolist() == [3, 2]
    assert impact.false_negative.reference.tolist() == [2 / 6, 1 / 4]
    assert impact.false_negative.variant.tolist() == [6 / 9, 4 / 6]
    for name in RATES:
        rates = getattr(impact, name)
        np.testing.assert_array_equal(rates.change, rates.variant - rates.reference)


def test_small_is_told_apart_for_every_rate():
    impact = impact_of(positive=1)
    assert impact.is_small.tolist() == [False, False]
    assert impact.false_positive.is_small.tolist() == [False, True]
    assert impact.false_negative.is_small.tolist() == [False, True]


def test_without_a_positive_class_there_is_the_error_alone():
    impact = impact_of()
    assert (impact.false_positive, impact.false_negative) == (None, None)
    assert impact.error.reference.tolist() == impact_of(positive=1).error.reference.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_equals_sklearns_confusion_matrix_member_by_member(seed):
    reference, variant, labels, groups = simulated(seed)
    impact = group_impact(reference, variant, labels, groups, positive=2, rng=rng(), num_resamples=10)
    for population, side in ((reference, "reference"), (variant, "variant")):
        for index, mask in enumerate(groups.values()):
            tables = [confusion_matrix(labels[mask] == 2, member[mask] == 2) for member in population]
            expected = {
                "error": np.mean([member[mask] != labels[mask] for member in population]),
                "false_positive": np.mean([table[0, 1] / table[0].sum() for table in tables]),
                "false_negative": np.mean([table[1, 0] / table[1].sum() for table in tables]),
            }
            for name in RATES:
                assert getattr(getattr(impact, name), side)[index] == pytest.approx(expected[name])


@pytest.mark.parametrize("is_paired", [False, True])
def test_intervals_are_those_of_scipys_bootstrap(is_paired):
    reference, variant, labels, groups = simulated(1, num_members=(8, 8), num_examples=2000)
    impact = group_impact(reference, variant, labels, groups, rng=rng(), num_resamples=20_000, is_paired=is_paired)
    for index, mask in enumerate(groups.values()):
        errors = [(member != labels)[:, mask].mean(axis=1) for member in (reference, variant)]

        def change(before, after, axis):
            return after.mean(axis=axis) - before.mean(axis=axis)

        def normalised(before, after, axis):
            return change(before, after, axis) / before.mean(axis=axis)

        for statistic, name in ((change, "change"), (normalised, "normalised_change")):
            expected = scipy.stats.bootstrap(
                errors, statistic, n_resamples=20_000, method="percentile", paired=is_paired, vectorized=True, rng=rng()
            ).confidence_interval
            width = expected.high - expected.low
            assert getattr(impact.error, f"{name}_low")[index] == pytest.approx(expected.low, abs=0.03 * width)
            assert getattr(impact.error, f"{name}_high")[index] == pytest.approx(expected.high, abs=0.03 * width)


def test_paired_draws_take_out_what_the_members_share():
    random = np.random.default_rng(0)
    labels = np.zeros(400, int)
    luck = random.uniform(0.05, 0.4, (12, 1))
    reference = (random.random((12, 400)) < luck).astype(int)
    variant = np.where(random.random((12, 400)) < 0.02, 1, reference)
    widths = {}
    for is_paired in (False, True):
        error = impact_of(reference, variant, labels, {"all": labels == 0}, is_paired=is_paired).error
        widths[is_paired] = (error.change_high - error.change_low)[0]
        assert error.change_low[0] <= error.change[0] <= error.change_high[0]
    assert widths[True] < widths[False] / 5


def test_intervals_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(0)
    held = []
    for _ in range(300):
        labels = np.zeros(100, int)
        rates = [random.beta(20, 80, (25, 1)), random.beta(30, 70, (25, 1))]
        before, after = ((random.random((25, 100)) < rate).astype(int) for rate in rates)
        error = group_impact(before, after, labels, {"all": labels == 0}, rng=random, num_resamples=400).error
        held.append(
            [
                error.change_low[0] <= 0.1 <= error.change_high[0],
                error.normalised_change_low[0] <= 0.5 <= error.normalised_change_high[0],
            ]
        )
    shares = np.mean(held, axis=0)
    assert (shares > 0.9).all() and (shares < 0.98).all()


def test_equal_populations_have_no_change_at_all():
    reference, _, labels, groups = simulated(0, num_examples=2000)
    impact = group_impact(reference, reference, labels, groups, positive=0, rng=rng(), is_paired=True)
    for name in RATES:
        rates = getattr(impact, name)
        for field in ("change", "change_low", "change_high", "normalised_change", "normalised_change_high"):
            assert getattr(rates, field).tolist() == [0.0, 0.0, 0.0], (name, field)
    assert (impact.gap.change, impact.gap.change_low, impact.gap.change_high) == (0.0, 0.0, 0.0)


def test_a_gap_that_compression_opens_is_found():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 3000)
    is_rare = random.random(3000) < 0.1
    groups = {"common": ~is_rare, "rare": is_rare, "handful": np.arange(3000) < 5}
    share = np.where(is_rare, 0.3, 0.1)
    before, after = (
        np.where(random.random((10, 3000)) < wrong, 1 - labels, labels) for wrong in (0.1 * np.ones(3000), share)
    )
    gap = group_impact(before, after, labels, groups, rng=rng()).gap
    assert gap.variant_worst == "rare"
    assert gap.reference < 0.03 and gap.variant == pytest.approx(0.2, abs=0.03)
    assert 0.1 < gap.change_low < gap.change == gap.variant - gap.reference < gap.change_high < 0.25


def test_gaps_are_those_of_the_groups_that_are_not_small():
    reference, variant, labels, groups = simulated(0)
    impact = group_impact(reference, variant, labels, groups, rng=rng(), min_examples=50)
    assert impact.is_small.tolist() == [True, False, False]
    errors = impact.error.variant[1:]
    assert impact.gap.variant == errors.max() - errors.min()
    assert impact.gap.variant_worst == ("half", "most")[errors.argmax()]
    none = group_impact(reference, variant, labels, groups, rng=rng(), min_examples=201).gap
    assert (none.reference_worst, none.variant_worst) == (None, None)
    one = group_impact(reference, variant, labels, groups, rng=rng(), min_examples=150).gap
    assert (one.reference_worst, one.variant_worst) == ("most", "most")
    for gap in (none, one):
        assert np.isnan([gap.reference, gap.variant, gap.change, gap.change_low, gap.change_high]).all()


def test_one_member_has_rates_and_no_intervals():
    impact = impact_of(variant=VARIANT[:1])
    assert not np.isnan(impact.error.normalised_change).any()
    for field in ("change_low", "change_high", "normalised_change_low", "normalised_change_high"):
        assert np.isnan(getattr(impact.error, field)).all()
    assert not np.isnan(impact.gap.change) and np.isnan([impact.gap.change_low, impact.gap.change_high]).all()


def test_a_reference_without_errors_has_no_ratio():
    impact = impact_of(reference=np.array([LABELS, LABELS]))
    assert impact.error.change.tolist() == impact.error.variant.tolist()
    for field in ("normalised_change", "normalised_change_low", "normalised_change_high"):
        assert np.isnan(getattr(impact.error, field)).all()
    assert (impact.error.change_low > 0).all()


def test_a_ratio_to_nearly_nothing_has_no_upper_bound():
    reference = np.zeros((3, 50), int)
    reference[0, 0] = 1  # 30 % of the draws leave out the only member with an error
    variant = np.zeros((3, 50), int)
    variant[:, :5] = 1
    error = impact_of(reference, variant, np.zeros(50, int), {"all": np.ones(50, bool)}).error
    assert error.normalised_change == pytest.approx([14.0])
    assert error.normalised_change_low[0] == -1.0 and error.normalised_change_high[0] == np.inf


def test_a_group_without_examples_is_nan():
    impact = impact_of(groups={"none": np.zeros(6, bool), **GROUPS}, positive=1)
    for name in RATES:
        rates = getattr(impact, name)
        assert rates.num_examples[0] == 0 and rates.is_small[0]
        assert np.isnan([rates.reference[0], rates.change[0], rates.normalised_change[0], rates.change_low[0]]).all()
    assert not np.isnan(impact.gap.change)


def test_more_examples_than_fit_one_block_count_alike():
    reference, variant, labels, groups = simulated(0, num_examples=1000)
    tile = 150  # 3 groups + 9 members: blocks of 87,381 examples
    once = group_impact(reference, variant, labels, groups, positive=0, rng=rng(), num_resamples=10)
    often = group_impact(
        np.tile(reference, tile),
        np.tile(variant, tile),
        np.tile(labels, tile),
        {name: np.tile(mask, tile) for name, mask in groups.items()},
        positive=0,
        rng=rng(),
        num_resamples=10,
    )
    for name in RATES:
        assert getattr(often, name).num_examples.tolist() == (tile * getattr(once, name).num_examples).tolist()
        np.testing.assert_allclose(getattr(often, name).variant, getattr(once, name).variant)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_binary_predictions_are_two_classes(seed):
    reference, variant, labels, groups = simulated(seed, num_classes=2)
    many = group_impact(reference, variant, labels, groups, positive=1, rng=rng(), num_resamples=20)
    binary = binary_group_impact(reference == 1, variant == 1, labels == 1, groups, rng=rng(), num_resamples=20)
    for name in RATES:
        for field, value in vars(getattr(many, name)).items():
            np.testing.assert_array_equal(getattr(getattr(binary, name), field), value)
    assert vars(binary.gap) == vars(many.gap)


def test_attributes_are_views_of_multi_label_predictions():
    random = np.random.default_rng(0)
    predictions = random.random((2, 5, 300, 4)) < 0.4
    labels = random.random((300, 4)) < 0.4
    groups = {"Male": labels[:, 0], "not Male": ~labels[:, 0]}
    for attribute in range(1, 4):
        view = binary_group_impact(*predictions[..., attribute], labels[:, attribute], groups, rng=rng())
        before = [member[labels[:, 0]] for member in predictions[0, :, :, attribute]]
        assert view.error.reference[0] == pytest.approx(np.mean(before != labels[labels[:, 0], attribute]))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_order_of_members_examples_and_groups_plays_no_part(seed, random):
    reference, variant, labels, groups = simulated(seed, num_examples=60)
    members, examples = random.sample(range(9), 9), random.sample(range(60), 60)
    names = random.sample(list(groups), 3)
    there = group_impact(reference, variant, labels, groups, positive=0, rng=rng(), num_resamples=5, min_examples=5)
    back = group_impact(
        reference[::-1][:, examples],
        variant[members][:, examples],
        labels[examples],
        {name: groups[name][examples] for name in names},
        positive=0,
        rng=rng(),
        num_resamples=5,
        min_examples=5,
    )
    order = [list(groups).index(name) for name in names]
    for name in RATES:
        for field in ("num_examples", "is_small", "reference", "variant", "change", "normalised_change"):
            np.testing.assert_array_equal(
                getattr(getattr(back, name), field), getattr(getattr(there, name), field)[order]
            )
    assert (back.gap.reference, back.gap.variant) == (there.gap.reference, there.gap.variant)


def test_intersections_are_named_and_left_out_where_empty():
    attributes = {
        "Male": np.array([True, False, True, False]),
        "origin": np.array(["asia", "asia", "europe", "asia"]),
        "age": [20, 20, 30, 40],
    }
    single = intersections(attributes, order=1)
    assert {name: mask.tolist() for name, mask in single.items()} == {
        "Male": [True, False, True, False],
        "not Male": [False, True, False, True],
        "origin=asia": [True, True, False, True],
        "origin=europe": [False, False, True, False],
        "age=20": [True, True, False, False],
        "age=30": [False, False, True, False],
        "age=40": [False, False, False, True],
    }
    pairs = intersections({name: attributes[name] for name in ("Male", "origin")}, order=2)
    assert list(pairs) == ["Male & origin=asia", "Male & origin=europe", "not Male & origin=asia"]
    assert list(intersections(attributes, order=3)) == [
        "Male & origin=asia & age=20",
        "Male & origin=europe & age=30",
        "not Male & origin=asia & age=20",
        "not Male & origin=asia & age=40",
    ]


def test_examples_of_unknown_value_are_in_no_group():
    groups = intersections(
        {"Male": np.array([True, None, False], object), "origin": np.array([None, "asia", "asia"], object)}, order=1
    )
    assert {name: mask.tolist() for name, mask in groups.items()} == {
        "Male": [True, False, False],
        "not Male": [False, False, True],
        "origin=asia": [False, True, True],
    }


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 3))
def test_intersections_part_the_examples(seed, order):
    random = np.random.default_rng(seed)
    attributes = {"a": random.random(20) < 0.3, "b": random.integers(0, 3, 20), "c": random.choice(["x", "y"], 20)}
    groups = intersections(attributes, order=order)
    assert all(mask.any() for mask in groups.values())
    # Each of the 3, 3 or 1 choices of attributes puts every example in exactly one group.
    assert sum(mask.astype(int) for mask in groups.values()).tolist() == [{1: 3, 2: 3, 3: 1}[order]] * 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": {}}, "groups: found"),
        ({"groups": {"all": [True]}}, r"groups\['all'\]: found shape \(1,\); accepted is \(6,\)"),
        ({"groups": {"all": np.ones(6)}}, r"groups\['all'\]: found dtype float64; accepted are booleans"),
        ({"variant": VARIANT[:, :5]}, "variant: found 5 examples where reference has 6"),
        ({"labels": [0]}, r"labels: found shape \(1,\)"),
        ({"positive": 1.0}, "positive: found 1.0; accepted is a class label"),
        ({"is_paired": True}, "variant: found 3 members where reference has 2; accepted are equally many"),
        ({"alpha": 1}, "alpha: found 1"),
        ({"num_resamples": 0}, "num_resamples: found 0"),
        ({"min_examples": 0}, "min_examples: found 0"),
        ({"rng": 0}, "rng: found int"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(InputError, match=message):
        impact_of(**change)


@pytest.mark.parametrize(
    ("reference", "variant", "message"),
    [
        (REFERENCE, VARIANT == 1, "reference: found dtype int64; accepted are booleans"),
        (REFERENCE == 1, (VARIANT == 1)[:, :4], "variant: found 4 examples where reference has 6"),
    ],
)
def test_what_is_wrong_in_binary_predictions_is_named(reference, variant, message):
    with pytest.raises(InputError, match=message):
        binary_group_impact(reference, variant, LABELS == 1, GROUPS, rng=rng())


@pytest.mark.parametrize(
    ("attributes", "order", "message"),
    [
        ({"a": [True]}, 2, "order: found 2; accepted is at most the number of attributes, 1"),
        ({"a": [True]}, 0, "order: found 0"),
        ({"a": [0.5]}, 1, r"attributes\['a'\]: found float64 \(1,\); accepted are booleans, integers or strings"),
        ({"a": [[True]]}, 1, r"attributes\['a'\]: found bool \(1, 1\)"),
        ({"a": [True], "b": [1, 2]}, 1, r"attributes: found lengths \[1, 2\]"),
        ({"a": [False, True], "not a": [True, True]}, 1, "attributes: found two groups named 'not a'"),
    ],
)
def test_what_is_wrong_in_attributes_is_named(attributes, order, message):
    with pytest.raises(InputError, match=message):
        intersections(attributes, order=order)
