"""Columns to and from arrays: a column of equally long lists is an array of two axes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def to_lists(values: np.ndarray) -> pa.FixedSizeListArray:
    """[rows, items] as a column of lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """[rows], or [rows, items] of a column of lists."""
    if pa.types.is_fixed_size_list(column.type):
        items = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return items.reshape(-1, column.type.list_size)
    return np.asarray(column.to_numpy())
