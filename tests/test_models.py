"""Every family builds for 1 and 3 channels, small and large images, from a seed alone."""

from __future__ import annotations

import sys
from typing import get_args

import pytest
import torch
from torch import nn

from pie_ray import config
from pie_ray.errors import ModelError
from pie_ray.models import build_network
from pie_ray.models.build import FAMILIES

MODELS = [
    config.SmallResNetModel(kind="small_resnet"),
    config.WideResNetModel(kind="wide_resnet", depth=16, width=1),
    config.WideResNetModel(kind="wide_resnet", depth=22, width=1),
    config.ResNetModel(kind="resnet18"),
    config.ResNetModel(kind="resnet18", stem="small"),
    config.ResNetModel(kind="resnet50"),
]


def linear(num_classes, num_channels, image_size, scale=1.0):
    return nn.Sequential(nn.Flatten(), nn.Linear(num_channels * image_size**2, num_classes))


def no_module(num_classes, num_channels, image_size):
    return "network"


def two_outputs(num_classes, num_channels, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(num_channels * image_size**2, 2))


def custom(function, **arguments):
    return config.CustomModel(kind="custom", factory=f"{__name__}:{function}", arguments=arguments)


def kinds(union):
    models = get_args(get_args(union)[0])
    return {kind for model in models for kind in get_args(model.model_fields["kind"].annotation)}


def test_kinds_and_registry_are_the_same_set():
    assert kinds(config.Model) == set(FAMILIES)


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize(("num_channels", "image_size"), [(1, 8), (3, 32)])
def test_families_build_and_the_seed_decides_the_weights(model, num_channels, image_size):
    shape = {"num_classes": 7, "num_channels": num_channels, "image_size": image_size}
    first, again, other = (build_network(model, **shape, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("model", [MODELS[0], MODELS[3]], ids=str)
def test_large_images(model):
    network = build_network(model, num_classes=5, num_channels=3, image_size=224, seed=0).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 5)


def test_parameter_counts_of_the_named_networks():
    def count(model, image_size=32):
        network = build_network(model, num_classes=10, num_channels=3, image_size=image_size, seed=0)
        return sum(p.numel() for p in network.parameters())

    assert count(config.SmallResNetModel(kind="small_resnet")) == 78_042
    assert count(config.WideResNetModel(kind="wide_resnet", depth=16, width=4)) == 2_748_890
    assert count(config.WideResNetModel(kind="wide_resnet", depth=22, width=2)) == 1_079_642
    assert count(config.ResNetModel(kind="resnet18")) == 11_181_642


def test_a_network_of_the_users_own():
    network = build_network(custom("linear", scale=2.0), num_classes=3, num_channels=1, image_size=8, seed=0)
    assert network(torch.zeros(4, 1, 8, 8)).shape == (4, 3)


def test_a_network_of_the_folder_that_the_command_is_typed_in(tmp_path, monkeypatch):
    """Which the command `pie-ray`, other than `python -m pie_ray`, does not have on its path."""
    (tmp_path / "of_this_folder.py").write_text("from tests.test_models import linear as make\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    model = config.CustomModel(kind="custom", factory="of_this_folder:make", arguments={"scale": 2.0})
    build_network(model, num_classes=3, num_channels=1, image_size=8, seed=0)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (config.CustomModel(kind="custom", factory="no_such_module:f"), "cannot import 'no_such_module:f'"),
        (custom("no_such_function"), "cannot import"),
        (custom("linear", colour="red"), "refused its arguments"),
        (custom("no_module"), "returned str, not an nn.Module"),
        (custom("two_outputs"), r"gives \(2, 2\), expected \(2, 3\)"),
    ],
)
def test_a_network_that_cannot_be_used(model, message):
    with pytest.raises(ModelError, match=message):
        build_network(model, num_classes=3, num_channels=1, image_size=8, seed=0)
