"""What the gate measures of size, and of how many members there are."""

from __future__ import annotations

from collections.abc import Iterator

from ..report.words import count, file_size, percent
from ..variants import REFERENCE_ID
from .case import Case, Measured

_NO_CHECKPOINTS = "there are no checkpoints of ours: predictions made elsewhere come without them"


def checkpoint_bytes(case: Case, limit: object) -> Iterator[Measured]:
    """Mean size of a checkpoint."""
    yield Measured(case.number("checkpoint_bytes_mean", _NO_CHECKPOINTS), "mean size of a checkpoint")


def size_ratio(case: Case, limit: object) -> Iterator[Measured]:
    """The same over the reference's."""
    before = case.reference_number("checkpoint_bytes_mean", _NO_CHECKPOINTS)
    after = case.number("checkpoint_bytes_mean", _NO_CHECKPOINTS)
    yield Measured(after / before, f"mean checkpoint {file_size(before)} → {file_size(after)}")


def sparsity(case: Case, limit: object) -> Iterator[Measured]:
    """Measured share of zero weights in the prunable layers."""
    found = case.number("achieved_sparsity_mean", _NO_CHECKPOINTS)
    yield Measured(found, f"{percent(found, 2)} of the weights are zero")


def members(case: Case, limit: object) -> Iterator[Measured]:
    """Complete members of the smaller of the two populations."""
    found, of_reference = case.num_members(), case.num_members(REFERENCE_ID)
    yield Measured(min(found, of_reference), f"{count(found)} members, {count(of_reference)} of the reference")


def missing_members(case: Case, limit: object) -> Iterator[Measured]:
    """Members of either population that were planned and are not in the tables."""
    mine, reference = case.num_missing(case.variant_id), case.num_missing(REFERENCE_ID)
    told = f"{count(mine)} members of the variant and {count(reference)} of the reference are not in the tables"
    to_do = ": the command that began the sweep goes on, then `pie-ray analyze`" if mine or reference else ""
    yield Measured(mine + reference, told + to_do)
