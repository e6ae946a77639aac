"""The command that decides: gate."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .analysis import RESULTS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..gate import Finding
    from ..store import Storage

PASSED, VIOLATED = 0, 1

_COLORS = {"passed": "green", "violated": "red", "not measured": "yellow"}


def add_gate_command(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    text = "hold an analysed results folder against a policy's limits: may a compressed network ship?"
    command = commands.add_parser(
        "gate", help=text, description=f"{text} Exit codes: 0 passed, 1 violated or not measured, 2 a mistaken policy."
    )
    command.add_argument("results", help=f"{RESULTS}, that was analysed, also with `analyze --predictions`")
    command.add_argument("--policy", metavar="FILE", required=True, help="YAML file of limits (docs/gate.md)")
    command.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="V",
        help="judge this variant alone, or those of a pattern such as 'magnitude-*'; may be repeated",
    )
    command.add_argument("--junit", metavar="FILE", help="also write the findings as JUnit XML")
    command.add_argument(
        "--summary", metavar="FILE", help='also append them as Markdown, such as to "$GITHUB_STEP_SUMMARY"'
    )
    command.set_defaults(command=_gate)


def _gate(options: argparse.Namespace, console: Console) -> int:
    from ..analysis import load_tables
    from ..gate import check, junit_xml, load_policy, markdown_summary, passes
    from ..store import Storage

    policy = load_policy(options.policy)
    storage = Storage(options.results)
    findings = check(load_tables(storage), policy, variants=options.variant, num_planned=_num_planned(storage))
    _print(console, findings)
    if options.junit:
        _write(options.junit, junit_xml(findings), "--junit", "wb")
    if options.summary:
        title = storage.uri.rstrip("/").rpartition("/")[2]
        _write(options.summary, markdown_summary(findings, title).encode(), "--summary", "ab")
    return PASSED if passes(findings) else VIOLATED


def _num_planned(storage: Storage) -> Mapping[str, int]:
    """Members that each variant of a sweep was planned with; predictions made elsewhere have no plan."""
    from ..analysis import open_results
    from ..store import paths

    if not storage.exists(paths.MANIFEST):
        return {}
    plan = open_results(storage).plan
    return {variant.variant_id: len(plan.population(variant.variant_id)) for variant in plan.variants}


def _write(path: str, data: bytes, option: str, mode: str) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, mode) as file:
            file.write(data)
    except OSError as error:
        raise InputError(f"{option}: cannot write {path}: {error.strerror}") from error


def _print(console: Console, findings: Sequence[Finding]) -> None:
    """A table a variant, what was violated or not measured in full, and the outcome."""
    from ..gate import by_message, passes, sentence

    for variant_id in dict.fromkeys(finding.variant_id for finding in findings):
        console.print(_table(variant_id, [finding for finding in findings if finding.variant_id == variant_id]))
    for verdict in ("violated", "not measured"):
        told = [finding for finding in findings if finding.verdict == verdict and not finding.is_ignored]
        if told:
            console.print(f"[bold]{verdict.capitalize()}[/]")
        for same in by_message(sorted(told, key=lambda finding: not finding.fails)):
            _print_message(console, same)
    console.print(f"[bold {'green' if passes(findings) else 'red'}]{sentence(findings)}[/]", soft_wrap=True)


def _print_message(console: Console, same: Sequence[Finding]) -> None:
    from rich.markup import escape
    from rich.padding import Padding

    from ..gate.words import one_line

    limits = ", ".join(dict.fromkeys(finding.limit for finding in same))
    variants = ", ".join(dict.fromkeys(finding.variant_id + _note(finding) for finding in same))
    color = _COLORS[same[0].verdict] if any(finding.fails for finding in same) else "dim"
    text = f"[{color}]{limits}[/] on {escape(one_line(variants))}: {escape(one_line(same[0].message))}"
    console.print(Padding(text, (0, 0, 0, 2)), highlight=False)


def _note(finding: Finding) -> str:
    return "" if finding.is_required else " (reported only)"


def _table(variant_id: str, findings: Sequence[Finding]) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from ..gate.words import one_line

    table = Table(
        title=escape(one_line(variant_id)) + _note(findings[0]),
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("limit", overflow="fold")
    for header in ("found", "95 % interval", "allowed"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for finding in findings:
        verdict = f"[{_COLORS[finding.verdict]}]{finding.verdict}[/]"
        table.add_row(finding.limit, finding.found_text, finding.interval_text, finding.allowed_text, verdict)
    return table
