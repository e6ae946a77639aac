"""What an evaluation set's name says of it.

`corruption/<corruption>/<severity>` are corrupted images, `natural/<suite>` others that nobody corrupted. The rest are
plain sets; one of those is the clean one, which the others are held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Literal

from ..config import CORRUPTION_FAMILIES, TEST

Kind = Literal["corruption", "natural", ""]
"""Empty for plain sets."""

CORRUPTION: Kind = "corruption"
NATURAL: Kind = "natural"
EXTRA = "extra"
"""The family of corruptions that are not among the 15 common ones of ImageNet-C."""

_FAMILY_OF = {corruption: family for family, corruptions in CORRUPTION_FAMILIES.items() for corruption in corruptions}


@dataclass(frozen=True)
class SetKind:
    """One evaluation set, as its name describes it."""

    name: str
    kind: Kind
    family: str = ""
    """Of a corruption: noise, blur, weather, digital, or extra; else empty."""
    corruption: str = ""
    severity: float = nan

    @property
    def is_shifted(self) -> bool:
        """Whether it is there to be held against the clean set."""
        return bool(self.kind)

    @property
    def is_common(self) -> bool:
        """Whether its corruption is one of the 15 that mCE is defined over (arXiv 1903.12261)."""
        return self.kind == CORRUPTION and self.family != EXTRA


def kind_of(name: str) -> SetKind:
    """Parse a name. A corruption that ImageNet-C has not is an extra one; a severity that is no number is NaN."""
    kind, _, rest = name.partition("/")
    if kind == NATURAL and rest:
        return SetKind(name, NATURAL)
    if kind != CORRUPTION or not rest:
        return SetKind(name, "")
    corruption, _, severity = rest.partition("/")
    return SetKind(name, CORRUPTION, _FAMILY_OF.get(corruption, EXTRA), corruption, _number(severity))


def clean_set(names: Sequence[str]) -> str | None:
    """`test` where there is one, else the first plain set; None where there are none."""
    plain = [name for name in names if not kind_of(name).is_shifted]
    return TEST if TEST in plain else next(iter(plain), None)


def severity_name(severity: float) -> str:
    """`3` rather than `3.0`; empty where it is not known."""
    return "" if isnan(severity) else f"{severity:g}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan
