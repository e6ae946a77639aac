"""The trial: one member at a time in an actor that is used again for the next."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from ray import tune

from ..config import Recipe
from ..data import load_splits_of_sweep
from ..errors import CompressionError, DataError, ModelError, NonFiniteLossError, StorageError
from ..identity import MemberSpec, make_plan
from ..member import run_member
from ..records import MemberRecord
from ..store import Storage, read_manifest
from ..workplace import Workplace
from .sink import ActorSink, WriterLostError

HOPELESS = (NonFiniteLossError, CompressionError, DataError, ModelError)
"""Errors that another attempt would only repeat: the member's bits are decided by its recipe."""

NUM_WRITER_LOSSES = 3
"""Deaths of its writer that a member survives without being counted as failed."""


@dataclass(frozen=True)
class Shared:
    """What the driver hands to every trial actor."""

    recipe: Recipe
    storage: Storage
    writers: tuple[Any, ...]
    search_path: str
    """The driver's working directory, where `module:function` networks are looked for too."""


def open_workplace(shared: Shared) -> Workplace:
    """Load the data in this process.

    Raises DataError where this node's images are not those that the results folder was begun with.
    """
    recipe = shared.recipe
    splits = load_splits_of_sweep(recipe.data, recipe.execution.cache, read_manifest(shared.storage).fingerprint)
    return Workplace(recipe=recipe, splits=splits, storage=shared.storage, sink=ActorSink(list(shared.writers)))


class MemberTrainable(tune.Trainable):
    """One step brings one member to completion and returns its record."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:
        torch.set_num_threads(shared.recipe.execution.cpus_per_member)
        if os.path.isdir(shared.search_path) and shared.search_path not in sys.path:
            sys.path.append(shared.search_path)
        self.specs = {spec.member_id: spec for spec in make_plan(shared.recipe).members}
        self.shared = shared
        self.workplace: Workplace | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, Any]:
        # Loaded here and not in setup: an error in setup would kill the actor without naming the member's trouble.
        try:
            if self.workplace is None:
                self.workplace = open_workplace(self.shared)
            record = _run_member(self.specs[self.config["member_id"]], self.workplace)
        except StorageError as error:
            return {"done": True, "storage_failure": str(error)}
        except HOPELESS as error:
            return {"done": True, "error": f"{type(error).__name__}: {error}"}
        return {"done": True, "record": record.model_dump_json()}


def _run_member(spec: MemberSpec, workplace: Workplace) -> MemberRecord:
    """Where a writer dies the member is not to blame: it predicts again, from its checkpoint."""
    for _ in range(NUM_WRITER_LOSSES):
        with suppress(WriterLostError):
            return run_member(spec, workplace)
    return run_member(spec, workplace)
