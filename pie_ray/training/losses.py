"""Training losses, logits and labels to a scalar in float32; the labels' shape tells which one is meant.

Axes: b examples of a batch, c classes, a attributes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def training_loss(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy for labels int64 [b], binary cross-entropy for bool [b, a]."""
    loss = cross_entropy if labels.ndim == 1 else binary_cross_entropy
    return loss(logits, labels, label_smoothing)


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of logits [b, c] and labels [b], with label smoothing."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)


def binary_cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean over b and a of each attribute's cross-entropy, from logits and labels [b, a] (Iofinova et al., arXiv
    2304.12622).

    An attribute is two classes with the logits 0 and z, so smoothing moves half of `label_smoothing` to the other one.
    """
    targets = labels.float() * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits.float(), targets)
