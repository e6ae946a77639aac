"""Learning rates by epoch, and which weights decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pie_ray.config import ConstantSchedule, CosineSchedule, FineTuning, StepSchedule, Training
from pie_ray.training.optim import learning_rate_factor, make_optimizer


def test_cosine_warms_up_linearly_and_ends_at_zero():
    schedule = CosineSchedule(kind="cosine", warmup_epochs=2)
    factors = [learning_rate_factor(schedule, epoch, 10) for epoch in (0, 1, 2, 6, 10)]
    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_steps_multiply_at_each_milestone():
    schedule = StepSchedule(kind="step", milestones=(3, 6), factor=0.1)
    factors = [learning_rate_factor(schedule, epoch, 9) for epoch in (0, 2.9, 3, 5.9, 6)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_biases_and_batch_norm_do_not_decay():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    decayed, spared = make_optimizer(network, Training(epochs=1, weight_decay=0.1)).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 1, 3, 3), (2, 8)]
    assert decayed["weight_decay"] == 0.1
    assert len(spared["params"]) == 4
    assert spared["weight_decay"] == 0


def test_a_constant_rate_warms_up_and_stays():
    schedule = ConstantSchedule(kind="constant", warmup_epochs=1)
    assert [learning_rate_factor(schedule, epoch, 3) for epoch in (0, 0.5, 1, 3)] == [0, 0.5, 1, 1]


def test_adam_decays_the_same_weights_and_what_an_objective_learns_does_not_decay():
    network, learned = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), nn.Parameter(torch.zeros(2, 2))
    optimizer = make_optimizer(network, Training(epochs=1, optimizer="adam", weight_decay=0.1), [learned])
    decayed, spared = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.Adam)
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 1, 3, 3)] and decayed["weight_decay"] == 0.1
    assert spared["params"][-1] is learned and spared["weight_decay"] == 0


def test_fine_tuning_is_the_training_but_for_what_it_names():
    training = Training(epochs=9, batch_size=7, momentum=0.5, label_smoothing=0.1, weight_decay=0.2)
    found = FineTuning(epochs=2, optimizer="adam", learning_rate=1e-4).of(training)
    named = {"epochs": 2, "optimizer": "adam", "learning_rate": 1e-4}
    assert found == training.model_copy(update=named)
