"""What an onlooker finds out about a sweep from its results folder: reads a few files, writes none, asks no Ray."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Thread
from typing import Literal

import pandas as pd

from ..analysis import Results, open_results
from ..errors import StoreError
from ..progress import SweepProgress, variants_progress
from ..store import Sighting, Storage, find_driver, paths, read_progress, read_table

Seen = Literal["running", "complete", "incomplete", "failed", "stopped", "lost"]
"""States of a sweep, and `lost`: its driver ended without a word."""

SECONDS_TO_ANSWER = 3.0
"""How long a list of jobs waits for the storages of their results."""


@dataclass(frozen=True)
class SweepStatus:
    """A sweep at one moment."""

    name: str
    results: str
    state: Seen
    progress: SweepProgress
    driver: Sighting | None
    """Who drives it, or whose driving ended without a word."""


@dataclass(frozen=True)
class LastAnalysis:
    """The table by variant of the last analysis, and how many members it knew."""

    summary: pd.DataFrame
    written_at: datetime
    num_members: int


def look(storage: Storage) -> SweepStatus:
    """What goes on in a results folder.

    A driver that lives is believed; of every other sweep the members' own files say what is complete. Raises
    StoreError where there is no sweep, StorageError where the storage does not answer.
    """
    driver, progress = find_driver(storage), read_progress(storage)
    state: Seen = "running"
    if driver is None or not driver.lives:
        results = open_results(storage)
        state = _state(results, progress, is_lost=driver is not None)
        progress = _corrected(progress or _counted(results), results)
    elif progress is None or progress.state != "running":
        # It has just begun, or its pie_ray writes no progress.
        progress = _counted(open_results(storage))
    return SweepStatus(storage.place[1], storage.uri, state, progress, driver)


def _state(results: Results, progress: SweepProgress | None, *, is_lost: bool) -> Seen:
    if results.is_complete:
        return "complete"
    if is_lost or (progress is not None and progress.state == "running"):
        return "lost"
    return "incomplete" if progress is None or progress.state == "complete" else progress.state


def _counted(results: Results) -> SweepProgress:
    """The progress of a sweep that has told none."""
    begun = results.manifest.created
    variants = variants_progress(results.plan, results.found.records)
    return SweepProgress(
        state="running",
        started_at=begun,
        updated_at=begun,
        num_members=len(results.plan.members),
        num_members_at_most=results.num_members_at_most,
        num_done=len(results.found.records),
        variants=variants,
    )


def _corrected(told: SweepProgress, results: Results) -> SweepProgress:
    """What a driver told last, with the members that are there now."""
    found = _counted(results)
    changes = {"num_members": found.num_members, "num_done": found.num_done, "variants": found.variants}
    changes |= {"num_members_at_most": found.num_members_at_most}
    changes |= {"num_running": 0, "images": None, "seconds_left": None, "cluster": None}
    if results.is_complete:
        return told.model_copy(update=changes | {"num_failed": 0, "note": ""})
    failed = {variant_id: variant.num_failed for variant_id, variant in told.variants.items()}
    changes["variants"] = {
        variant_id: variant.model_copy(update={"num_failed": failed.get(variant_id, 0)})
        for variant_id, variant in found.variants.items()
    }
    return told.model_copy(update=changes)


def progress_of(addresses: Iterable[str]) -> dict[str, SweepProgress]:
    """What the drivers of running sweeps have told, by address of the results; those that answer soon."""
    told: dict[str, SweepProgress] = {}

    def ask(address: str) -> None:
        with suppress(StoreError):
            progress = read_progress(Storage(address))
            if progress is not None and progress.state == "running":
                told[address] = progress

    # Daemons: a process must be able to end while a far storage still keeps them waiting.
    threads = [Thread(target=ask, args=(address,), daemon=True) for address in set(addresses)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(told)


def last_analysis(storage: Storage) -> LastAnalysis | None:
    """None where the sweep was not analysed yet."""
    written = storage.list_times("analysis").get(paths.table("summary"))
    if written is None:
        return None
    try:
        summary = read_table(storage, "summary").to_pandas()
    except StoreError:  # of another version, or damaged: an analysis writes it anew
        return None
    first = summary[summary["evaluation_set"] == summary["evaluation_set"].iloc[0]]
    return LastAnalysis(first, datetime.fromtimestamp(written, UTC), int(first["num_members"].sum()))
