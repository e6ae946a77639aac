"""How long the variants' networks take: one measurement of all of them, written whole."""

from __future__ import annotations

from pydantic import ValidationError

from ..records import LatencyRecord
from . import paths
from .storage import Storage


def write_latency(storage: Storage, record: LatencyRecord) -> None:
    storage.write_bytes(paths.LATENCY, record.model_dump_json(indent=2).encode() + b"\n")


def read_latency(storage: Storage) -> LatencyRecord | None:
    """None where there is none that this version understands: measuring again is cheap."""
    try:
        return LatencyRecord.model_validate_json(storage.read_bytes(paths.LATENCY))
    except (FileNotFoundError, ValidationError):
        return None
