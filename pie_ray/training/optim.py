"""Optimizer and learning-rate schedule."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..config import ConstantSchedule, CosineSchedule, Schedule, StepSchedule, Training


def make_optimizer(
    network: nn.Module, config: Training, learned: Sequence[nn.Parameter] = ()
) -> torch.optim.SGD | torch.optim.Adam:
    """Weight decay on matrices and kernels only: biases and batch norm are spared (Hooker et al.).

    `learned` is what an objective learns beside the network; it does not decay either.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1] + list(learned), "weight_decay": 0.0},
    ]
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=config.learning_rate, fused=True)
    return torch.optim.SGD(
        groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov, fused=True
    )


def learning_rate_factor(schedule: Schedule, epoch: float, num_epochs: int) -> float:
    """Factor in [0, 1] on the base rate at a fractional epoch: linear warm-up, then the schedule."""
    if epoch < schedule.warmup_epochs:
        return epoch / schedule.warmup_epochs
    match schedule:
        case CosineSchedule():
            progress = (epoch - schedule.warmup_epochs) / (num_epochs - schedule.warmup_epochs)
            return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        case StepSchedule():
            return schedule.factor ** bisect.bisect_right(schedule.milestones, epoch)
        case ConstantSchedule():
            return 1.0
