"""Result tables of the analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..errors import StoreError
from . import paths, schema
from .parquet import encode_parquet, read_parquet, write_parquet
from .storage import Storage

if TYPE_CHECKING:
    import pandas as pd


def write_table(storage: Storage, name: str, columns: Mapping[str, np.ndarray | Sequence[Any]] | pa.Table) -> None:
    """Write `analysis/<name>.parquet`, whole, from equally long columns or a table."""
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    write_parquet(storage, paths.table(name), [table], schema.TABLE_WRITER)


def frame_bytes(frame: pd.DataFrame) -> bytes:
    """A frame as a Parquet file, for those who take it elsewhere."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return bytes(encode_parquet([table], schema.TABLE_WRITER))


def read_table(storage: Storage, name: str) -> pa.Table:
    """Raises StoreError where the table is absent or damaged."""
    try:
        return read_parquet(storage, paths.table(name), lambda file: file.read(use_threads=False))
    except FileNotFoundError as error:
        raise StoreError(f"{error}: `pie-ray analyze` writes it") from error


def write_table_file(storage: Storage, path: str, table: pa.Table, metadata: Mapping[str, str]) -> None:
    """Write a table with metadata of its own, whole or not at all."""
    write_parquet(storage, path, [table.replace_schema_metadata(dict(metadata))], schema.TABLE_WRITER)


def read_file_metadata(storage: Storage, path: str) -> dict[str, str]:
    """What `write_table_file` was told. Raises StoreError where the file is absent or damaged."""
    try:
        found = read_parquet(storage, path, lambda file: file.schema_arrow.metadata or {})
        return {key.decode(): value.decode() for key, value in found.items()}
    except FileNotFoundError as error:
        raise StoreError(str(error)) from error
