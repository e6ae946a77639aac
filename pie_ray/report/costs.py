"""The table `costs` as pages and terminals read it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .rows import number
from .tables import Column, table_block
from .words import MISSING, file_size, milliseconds, percent, plural, quantity

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

_LATENCY = re.compile(r"latency_ms_batch_(\d+)")


def rows_without_sets(table: pd.DataFrame | None) -> list[Row]:
    """Rows of a table that is about networks and not about evaluation sets; none where there is no such table."""
    if table is None or not len(table):
        return []
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def batch_sizes(rows: Sequence[Row]) -> list[int]:
    """The numbers of images that latencies were measured with, the smallest first."""
    columns = rows[0] if rows else {}
    return sorted(int(match[1]) for match in map(_LATENCY.fullmatch, columns) if match)


def measured_on(rows: Sequence[Row]) -> str:
    """A sentence of HTML: where, when and how latencies were measured, or that they were not."""
    sizes = batch_sizes(rows)
    row = next((row for row in rows if not math.isnan(number(row, "num_threads"))), None)
    if row is None or not sizes:
        return "Latencies were not measured; <code>pie-ray cost</code> does it at any time."
    rounds = [(size, number(row, f"num_rounds_batch_{size}")) for size in sizes]
    told = ", ".join(
        f"{plural(number_of, 'round')} of batches of {size:,}" for size, number_of in rounds if number_of > 0
    )
    threads = plural(number(row, "num_threads"), "thread")
    return (
        f"Latencies are medians over {told}, in which all variants took turns beside the reference in float32, of one "
        f"member each, on {threads} of {_processor(row)}, {escape(str(row['measured_at'])[:10])}. On another machine "
        "they are others, and so may be the ranking."
    )


def _processor(row: Row) -> str:
    kind = {"cpu": "a processor", "cuda": "a GPU"}.get(str(row["device"]), str(row["device"]))
    return f"{escape(kind)} ({escape(str(row['processor']))})"


def cost_block(rows: Sequence[Row]) -> str:
    """HTML: the table of what each variant costs."""
    columns: list[Column] = [
        ("Weights", "parameters of the network", lambda row: quantity(number(row, "num_parameters"))),
        ("Not zero", "of these", lambda row: quantity(number(row, "num_nonzero"))),
        ("Bytes", "mean checkpoint as it is stored, zeros and all", lambda row: _size(row, "checkpoint_bytes")),
        ("zstd", "the same compressed, and in % of the reference's", lambda row: _size(row, "compressed_bytes")),
        ("Multiply-adds", "of one image, zeros and all", lambda row: quantity(number(row, "multiply_adds"))),
        (
            "Not by zero",
            "those whose weight is not zero: what a sparse kernel would be left with",
            lambda row: quantity(number(row, "multiply_adds_nonzero")),
        ),
    ]
    for size in batch_sizes(rows):
        what = "an image by itself" if size == 1 else f"a batch of {size:,} images"
        columns += [
            (f"ms at {size:,}", f"milliseconds for {what}", _latency(size)),
            (
                f"Speed at {size:,}",
                "how many times as fast as the reference in float32, and quartiles over rounds",
                _speed(size),
            ),
        ]
    return table_block(rows, columns, "What each variant costs")


def _size(row: Row, column: str) -> str:
    relative = number(row, f"relative_{column}")
    share = "" if math.isnan(relative) else f" <small>{percent(relative, 0)}</small>"
    return file_size(number(row, column)) + share


def _latency(size: int) -> Callable[[Row], str]:
    return lambda row: milliseconds(number(row, f"latency_ms_batch_{size}"))


def _speed(size: int) -> Callable[[Row], str]:
    """HTML; integers that were only simulated say so, since they are slower than floating point."""

    def show(row: Row) -> str:
        ratio, low, high = (number(row, f"speedup{end}_batch_{size}") for end in ("", "_low", "_high"))
        if math.isnan(ratio):
            return MISSING
        notes = [] if math.isnan(low) else [f"{low:.2f} to {high:.2f}"]
        if row.get("latency_arithmetic") == "simulated":
            notes.append("simulated")
        return f"{ratio:.2f}" + "".join(f" <small>{note}</small>" for note in notes)

    return show
