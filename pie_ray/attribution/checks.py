"""What cannot be explained is told before a sweep, and not after it."""

from __future__ import annotations

import torch
from torch import nn

from ..config import Attribution
from ..data import ImageSet
from ..errors import RecipeError
from .maps import last_feature_map


def check_attribution(config: Attribution, network: nn.Module, images: ImageSet) -> None:
    """Raises RecipeError for data of several attributes, ModelError for a network that Grad-CAM has no map of."""
    if images.is_multilabel:
        raise RecipeError(
            "evaluation.attribution: found images of attributes that are learned jointly; accepted are images of one "
            "class each, whose predicted class is explained"
        )
    if "grad_cam" in config.methods:
        image = torch.zeros(1, images.num_channels, images.image_size, images.image_size)
        last_feature_map(network.eval(), image)
