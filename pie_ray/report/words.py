"""Numbers as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

MISSING = "–"


def percent(fraction: float, decimals: int = 1) -> str:
    return MISSING if math.isnan(fraction) else f"{100 * fraction:.{decimals}f} %"


def points(fraction: float, decimals: int = 1) -> str:
    """A difference of two fractions in percentage points, with its sign; a true minus, as figures have it."""
    if math.isnan(fraction):
        return MISSING
    text = f"{100 * fraction:+.{decimals}f}".replace("-", "−")
    return text if float(text[1:]) else f"±{text[1:]}"


def relative(change: float, decimals: int = 1) -> str:
    """A change as a share of what it was, in percent, with its sign."""
    return MISSING if math.isnan(change) else f"{points(change, decimals)} %"


def with_spread(fraction: float, deviation: float) -> str:
    """HTML: a percentage, and its standard deviation where there is one."""
    spread = "" if math.isnan(deviation) else f" <small>± {100 * deviation:.2f}</small>"
    return percent(fraction, 2) + spread


def with_interval(change: float, low: float, high: float, decimals: int = 1) -> str:
    """HTML: a change in points, and its interval where there is one."""
    if math.isnan(low) or math.isnan(high):
        return points(change, decimals)
    return f"{points(change, decimals)} <small>{points(low, decimals)} to {points(high, decimals)}</small>"


def plain(value: float, decimals: int = 3) -> str:
    """A number that is no percentage; a true minus, as figures have it."""
    return MISSING if math.isnan(value) else f"{value:.{decimals}f}".replace("-", "−")


def p_value_text(value: float) -> str:
    if math.isnan(value):
        return MISSING
    return f"{value:.2g}" if value >= 1e-3 else f"{value:.0e}".replace("-", "−")


def unbroken(html: str) -> str:
    """A sentence whose numbers stay with their per cent signs where lines break."""
    return re.sub(r"(?<=\d) %", "\u00a0%", html)


def listed(names: Sequence[str], most: int = 5) -> str:
    """`a, b and c`; of many the first ones, and how many more there are."""
    shown, num_more = list(names[:most]), len(names) - most
    if num_more > 0:
        return f"{', '.join(shown)} and {num_more} more"
    return " and ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part)


def count(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:,.0f}"


def file_size(num_bytes: float) -> str:
    if math.isnan(num_bytes):
        return MISSING
    if num_bytes < 1000:
        return f"{num_bytes:.0f} B"
    power = min(int(math.log10(num_bytes) // 3), 3)
    return f"{num_bytes / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def quantity(value: float) -> str:
    """A large number in three digits: 5.14 k, 11.2 M, 1.81 G."""
    if math.isnan(value):
        return MISSING
    value = float(f"{value:.3g}")
    power = min(int(math.log10(value) // 3), 4) if value >= 1000 else 0
    return f"{value / 1000**power:.3g} {('', 'k', 'M', 'G', 'T')[power]}".rstrip()


def milliseconds(value: float) -> str:
    """In three digits, without the unit: 0.110, 2.10, 101, 1,480."""
    if math.isnan(value):
        return MISSING
    decimals = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{decimals}f}"


def plural(number_of: float, noun: str, nouns: str = "") -> str:
    return f"{count(number_of)} {noun if number_of == 1 else nouns or noun + 's'}"
