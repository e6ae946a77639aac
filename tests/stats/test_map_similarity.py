"""Similarity of attribution maps against scipy and by hand; means and ratios with their intervals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from pie_ray.errors import InputError
from pie_ray.stats import cosine_similarity, dissimilarity_ratio, mean_similarity, rank_correlation

NAN = float("nan")


def rng():
    return np.random.default_rng(0)


def test_similarities_are_scipys_with_ties_and_signs():
    first, second = rng().integers(-3, 4, (2, 20, 16)).astype(float)
    spearman = [scipy.stats.spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    cosine = [1 - scipy.spatial.distance.cosine(a, b) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(rank_correlation(first, second), spearman, atol=1e-12)
    np.testing.assert_allclose(cosine_similarity(first, second), cosine, atol=1e-12)


def test_a_map_is_like_itself_and_the_opposite_of_its_negative():
    maps = rng().normal(size=(5, 9))
    for similarity in (cosine_similarity, rank_correlation):
        np.testing.assert_allclose(similarity(maps, maps), 1)
        np.testing.assert_allclose(similarity(maps, -maps), -1)
        np.testing.assert_allclose(similarity(maps, 3 * maps), 1)


def test_constant_maps_are_like_nothing():
    maps, zero, flat = np.arange(4.0)[None], np.zeros((1, 4)), np.full((1, 4), 2.0)
    assert np.isnan(cosine_similarity(maps, zero)) and np.isnan(rank_correlation(maps, zero))
    assert np.isnan(rank_correlation(flat, maps))
    # A map that is the same everywhere has a direction, and no ranks.
    np.testing.assert_allclose(cosine_similarity(flat, flat), 1)


def test_the_mean_leaves_out_what_is_undefined_and_its_interval_covers_it():
    found = mean_similarity([[1, 0.5, NAN], [0.5, 0, 0]], rng=rng())
    assert found.value == pytest.approx(0.4)
    assert 0 <= found.low < 0.4 < found.high <= 1


def test_the_interval_is_as_wide_as_members_and_examples_make_it():
    """Spread over members alone must show, as well as spread over examples alone."""
    by_member = np.repeat(rng().normal(0.5, 0.2, (20, 1)), 50, axis=1)
    by_example = np.repeat(rng().normal(0.5, 0.2, (1, 50)), 20, axis=0)
    for values, num_independent in ((by_member, 20), (by_example, 50)):
        found = mean_similarity(values, rng=rng())
        expected = 2 * 1.96 * values.std() / num_independent**0.5
        assert found.high - found.low == pytest.approx(expected, rel=0.15)


def test_one_member_has_no_interval():
    found = mean_similarity([[0.1, 0.3]], rng=rng())
    assert found.value == pytest.approx(0.2) and np.isnan(found.low) and np.isnan(found.high)


def test_the_ratio_is_of_what_is_missing_to_one():
    plain, preserving = np.full((3, 4), 0.6), np.full((3, 4), 0.8)
    found = dissimilarity_ratio(plain, preserving, rng=rng())
    np.testing.assert_allclose([found.value, found.low, found.high], 2)
    assert dissimilarity_ratio(plain, np.ones((3, 4)), rng=rng()).value == np.inf
    assert np.isnan(dissimilarity_ratio(np.ones((3, 4)), np.ones((3, 4)), rng=rng()).value)


def test_the_ratio_looks_at_what_both_losses_have():
    plain = np.array([[0.0, NAN], [0.0, 0.9]])
    preserving = np.array([[0.5, 0.5], [0.5, 0.9]])
    assert dissimilarity_ratio(plain, preserving, rng=rng()).value == pytest.approx((1 + 1 + 0.1) / (0.5 + 0.5 + 0.1))


def test_members_and_examples_of_both_losses_are_drawn_together():
    """Figures that move together leave a ratio without spread, however much they spread themselves."""
    plain = 1 - rng().uniform(0.1, 0.9, (6, 30))
    preserving = 1 - (1 - plain) / 2
    found = dissimilarity_ratio(plain, preserving, rng=rng())
    np.testing.assert_allclose([found.value, found.low, found.high], 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosine_similarity([[1.0]], [[1.0, 2.0]]), r"maps: found shapes \(1, 1\) and \(1, 2\)"),
        (lambda: rank_correlation([1.0], [1.0]), r"accepted is \[maps, positions\]"),
        (lambda: mean_similarity([0.5], rng=rng()), r"similarity: found shape \(1,\)"),
        (lambda: mean_similarity([[0.5]], rng=0), "rng: found int"),
        (lambda: dissimilarity_ratio([[0.5]], [[0.5, 1]], rng=rng()), r"preserving: found shape \(1, 2\)"),
    ],
)
def test_other_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
