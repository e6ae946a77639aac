"""How our words read in MLflow: names and values."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean

from ..progress import SweepProgress
from ..records import MemberRecord
from .contract import TrackedVariant

_MAX_VALUE_LENGTH = 500
_MAX_SETS = 20

NUM_SETS = "num_evaluation_sets"

_CURVES = (
    "top1",
    "pie_fraction",
    "half_pie_fraction",
    "cie_u",
    "ece",
    "worst_class_change",
    "corrupted_top1",
    "mce",
)
"""Figures that are drawn by sparsity."""


def metric_name(text: str) -> str:
    """A name that MLflow accepts: `magnitude-0.90+static_int8` becomes `magnitude-0.90__static_int8`."""
    return re.sub(r"[^\w.\-/ ]", "_", text.replace("+", "__"))


def clip(value: str) -> str:
    return value if len(value) <= _MAX_VALUE_LENGTH else value[: _MAX_VALUE_LENGTH - 1] + "…"


def variant_params(variant: TrackedVariant) -> dict[str, str]:
    params = {
        "variant_id": variant.variant_id,
        "pruning": variant.pruning or "none",
        "sparsity": f"{variant.sparsity:g}",
        "quantization": variant.quantization or "none",
    }
    further = {
        "arithmetic": variant.arithmetic,
        "loss": variant.loss,
        "quantization_aware": "true" if variant.is_quantization_aware else None,
    }
    return params | {name: value for name, value in further.items() if value}


def member_params(record: MemberRecord) -> dict[str, str]:
    return {
        "variant_id": record.variant_id,
        "sparsity": f"{record.sparsity:g}",
        "quantization": record.quantization or "none",
        "seed": str(record.seed),
        "arithmetic": record.arithmetic,
        "precision": record.precision,
        "device": record.device,
    } | _quantization_params(record)


def _quantization_params(record: MemberRecord) -> dict[str, str]:
    facts = record.quantization_facts
    if facts is None:
        return {}
    params = {
        "weight_bits": str(facts.weight_bits),
        "input_bits": str(facts.input_bits),
        "quantized_fraction": f"{facts.covered_fraction:.4f}",
    }
    if facts.calibration_images is not None:
        params["num_calibration_images"] = str(facts.calibration_images[1] - facts.calibration_images[0])
    return params


def member_metrics(record: MemberRecord) -> dict[str, float]:
    metrics = {f"top1.{metric_name(name)}": value for name, value in _few_sets(record.top1).items()}
    metrics |= {
        NUM_SETS: float(len(record.top1)),
        "achieved_sparsity": record.achieved_sparsity,
        "num_parameters": float(record.num_parameters),
        "num_nonzero": float(record.num_nonzero),
        "checkpoint_bytes": float(record.checkpoint_bytes),
        "evaluate_seconds": record.evaluate_seconds,
    }
    measured = {"train_seconds": record.train_seconds, "train_loss": record.train_loss}
    return finite(metrics | {name: value for name, value in measured.items() if value is not None})


def progress_metrics(progress: SweepProgress) -> dict[str, float]:
    """MLflow keeps a metric's last value for good, so that one of a sweep that has ended is none of the past's."""
    cluster, is_over = progress.cluster, progress.state != "running"
    figures = {
        "num_done": progress.num_done,
        "num_failed": progress.num_failed,
        "members_per_hour": progress.members_per_hour,
        "seconds_left": 0 if is_over else progress.seconds_left,
        "cpus_used": 0 if is_over else None if cluster is None else cluster.cpus_used,
    }
    return finite({f"progress/{name}": float(value) for name, value in figures.items() if value is not None})


def curves(
    variants: Iterable[TrackedVariant], figures: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[int, float]]:
    """`by_sparsity/<pruning>/<figure>` -> sparsity in percent -> value, of populations that are complete.

    Of each way to prune, quantize and train; what is quantized the same way and not pruned stands at 0.
    """
    variants = [variant for variant in variants if _is_complete(variant, figures)]
    unpruned = {_quantization(variant): variant for variant in variants if variant.pruning is None}
    drawn: dict[str, dict[int, float]] = defaultdict(dict)
    for variant in variants:
        if variant.pruning is None:
            continue
        scheme = f"qat_{variant.quantization}" if variant.is_quantization_aware else variant.quantization
        family = "+".join(filter(None, (variant.pruning, variant.loss, scheme)))
        for point in filter(None, (unpruned.get(_quantization(variant)), variant)):
            for name in _CURVES:
                if name in figures[point.variant_id]:
                    curve = drawn[f"by_sparsity/{metric_name(family)}/{name}"]
                    curve[round(100 * point.sparsity)] = figures[point.variant_id][name]
    return dict(drawn)


def _quantization(variant: TrackedVariant) -> tuple[str | None, ...]:
    """What an unpruned variant has in common with the pruned ones whose curve begins with it: the scheme and, where
    there is training for it to bear on, the loss."""
    if variant.is_quantization_aware:
        return (variant.quantization, "aware", variant.loss)
    return (variant.quantization,)


def _is_complete(variant: TrackedVariant, figures: Mapping[str, Mapping[str, float]]) -> bool:
    return figures.get(variant.variant_id, {}).get("num_members") == variant.num_members


def _few_sets(top1: Mapping[str, float]) -> Mapping[str, float]:
    """Beyond a few evaluation sets, the mean of each suite: many metric names slow MLflow's pages."""
    if len(top1) <= _MAX_SETS:
        return top1
    suites: dict[str, list[float]] = defaultdict(list)
    for name, value in top1.items():
        suites[name.partition("/")[0]].append(value)
    return {suite: fmean(values) for suite, values in suites.items()}


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Without what was not measured; MLflow would store an infinity as the largest double."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
