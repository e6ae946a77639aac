"""What is known of a finished member, and how a sweep's results are passed between rooms."""

from __future__ import annotations

from typing import Literal

from .config import Config

Arithmetic = Literal["native", "int8", "simulated"]
"""How a member computes: `native` in its own type, `int8` in int8 kernels, `simulated` with int8 rounding in floats."""


class MemberRecord(Config):
    """One complete member; stored as JSON beside its predictions, and what a tracker logs."""

    member_id: str
    variant_id: str
    seed: int
    parent_id: str | None = None
    sparsity: float = 0.0
    quantization: str | None = None
    arithmetic: Arithmetic = "native"
    num_parameters: int
    num_prunable: int
    num_nonzero: int
    achieved_sparsity: float
    """Share of exact zeros among the weights that the variant's scope may prune, measured from the weights."""
    checkpoint_bytes: int
    train_loss: float | None = None
    """Mean loss of the last epoch; None for a derived member."""
    top1: dict[str, float] = {}
    """Share of correct predictions by evaluation set; of attributes learned jointly, the mean over attributes of the
    share that is right when a logit above 0 predicts that an example has one."""
    train_seconds: float | None = None
    """Seconds to train or derive; None where a later attempt went on from the checkpoint."""
    evaluate_seconds: float = 0.0
    device: str = "cpu"
    precision: str = "float32"
    versions: dict[str, str] = {}
