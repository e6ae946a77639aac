"""Which evaluation sets a study makes predictions on: the only place that says so."""

from __future__ import annotations

from collections.abc import Mapping

from .data import ImageSet, Splits

Suites = Mapping[str, Mapping[str, ImageSet]]
"""Evaluation sets by suite and name."""


def evaluation_suites(splits: Splits) -> Suites:
    """The suites of a study on these splits."""
    return {"clean": {"test": splits.test}}
