"""Figures and names of the gate as people read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..report.words import count, file_size, percent

Unit = Literal["count", "fraction", "ratio", "bytes"]

_MOST_DECIMALS = 6
_LONGEST_NAME = 60

_FORMS: dict[Unit, Callable[[float, int], str]] = {
    "count": lambda value, decimals: count(value),
    # Adding 0 makes 0 of a -0 that rounding leaves.
    "fraction": lambda value, decimals: percent(round(value, decimals + 2) + 0.0, decimals).replace("-", "−"),
    "ratio": lambda value, decimals: f"{value:.{max(decimals, 3)}f}",
    "bytes": lambda value, decimals: file_size(value) if decimals < _MOST_DECIMALS else f"{value:,.0f} B",
}


def figure(value: float, unit: Unit, decimals: int) -> str:
    """A figure with its unit, fractions in percent."""
    return _FORMS[unit](value, decimals)


def decimals_between(first: float, second: float, unit: Unit) -> int:
    """Decimals, two or more, with which two figures that differ look different."""
    enough = (d for d in range(2, _MOST_DECIMALS) if figure(first, unit, d) != figure(second, unit, d))
    return next(enough, _MOST_DECIMALS)


def one_line(text: str) -> str:
    """Without line breaks and other characters that are not to be seen, which no format of ours should pass on."""
    return "".join(character if character.isprintable() else " " for character in text)


def name(text: object) -> str:
    """A class, group, key or set from data, on one line and not too long."""
    shown = one_line(str(text))
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"


def moved(before: float, after: float) -> str:
    """`91.20 % → 80.10 %`."""
    return f"{percent(before, 2)} → {percent(after, 2)}"
