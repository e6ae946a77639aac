"""From a model's description to a network whose first weights depend on the seed alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..config import Model
from ..errors import ModelError
from .custom import build_custom
from .resnet import build_resnet
from .small_resnet import build_small_resnet
from .wide_resnet import build_wide_resnet

FAMILIES: dict[str, Callable[[Any, int, int, int], nn.Module]] = {
    "small_resnet": build_small_resnet,
    "wide_resnet": build_wide_resnet,
    "resnet18": build_resnet,
    "resnet50": build_resnet,
    "custom": build_custom,
}


def build_network(config: Model, *, num_classes: int, num_channels: int, image_size: int, seed: int) -> nn.Module:
    """Build a network on the CPU in channels_last layout; its initial weights are a function of `seed`.

    Raises ModelError where the network does not map [n, num_channels, image_size, image_size] to [n, num_classes].
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # and not those of GPUs, which are not forked
        network = FAMILIES[config.kind](config, num_classes, num_channels, image_size)
    _check_shapes(network, num_classes, num_channels, image_size)
    return network.to(memory_format=torch.channels_last)


def _check_shapes(network: nn.Module, num_classes: int, num_channels: int, image_size: int) -> None:
    shape = (2, num_channels, image_size, image_size)
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            found = tuple(network(torch.zeros(shape)).shape)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"model: the network fails on an input of shape {shape}: {error}") from error
    finally:
        network.train(was_training)
    if found != (2, num_classes):
        raise ModelError(f"model: for an input of shape {shape} the network gives {found}, expected (2, {num_classes})")
