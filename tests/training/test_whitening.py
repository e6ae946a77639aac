"""The first convolution whitened by the training images."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from pie_ray.errors import ModelError
from pie_ray.training.whitening import principal_filters, whiten_first_convolution


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    pixels = torch.tensor(load_digits().images, dtype=torch.float32)
    return ((pixels - pixels.mean()) / pixels.std()).unsqueeze(1)


def test_responses_are_uncorrelated_and_of_unit_variance(images):
    responses = F.conv2d(images, principal_filters(images, (3, 3))[:6]).transpose(0, 1).flatten(1)
    second_moments = responses @ responses.T / responses.shape[1]
    assert (second_moments.diagonal() - 1).abs().max() < 0.02
    assert (second_moments - torch.diag(second_moments.diagonal())).abs().max() < 1e-3


def test_half_of_the_filters_are_the_others_negatives_and_the_rest_stays(images):
    network = nn.Sequential(nn.Conv2d(1, 21, 3), nn.ReLU())
    before = network[0].weight.detach().clone()
    whiten_first_convolution(network, images)
    weight = network[0].weight.detach()
    assert torch.equal(weight[9:18], -weight[:9])
    assert torch.equal(weight[18:], before[18:])
    assert not torch.equal(weight[:9], before[:9])


@pytest.mark.parametrize("network", [nn.Linear(3, 2), nn.Conv2d(3, 2, 3)])
def test_a_network_that_begins_otherwise_is_refused(network, images):
    with pytest.raises(
        ModelError, match=r"training\.initialisation: whitening needs a first convolution of the images' 1"
    ):
        whiten_first_convolution(network, images)
