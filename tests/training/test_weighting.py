"""How the terms of a loss are weighed, step by step against the formulas in numpy."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pie_ray.config import FixedWeights, LearnedWeights, SoftAdaptWeights, UniformWeights, Weighting
from pie_ray.training.weighting import WEIGHTINGS, make_weighting

CPU = torch.device("cpu")


def total(weighting, losses) -> float:
    return float(weighting(torch.tensor(losses, dtype=torch.float32)))


def softadapt(**settings):
    return make_weighting(SoftAdaptWeights(kind="softadapt", **settings), 2, CPU)


def test_every_kind_that_a_recipe_may_name_is_here():
    (union, _) = get_args(Weighting)
    assert set(WEIGHTINGS) == {get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(union)}


def test_uniform_weights_add_up_to_one():
    assert total(make_weighting(UniformWeights(kind="uniform"), 3, CPU), [1, 2, 6]) == pytest.approx(3)


def test_fixed_weights_are_the_recipes():
    fixed = make_weighting(FixedWeights(kind="fixed", weights=(0.5, 2)), 2, CPU)
    assert [total(fixed, losses) for losses in ([1, 2], [4, 0])] == [4.5, 2]


def test_learned_weights_begin_equal_and_lead_to_the_logarithm_of_each_loss():
    """d/ds (exp(-s) L + s) = 0 at s = log L, where a term counts as 1 + log L."""
    learned = make_weighting(LearnedWeights(kind="learned"), 2, CPU)
    losses = torch.tensor([3.0, 0.2])
    assert float(learned(losses).detach()) == pytest.approx(3.2)
    optimizer = torch.optim.SGD(learned.parameters, lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        learned(losses).backward()
        optimizer.step()
    np.testing.assert_allclose(learned.parameters[0].detach(), np.log([3.0, 0.2]), atol=1e-3)
    assert float(learned(losses).detach()) == pytest.approx(2 + np.log(3) + np.log(0.2), abs=1e-4)


def test_softadapt_by_hand():
    """Two terms, three steps: slopes over all of them, then over the last two."""
    weighting = softadapt(beta=0.5, loss_weighted=False, window=2)
    assert total(weighting, [4, 2]) == 3
    # slopes -2 and 1
    first = np.exp(0.5 * (-2 - 1))
    expected = np.array([first, 1]) / (1 + first)
    assert total(weighting, [2, 3]) == pytest.approx(expected @ [2, 3])
    np.testing.assert_allclose(weighting.weights, expected, rtol=1e-6)
    # the first step has left the window: slopes 3 and -2
    second = np.exp(0.5 * (-2 - 3))
    assert total(weighting, [5, 1]) == pytest.approx(np.array([1, second]) / (1 + second) @ [5, 1])


def weights_by_hand(history, beta, q, window):
    """method: w_k = m_k^q exp(beta (s_k - max s)) / sum of the same."""
    recent = np.array(history[-window:])
    if len(recent) < 2:
        return np.full(recent.shape[1], 1 / recent.shape[1])
    slopes = (recent[-1] - recent[0]) / (len(recent) - 1)
    scores = recent.mean(axis=0) ** q * np.exp(beta * (slopes - slopes.max()))
    return scores / scores.sum()


@given(st.integers(0, 2**32), st.floats(-2, 5), st.booleans(), st.integers(2, 6), st.integers(2, 4))
def test_softadapt_equals_its_formula_at_every_step(seed, beta, loss_weighted, window, num_terms):
    history = np.random.default_rng(seed).exponential(size=(9, num_terms)).astype(np.float32)
    config = SoftAdaptWeights(kind="softadapt", beta=beta, loss_weighted=loss_weighted, window=window)
    weighting = make_weighting(config, num_terms, CPU)
    for step in range(1, 10):
        expected = weights_by_hand(history[:step], beta, int(loss_weighted), window)
        found = total(weighting, history[step - 1])
        np.testing.assert_allclose(weighting.weights, expected, rtol=1e-4)
        assert found == pytest.approx(expected @ history[step - 1], rel=1e-4)
        assert float(weighting.weights.sum()) == pytest.approx(1, rel=1e-5)


def test_softadapt_weighs_the_term_that_falls_more_slowly_more_by_default():
    weighting = softadapt(loss_weighted=False)
    for step in range(5):
        total(weighting, [5 - step, 5 - 0.1 * step])
    assert weighting.weights[1] > weighting.weights[0]


def test_softadapt_survives_terms_that_vanish():
    weighting = softadapt()
    for _ in range(3):
        assert total(weighting, [0.0, 0.0]) == 0
    assert torch.isfinite(weighting.weights).all()
    assert np.isfinite(total(weighting, [1.0, 0.0]))


def test_softadapt_survives_terms_that_leap():
    weighting = softadapt(beta=1.0)
    total(weighting, [1.0, 1.0])
    assert total(weighting, [1e4, 1.0]) == pytest.approx(1e4)
    assert weighting.weights.tolist() == [1, 0]


def test_softadapt_weighs_without_being_differentiated():
    """The weights are constants of a step: the gradient of a term is its weight."""
    weighting = softadapt(beta=1.0)
    for losses in ([3.0, 1.0], [2.0, 2.0], [1.0, 2.5]):
        terms = torch.tensor(losses, requires_grad=True)
        weighting(terms).backward()
        torch.testing.assert_close(terms.grad, weighting.weights)
    assert weighting.parameters == [] and not any(values.requires_grad for values in weighting.history)
