"""Result tables of the analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import StoreError
from . import paths, schema
from .parquet import read_parquet, write_parquet
from .storage import Storage


def write_table(storage: Storage, name: str, columns: Mapping[str, np.ndarray | Sequence[Any]] | pa.Table) -> None:
    """Write `analysis/<name>.parquet`, whole, from equally long columns or a table."""
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    write_parquet(storage, paths.table(name), [table], schema.TABLE_WRITER)


def read_table(storage: Storage, name: str) -> pa.Table:
    """Raises StoreError where the table is absent or damaged."""
    try:
        return read_parquet(storage, paths.table(name), lambda file: file.read(use_threads=False))
    except FileNotFoundError as error:
        raise StoreError(f"{error}: `pie-ray analyze` writes it") from error
