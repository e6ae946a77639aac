"""The sizes of an adaptive population, beside the results that they were decided by."""

from __future__ import annotations

from pydantic import ValidationError

from ..records import PopulationRecord
from . import paths
from .storage import Storage


def write_population(storage: Storage, record: PopulationRecord) -> None:
    storage.write_bytes(paths.POPULATION, record.model_dump_json(indent=2).encode() + b"\n")


def read_population(storage: Storage) -> PopulationRecord | None:
    """None where there is none that this version understands: its sweep decides anew, from the same predictions."""
    try:
        return PopulationRecord.model_validate_json(storage.read_bytes(paths.POPULATION))
    except (FileNotFoundError, ValidationError):
        return None
