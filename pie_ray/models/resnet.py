"""torchvision's ResNet-18 and ResNet-50 from random weights, with the last gamma of each block at zero."""

from __future__ import annotations

from torch import nn

from ..config import ResNetModel
from .blocks import conv3x3


def build_resnet(config: ResNetModel, num_classes: int, num_channels: int, image_size: int) -> nn.Module:
    import torchvision.models

    factory = getattr(torchvision.models, config.kind)
    network: nn.Module = factory(weights=None, num_classes=num_classes, zero_init_residual=True)
    if config.stem == "small":
        stem, network.maxpool = conv3x3(num_channels, 64), nn.Identity()
    else:
        stem = nn.Conv2d(num_channels, 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    network.conv1 = stem
    return network
