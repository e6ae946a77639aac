"""Tables as HTML: a line a row, and below them what their columns mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from .markup import definition_list, folded, scrolled
from .rows import REFERENCE_ID

Row = dict[str, Any]
Column = tuple[str, str, Callable[[Row], str]]
"""Its name, what it means, and what it says of a row."""

_LONG_TABLE = 24
"""Rows from which a table scrolls within itself."""


def table_block(
    rows: Sequence[Row], columns: Sequence[Column], label: str, first: str = "Variant", key: str = "variant_id"
) -> str:
    """A table that scrolls within its box, called `label`, and a list of what its columns mean."""
    table = scrolled(table_of(rows, columns, first, key), label, is_tall=len(rows) >= _LONG_TABLE)
    return table + about_columns(columns)


def table_of(rows: Sequence[Row], columns: Sequence[Column], first: str = "Variant", key: str = "variant_id") -> str:
    """One line a row, headed by its `key`; a column is its name, what it means, and the cell it makes of a row."""
    head = "".join(f"<th{_title(title)}>{escape(name)}</th>" for name, title, _ in columns)
    body = "".join(_table_row(row, key, [cell(row) for _, _, cell in columns]) for row in rows)
    opening = f'<table><thead><tr><th scope="col">{escape(first)}</th>{head}</tr></thead>'
    return f"{opening}<tbody>{body}</tbody></table>"


def about_columns(columns: Sequence[Column]) -> str:
    """What a pointer shows over a heading, for those who have none."""
    meanings = {name: title for name, title, _ in columns if title}
    return folded("What the columns mean", definition_list(meanings, "terms"), "about") if meanings else ""


def line_of(heading: str, cells: Sequence[str]) -> str:
    """A row of a table; the cells are HTML."""
    return f'<tr><th scope="row">{escape(heading)}</th>{_cells(cells)}</tr>'


def _title(title: str) -> str:
    return f' scope="col" title="{escape(title)}"' if title else ' scope="col"'


def _table_row(row: Row, key: str, cells: Sequence[str]) -> str:
    kind = "reference" if row.get("variant_id") == REFERENCE_ID else "variant"
    marked = f' class="{kind}"' if key == "variant_id" else ""
    return f'<tr{marked}><th scope="row">{escape(str(row[key]))}</th>{_cells(cells)}</tr>'


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"<td>{cell}</td>" for cell in cells)
