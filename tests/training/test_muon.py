"""Muon's steps: orthogonal for convolutions, Nesterov's for the rest, members apart."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pie_ray.config import Training
from pie_ray.training.muon import Muon, orthogonalise
from pie_ray.training.optim import make_optimizer


@pytest.mark.parametrize("shape", [(16, 72), (72, 16), (8, 8)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalise(matrices)
    assert found.shape == matrices.shape
    for before, after in zip(matrices, found, strict=True):
        left, _, right = torch.linalg.svd(before, full_matrices=False)
        turned = left.T @ after @ right.T
        values = turned.diagonal()
        assert values.min() > 0.3 and values.max() < 1.3
        assert (turned - torch.diag(values)).abs().max() < 1e-3


def test_the_scale_of_a_gradient_does_not_matter():
    matrices = torch.randn(1, 4, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonalise(1e-3 * matrices), orthogonalise(matrices), rtol=1e-3, atol=1e-3)


def test_what_is_not_orthogonal_steps_as_sgd_does():
    torch.manual_seed(2)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    training = Training(epochs=1, optimizer="muon", learning_rate=0.1, momentum=0.6, weight_decay=0.0)
    first, second = (
        make_optimizer(ours, training),
        make_optimizer(theirs, training.model_copy(update={"optimizer": "sgd"})),
    )
    for step in range(3):
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        for network, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            network(inputs).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_convolutions_are_orthogonalised_and_decay_and_the_rest_does_neither():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    optimizer = make_optimizer(network, Training(epochs=1, optimizer="muon", weight_decay=0.1))
    found = [([p.ndim for p in g["params"]], g["is_orthogonal"], g["weight_decay"]) for g in optimizer.param_groups]
    assert found == [([4], True, 0.1), ([2, 1, 1, 1, 1], False, 0.0)]


def test_members_side_by_side_step_as_they_would_alone():
    torch.manual_seed(3)
    alone = [nn.Parameter(torch.randn(4, 3, 3, 3)) for _ in range(2)]
    together = nn.Parameter(torch.cat([p.detach() for p in alone]))
    gradients = [torch.randn(4, 3, 3, 3) * scale for scale in (1.0, 100.0)]
    for parameters, given, num_members in (
        (alone, gradients, 1),
        ([together], [torch.cat(gradients)], 2),
    ):
        optimizer = Muon([{"params": parameters, "is_orthogonal": True}], lr=0.1, momentum=0.9, num_members=num_members)
        for parameter, gradient in zip(parameters, given, strict=True):
            parameter.grad = gradient
        optimizer.step()
    torch.testing.assert_close(together.detach(), torch.cat([p.detach() for p in alone]))


def test_a_saved_optimizer_goes_on_as_it_would_have():
    def one_step(parameter, optimizer, seed):
        parameter.grad = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(seed))
        optimizer.step()

    def fresh():
        parameter = nn.Parameter(torch.ones(2, 1, 3, 3))
        return parameter, Muon([{"params": [parameter], "is_orthogonal": True}], lr=0.1, momentum=0.9)

    whole, optimizer = fresh()
    one_step(whole, optimizer, 0)
    resumed, other = fresh()
    resumed.data.copy_(whole.data)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    one_step(whole, optimizer, 1)
    one_step(resumed, other, 1)
    assert torch.equal(whole, resumed)


def test_weight_decay_shrinks_what_has_no_gradient_to_speak_of():
    kernel, matrix = nn.Parameter(torch.ones(2, 1, 3, 3)), nn.Parameter(torch.ones(2, 3))
    groups = [
        {"params": [kernel], "is_orthogonal": True, "weight_decay": 0.5},
        {"params": [matrix], "weight_decay": 0.5},
    ]
    optimizer = Muon(groups, lr=0.1, momentum=0.9)
    for parameter in (kernel, matrix):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(kernel.detach(), torch.full((2, 1, 3, 3), 0.95))
    torch.testing.assert_close(matrix.detach(), torch.full((2, 3), 0.95))
