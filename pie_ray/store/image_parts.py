"""Images that were made once and that all members read: parts of an evaluation set, each a Parquet file of pixels.

A row is the difference of each pixel and its left neighbour, which zstd makes a third smaller than the pixels
themselves: .65 to .7 of their size for most corruptions of photographs, .92 for noise.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StorageError, StoreError
from . import paths
from .parquet import read_parquet, write_parquet
from .storage import Storage

VERSION = 1
"""Of the files' layout."""

T = TypeVar("T")

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int, int, int]
"""Examples, channels, height, width."""

_COLUMN = "differences"
_WRITER = {"compression": "zstd", "compression_level": 1, "use_dictionary": False, "write_page_checksum": True}


def write_image_part(storage: Storage, fingerprint: str, start: int, pixels: Pixels) -> None:
    """Write uint8 [examples, channels, height, width], the examples from `start` on of the set of that fingerprint."""
    assert pixels.dtype == np.uint8 and pixels.ndim == 4, (pixels.dtype, pixels.shape)
    differences = np.diff(pixels, axis=3, prepend=np.uint8(0))
    size = int(np.prod(pixels.shape[1:]))
    buffers = [None, pa.py_buffer(np.ascontiguousarray(differences))]
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), len(pixels), buffers)
    table = pa.table({_COLUMN: column}).replace_schema_metadata(_metadata(fingerprint, start, pixels.shape))
    write_parquet(storage, paths.image_part(fingerprint, start), [table], _WRITER)


def read_image_part(storage: Storage, fingerprint: str, start: int, shape: Shape) -> Pixels | None:
    """What `write_image_part` wrote; None where it is absent, damaged or of something else."""

    def read(file: pq.ParquetFile) -> Pixels:
        _check(file, fingerprint, start, shape)
        column = file.read(use_threads=False)[_COLUMN].combine_chunks()
        differences = np.frombuffer(column.buffers()[1], np.uint8, count=int(np.prod(shape)))
        return np.cumsum(differences.reshape(shape), axis=3, dtype=np.uint8)

    return _read(storage, fingerprint, start, read)


def has_image_part(storage: Storage, fingerprint: str, start: int, shape: Shape) -> bool:
    """Whether the part is there and says that it is what it should be; its pixels are not read."""

    def look(file: pq.ParquetFile) -> bool:
        _check(file, fingerprint, start, shape)
        return True

    return _read(storage, fingerprint, start, look) is not None


def _read(storage: Storage, fingerprint: str, start: int, read: Callable[[pq.ParquetFile], T]) -> T | None:
    try:
        return read_parquet(storage, paths.image_part(fingerprint, start), read)
    except StorageError:
        raise
    except (FileNotFoundError, StoreError):
        return None


def _check(file: pq.ParquetFile, fingerprint: str, start: int, shape: tuple[int, ...]) -> None:
    found, expected = file.metadata.metadata or {}, _metadata(fingerprint, start, shape)
    if any(found.get(key.encode()) != value.encode() for key, value in expected.items()):
        raise StoreError("its metadata are of other images")
    if file.metadata.num_rows != shape[0]:
        raise StoreError(f"it has {file.metadata.num_rows} images, expected {shape[0]}")


def _metadata(fingerprint: str, start: int, shape: tuple[int, ...]) -> dict[str, str]:
    return {
        "schema_version": str(VERSION),
        "fingerprint": fingerprint,
        "start": str(start),
        "shape": json.dumps(list(shape)),
    }
