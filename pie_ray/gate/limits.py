"""Every limit that a policy may set: what measures it, in which unit, and whose interval it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from . import accuracy, cost, forgetting, robustness
from .case import Case, Measured
from .words import Unit


@dataclass(frozen=True)
class Kind:
    """One limit. Those called `min_` are lower limits, all others upper ones."""

    measure: Callable[[Case, Any], Iterable[Measured]]
    """Figures of a variant, of which the worst is judged, given the policy's limit."""
    unit: Unit
    interval: str = ""
    """Where the ends of its 95 % interval come from; empty where it has none, so that the estimate is judged."""


_MEMBERS = "Welch's over members, of derived variants Student's over pairs"
_DRAWN = "bootstrap over members"

LIMITS: dict[str, Kind] = {
    "max_significant_pies": Kind(forgetting.significant_pies, "count"),
    "max_significant_fraction": Kind(forgetting.significant_fraction, "fraction"),
    "max_pies_beyond_noise": Kind(forgetting.pies_beyond_noise, "fraction"),
    "max_cie": Kind(forgetting.cie, "fraction", "Student's over pairs of members"),
    "max_cie_u": Kind(forgetting.cie_u, "fraction", "Student's over pairs of members"),
    "max_top1_drop": Kind(accuracy.top1_drop, "fraction", _MEMBERS),
    "max_worst_class_drop": Kind(accuracy.worst_class_drop, "fraction", "Welch's over members, each class by itself"),
    "max_worst_group_drop": Kind(accuracy.worst_group_drop, "fraction", f"{_DRAWN}, each group by itself"),
    "max_group_gap_increase": Kind(accuracy.group_gap_increase, "fraction", _DRAWN),
    "max_worst_attribute_drop": Kind(accuracy.worst_attribute_drop, "fraction"),
    "max_ece_increase": Kind(accuracy.ece_increase, "fraction", "Welch's over members"),
    "max_corrupted_top1_drop": Kind(robustness.corrupted_top1_drop, "fraction", _MEMBERS),
    "max_natural_top1_drop": Kind(robustness.natural_top1_drop, "fraction", f"{_MEMBERS}, each set by itself"),
    "max_excess_drop": Kind(robustness.excess_drop, "fraction", "mean of the sets' ends, too wide if anything"),
    "max_worst_set_excess_drop": Kind(robustness.worst_set_excess_drop, "fraction", f"{_MEMBERS}, each set by itself"),
    "max_mce": Kind(robustness.mce, "ratio", _DRAWN),
    "max_checkpoint_bytes": Kind(cost.checkpoint_bytes, "bytes"),
    "max_size_ratio": Kind(cost.size_ratio, "ratio"),
    "max_compressed_ratio": Kind(cost.compressed_ratio, "ratio"),
    "max_latency_ratio": Kind(cost.latency_ratio, "ratio"),
    "min_sparsity": Kind(cost.sparsity, "fraction"),
    "min_members": Kind(cost.members, "count"),
    "max_missing_members": Kind(cost.missing_members, "count"),
}
"""By the name of the policy's field."""
