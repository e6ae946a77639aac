"""Mean changes of confidence, label probability and margin."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from pie_ray.errors import InputError
from pie_ray.stats import mean_change, value_change

pytestmark = pytest.mark.filterwarnings("error")

REFERENCE = np.array([[0.5, 1.0, 0.25], [0.75, 1.0, 0.25]])
VARIANT = np.array([[0.25, 0.5, 0.25]])


def two_populations(seed, num_reference=5, num_variant=8, num_examples=40):
    rng = np.random.default_rng(seed)
    means = rng.uniform(-1, 1, num_examples)
    return tuple(
        np.clip(rng.normal(means + shift, 0.3, (size, num_examples)), -1, 1).astype(np.float32)
        for size, shift in ((num_reference, 0.0), (num_variant, -0.1))
    )


def test_by_hand():
    assert mean_change(REFERENCE, VARIANT).tolist() == [-0.375, -0.5, 0.0]
    change = value_change(REFERENCE, np.vstack([VARIANT, VARIANT + 0.5]))
    assert change.reference_mean.tolist() == [0.625, 1.0, 0.25]
    assert change.variant_mean.tolist() == [0.5, 0.75, 0.5]
    assert change.change.tolist() == [-0.125, -0.25, 0.25]
    # standard deviations 1 / (4 sqrt 2) and 1 / (2 sqrt 2) over two members
    np.testing.assert_allclose(change.standard_error, np.sqrt([1 / 64 + 1 / 16, 1 / 16, 1 / 16]))


@pytest.mark.parametrize(("num_reference", "num_variant"), [(2, 2), (5, 8), (30, 30)])
def test_equals_scipy(num_reference, num_variant):
    reference, variant = two_populations(num_reference, num_reference, num_variant)
    expected = ttest_ind(variant.astype(np.float64), reference.astype(np.float64), equal_var=False)
    change = value_change(reference, variant)
    np.testing.assert_allclose(change.change / change.standard_error, expected.statistic, rtol=1e-9)
    np.testing.assert_allclose(change.reference_mean, [math.fsum(column) / num_reference for column in reference.T])
    np.testing.assert_allclose(change.variant_mean, [math.fsum(column) / num_variant for column in variant.T])
    np.testing.assert_array_equal(mean_change(reference, variant), change.change)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_properties(seed):
    reference, variant = two_populations(seed)
    rng = np.random.default_rng(seed)
    examples = rng.permutation(reference.shape[1])
    change, error = mean_change(reference, variant), value_change(reference, variant).standard_error
    np.testing.assert_array_equal(mean_change(variant, reference), -change)
    np.testing.assert_allclose(mean_change(rng.permutation(reference), rng.permutation(variant)), change, atol=1e-15)
    np.testing.assert_array_equal(mean_change(reference[:, examples], variant[:, examples]), change[examples])
    np.testing.assert_allclose(mean_change(2.0 * reference + 1, 2.0 * variant + 1), 2 * change, atol=1e-6)
    np.testing.assert_allclose(value_change(2.0 * reference, 2.0 * variant).standard_error, 2 * error)
    assert mean_change(reference, reference).tolist() == [0.0] * examples.size
    assert (np.abs(change) <= 2).all() and (error >= 0).all()


def test_the_error_is_the_spread_of_the_change_over_populations():
    rng = np.random.default_rng(0)
    draws = [value_change(rng.normal(0, 0.2, (4, 40)), rng.normal(0, 0.3, (6, 40))) for _ in range(400)]
    expected = math.sqrt(0.2**2 / 4 + 0.3**2 / 6)
    assert np.std([draw.change for draw in draws]) == pytest.approx(expected, rel=0.03)
    assert np.sqrt(np.mean([draw.standard_error**2 for draw in draws])) == pytest.approx(expected, rel=0.03)


def test_one_member_has_a_change_and_no_error():
    for pair in ((REFERENCE, VARIANT), (VARIANT, REFERENCE)):
        change = value_change(*pair)
        assert not np.isnan(change.change).any()
        assert np.isnan(change.standard_error).all()


def test_members_that_agree_have_no_error():
    change = value_change(np.tile(REFERENCE[0], (3, 1)), np.tile(VARIANT, (2, 1)))
    assert change.standard_error.tolist() == [0.0, 0.0, 0.0]


def test_sums_are_in_double_precision():
    many = np.full((3000, 2), 0.1, np.float16)
    assert mean_change(np.zeros((1, 2), np.float16), many)[0] == pytest.approx(float(np.float16(0.1)), rel=1e-12)
    ranks = np.array([[65_535], [65_535]], np.uint16)
    assert mean_change(ranks, ranks - 65_535).tolist() == [-65_535.0]


def test_the_size_of_blocks_plays_no_part(monkeypatch):
    populations = two_populations(3)
    before = value_change(*populations)
    monkeypatch.setattr("pie_ray.stats._arrays.CELLS_AT_ONCE", 37)
    np.testing.assert_allclose(value_change(*populations).standard_error, before.standard_error, rtol=1e-12)


@pytest.mark.parametrize("function", [mean_change, value_change])
@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (VARIANT[0], "variant: found shape (3,); accepted is [members, examples], at least one of each"),
        (
            VARIANT[:, :2],
            "variant: found 2 examples where reference has 3; accepted are the same examples in the same order",
        ),
        (VARIANT > 0.3, "variant: found dtype bool; accepted are real numbers"),
        (VARIANT * 1j, "variant: found dtype complex128; accepted are real numbers"),
        ([[0.5, math.nan, 0.5]], "variant: found nan at member 0, example 1; accepted are finite numbers"),
        ([[0, 0, 1], [0, 0, -math.inf]], "variant: found -inf at member 1, example 2; accepted are finite numbers"),
    ],
)
def test_what_is_wrong_is_named(function, variant, message):
    with pytest.raises(InputError) as caught:
        function(REFERENCE, variant)
    assert str(caught.value) == message
