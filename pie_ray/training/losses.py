"""Training losses; one function each, logits [b, classes] and labels [b] to a scalar."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy in float32 with label smoothing."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
