"""What the names of our own variants say, as `variants.Variant.variant_id` makes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from ...config import QuantizationScheme, Scope
from ...variants import PRUNING_KINDS

_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]\d+)?"
_PRUNING = (
    rf"(?:{'|'.join(PRUNING_KINDS)})(?:_(?:{'|'.join(get_args(Scope))}))?(?:_pt|_ft)?"
    r"-(?:(?P<sparsity>0\.\d{2,})|(?P<num_kept>\d+)of(?P<group>\d+))"
)
_TERM = rf"(?:ce|lp|kd{_NUMBER})"
_LOSS = rf"(?P<loss>{_TERM}(?:_{_TERM})*(?:-(?:learned|softadapt|fixed(?:_{_NUMBER})+))?)"
_QUANTIZATION = rf"(?:qat_)?(?P<scheme>{'|'.join(get_args(QuantizationScheme))})"
_NAMES = (
    re.compile(rf"{_PRUNING}(?:\+{_LOSS})?(?:\+{_QUANTIZATION})?"),
    re.compile(rf"(?:{_LOSS}\+)?{_QUANTIZATION}"),
)


@dataclass(frozen=True)
class OwnName:
    """The parts of a variant that its name tells."""

    sparsity: float
    loss: str | None
    quantization: str | None
    plain_id: str | None
    """The name of the same variant of the plain loss, where there is another loss."""


def read_own_name(name: str) -> OwnName | None:
    """None where the name is none of ours."""
    for pattern in _NAMES:
        if match := pattern.fullmatch(name):
            found = match.groupdict()
            loss = found["loss"]
            plain = None if loss is None else "+".join(filter(None, _around(name, match)))
            return OwnName(_sparsity(found), loss, found["scheme"], plain)
    return None


def _around(name: str, match: re.Match[str]) -> tuple[str, str]:
    """What stands before and after the loss."""
    return name[: match.start("loss")].rstrip("+"), name[match.end("loss") :].lstrip("+")


def _sparsity(found: dict[str, str | None]) -> float:
    if found.get("group"):
        return 1 - int(found["num_kept"] or 0) / int(found["group"] or 1)
    return float(found.get("sparsity") or 0)
