"""What Parquet files alone say beside the pixels: class names, labels and keys; takes pyarrow's schemas and columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..config import ParquetData
from ..errors import DataError
from .image_set import Int64Array

_IMAGE_COLUMNS = ("img", "image")


def find_image_column(schema: Any, path: Path, config: ParquetData) -> str:
    """`data.image_column`, else `img` or `image`; DataError where it is missing or holds no encoded images."""
    choices = _IMAGE_COLUMNS if config.image_column is None else (config.image_column,)
    name = next((choice for choice in choices if choice in schema.names), None)
    if name is None:
        raise _no_column(schema, path, " or ".join(choices), "data.image_column")
    column_type = schema.field(name).type
    content_type = column_type.field("bytes").type if has_field(column_type, "bytes") else column_type
    if not _is_binary(content_type):
        raise DataError(f"{path}: image column {name} is {column_type}, needs binary or struct<bytes, path>")
    return name


def check_label_column(schema: Any, path: Path, name: str) -> None:
    """DataError where the column is missing or not of integers."""
    import pyarrow.types

    if name not in schema.names:
        raise _no_column(schema, path, name, "data.label_column")
    column_type = schema.field(name).type
    if not pyarrow.types.is_integer(column_type):
        raise DataError(f"{path}: label column {name} is {column_type}, needs integers")


def _no_column(schema: Any, path: Path, name: str, field_name: str) -> DataError:
    return DataError(f"{path} has no column {name}, found {', '.join(schema.names)}; set {field_name}")


def has_field(column_type: Any, name: str) -> bool:
    """Whether this is a struct with a field of that name."""
    import pyarrow.types

    return bool(pyarrow.types.is_struct(column_type) and column_type.get_field_index(name) >= 0)


def _is_binary(column_type: Any) -> bool:
    import pyarrow.types

    return bool(pyarrow.types.is_binary(column_type) or pyarrow.types.is_large_binary(column_type))


def class_names(schema: Any, label_column: str) -> tuple[str, ...]:
    """The names that Hugging Face datasets keeps in the schema's metadata; empty where there are none."""
    try:
        metadata = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(str(name) for name in metadata["info"]["features"][label_column]["names"])
    except (KeyError, TypeError, ValueError):
        return ()


def read_labels(column: Any, locate: Callable[[int], str]) -> Int64Array:
    """Labels int64 [rows]; DataError for a null or one beyond int64."""
    import pyarrow

    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise DataError(f"{locate(row)}: label is null")
    try:
        labels: Int64Array = column.cast(pyarrow.int64()).to_numpy()
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{locate(0)} and following: labels do not fit 64 bits: {error}") from error
    return labels


def read_keys(paths: Sequence[str | None], split: str) -> tuple[str, ...]:
    """The images' own paths where they tell all images apart; else `train[17]`, Hugging Face's way to name a row."""
    given = [path for path in paths if path]
    if len(set(given)) == len(paths):
        return tuple(given)
    return tuple(f"{split}[{row}]" for row in range(len(paths)))
