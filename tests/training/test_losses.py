"""Which loss is meant, and what it is."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pie_ray.training.losses import binary_cross_entropy, cross_entropy, training_loss

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 3
FLAGS = torch.rand(6, 4, generator=torch.Generator().manual_seed(1)) < 0.4
CLASSES = torch.tensor([0, 3, 2, 2, 1, 0])


def test_the_labels_shape_tells_the_loss():
    assert training_loss(LOGITS, CLASSES) == cross_entropy(LOGITS, CLASSES)
    assert training_loss(LOGITS, FLAGS, 0.2) == binary_cross_entropy(LOGITS, FLAGS, 0.2)


def test_attributes_are_the_mean_over_examples_and_attributes():
    probability = torch.sigmoid(LOGITS.double())
    by_hand = -torch.where(FLAGS, probability, 1 - probability).log().mean()
    torch.testing.assert_close(binary_cross_entropy(LOGITS, FLAGS).double(), by_hand)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.5])
def test_an_attribute_is_a_choice_of_two_classes(label_smoothing):
    two_classes = torch.stack([torch.zeros_like(LOGITS), LOGITS], dim=-1).view(-1, 2)
    expected = F.cross_entropy(two_classes, FLAGS.view(-1).long(), label_smoothing=label_smoothing)
    torch.testing.assert_close(binary_cross_entropy(LOGITS, FLAGS, label_smoothing), expected)


def test_losses_are_float32_and_finite_whatever_the_logits_come_in():
    for labels in (CLASSES, FLAGS):
        loss = training_loss((LOGITS * 1e3).bfloat16(), labels)
        assert loss.dtype == torch.float32 and torch.isfinite(loss)


def test_an_attribute_that_is_not_finite_is_told():
    logits = LOGITS.clone()
    logits[2, 1] = torch.nan
    assert training_loss(logits, FLAGS).isnan()
