"""The training loop: short and closed. Vary the loss, the schedule and the callbacks; leave the loop alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..config import Training
from ..errors import NonFiniteLossError
from .batches import BatchSource
from .device import resolve_precision
from .objective import Objective, PlainLoss
from .optim import learning_rate_factor, make_optimizer
from .packed import PackedNetwork
from .saving import KeepsNothing, Resumable, StateKeeper, TrainingParts
from .team import ALONE, Team

MOST_COMPILED = 4096
"""Networks of different shapes that a process compiles."""

AfterStep = Callable[[int], None]
"""Called with the number of finished steps, after each optimizer step: where masks are kept."""
OnEpoch = Callable[[int, Any], None]
"""Called with the number of finished epochs and the epoch's mean loss: a float, or a list of one a member."""


@dataclass(frozen=True)
class TrainingResult:
    num_steps: int
    loss: float | list[float]
    """Mean training loss of the last epoch; one a member where the objective gives a vector."""
    precision: str


def train(
    network: nn.Module,
    batches: BatchSource,
    config: Training,
    *,
    objective: Objective | None = None,
    first_epoch: int = 0,
    after_step: AfterStep = lambda step: None,
    on_epoch: OnEpoch = lambda epoch, loss: None,
    keeps: Resumable | None = None,
    states: StateKeeper | None = None,
    team: Team = ALONE,
) -> TrainingResult:
    """Train `network` in place on its device and leave it in eval mode.

    `objective` is the plain loss where there is none; it gives a scalar, or a vector [members] of losses whose sum is
    minimised, where `network` is several members side by side. From `first_epoch` on the learning rate is what it would
    be there; steps are counted from it.

    Where `states` has a state the training goes on from it, with the bits of one that was never interrupted; `keeps` is
    what belongs to such a state beside network, optimizer, batches and objective: what `after_step` remembers.

    In each process of a `team` the same is called with its share of the batches; losses are the mean over all.

    Raises NonFiniteLossError where the loss is infinite or NaN, before the update is applied (on a GPU at the epoch's
    end), or where the last update made a weight so; in all processes of a team alike.
    """
    network.train()
    own_seed = torch.initial_seed()
    objective = objective or PlainLoss(config.label_smoothing)
    num_members = network.num_members if isinstance(network, PackedNetwork) else 1
    optimizer = make_optimizer(network, config, objective.parameters, num_members=num_members)
    precision = resolve_precision(config.precision, batches.device)
    states = states or KeepsNothing()
    parts = TrainingParts(network, optimizer, {"batches": batches, "objective": objective, "method": keeps})
    step, total, rate = 0, torch.zeros((), device=batches.device), 0.0
    begun = states.begin()
    if begun is not None:
        step, total = parts.restore(begun, batches.device)
    shared = team.share_gradients(network)
    forward = _compiled(shared, config, batches.device)
    # Asking a GPU at every step would make it wait for the answer.
    is_asked_at_once = batches.device.type == "cpu"
    mean_loss: float | list[float] = float("nan")
    last_step = (config.epochs - first_epoch) * len(batches)
    for epoch in range(first_epoch + step // len(batches), config.epochs):
        if step % len(batches) == 0:
            total = torch.zeros((), device=batches.device)
        for images, labels in batches.epoch(step % len(batches)):
            if team.share[1] > 1:
                # A state has the random numbers of the first process alone.
                torch.manual_seed((own_seed + step) % 2**63)
            rate = config.learning_rate * learning_rate_factor(
                config.schedule, first_epoch + step / len(batches), config.epochs
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast(batches.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                logits = forward(images)
                loss = objective(logits, images, labels)
            told = team.mean(loss.detach())
            if is_asked_at_once and not torch.isfinite(told).all():
                raise _diverged(f"the training loss is {told.tolist()} in epoch {epoch + 1}, step {step + 1}", rate)
            optimizer.zero_grad()
            loss.sum().backward()
            team.average_gradients(objective.parameters)
            optimizer.step()
            step += 1
            after_step(step)
            total = total + told
            if step < last_step and states.is_due():
                states.keep(parts.state(step, total))
        mean_loss = (total.double() / len(batches)).tolist()
        if not torch.isfinite(total).all():
            raise _diverged(f"the mean training loss is {mean_loss} in epoch {epoch + 1}", rate)
        on_epoch(epoch + 1, mean_loss)
    if not all(torch.isfinite(weights).all() for weights in network.parameters()):
        raise _diverged(f"weights are infinite or NaN after the last step, {step}", rate)
    team.check_same(network)
    network.eval()
    return TrainingResult(num_steps=step, loss=mean_loss, precision=precision)


def compiles(config: Training, device: torch.device) -> bool:
    """Whether a training on the device compiles its network."""
    return config.compile is True or (config.compile == "auto" and device.type == "cuda")


def _compiled(network: nn.Module, config: Training, device: torch.device) -> nn.Module:
    """The network, compiled where the recipe says so; on a GPU with CUDA graphs, which start all operations at once."""
    if not compiles(config, device):
        return network
    # PyTorch leaves graphs out where DistributedDataParallel meets batch norms (pytorch issue 139207).
    has_graphs = device.type == "cuda" and not isinstance(network, DistributedDataParallel)
    mode = "reduce-overhead" if has_graphs else None
    _compile_many()
    return cast(nn.Module, torch.compile(network, dynamic=False, mode=mode))


def _compile_many() -> None:
    """A process trains networks of many shapes, of which PyTorch compiles eight: not only the first it meets."""
    from torch._dynamo import config  # slow to import

    config.recompile_limit = max(config.recompile_limit, MOST_COMPILED)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, MOST_COMPILED)


def _diverged(what: str, rate: float) -> NonFiniteLossError:
    return NonFiniteLossError(
        f"{what}, at learning rate {rate:.4g}; lower training.learning_rate, add warm-up, or set training.precision to "
        "float32"
    )
