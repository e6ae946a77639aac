"""The trial: a few packs of members, one after the other, in an actor that is used again for the next trial.

No torch in here: what completes members is handed in, and loads what it needs when the first is due.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from ray import tune

from ..config import Recipe
from ..errors import CompressionError, DataError, ModelError, NonFiniteLossError, PieRayError, StorageError
from ..identity import Pack, make_plan
from ..records import MemberRecord
from ..store import Sink, Storage, complete_record, read_manifest
from .sink import ActorSink

HOPELESS = (NonFiniteLossError, CompressionError, DataError, ModelError)
"""Errors that another attempt would only repeat: the member's bits are decided by its recipe."""

Results = Mapping[str, MemberRecord | PieRayError]
"""Of a pack, by member id: its record, or one of the hopeless errors."""

Complete = Callable[[Pack], Results]
"""Brings a pack of members to completion; whatever it raises is tried again."""

OpenBench = Callable[[Recipe, Storage, Sink], Complete]
"""Loads in a trial's process what its members need."""


@dataclass(frozen=True)
class Shared:
    """What the driver hands to every trial actor."""

    recipe: Recipe
    storage: Storage
    writers: tuple[Any, ...]
    search_path: str
    """The driver's working directory, where `module:function` networks are looked for too."""
    open_bench: OpenBench


class MemberTrainable(tune.Trainable):
    """One step brings one pack of members to completion and returns their records."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:
        if os.path.isdir(shared.search_path) and shared.search_path not in sys.path:
            sys.path.append(shared.search_path)
        self.specs = {spec.member_id: spec for spec in make_plan(shared.recipe).members}
        self.shared = shared
        self.bench: _Bench | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, Any]:
        packs = self.config["packs"]
        pack = tuple(self.specs[member_id] for member_id in packs[self.iteration])
        is_last = self.iteration + 1 == len(packs)
        # Loaded here and not in setup: an error in setup would kill the actor without naming the members' trouble.
        try:
            self.bench = self.bench or _Bench(self.shared)
            results = self.bench.complete(pack)
        except StorageError as error:
            return {"done": True, "storage_failure": str(error)}
        except HOPELESS as error:
            results = {spec.member_id: error for spec in pack}
        return {"done": is_last, **_told(results)}


@final
class _Bench:
    """Where a process completes its members."""

    def __init__(self, shared: Shared) -> None:
        self.storage = shared.storage
        self.suites = tuple(read_manifest(shared.storage).suites)
        self._complete = shared.open_bench(shared.recipe, shared.storage, ActorSink(list(shared.writers)))

    def complete(self, pack: Pack) -> dict[str, MemberRecord | PieRayError]:
        """Members that are complete already, from an attempt whose end no one heard of, are only read again."""
        there = {spec.member_id: complete_record(self.storage, spec, self.suites) for spec in pack}
        results: dict[str, MemberRecord | PieRayError] = {key: record for key, record in there.items() if record}
        missing = tuple(spec for spec in pack if spec.member_id not in results)
        return results | dict(self._complete(missing)) if missing else results


def _told(results: Results) -> dict[str, dict[str, str]]:
    """Results as texts, which Tune passes on as they are."""
    records = {key: found.model_dump_json() for key, found in results.items() if isinstance(found, MemberRecord)}
    errors = {key: f"{type(found).__name__}: {found}" for key, found in results.items() if key not in records}
    return {"records": records, "errors": errors}
