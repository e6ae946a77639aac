"""Wide residual networks (Zagoruyko & Komodakis, arXiv 1605.07146), pre-activation, without dropout."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import WideResNetModel
from .blocks import conv1x1, conv3x3, initialise


class _Block(nn.Module):
    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(num_in)
        self.conv1 = conv3x3(num_in, num_out, stride)
        self.norm2 = nn.BatchNorm2d(num_out)
        self.conv2 = conv3x3(num_out, num_out)
        self.projection = conv1x1(num_in, num_out, stride) if num_in != num_out else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(x))
        # The projection sees the activated input, the identity the raw one, as in the authors' network.
        shortcut = x if self.projection is None else self.projection(y)
        return cast(Tensor, shortcut + self.conv2(F.relu(self.norm2(self.conv1(y)))))


class WideResNet(nn.Module):
    """WRN-depth-width: three groups of (depth - 4) / 6 blocks; [n, c, h, w] to [n, classes]."""

    def __init__(self, num_classes: int, num_channels: int, depth: int, width: int) -> None:
        super().__init__()
        num_blocks = (depth - 4) // 6
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.stem = conv3x3(num_channels, channels[0])
        blocks = []
        for group in range(3):
            for block in range(num_blocks):
                num_in = channels[group] if block == 0 else channels[group + 1]
                blocks.append(_Block(num_in, channels[group + 1], 2 if group and block == 0 else 1))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels[3])
        self.classifier = nn.Linear(channels[3], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.norm(self.blocks(self.stem(x))))
        return cast(Tensor, self.classifier(torch.mean(features, dim=(2, 3))))


def build_wide_resnet(config: WideResNetModel, num_classes: int, num_channels: int, image_size: int) -> nn.Module:
    return WideResNet(num_classes, num_channels, config.depth, config.width)
