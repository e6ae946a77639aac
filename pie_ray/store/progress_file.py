"""What a sweep's driver writes down of its progress; whoever watches reads it."""

from __future__ import annotations

from pydantic import ValidationError

from ..progress import SweepProgress
from . import paths
from .storage import Storage


def write_progress(storage: Storage, progress: SweepProgress) -> None:
    storage.write_bytes(paths.PROGRESS, progress.model_dump_json(indent=2).encode() + b"\n")


def read_progress(storage: Storage) -> SweepProgress | None:
    """None where there is none that this version understands: the members' own files are the truth."""
    try:
        return SweepProgress.model_validate_json(storage.read_bytes(paths.PROGRESS))
    except (FileNotFoundError, ValidationError):
        return None
