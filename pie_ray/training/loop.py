"""The training loop: short and closed. Vary the loss, the schedule and the callbacks; leave the loop alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..config import Training
from ..errors import NonFiniteLossError
from .batches import Batches
from .device import resolve_precision
from .objective import Objective, PlainLoss
from .optim import learning_rate_factor, make_optimizer

AfterStep = Callable[[int], None]
"""Called with the number of finished steps, after each optimizer step: where masks are kept."""
OnEpoch = Callable[[int, float], None]
"""Called with the number of finished epochs and the epoch's mean loss."""


@dataclass(frozen=True)
class TrainingResult:
    num_steps: int
    loss: float
    """Mean training loss of the last epoch."""
    precision: str


def train(
    network: nn.Module,
    batches: Batches,
    config: Training,
    *,
    objective: Objective | None = None,
    first_epoch: int = 0,
    after_step: AfterStep = lambda step: None,
    on_epoch: OnEpoch = lambda epoch, loss: None,
) -> TrainingResult:
    """Train `network` in place on its device and leave it in eval mode.

    `objective` is the plain loss where there is none. From `first_epoch` on the learning rate is what it would be
    there; steps are counted from it.

    Raises NonFiniteLossError where the loss is infinite or NaN, before the update is applied, or where the last update
    made a weight so.
    """
    network.train()
    objective = objective or PlainLoss(config.label_smoothing)
    optimizer = make_optimizer(network, config, objective.parameters)
    precision = resolve_precision(config.precision, batches.device)
    forward = torch.compile(network, dynamic=False) if config.compile else network
    step, rate, mean_loss = 0, 0.0, float("nan")
    for epoch in range(first_epoch, config.epochs):
        total = torch.zeros((), device=batches.device)
        for images, labels in batches.epoch():
            rate = config.learning_rate * learning_rate_factor(
                config.schedule, first_epoch + step / len(batches), config.epochs
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast(batches.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                logits = forward(images)
                loss = objective(logits, images, labels)
            if not torch.isfinite(loss):
                raise _diverged(f"the training loss is {loss.item()} in epoch {epoch + 1}, step {step + 1}", rate)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            after_step(step)
            total += loss.detach()
        mean_loss = float(total) / len(batches)
        on_epoch(epoch + 1, mean_loss)
    if not all(torch.isfinite(weights).all() for weights in network.parameters()):
        raise _diverged(f"weights are infinite or NaN after the last step, {step}", rate)
    network.eval()
    return TrainingResult(num_steps=step, loss=mean_loss, precision=precision)


def _diverged(what: str, rate: float) -> NonFiniteLossError:
    return NonFiniteLossError(
        f"{what}, at learning rate {rate:.4g}; lower training.learning_rate, add warm-up, or set training.precision to "
        "float32"
    )
