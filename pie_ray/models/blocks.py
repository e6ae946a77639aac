"""Pieces that the families share."""

from __future__ import annotations

from torch import nn


def conv3x3(num_in: int, num_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, bias=False)


def conv1x1(num_in: int, num_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, 1, stride=stride, bias=False)


def initialise(network: nn.Module) -> None:
    """He initialisation of the convolutions, as the residual networks' papers have it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
