"""What a study costs before it is made: arithmetic on figures that were measured elsewhere. No torch, no Ray.

Seconds are of one member on the resources that it asks for; bytes are those of files.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .config import Training
from .identity import MemberSpec, Plan
from .variants import GradualPruning, RewindingPruning, RiglPruning, Variant


@dataclass(frozen=True)
class VariantCost:
    """What one member of a variant takes."""

    make_seconds: float
    """To train or to derive it."""
    evaluate_seconds: float
    """To predict with it on all suites, and to write that down."""
    checkpoint_bytes: float

    @property
    def seconds(self) -> float:
        return self.make_seconds + self.evaluate_seconds


@dataclass(frozen=True)
class Costs:
    """What was measured, and on what."""

    by_variant: Mapping[str, VariantCost]
    prediction_bytes: Mapping[str, float]
    """Of one member's file, by suite."""
    record_bytes: float
    measured: str
    """What the figures come from, in words."""
    image_seconds: float = 0.0
    """To make the images of all suites, once."""
    image_bytes: float = 0.0
    num_image_files: int = 0


@dataclass(frozen=True)
class NodeOffer:
    """A kind of node: what one has, how many there may be and what an hour of one costs."""

    name: str
    resources: Mapping[str, float]
    limit: int
    fewest: int = 0
    dollars_per_hour: float | None = None

    def num_slots(self, asked: Mapping[str, float]) -> int:
        """Members at once on one node, each asking for those resources."""
        shares = [self.resources.get(kind, 0.0) / amount for kind, amount in asked.items() if amount > 0]
        # A third of a GPU is no exact number.
        return math.floor(min(shares) + 1e-9) if shares else 0


@dataclass(frozen=True)
class Placement:
    """The study on so many nodes of one kind."""

    node: NodeOffer
    num_nodes: int
    num_slots: int
    """Members at once."""
    wall_seconds: float
    node_hours: float
    """Of the workers."""
    dollars: float | None
    """Of workers and head; None where the price of either is not known."""


@dataclass(frozen=True)
class Stored:
    """Files of one kind."""

    what: str
    num_files: int
    num_bytes: float


@dataclass(frozen=True)
class Estimate:
    """A plan's cost wherever it runs."""

    num_trained: int
    num_derived: int
    member_seconds: float
    """Of all members, one after the other, and of making the suites' images."""
    stored: tuple[Stored, ...]

    @property
    def num_members(self) -> int:
        return self.num_trained + self.num_derived

    @property
    def hours(self) -> float:
        """Of the resources that a member asks for."""
        return self.member_seconds / 3600


def training_epochs(variant: Variant, training: Training) -> int:
    """Passes over the training images that a member is trained for; 0 where it is only converted or cut."""
    pruning = variant.pruning
    if variant.quantization is not None:
        return 0 if variant.quantization_aware is None else variant.quantization_aware.epochs
    if isinstance(pruning, RewindingPruning):
        return training.epochs + pruning.num_rounds * (training.epochs - pruning.rewind_epoch)
    fine_tuning = getattr(pruning, "fine_tuning", None)
    if fine_tuning is not None:
        return int(fine_tuning.epochs)
    return training.epochs if pruning is None or isinstance(pruning, GradualPruning | RiglPruning) else 0


def estimate(plan: Plan, costs: Costs) -> Estimate:
    """What all members of a plan take together."""
    num_trained = sum(spec.variant.trains for spec in plan.members)
    seconds = sum(costs.by_variant[spec.variant_id].seconds for spec in plan.members)
    return Estimate(
        num_trained=num_trained,
        num_derived=len(plan.members) - num_trained,
        member_seconds=seconds + costs.image_seconds,
        stored=_stored(plan, costs),
    )


def _stored(plan: Plan, costs: Costs) -> tuple[Stored, ...]:
    num_members = len(plan.members)
    checkpoints = sum(costs.by_variant[spec.variant_id].checkpoint_bytes for spec in plan.members)
    suites = [
        Stored(f"predictions: {suite}", num_members, num_members * size)
        for suite, size in costs.prediction_bytes.items()
    ]
    images = [Stored("images of suites", costs.num_image_files, costs.image_bytes)] if costs.num_image_files else []
    return (
        Stored("checkpoints", num_members, checkpoints),
        *suites,
        Stored("records", num_members, num_members * costs.record_bytes),
        *images,
    )


def placements(
    plan: Plan,
    costs: Costs,
    node: NodeOffer,
    asked: Mapping[str, float],
    head: NodeOffer | None,
    *,
    num_processes: int = 1,
) -> list[Placement]:
    """The study on 1, 2, 4, ... and the most nodes of a kind; none where a member does not fit them.

    `asked` is what each of a member's processes asks for; they may be on several nodes.
    """
    slots = node.num_slots(asked)
    numbers = sorted({min(2**power, node.limit) for power in range(node.limit.bit_length() + 1)})
    return [
        _placement(plan, costs, node, number, number * slots // num_processes, head)
        for number in numbers
        if number >= max(node.fewest, 1) and number * slots >= num_processes
    ]


def _placement(
    plan: Plan, costs: Costs, node: NodeOffer, num_nodes: int, num_slots: int, head: NodeOffer | None
) -> Placement:
    wall = wall_seconds(plan.members, costs, num_slots)
    hours = wall / 3600
    prices = [node.dollars_per_hour] + ([] if head is None else [head.dollars_per_hour])
    numbers = [num_nodes, 1]
    dollars = (
        None
        if None in prices
        else sum(price * number * hours for price, number in zip(prices, numbers, strict=False) if price is not None)
    )
    return Placement(node, num_nodes, num_slots, wall, num_nodes * hours, dollars)


def wall_seconds(members: Sequence[MemberSpec], costs: Costs, num_slots: int) -> float:
    """How long the members take `num_slots` at a time, in the order of a sweep: the lowest seeds first.

    A member waits for its parent. The images of suites are made before all of them, on all slots.
    """
    planned = {spec.member_id for spec in members}
    children: dict[str, list[MemberSpec]] = defaultdict(list)
    ready: deque[MemberSpec] = deque()
    for spec in sorted(members, key=lambda spec: spec.seed):
        if spec.parent_id in planned:
            children[str(spec.parent_id)].append(spec)
        else:
            ready.append(spec)
    now, number = 0.0, 0
    running: list[tuple[float, int, str]] = []
    while ready or running:
        while ready and len(running) < num_slots:
            spec = ready.popleft()
            number += 1
            heapq.heappush(running, (now + costs.by_variant[spec.variant_id].seconds, number, spec.member_id))
        now, _, ended = heapq.heappop(running)
        ready.extendleft(children.pop(ended, []))
    return now + costs.image_seconds / num_slots
