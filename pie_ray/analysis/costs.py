"""What each variant costs: parameters, bytes, multiply-adds, and the latencies that were measured beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from ..records import Latency, LatencyRecord, MemberRecord
from ..variants import REFERENCE_ID

_FIGURES = (
    "num_parameters",
    "num_nonzero",
    "checkpoint_bytes",
    "compressed_bytes",
    "multiply_adds",
    "multiply_adds_nonzero",
)
"""Of a member's record; a variant's are the means over its members."""


def cost_table(variants: Sequence[str], records: Iterable[MemberRecord], latency: LatencyRecord | None) -> pd.DataFrame:
    """A row a variant that has members with checkpoints; empty where no figure is known of any.

    `relative_` columns are over the reference's. Of each batch size b that was measured there are the columns of
    `_OF_A_BATCH`, named `latency_ms_batch_b` and so on. NaN is what was not measured.
    """
    by_variant: dict[str, list[MemberRecord]] = {variant_id: [] for variant_id in variants}
    for record in records:
        if record.checkpoint_bytes and record.variant_id in by_variant:
            by_variant[record.variant_id].append(record)
    rows = {variant_id: _means(mine) for variant_id, mine in by_variant.items() if mine}
    reference = rows.get(REFERENCE_ID, {})
    table = [
        {"variant_id": variant_id, **row, **_relative(row, reference), **_latency_columns(variant_id, latency)}
        for variant_id, row in rows.items()
    ]
    return pd.DataFrame(table)


def _means(records: Sequence[MemberRecord]) -> dict[str, Any]:
    """NaN where a record is older than a figure."""
    values = {name: [getattr(record, name) for record in records] for name in _FIGURES}
    return {"num_members": len(records)} | {
        name: nan if None in mine else float(np.mean(mine)) for name, mine in values.items()
    }


def _relative(row: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, float]:
    return {f"relative_{name}": _ratio(row[name], reference.get(name, nan)) for name in _FIGURES}


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference else nan


def _latency_columns(variant_id: str, measured: LatencyRecord | None) -> dict[str, Any]:
    if measured is None:
        return {}
    batch_sizes = sorted({latency.batch_size for latency in measured.latencies})
    mine = {latency.batch_size: latency for latency in measured.latencies if latency.variant_id == variant_id}
    columns: dict[str, Any] = {}
    for batch_size in batch_sizes:
        columns |= _batch_columns(batch_size, mine.get(batch_size))
    if mine:
        columns |= {
            "latency_arithmetic": next(iter(mine.values())).arithmetic,
            "device": measured.device,
            "processor": measured.processor,
            "num_threads": measured.num_threads,
            "measured_at": measured.measured_at,
        }
    return columns


_OF_A_BATCH = {
    "latency_ms": "median_ms",
    "latency_low_ms": "low_ms",
    "latency_high_ms": "high_ms",
    "reference_latency_ms": "reference_ms",
    "speedup": "speedup",
    "speedup_low": "speedup_low",
    "speedup_high": "speedup_high",
    "num_rounds": "num_rounds",
}
"""Column without its batch size, and where it comes from."""


def _batch_columns(batch_size: int, latency: Latency | None) -> dict[str, float]:
    found = {name: getattr(latency, field, None) for name, field in _OF_A_BATCH.items()}
    return {f"{name}_batch_{batch_size}": nan if value is None else value for name, value in found.items()}
