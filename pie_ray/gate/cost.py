"""What the gate measures of size, and of how many members there are."""

from __future__ import annotations

from collections.abc import Iterator

from ..report.words import count, file_size, milliseconds, percent, plural
from ..variants import REFERENCE_ID
from .case import Case, Measured
from .policy import LatencyLimit

_NO_CHECKPOINTS = "there are no checkpoints of ours: predictions made elsewhere come without them"
_NOT_COMPRESSED = (
    "no compressed size is in the tables: the members are older than it, or their checkpoints are not ours"
)


def checkpoint_bytes(case: Case, limit: object) -> Iterator[Measured]:
    """Mean size of a checkpoint."""
    yield Measured(case.number("checkpoint_bytes_mean", _NO_CHECKPOINTS), "mean size of a checkpoint")


def size_ratio(case: Case, limit: object) -> Iterator[Measured]:
    """The same over the reference's."""
    before = case.reference_number("checkpoint_bytes_mean", _NO_CHECKPOINTS)
    after = case.number("checkpoint_bytes_mean", _NO_CHECKPOINTS)
    yield Measured(after / before, f"mean checkpoint {file_size(before)} → {file_size(after)}")


def compressed_ratio(case: Case, limit: object) -> Iterator[Measured]:
    """Bytes of a checkpoint after zstd, over the reference's."""
    ratio = case.cost("relative_compressed_bytes", _NOT_COMPRESSED)
    size = case.cost("compressed_bytes", _NOT_COMPRESSED)
    yield Measured(ratio, f"mean checkpoint after zstd {file_size(size / ratio)} → {file_size(size)}")


def latency_ratio(case: Case, limit: LatencyLimit) -> Iterator[Measured]:
    """Latency over the reference's in float32, in the same rounds."""
    end, images = f"batch_{limit.batch_size}", plural(limit.batch_size, "image")
    why = (
        f"no latency of a batch of {images} is in the tables: "
        f"`pie-ray cost RESULTS --batch {limit.batch_size}` measures it"
    )
    speedup = case.cost(f"speedup_{end}", why)
    before, after = (case.cost(f"{who}latency_ms_{end}", why) for who in ("reference_", ""))
    threads = plural(case.cost("num_threads", why), "thread")
    yield Measured(1 / speedup, f"{images} in {milliseconds(before)} → {milliseconds(after)} ms on {threads}")


def sparsity(case: Case, limit: object) -> Iterator[Measured]:
    """Measured share of weights that are zero, or gone with their channels, in the prunable layers."""
    found = case.number("achieved_sparsity_mean", _NO_CHECKPOINTS)
    yield Measured(found, f"{percent(found, 2)} of the weights are zero or gone")


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
