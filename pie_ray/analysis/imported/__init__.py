"""Bring your own predictions: what any framework predicted, from Parquet or CSV to the same tables as a sweep's."""

from __future__ import annotations

from .audit import Audit, AuditedMember, is_audit, open_audit, read_audit, write_audit
from .opening import open_predictions
from .predictions import ImportedPredictions

__all__ = [
    "Audit",
    "AuditedMember",
    "ImportedPredictions",
    "is_audit",
    "open_audit",
    "open_predictions",
    "read_audit",
    "write_audit",
]
