"""Optimizer and learning-rate schedule."""

from __future__ import annotations

import bisect
import math

import torch
from torch import nn

from ..config import CosineSchedule, Schedule, StepSchedule, Training


def make_optimizer(network: nn.Module, config: Training) -> torch.optim.SGD:
    """SGD; weight decay on matrices and kernels only: biases and batch norm are spared (Hooker et al.)."""
    decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    spared = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    return torch.optim.SGD(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": spared, "weight_decay": 0.0}],
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        fused=True,
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
