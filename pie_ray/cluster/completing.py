"""What a trial's process does for its members: loads the data once, then brings pack after pack to completion."""

from __future__ import annotations

from contextlib import suppress

import torch

from ..config import Recipe
from ..data import load_splits_of_sweep
from ..identity import Pack
from ..member import run_member, run_members
from ..store import Sink, Storage, read_manifest
from ..workplace import Workplace
from .sink import WriterLostError
from .teams import ActorHelpers
from .trainable import HOPELESS, Complete, Results

NUM_WRITER_LOSSES = 3
"""Deaths of its writer that a pack survives without being counted as failed."""


def open_workplace(recipe: Recipe, storage: Storage, sink: Sink) -> Workplace:
    """Load the data in this process, whose torch gets as many threads as a member has processors.

    Raises DataError where this node's images are not those that the results folder was begun with.
    """
    torch.set_num_threads(recipe.execution.cpus_per_member)
    splits = load_splits_of_sweep(recipe.data, recipe.execution.cache, read_manifest(storage).fingerprint)
    helpers = ActorHelpers(recipe, storage) if recipe.training.num_processes > 1 else None
    return Workplace(recipe=recipe, splits=splits, storage=storage, sink=sink, helpers=helpers)


def open_bench(recipe: Recipe, storage: Storage, sink: Sink) -> Complete:
    """What completes members for real. Raises what `open_workplace` does."""
    workplace = open_workplace(recipe, storage, sink)

    def complete(pack: Pack) -> Results:
        # Where a writer dies no member is to blame: they predict again, from their checkpoints.
        for _ in range(NUM_WRITER_LOSSES):
            with suppress(WriterLostError):
                return _run(pack, workplace)
        return _run(pack, workplace)

    return complete


def _run(pack: Pack, workplace: Workplace) -> Results:
    if len(pack) > 1:
        return run_members(pack, workplace)
    (spec,) = pack
    try:
        return {spec.member_id: run_member(spec, workplace)}
    except HOPELESS as error:
        return {spec.member_id: error}
