"""What every tracker does, and what passes in and out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..progress import SweepProgress
from ..records import MemberRecord

Status = Literal["running", "complete", "incomplete", "failed"]
"""`running`: a driver is at work on the sweep elsewhere, and it will say how that ended."""

VariantMetrics = Mapping[str, Mapping[str, float]]
"""Variant id -> name -> value."""


@dataclass(frozen=True)
class TrackedVariant:
    """One compression setting of a sweep; without pruning and quantization it is the reference."""

    variant_id: str
    num_members: int
    pruning: str | None = None
    """Its method, with scope and what it begins with: `magnitude`, `magnitude_global_pt`, `one_shot_ft`."""
    sparsity: float = 0.0
    quantization: str | None = None
    arithmetic: str | None = None
    """How its members compute; None before the first is made."""
    loss: str | None = None
    """Id of the label-preserving loss; None is the plain one."""
    is_quantization_aware: bool = False
    """Whether it was trained on with its quantization's rounding."""


@dataclass(frozen=True)
class TrackedDataset:
    """Images that a sweep trains or evaluates on."""

    name: str
    digest: str
    """Fingerprint of images and labels."""
    context: Literal["train", "test"]
    source: str
    """A path or an address, or what makes the images."""
    num_examples: int | None = None
    num_classes: int | None = None
    image_shape: tuple[int, ...] = ()
    """Channels, height, width."""


@dataclass(frozen=True)
class SweepInfo:
    """A sweep as a tracker shows it; the same `sweep_id` and `name` continue what was logged before."""

    name: str
    sweep_id: str
    params: Mapping[str, str]
    """The recipe, flattened: `training.epochs` -> `30`."""
    tags: Mapping[str, str] = field(default_factory=dict)
    recipe_text: str = ""
    num_members: int = 0
    results: str = "RESULTS"
    """Where the results lie; named in the command that completes the log later."""
    variants: tuple[TrackedVariant, ...] = ()
    """The reference first."""
    datasets: tuple[TrackedDataset, ...] = ()


@dataclass(frozen=True)
class NetworkFiles:
    """A trained network as files that `loader_module._load_pyfunc(folder)` makes a predictor of."""

    loader_module: str
    files: Mapping[str, bytes]
    example: Any
    """A few images as it takes them: a numpy array, uint8 [n, channels, height, width]."""
    num_outputs: int
    requirements: tuple[str, ...]
    """What pip must install where it is loaded."""


@dataclass(frozen=True)
class TrackedNetwork:
    """A variant's best member; `files` is called when they are needed, and may raise PieRayError."""

    variant_id: str
    member_id: str
    seed: int
    top1: float
    files: Callable[[], NetworkFiles]


@dataclass(frozen=True)
class TrackingOutcome:
    """How much of what was handed over is logged; `ok` where all of it is."""

    ok: bool
    num_logged: int
    """Members handed over that the tracker now has, whether logged this time or before."""
    num_pending: int
    """Members handed over that it does not have."""
    message: str
    ui_hint: str = ""
    """How a person looks at it: an address or a command."""


class Tracker(Protocol):
    """Called by the driver in this order; no call raises, and only `finish` may wait, for a bounded time."""

    def start(self, sweep: SweepInfo) -> None: ...

    def log_member(self, record: MemberRecord) -> None: ...

    def log_progress(self, progress: SweepProgress) -> None:
        """Show how far the sweep is; only the latest counts."""

    def log_analysis(self, metrics: VariantMetrics, artifacts: Mapping[str, bytes]) -> None:
        """Log a handful of figures a variant, and files by the path they get; what is there already is replaced."""

    def log_network(self, network: TrackedNetwork) -> None:
        """Keep a variant's best member where others can load it."""

    def finish(self, status: Status, message: str) -> TrackingOutcome: ...
