"""How our words read in MLflow: names, values and the description of a sweep."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean

from ..records import MemberRecord
from .contract import SweepInfo, VariantMetrics

_MAX_VALUE_LENGTH = 500
_MAX_SETS = 20

NUM_SETS = "num_evaluation_sets"


def metric_name(text: str) -> str:
    """A name that MLflow accepts: `magnitude-0.90+static_int8` becomes `magnitude-0.90__static_int8`."""
    return re.sub(r"[^\w.\-/ ]", "_", text.replace("+", "__"))


def clip(value: str) -> str:
    return value if len(value) <= _MAX_VALUE_LENGTH else value[: _MAX_VALUE_LENGTH - 1] + "…"


def member_params(record: MemberRecord) -> dict[str, str]:
    return {
        "variant_id": record.variant_id,
        "sparsity": f"{record.sparsity:g}",
        "quantization": record.quantization or "none",
        "seed": str(record.seed),
        "arithmetic": record.arithmetic,
        "precision": record.precision,
        "device": record.device,
    }


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
    return _finite(metrics | {name: value for name, value in measured.items() if value is not None})


def analysis_metrics(metrics: VariantMetrics) -> dict[str, float]:
    """`{"magnitude-0.90": {"top1": .9}}` becomes `{"top1.magnitude-0.90": .9}`."""
    return _finite(
        {
            f"{metric_name(name)}.{metric_name(variant_id)}": float(value)
            for variant_id, values in metrics.items()
            for name, value in values.items()
        }
    )


def describe(sweep: SweepInfo, logged_params: Mapping[str, str]) -> str:
    """The text that stands on the sweep's page, in Markdown."""
    text = (
        f"A population study by pie_ray: {sweep.num_members:,} networks, each a child `<variant>/seed-<n>` of this "
        "entry. The metrics here compare variants (`<metric>.<variant>`); recipe, tables and report are its artifacts."
    )
    changed = [
        f"`{key}`: {logged_params[key]} → {clip(value)}"
        for key, value in sweep.params.items()
        if logged_params.get(key, clip(value)) != clip(value)
    ]
    if changed:
        # MLflow never changes a parameter, so a recipe that grew would be shown as it first was
        text += "\n\nChanged since the first start: " + "; ".join(changed[:20]) + "."
    return text


def _few_sets(top1: Mapping[str, float]) -> Mapping[str, float]:
    """Beyond a few evaluation sets, the mean of each suite: many metric names slow MLflow's pages."""
    if len(top1) <= _MAX_SETS:
        return top1
    suites: dict[str, list[float]] = defaultdict(list)
    for name, value in top1.items():
        suites[name.partition("/")[0]].append(value)
    return {suite: fmean(values) for suite, values in suites.items()}


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Without what was not measured; MLflow would store an infinity as the largest double."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
