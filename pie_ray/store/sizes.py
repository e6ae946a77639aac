"""How large files would be, before there are any."""

from __future__ import annotations

import pyarrow as pa

from . import schema
from .parquet import encode_parquet


def predictions_size(batch: pa.RecordBatch) -> float:
    """Bytes a row of a `prediction_batch` as a member's file has them, without what the file has once."""
    table = pa.Table.from_batches([batch])
    whole, half = (
        encode_parquet([part], schema.predictions_writer(table.schema)).size
        for part in (table, table.slice(0, max(len(table) // 2, 1)))
    )
    num_more = len(table) - max(len(table) // 2, 1)
    return (whole - half) / num_more if num_more else float(whole)
