"""Whitening initialisation: the first convolution decorrelates the images' patches from the start.

Page, https://myrtle.ai/learn/how-to-train-your-resnet-8-bag-of-tricks; Jordan, arXiv 2404.00498. There the layer is
fixed; here it is trained and pruned as any other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ModelError

NUM_IMAGES_TO_WHITEN = 1000
"""The first training images, whose patches say what the first convolution's filters are."""

_CHUNK = 100
SMALLEST_VARIANCE = 5e-4
"""Added to each component's, so that the faintest ones, which are mostly noise, do not count in full."""


@torch.no_grad()
def whiten_first_convolution(network: nn.Module, images: Tensor) -> None:
    """Set the first convolution's filters to the leading principal components of patches, then their negatives.

    `images`: normalised [n, channels, height, width]. Each component is scaled to unit variance. Filters beyond twice
    the number of components keep their values, as do biases.

    Raises ModelError where the network's first convolution is not of the images.
    """
    convolution = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if convolution is None or convolution.in_channels != images.shape[1] or convolution.groups != 1:
        found = "none" if convolution is None else f"{convolution}"
        raise ModelError(
            f"training.initialisation: whitening needs a first convolution of the images' {images.shape[1]} channels, "
            f"found {found}; accepted for this network is default"
        )
    weight = convolution.weight
    filters = principal_filters(images, convolution.kernel_size)[: len(weight) // 2].to(weight)
    weight[: len(filters)] = filters
    weight[len(filters) : 2 * len(filters)] = -filters


def principal_filters(images: Tensor, kernel_size: tuple[int, ...]) -> Tensor:
    """Components of patches by descending variance, [components, channels, height, width], of unit response."""
    num_channels = images.shape[1]
    covariance, num_patches = torch.zeros(()), 0
    for chunk in images.split(_CHUNK):
        patches = F.unfold(chunk.float(), kernel_size).transpose(1, 2).flatten(0, 1)
        covariance = covariance.to(patches.device) + patches.T @ patches
        num_patches += len(patches)
    # On the processor: the same bits whatever the network is trained on.
    variances, components = torch.linalg.eigh((covariance / num_patches).double().cpu())
    scaled = components.T / torch.sqrt(variances.clamp(min=0) + SMALLEST_VARIANCE).view(-1, 1)
    return scaled.flip(0).float().view(-1, num_channels, *kernel_size)
