"""A split's `metadata.csv`, as Hugging Face's image folders have it: `file_name`, and columns that describe it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

NAME = "metadata.csv"

_FILE_NAME = "file_name"


def read_metadata(path: Path, files: Sequence[Path]) -> Any:
    """The file as a pyarrow table with a row an image of `files`, in their order, without the file names.

    File names are relative to the file's folder. Raises DataError where the file is damaged, names an image that is
    not there or one twice, or leaves one out.
    """
    table = _read_csv(path)
    names = table.column(_FILE_NAME).to_pylist()
    rows = {name and (path.parent / name).as_posix(): row for row, name in enumerate(names)}
    wanted = [file.as_posix() for file in files]
    _check_same(path, names, rows, wanted)
    ordered = table.take(np.array([rows[name] for name in wanted], dtype=np.int64))
    return ordered.drop_columns([_FILE_NAME])


def _read_csv(path: Path) -> Any:
    import pyarrow
    from pyarrow import csv

    # Otherwise a name such as 0017 would be read as a number.
    convert = csv.ConvertOptions(column_types={_FILE_NAME: pyarrow.string()})
    try:
        table = csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=convert)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    doubled = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if doubled:
        raise DataError(f"{path}: the column {doubled[0]} stands twice")
    if _FILE_NAME not in table.column_names:
        raise DataError(f"{path} has no column {_FILE_NAME}, found {', '.join(table.column_names)}")
    return table


def _check_same(path: Path, names: list[str | None], rows: dict[str | None, int], wanted: list[str]) -> None:
    absent = set(rows) - set(wanted)
    if absent:
        row = min(rows[name] for name in absent)
        raise DataError(f"{path}, row {row}: there is no image {names[row]}")
    if len(rows) < len(names):
        row = next(row for row, name in enumerate(names) if rows[(path.parent / str(name)).as_posix()] != row)
        raise DataError(f"{path}, row {row}: {names[row]} stands twice")
    missing = set(wanted) - set(rows)
    if missing:
        raise DataError(f"{path} has no row for {min(missing)}")
