"""A small residual network for quick work: three blocks, 78 thousand parameters at width 16."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import SmallResNetModel
from .blocks import conv1x1, conv3x3, initialise


class _Block(nn.Module):
    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(num_in, num_out, stride)
        self.norm1 = nn.BatchNorm2d(num_out)
        self.conv2 = conv3x3(num_out, num_out)
        self.norm2 = nn.BatchNorm2d(num_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or num_in != num_out:
            self.shortcut = nn.Sequential(conv1x1(num_in, num_out, stride), nn.BatchNorm2d(num_out))

    def forward(self, x: Tensor) -> Tensor:
        # In place: on a processor, memory that is asked for anew costs more than the operation.
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)


class SmallResNet(nn.Module):
    """Stem and three residual blocks of width, 2 width and 4 width channels; [n, c, h, w] to [n, classes]."""

    def __init__(self, num_classes: int, num_channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv3x3(num_channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(
            _Block(width, width, 1), _Block(width, 2 * width, 2), _Block(2 * width, 4 * width, 2)
        )
        self.classifier = nn.Linear(4 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        features = torch.mean(self.blocks(self.stem(x)), dim=(2, 3))
        return cast(Tensor, self.classifier(features))


def build_small_resnet(config: SmallResNetModel, num_classes: int, num_channels: int, image_size: int) -> nn.Module:
    return SmallResNet(num_classes, num_channels, config.width)
