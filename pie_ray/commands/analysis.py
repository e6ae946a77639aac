"""The commands about predictions that are there: analyze, report, track."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ..errors import InputError, PieRayError

if TYPE_CHECKING:
    from rich.console import Console

    from ..analysis import Evidence, PopulationSource, Results

RESULTS = "<storage>/<sweep name>, a folder or an s3:// or gs:// address"


def add_analysis_commands(commands: Any) -> None:
    _add_analyze(commands)
    for name, function, text in (
        ("report", _report, "draw the figures and write the report of a results folder that was analysed"),
        ("track", _track, "complete the log of a results folder, after a tracking server was down"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("results", help=RESULTS)
        command.set_defaults(command=function)


def _add_analyze(commands: Any) -> None:
    text = "compare every variant with the reference and write the result tables"
    command = commands.add_parser("analyze", help=text, description=text)
    command.add_argument("results", nargs="?", help=RESULTS)
    command.add_argument("--address", help="Ray cluster to compute on; without one, this process computes")
    command.add_argument(
        "--evidence",
        metavar="FILE",
        help="Parquet or CSV with example_id or key, and a column of numbers for each kind of evidence about examples, "
        "such as known label errors: how do PIEs differ from the rest?",
    )
    own = command.add_argument_group("predictions of your own, from any framework")
    own.add_argument(
        "--predictions",
        metavar="FILE_OR_DIR",
        help="Parquet or CSV with the columns variant, member, example_id, label, prediction, and where there are: "
        "confidence, label_probability, evaluation_set, key, and attributes to compare groups by",
    )
    own.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME=THEIRS",
        help="what one of these columns is called in the file; may be repeated",
    )
    own.add_argument("--reference", metavar="VARIANT", help="the uncompressed variant in the file (default: dense)")
    own.add_argument(
        "--paired",
        action="append",
        default=[],
        metavar="VARIANT",
        help="a variant whose members were derived from the reference's members of the same number; may be repeated",
    )
    own.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="ATTRIBUTE",
        help="attribute to compare groups by, or several crossed: 'Male & Young'; may be repeated (default: each)",
    )
    own.add_argument("--positive-class", metavar="CLASS", help="class whose FPR and FNR are told by group")
    own.add_argument("--output", metavar="FOLDER", help="where tables and report go (default: results/<file's name>)")
    command.set_defaults(command=_analyze)


def _analyze(options: argparse.Namespace, console: Console) -> None:
    own = ("column", "reference", "paired", "group", "positive_class", "output")
    if options.predictions is None:
        given = [f"--{name.replace('_', '-')}" for name in own if getattr(options, name)]
        if given:
            raise InputError(f"{', '.join(given)}: found without --predictions; accepted only with it")
        if options.results is None:
            raise InputError("results: found none; accepted are a results folder, or --predictions FILE_OR_DIR")
        _analyze_results(options, console)
    else:
        if options.results is not None:
            raise InputError(f"results: found {options.results} and --predictions; accepted is one of the two")
        if options.address is not None:
            raise InputError("--address: found with --predictions; accepted only with the results of a sweep")
        _analyze_predictions(options, console)


def _analyze_results(options: argparse.Namespace, console: Console) -> None:
    from .. import stages
    from ..analysis import is_audit, open_audit, open_results
    from ..console import print_tables
    from ..reporting import analyze_source
    from ..store import Storage

    storage = Storage(options.results)
    if is_audit(storage):
        source = open_audit(storage)
        analysis = analyze_source(source, console, address=options.address, evidence=_evidence(options, source))
        print_tables(console, analysis)
        return
    results = open_results(storage)
    analysis = analyze_source(results, console, address=options.address, evidence=_evidence(options, results))
    stages.track(results, analysis, {}, console)
    print_tables(console, analysis)


def _analyze_predictions(options: argparse.Namespace, console: Console) -> None:
    from ..analysis import open_predictions
    from ..config import Evaluation
    from ..console import print_tables
    from ..reporting import analyze_source, write_report
    from ..store import Storage

    name = PurePosixPath(options.predictions).name.split(".")[0]
    source = open_predictions(
        options.predictions,
        storage=Storage(options.output or f"results/{name}"),
        columns=_mapped_columns(options.column),
        reference=options.reference or "dense",
        paired=options.paired,
        evaluation=Evaluation(groups=tuple(options.group) or None, positive_class=options.positive_class),
    )
    analysis = analyze_source(source, console, evidence=_evidence(options, source))
    write_report(source, analysis, {})
    print_tables(console, analysis)
    root = source.storage.uri.removeprefix("file://")
    console.print(f"\n  [dim]report [/]{root}/report/index.html\n  [dim]tables [/]{root}/analysis/", soft_wrap=True)


def _mapped_columns(pairs: list[str]) -> Mapping[str, str]:
    columns = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise InputError(f"--column: found {pair!r}; accepted is NAME=THEIRS, such as prediction=argmax")
        columns[ours] = theirs
    return columns


def _evidence(options: argparse.Namespace, source: PopulationSource) -> Evidence | None:
    if options.evidence is None:
        return None
    from ..analysis import read_evidence

    return read_evidence(options.evidence, examples={name: source.examples(name) for name in source.evaluation_sets})


def open_folder(address: str) -> Results:
    """The results folder that a command names."""
    from ..analysis import open_results
    from ..store import Storage

    return open_results(Storage(address))


def _report(options: argparse.Namespace, console: Console) -> None:
    from .. import stages
    from ..analysis import is_audit, load_analysis, open_audit
    from ..audits import report_audit
    from ..store import Storage

    storage = Storage(options.results)
    if is_audit(storage):
        report_audit(storage, load_analysis(open_audit(storage)), console)
        console.print(f"report: {storage}/report/index.html", soft_wrap=True)
        return
    results = open_folder(options.results)
    artifacts = stages.report(results, load_analysis(results), console)
    stages.track(results, None, artifacts, console)
    console.print(f"report: {results.storage}/report/index.html", soft_wrap=True)


def _track(options: argparse.Namespace, console: Console) -> None:
    from .. import stages
    from ..reporting import analyze_source

    results = open_folder(options.results)
    analysis = analyze_source(results, console)
    outcome = stages.track(results, analysis, stages.report(results, analysis, console), console)
    if not outcome.ok:
        raise PieRayError("the log is still incomplete")
    console.print(outcome.message, soft_wrap=True)
