"""q-values against statsmodels, and their promise on simulated nulls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from statsmodels.stats.multitest import multipletests

from pie_ray.errors import InputError
from pie_ray.stats import benjamini_hochberg

PROBABILITIES = npst.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1, allow_subnormal=False))


@settings(deadline=None, max_examples=50)
@given(PROBABILITIES)
def test_agrees_with_statsmodels(p):
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], rtol=1e-9, atol=1e-300)


@settings(deadline=None, max_examples=50)
@given(PROBABILITIES, st.randoms(use_true_random=False))
def test_the_order_of_the_tests_plays_no_part(p, random):
    order = np.array(random.sample(range(p.size), p.size))
    np.testing.assert_array_equal(benjamini_hochberg(p[order]), benjamini_hochberg(p)[order])


def test_what_is_not_tested_is_no_member_of_the_family():
    p = np.array([[0.01, np.nan], [0.02, 0.9]])
    tested = np.array([[True, True], [True, False]])
    np.testing.assert_allclose(benjamini_hochberg(p, tested=tested), [[0.02, np.nan], [0.02, np.nan]])
    assert benjamini_hochberg([]).shape == (0,)


def test_the_false_discovery_rate_is_kept():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        p = rng.random(200)
        p[:20] **= 20
        found = benjamini_hochberg(p) <= 0.1
        shares.append(found[20:].sum() / max(found.sum(), 1))
    assert 0.05 < np.mean(shares) < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1, 1.2],), "p_value: found values that are no probabilities"),
        ((["a"],), "p_value"),
        (([0.1, 0.2], [True]), r"tested: found bool \(1,\); accepted are booleans \(2,\)"),
        (([0.1, 0.2], [1, 0]), "tested: found int64"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        benjamini_hochberg(arguments[0], tested=arguments[1] if len(arguments) > 1 else None)
