"""Frames as CSV, JSON Lines and JSON, in UTF-8."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_BETWEEN = "; "


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """With a line of names; lists become texts with `; ` between their items, NaN an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe before it, names of columns too
    (https://owasp.org/www-community/attacks/CSV_Injection): class names, keys and groups come from data. Programs that
    need the exact text read JSON Lines or Parquet.
    """
    rows = [list(frame.columns), *(list(row.values()) for row in records(frame))]
    return "".join(_csv_line(row) for row in rows).encode()


def json_lines(frame: pd.DataFrame) -> bytes:
    """An object a row; what is not a number is null."""
    return b"".join(json_bytes(row, indent=None) for row in records(frame))


def json_bytes(value: Any, *, indent: int | None = 1) -> bytes:
    """Strict JSON; the value holds no NaN."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent).encode() + b"\n"


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A mapping a row, of plain Python values; None for NaN."""
    rows = frame.to_dict("records")
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv_line(values: list[Any]) -> str:
    """Ends with a newline alone; `csv` quotes a carriage return only where its own lines end with one."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow([_cell(value) for value in values])
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = _BETWEEN.join(str(item) for item in value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
