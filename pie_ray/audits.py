"""The stages of an audit: predict with networks that somebody has already, analyse, report."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from . import stages
from .analysis import Analysis, is_audit, open_audit, read_audit, write_audit
from .auditing import Asked, Preprocessing, evaluate_networks, evaluation_sets, open_subject, read_subject
from .config import Execution
from .console import predictions_progress, print_tables
from .data import Splits, load_for_evaluation
from .errors import DataError, StoreError
from .prepared import PreparedImages
from .reporting import analyze_source, write_report
from .store import Storage, paths


def audit(
    populations: Sequence[Asked],
    storage: Storage,
    console: Console,
    *,
    data: str,
    suites: str | None,
    paired: Sequence[str],
    preprocessing: Preprocessing,
    num_threads: int,
) -> None:
    """Predict with every network, anew even where predictions are there, and write tables and report.

    Raises InputError for whatever is wrong with options, files, images or networks; nothing is written then.
    """
    _check_place(storage)
    subject = open_subject(read_subject(data, suites))
    sets = evaluation_sets(subject)
    parent, name = storage.place
    num_networks, num_images = sum(len(one.members) for one in populations), sum(map(len, sets))
    console.print(
        f"[bold]{escape(name)}[/]: {num_networks} networks on {num_images:,} images of {len(sets)} evaluation "
        f"set{'s' * (len(sets) > 1)}"
    )
    with predictions_progress(console, num_networks * num_images) as on_images:
        found, tables = evaluate_networks(
            populations,
            subject,
            PreparedImages(Execution(storage=parent)),
            title=name,
            paired=paired,
            preprocessing=preprocessing,
            num_threads=num_threads,
            on_images=on_images,
        )
    write_audit(storage, found, tables)
    analysis = analyze_source(open_audit(storage), console)
    report_audit(storage, analysis, console, splits=subject.splits)
    print_tables(console, analysis)
    root = storage.uri.removeprefix("file://")
    for what, place in (("report", paths.REPORT), ("tables", "analysis/"), ("predictions", paths.PREDICTIONS)):
        console.print(f"  [dim]{what:<13}[/]{escape(f'{root}/{place}')}", highlight=False, soft_wrap=True)


def _check_place(storage: Storage) -> None:
    if storage.exists(paths.MANIFEST):
        raise StoreError(f"--output: {storage} holds a sweep's results; accepted is another folder")
    if storage.exists(paths.PREDICTIONS):
        read_audit(storage)
    elif storage.exists(paths.table("summary")):
        raise StoreError(
            f"--output: {storage} holds tables of other predictions (`pie-ray analyze --predictions`); accepted is "
            "another folder"
        )


def report_audit(storage: Storage, analysis: Analysis, console: Console, *, splits: Splits | None = None) -> None:
    """Write the report, with pictures where the images are that were audited; `splits` are they, where at hand."""
    assert is_audit(storage)
    found, source = read_audit(storage), open_audit(storage)
    thumbnails: dict[int, bytes] = {}
    samples = None
    try:
        splits = splits or audited_splits(storage)
        thumbnails = stages.thumbnails_of(splits, analysis)
        samples = stages.samples_of(found.evaluation.suites, splits)
    except DataError as error:
        which = "pictures of corruptions" if thumbnails else "pictures"
        console.print(f"[yellow]The report has no {which}:[/] {escape(str(error))}")
    write_report(source, analysis, thumbnails, samples)


def audited_splits(storage: Storage) -> Splits:
    """The images of an audit. Raises DataError where they are absent, or others by now."""
    found = read_audit(storage)
    splits = load_for_evaluation(found.data)
    if splits.test.fingerprint != found.fingerprint:
        raise DataError(f"data: the {found.data.kind} images that are there now are not those that were audited")
    return splits
