"""Tables to and from whole Parquet files, with pages checked against their checksums on reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StoreError
from .storage import Storage
from .trouble import diagnose

T = TypeVar("T")


def write_parquet(storage: Storage, path: str, row_groups: Sequence[pa.Table], options: dict[str, Any]) -> None:
    """Write one file with a row group a table; the first table's metadata becomes the file's.

    All is serialised before the storage is touched: a Parquet writer on the storage itself would publish half a file
    when it fails.
    """
    storage.write_bytes(path, encode_parquet(row_groups, options))


def encode_parquet(row_groups: Sequence[pa.Table], options: dict[str, Any]) -> pa.Buffer:
    """What `write_parquet` writes."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, row_groups[0].schema, **options) as writer:
        for table in row_groups:
            writer.write_table(table, row_group_size=max(1, table.num_rows))
    return sink.getvalue()


def read_parquet(storage: Storage, path: str, read: Callable[[pq.ParquetFile], T]) -> T:
    """What `read` makes of a file; StoreError for damage found there, FileNotFoundError where there is no file."""

    def read_source(source: pa.NativeFile) -> T:
        with explaining_damage(storage, path):
            return read(pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=not storage.is_local))

    return storage.read_file(path, read_source)


@contextmanager
def explaining_damage(storage: Storage, path: str) -> Iterator[None]:
    """Turn what a parser raises on damaged bytes into a StoreError that names the file; a storage's trouble passes."""
    try:
        yield
    except StoreError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and diagnose(error) is not None:
            raise
        raise StoreError(
            f"{path} in {storage} cannot be read: {_first_line(error)}; delete the file, and the same command makes "
            "it again"
        ) from error


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return "".join(character for character in line if character.isprintable())
