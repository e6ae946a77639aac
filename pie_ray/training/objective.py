"""What training minimises: the plain loss, or a label-preserving one (Joseph et al., arXiv 2012.01604).

Axes: b examples of a batch, o outputs (classes, or attributes learned jointly).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import LabelPreservingLoss, LossTerm
from .losses import training_loss
from .team import ALONE, Team
from .weighting import make_weighting

Forward = Callable[[Tensor], Tensor]
"""Normalised images [b, channels, height, width] to logits [b, o]."""


class Objective(Protocol):
    """A scalar to be minimised, and the numbers that are learned beside the network's."""

    def __call__(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor: ...

    @property
    def parameters(self) -> list[nn.Parameter]: ...


@final
class PlainLoss:
    """Cross-entropy with the labels."""

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing
        self.parameters: list[nn.Parameter] = []

    def __call__(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        del images
        return training_loss(logits, labels, self.label_smoothing)


@final
class PreservingLoss:
    """Weighed terms that hold a network to its reference.

    alpha * CE(y, f_c) + beta * mean (z_c - z_ref)^2 + gamma * T^2 KL(softmax(z_ref / T) || softmax(z_c / T)), each
    where the recipe names it. The factor T^2 keeps the gradients' size at every temperature (Hinton et al., arXiv
    1503.02531).
    """

    def __init__(
        self,
        config: LabelPreservingLoss,
        reference: Forward,
        label_smoothing: float,
        device: torch.device,
        team: Team = ALONE,
    ) -> None:
        """`reference`: the dense member of equal seed, in eval mode on the device."""
        self.terms = config.terms
        self.reference = reference
        self.temperature = config.temperature
        self.label_smoothing = label_smoothing
        self.weighting = make_weighting(config.weighting, len(config.terms), device, team.mean)
        self.parameters = self.weighting.parameters
        self.state, self.restore = self.weighting.state, self.weighting.restore

    def __call__(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.reference(images).float()
        logits = logits.float()
        return self.weighting(torch.stack([self._term(name, logits, wanted, labels) for name in self.terms]))

    def _term(self, name: LossTerm, logits: Tensor, wanted: Tensor, labels: Tensor) -> Tensor:
        if name == "cross_entropy":
            return training_loss(logits, labels, self.label_smoothing)
        if name == "logit_pairing":
            return logit_pairing(logits, wanted)
        distil = distillation if labels.ndim == 1 else binary_distillation
        return distil(logits, wanted, self.temperature)


def logit_pairing(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean over b and o of (z_c - z_ref)^2; both [b, o]."""
    return F.mse_loss(logits, wanted)


def distillation(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """T^2 times the mean over b of KL(softmax(z_ref / T) || softmax(z_c / T)); both [b, o]."""
    found, target = (F.log_softmax(values / temperature, dim=1) for values in (logits, wanted))
    return temperature**2 * F.kl_div(found, target, reduction="batchmean", log_target=True)


def binary_distillation(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Of attributes: T^2 times the mean over b and o of the divergence between two coins."""
    target = torch.sigmoid(wanted / temperature)
    cross = F.binary_cross_entropy_with_logits(logits / temperature, target)
    entropy = F.binary_cross_entropy_with_logits(wanted / temperature, target)
    return temperature**2 * (cross - entropy)
