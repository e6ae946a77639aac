"""Pruning keeps exactly the largest weights, on the cubic schedule, and lets none return."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pie_ray.compress.pruning.gradual import GradualMasks
from pie_ray.compress.pruning.masks import (
    MASKS,
    global_masks,
    largest,
    layer_masks,
    measure_sparsity,
    prunable_weights,
    weights_to_prune,
)
from pie_ray.compress.pruning.schedule import cubic_sparsity, mask_updates
from pie_ray.config import PruningSchedule, SmallResNetModel, WideResNetModel
from pie_ray.errors import CompressionError
from pie_ray.models import build_network
from pie_ray.variants import GradualPruning

SCOPES = sorted(MASKS)


def network():
    return build_network(
        SmallResNetModel(kind="small_resnet", width=4), num_classes=10, num_channels=1, image_size=8, seed=0
    )


def pruning(scope="layer", sparsity=0.9, **schedule):
    return GradualPruning(kind="magnitude", scope=scope, sparsity=sparsity, schedule=PruningSchedule(**schedule))


def test_layer_scope_spares_the_classifier_and_takes_every_convolution():
    net = build_network(
        WideResNetModel(kind="wide_resnet", depth=10, width=1), num_classes=10, num_channels=3, image_size=16, seed=0
    )
    convolutions = {f"{name}.weight" for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    assert set(prunable_weights(net, "layer")) == convolutions
    assert set(prunable_weights(net, "global")) == convolutions | {"classifier.weight"}


def test_largest_keeps_exactly_so_many_and_the_earliest_of_ties():
    assert largest(torch.tensor([[3.0, 1.0], [2.0, 4.0]]), 2).tolist() == [[True, False], [False, True]]
    assert largest(torch.tensor([1.0, 2.0, 1.0, 1.0]), 3).tolist() == [True, True, True, False]
    assert largest(torch.zeros(4), 2).tolist() == [True, True, False, False]
    assert largest(torch.ones(3), 0).tolist() == [False] * 3
    assert largest(torch.ones(3), 3).tolist() == [True] * 3


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.99])
def test_layer_masks_hold_the_share_in_every_tensor(sparsity):
    weights = prunable_weights(network(), "layer")
    for name, mask in layer_masks(weights, sparsity).items():
        magnitudes = weights[name].detach().abs()
        assert int(mask.sum()) == round(mask.numel() * (1 - sparsity))
        if 0 < int(mask.sum()) < mask.numel():
            assert magnitudes[mask].min() >= magnitudes[~mask].max()


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.99])
def test_global_masks_hold_the_share_over_all_tensors(sparsity):
    weights = prunable_weights(network(), "global")
    masks = global_masks(weights, sparsity)
    kept = torch.cat([weights[name].detach().abs()[mask] for name, mask in masks.items()])
    cut = torch.cat([weights[name].detach().abs()[~mask] for name, mask in masks.items()])
    assert len(kept) == round((len(kept) + len(cut)) * (1 - sparsity))
    assert kept.min() >= cut.max()


def test_the_cubic_schedule():
    assert [cubic_sparsity(p, 0.9) for p in (-1, 0, 0.5, 1, 2)] == pytest.approx([0, 0, 0.7875, 0.9, 0.9])
    assert cubic_sparsity(0, 0.9, initial=0.05) == pytest.approx(0.05)


def test_masks_are_recomputed_evenly_and_end_at_the_final_sparsity():
    updates = mask_updates(PruningSchedule(begin=0.2, end=0.8, num_updates=3), 0.9, 100)
    assert list(updates) == [40, 60, 80]
    assert updates[80] == 0.9
    assert list(updates.values()) == sorted(updates.values())
    with_start = mask_updates(PruningSchedule(begin=0.2, end=0.8, num_updates=3, initial_sparsity=0.05), 0.9, 100)
    assert with_start[20] == pytest.approx(0.05)
    # So few steps that updates fall together: the last one still counts.
    assert mask_updates(PruningSchedule(num_updates=50), 0.5, 4)[3] == 0.5


def test_training_too_short_to_prune():
    with pytest.raises(CompressionError, match=r"before the first of 1 training steps: found `end` at 0.4"):
        mask_updates(PruningSchedule(begin=0.0, end=0.4), 0.9, 1)


@pytest.mark.parametrize("scope", SCOPES)
def test_zeros_stay_zero_through_momentum_and_weight_decay(scope):
    net = network()
    weights = prunable_weights(net, scope)
    pruner = GradualMasks(weights, weights, pruning(scope, num_updates=4), num_steps=20)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    zeros: dict[str, torch.Tensor] = {}
    sparsities = []
    for step in range(1, 21):
        images = torch.randn(8, 1, 8, 8, generator=generator)
        optimizer.zero_grad()
        net(images).square().mean().backward()
        optimizer.step()
        pruner.after_step(step)
        for name, weight in pruner.weights.items():
            if name in zeros:
                assert (weight[zeros[name]] == 0).all()
            zeros[name] = weight == 0
        sparsities.append(measure_sparsity(pruner.weights))
    assert sparsities == sorted(sparsities)
    assert sparsities[3] == 0
    assert pruner.check() == sparsities[-1] == pytest.approx(0.9, abs=0.005)


def test_a_network_that_is_not_sparse_enough_is_refused():
    weights = prunable_weights(network(), "layer")
    pruner = GradualMasks(weights, weights, pruning(), num_steps=10)
    with pytest.raises(CompressionError, match=r"pruned to sparsity 0.000000, the variant asks for 0.9"):
        pruner.check()


def test_a_network_without_prunable_layers_is_refused():
    with pytest.raises(CompressionError, match="no layer that pruning with scope 'layer' may prune"):
        weights_to_prune(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "layer")


def test_measured_sparsity_counts_exact_zeros():
    assert measure_sparsity({"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([0.0, 0.0])}) == 0.75
    assert np.isclose(measure_sparsity({"a": torch.tensor([1e-30])}), 0)
