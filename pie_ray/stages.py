"""The stages that commands and jobs are made of: sweep, analyse, report, track. Each can be run again at any time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from .analysis import CORRUPTION, Analysis, Results, kind_of, open_results
from .config import MlflowTracking, Recipe, Suite
from .console import ConsoleObserver, images_progress, population_table, print_plan
from .data import Splits, load_splits, open_suites
from .errors import DataError, StorageError, SweepError
from .identity import MemberSpec, Plan
from .live.keeper import ProgressKeeper
from .live.publisher import ProgressPublisher, settle_progress
from .prepared import PreparedImages
from .progress import Observers, clock
from .recipe import dump_recipe, with_suites
from .records import LatencyRecord
from .reporting import write_report
from .rounds import next_round, reopen_results, run_rounds
from .store import Storage, find_driver, hold_lease, paths, remove_leftovers, write_latency
from .study import Study, begin, design, is_begun
from .tracked import best_networks, default_store, logged_metrics, sweep_info, table_artifacts
from .tracking import Status, Tracker, TrackingOutcome, make_tracker

if TYPE_CHECKING:
    from .cluster.sweep import SweepOutcome

SECONDS_FOR_THE_END = 10.0
"""A sweep that ends waits no longer for its storage to say how it ended."""


def sweep(recipe: Recipe, console: Console, *, address: str | None = None, verbose: bool = False) -> Storage:
    """Train and derive every missing member; returns the results folder.

    Raises InputError for what the user can mend, SweepError naming members that kept failing,
    KeyboardInterrupt where the sweep was stopped.
    """
    study = design(recipe)
    if is_begun(study) and open_results(study.storage).is_complete:
        _complete(study, console, address, verbose)
    else:
        with hold_lease(study.storage, lambda text: console.print(escape(text), soft_wrap=True)) as driver:
            remove_leftovers(study.storage)
            begin(study)
            _complete(study, console, address, verbose, driver=driver.who)
    if recipe.execution.measure_latency:
        _measure_at_the_end(study.storage, console)
    return study.storage


def recipe_with_suites(results: str, suites_file: str | None, overrides: Sequence[str]) -> Recipe:
    """The recipe of a results folder, with the suites of a file beside its own; results go where they lie.

    Raises StoreError where the folder holds no results, RecipeError for the file or the overrides.
    """
    storage = open_results(Storage(results)).storage
    parent, name = storage.place
    where = [f"execution.storage={json.dumps(parent)}", f"name={json.dumps(name)}"]
    return with_suites(storage.read_bytes(paths.RECIPE).decode(), suites_file, [*overrides, *where])


def evaluate(recipe: Recipe, console: Console, *, address: str | None = None, verbose: bool = False) -> Storage:
    """Predict with the members that are trained already on every suite of the recipe that they lack; trains none.

    Returns the results folder. Raises what `sweep` does, and StoreError where there is no such sweep.
    """
    study = design(recipe)
    open_results(study.storage)
    with hold_lease(study.storage, lambda text: console.print(escape(text), soft_wrap=True)) as driver:
        remove_leftovers(study.storage)
        begin(study)
        _complete(study, console, address, verbose, driver=driver.who, trains=False)
    return study.storage


def _complete(
    study: Study, console: Console, address: str | None, verbose: bool, *, driver: str = "", trains: bool = True
) -> None:
    print_plan(console, study)
    results = reopen_results(study.storage, study.recipe)
    tracker, told = start_tracker(results), results.sizes
    for record in results.records:
        tracker.log_member(record)
    if trains and not results.missing_members:
        results = next_round(results, console)
    plan = results.plan if trains else _trained(results, console)
    missing = [spec for spec in plan.members if spec.member_id not in results.found.records]
    keeper = ProgressKeeper(
        results.plan, results.found.records, num_members_at_most=results.num_members_at_most, driver=driver
    )
    if not missing:
        settle_progress(study.storage, keeper)
        console.print(f"All {len(plan.members)} members are complete: nothing to {'train' if trains else 'predict'}.")
        _print_sizes(results, console)
        _finish_tracking(tracker, results, console)
        return
    try:
        with ProgressPublisher(keeper, study.storage, tracker):
            drive = _Drive(study, console, tracker, keeper, address, verbose)
            drive.complete(results, plan, missing, grows=trains and results.sizes is not None)
    finally:
        # Where the storage failed the sweep, what is known of it must do.
        with suppress(StorageError):
            results = open_results(study.storage.with_patience(SECONDS_FOR_THE_END))
        _print_sizes(results, console)
        if results.sizes != told:
            tracker.start(sweep_info(results))  # its variants have grown
        _finish_tracking(tracker, results, console)


def _print_sizes(results: Results, console: Console) -> None:
    """How many members each variant of an adaptive population has, and why no more."""
    if results.sizes is not None:
        console.print()
        console.print(population_table(results.sizes))


def _trained(results: Results, console: Console) -> Plan:
    """The plan without the members that would have to be trained."""
    made = results.found.made
    trained = tuple(s for s in results.plan.members if s.member_id in made and made[s.member_id].checkpoint_bytes)
    num_members = len(results.plan.members)
    if len(trained) < num_members:
        num_untrained = num_members - len(trained)
        console.print(f"[yellow]not trained yet:[/] {num_untrained} of {num_members} members; `pie-ray run` makes them")
    return replace(results.plan, members=trained)


@dataclass(frozen=True)
class _Drive:
    """What a sweep is made with: where it runs, and who hears of it."""

    study: Study
    console: Console
    tracker: Tracker
    keeper: ProgressKeeper
    address: str | None
    verbose: bool

    def complete(self, results: Results, plan: Plan, missing: Sequence[MemberSpec], *, grows: bool) -> None:
        """Complete `missing` of the members in `plan`, which may be a part of the study's.

        With `grows` they are all that `results` lacks, and an adaptive population goes on from them.
        """
        from .cluster.local import ray_session

        with ray_session(self.address, verbose=self.verbose) as is_private:
            from .cluster.capacity import check_fits
            from .cluster.sweep import run_sweep

            recipe = self.study.recipe
            check_fits(recipe.execution, is_private=is_private, num_processes=recipe.training.num_processes)
            _prepare_images(self.study, self.console, self.keeper)
            with ConsoleObserver(self.console, self.keeper, on_done=self.tracker.log_member) as observer:
                observers = Observers(self.keeper, observer)

                def run(plan: Plan, missing: Sequence[MemberSpec]) -> SweepOutcome:
                    return run_sweep(recipe, plan, self.study.storage, missing, observers)

                if grows:
                    plan, outcome = run_rounds(run, results, self.console, self.keeper.grown)
                else:
                    outcome = run(plan, missing)
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.failed or outcome.unreachable:
            raise SweepError(_failures(plan, outcome.failed, outcome.unreachable))


def _prepare_images(study: Study, console: Console, keeper: ProgressKeeper) -> None:
    """Make the images of evaluation sets that the storage lacks: once, for all members and sweeps."""
    sets = [images for suite in study.suites.values() for images in suite if not images.is_in_memory]
    if not sets:
        return
    from .cluster.preparation import prepare_images

    prepared = PreparedImages(study.recipe.execution)
    prepared.remove_leftovers()
    missing = prepared.missing(sets)
    if missing:
        with images_progress(console, sets, missing, keeper) as on_part:
            prepare_images(study.recipe, missing, on_part)
    else:
        console.print(f"The images of {len(sets)} further evaluation sets are there.")


def _failures(plan: Plan, failed: dict[str, str], unreachable: Sequence[MemberSpec]) -> str:
    lines = [f"{len(failed) + len(unreachable)} of {len(plan.members)} members failed; the others are complete"]
    lines += [
        f"  {spec.variant_id} seed {spec.seed}: {failed[spec.member_id]}"
        for spec in plan.members
        if spec.member_id in failed
    ]
    lines += [f"  {spec.variant_id} seed {spec.seed}: its parent failed" for spec in unreachable]
    return "\n".join([*lines, "The same command tries them again."])


# --------------------------------------------------------------------------------------------------------- cost


def _measure_at_the_end(storage: Storage, console: Console) -> None:
    """Measure latencies unless they are there, of the same members; a failure is a line, and none of the sweep."""
    from .latency import is_measured

    try:
        results = open_results(storage)
        if not is_measured(results):
            measure_costs(results, console)
    except Exception as error:  # whatever a network's own code raises, too
        console.print(f"[yellow]Latencies were not measured:[/] {escape(str(error))}", soft_wrap=True)


def measure_costs(results: Results, console: Console, **options: Any) -> None:
    """Measure how long each variant's network takes, all of them together, and keep it with the results.

    `options` are those of `latency.measure_latency`, which says what is raised.
    """
    from .latency import measure_latency, members_to_measure

    num_variants = len(members_to_measure(results))
    with console.status(f"Measuring how long the networks of {num_variants} variants take"):
        record = measure_latency(results, **options)
    write_latency(results.storage, record)
    threads = "1 thread" if record.num_threads == 1 else f"{record.num_threads} threads"
    console.print(
        f"Measured the latency of {num_variants} variants on {threads} in {clock(record.seconds)}{_left_out(record)}.",
        highlight=False,
        soft_wrap=True,
    )


def _left_out(record: LatencyRecord) -> str:
    sizes = ", ".join(f"{size:,}" for size in record.left_out)
    return f", without batches of {sizes}, which take longer: `pie-ray cost --seconds`" if sizes else ""


# ------------------------------------------------------------------------------------------------------- report


def report(results: Results, analysis: Analysis, console: Console) -> dict[str, bytes]:
    """Write the report, with pictures of the most forgotten examples and of each corruption where the images are."""
    thumbnails: dict[int, bytes] = {}
    samples = None
    try:
        splits = load_splits(results.recipe.data, results.recipe.execution.cache)
        thumbnails = thumbnails_of(splits, analysis)
        samples = samples_of(results.recipe.evaluation.suites, splits)
    except DataError as error:
        which = "pictures of corruptions" if thumbnails else "pictures"
        console.print(f"[yellow]The report has no {which}:[/] {escape(str(error))}")
    return write_report(results, analysis, thumbnails, samples, dump_recipe(results.recipe))


def thumbnails_of(splits: Splits, analysis: Analysis) -> dict[int, bytes]:
    """Pictures by example id, of as many test images as the page has room for."""
    from .report import cards, rows
    from .report.pictures import thumbnails_within

    images = splits.test
    place_of = {int(example_id): place for place, example_id in enumerate(images.example_ids)}
    wanted = cards.picture_order(analysis.pies, rows.main_set(analysis.summary)).tolist()
    return thumbnails_within(wanted, lambda example_id: images.images[place_of[example_id]].numpy())


def samples_of(suites: Mapping[str, Suite], splits: Splits) -> bytes | None:
    """The first image of every corrupted set, in one picture; None where there are no such sets."""
    from .report.samples import CLEAN, sample_grid

    pictures = {}
    for sets in open_suites(suites, splits).values():
        for images in sets:
            kind = kind_of(images.name)
            if kind.kind == CORRUPTION:
                pictures[kind.corruption, int(kind.severity)] = images.read(0, 1)[0].transpose(1, 2, 0)
                place = np.flatnonzero(splits.test.example_ids == images.example_ids[0])
                if len(place):
                    pictures[CLEAN] = splits.test.images[int(place[0])].numpy().transpose(1, 2, 0)
    return sample_grid(pictures) if pictures else None


# --------------------------------------------------------------------------------------------------------- track


def start_tracker(results: Results) -> Tracker:
    """The recipe's tracker, told of the sweep."""
    tracker = make_tracker(results.recipe.execution.tracking, default_uri=default_store(results))
    tracker.start(sweep_info(results))
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
    tracking = results.recipe.execution.tracking
    if isinstance(tracking, MlflowTracking) and tracking.log_models == "best":
        for network in best_networks(results):
            tracker.log_network(network)
    driver = find_driver(results.storage)
    return _finish_tracking(tracker, results, console, is_driven=driver is not None and driver.lives)


def _finish_tracking(
    tracker: Tracker, results: Results, console: Console, *, is_driven: bool = False
) -> TrackingOutcome:
    """`is_driven`: the sweep goes on in another process, whose log this one only adds to."""
    num_done, num_members = len(results.found.records), len(results.plan.members)
    status: Status = "complete" if results.is_complete else "incomplete"
    outcome = tracker.finish("running" if is_driven else status, f"{num_done} of {num_members} members")
    if not outcome.ok:
        console.print(f"[yellow]{escape(outcome.message)}")
    return outcome
