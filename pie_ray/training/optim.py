"""Optimizer and learning-rate schedule."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..config import ConstantSchedule, CosineSchedule, LinearSchedule, Schedule, StepSchedule, Training
from .muon import Muon


def make_optimizer(
    network: nn.Module, config: Training, learned: Sequence[nn.Parameter] = (), *, num_members: int = 1
) -> torch.optim.Optimizer:
    """Weight decay on matrices and kernels only: biases and batch norm are spared (Hooker et al.).

    `learned` is what an objective learns beside the network; it does not decay either. Of Muon the convolutions' steps
    are orthogonal, and only they decay; `num_members` networks that lie side by side in each weight are kept apart.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1] + list(learned), "weight_decay": 0.0},
    ]
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=config.learning_rate, fused=True)
    if config.optimizer == "muon":
        return Muon(_muon_groups(groups), lr=config.learning_rate, momentum=config.momentum, num_members=num_members)
    return torch.optim.SGD(
        groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov, fused=True
    )


def _muon_groups(groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Convolutions, which decay, and all others, which do not: their steps are so short that it would be too much."""
    kernels = [p for group in groups for p in group["params"] if p.ndim == 4]
    others = [p for group in groups for p in group["params"] if p.ndim != 4]
    of_kernels = {"params": kernels, "weight_decay": groups[0]["weight_decay"], "is_orthogonal": True}
    return [of_kernels, {"params": others}] if kernels else [{"params": others}]


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
        case LinearSchedule():
            return 1 - (epoch - schedule.warmup_epochs) / (num_epochs - schedule.warmup_epochs)
        case ConstantSchedule():
            return 1.0
