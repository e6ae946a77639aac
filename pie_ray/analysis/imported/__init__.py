"""Bring your own predictions: what any framework predicted, from Parquet or CSV to the same tables as a sweep's."""

from __future__ import annotations

from .opening import open_predictions
from .predictions import ImportedPredictions

__all__ = ["ImportedPredictions", "open_predictions"]
