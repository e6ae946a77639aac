"""A network of the user's own that sometimes refuses to train."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Moody(nn.Module):
    """Draws a number when it is built; below one half it raises in training, never in evaluation."""

    def __init__(self, num_classes: int, num_channels: int, image_size: int) -> None:
        super().__init__()
        self.mood = torch.rand(()).item()
        self.layers = nn.Sequential(
            nn.Conv2d(num_channels, 4, 3), nn.Flatten(), nn.Linear(4 * (image_size - 2) ** 2, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.mood < 0.5:
            raise RuntimeError("this network refuses to train")
        logits: Tensor = self.layers(x)
        return logits


def moody(num_classes: int, num_channels: int, image_size: int) -> nn.Module:
    return Moody(num_classes, num_channels, image_size)


def refuses(generator_seed: int) -> bool:
    """Whether the member with this seed would refuse."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed)
        return Moody(10, 1, 8).mood < 0.5
