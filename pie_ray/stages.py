"""The stages that commands and jobs are made of: sweep, analyse, report, track. Each can be run again at any time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from .analysis import Analysis, Results, open_results
from .config import Recipe
from .console import ConsoleObserver, print_plan
from .data import load_splits
from .errors import DataError, StorageError, SweepError
from .identity import MemberSpec, Plan
from .recipe import dump_recipe
from .reporting import logged_metrics, table_artifacts, write_report
from .store import Storage, hold_lease, remove_leftovers
from .study import Study, begin, design, is_begun
from .tracking import SweepInfo, Tracker, TrackingOutcome, make_tracker

SECONDS_FOR_THE_END = 10.0
"""A sweep that ends waits no longer for its storage to say how it ended."""


def sweep(recipe: Recipe, console: Console, *, address: str | None = None, verbose: bool = False) -> Storage:
    """Train and derive every missing member; returns the results folder.

    Raises InputError for what the user can mend, SweepError naming members that kept failing,
    KeyboardInterrupt where the sweep was stopped.
    """
    study = design(recipe)
    if is_begun(study) and not open_results(study.storage).missing:
        _complete(study, console, address, verbose)
        return study.storage
    with hold_lease(study.storage, lambda text: console.print(escape(text), soft_wrap=True)):
        remove_leftovers(study.storage)
        begin(study)
        _complete(study, console, address, verbose)
    return study.storage


def _complete(study: Study, console: Console, address: str | None, verbose: bool) -> None:
    print_plan(console, study)
    results = reopen_results(study.storage, study.recipe)
    tracker = start_tracker(results)
    for record in results.records:
        tracker.log_member(record)
    if not results.missing:
        console.print(f"All {len(study.plan.members)} members are complete: nothing to train.")
        _finish_tracking(tracker, results, console)
        return
    try:
        _sweep_missing(study, list(results.manifest.suites), console, tracker, address, verbose)
    finally:
        # Where the storage failed the sweep, what is known of it must do.
        with suppress(StorageError):
            results = open_results(study.storage.with_patience(SECONDS_FOR_THE_END))
        _finish_tracking(tracker, results, console)


def reopen_results(storage: Storage, recipe: Recipe) -> Results:
    """The results of a recipe that is at hand: the one that lies with them has no credentials in its addresses."""
    results = open_results(storage)
    return replace(results, recipe=results.recipe.model_copy(update={"execution": recipe.execution}))


def _sweep_missing(
    study: Study, suites: Sequence[str], console: Console, tracker: Tracker, address: str | None, verbose: bool
) -> None:
    from .cluster.local import ray_session

    with ray_session(address, verbose=verbose) as is_private:
        from .cluster.capacity import check_fits
        from .cluster.sweep import run_sweep

        check_fits(study.recipe.execution, is_private=is_private)
        with ConsoleObserver(console, on_done=tracker.log_member) as observer:
            outcome = run_sweep(study.recipe, study.plan, study.storage, suites, observer)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.failed or outcome.unreachable:
        raise SweepError(_failures(study.plan, outcome.failed, outcome.unreachable))


def _failures(plan: Plan, failed: dict[str, str], unreachable: Sequence[MemberSpec]) -> str:
    lines = [f"{len(failed) + len(unreachable)} of {len(plan.members)} members failed; the others are complete"]
    lines += [
        f"  {spec.variant_id} seed {spec.seed}: {failed[spec.member_id]}"
        for spec in plan.members
        if spec.member_id in failed
    ]
    lines += [f"  {spec.variant_id} seed {spec.seed}: its parent failed" for spec in unreachable]
    return "\n".join([*lines, "The same command tries them again."])


# ------------------------------------------------------------------------------------------------------- report


def report(results: Results, analysis: Analysis, console: Console) -> dict[str, bytes]:
    """Write the report with pictures of the most forgotten examples, where this machine has the images."""
    return write_report(results, analysis, _thumbnails(results, analysis, console))


def _thumbnails(results: Results, analysis: Analysis, console: Console) -> dict[int, bytes]:
    from .report import gallery, rows
    from .report.pictures import encode_png

    wanted = gallery.pictured_examples(analysis.pies, rows.main_set(analysis.summary))
    try:
        images = load_splits(results.recipe.data, results.recipe.execution.cache).test
    except DataError as error:
        console.print(f"[yellow]The report has no pictures:[/] {escape(str(error))}")
        return {}
    places = np.searchsorted(images.example_ids, wanted)
    return {
        int(example_id): encode_png(images.images[place].numpy())
        for example_id, place in zip(wanted, places, strict=True)
    }


# --------------------------------------------------------------------------------------------------------- track


def start_tracker(results: Results) -> Tracker:
    """The recipe's tracker, told of the sweep; an sqlite file beside the sweeps serves where none is named."""
    recipe = results.recipe
    location = os.path.dirname(results.storage.uri) if results.storage.is_local else "."
    tracker = make_tracker(recipe.execution.tracking, default_uri=f"sqlite:///{location}/mlflow.db")
    tracker.start(
        SweepInfo(
            name=recipe.name,
            sweep_id=results.plan.sweep_id,
            params=_flatten(recipe.model_dump(mode="json", exclude={"execution"})),
            recipe_text=dump_recipe(recipe),
            num_members=len(results.plan.members),
            results=results.storage.uri,
        )
    )
    return tracker


def track(
    results: Results, analysis: Analysis | None, artifacts: dict[str, bytes], console: Console
) -> TrackingOutcome:
    """Hand everything there is to the tracker; what it has already is not logged again."""
    tracker = start_tracker(results)
    for record in results.records:
        tracker.log_member(record)
    if analysis is None:
        tracker.log_analysis({}, artifacts)
    else:
        tracker.log_analysis(logged_metrics(analysis), table_artifacts(analysis) | artifacts)
    return _finish_tracking(tracker, results, console)


def _finish_tracking(tracker: Tracker, results: Results, console: Console) -> TrackingOutcome:
    num_done, num_members = len(results.found.records), len(results.plan.members)
    outcome = tracker.finish("incomplete" if results.missing else "complete", f"{num_done} of {num_members} members")
    if not outcome.ok:
        console.print(f"[yellow]{escape(outcome.message)}")
    return outcome


def _flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """`training.epochs` -> `4`, for every leaf of a recipe."""
    if isinstance(value, dict):
        items = [(f"{prefix}.{key}" if prefix else str(key), part) for key, part in value.items()]
        return {name: text for key, part in items for name, text in _flatten(part, key).items()}
    return {prefix: str(value)}
