"""`pie-ray cost`: what each variant costs, its latency measured again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .analysis import RESULTS, open_folder

if TYPE_CHECKING:
    from rich.console import Console


def add_cost_command(commands: Any) -> None:
    text = "what each variant costs: sizes and multiply-adds, and how long its network takes, measured now"
    command = commands.add_parser("cost", help=text, description=text)
    command.add_argument("results", help=RESULTS)
    command.add_argument(
        "--batch",
        type=int,
        action="append",
        metavar="IMAGES",
        help="images that a network is given at once; may be repeated (default: 1 and 128)",
    )
    command.add_argument("--threads", type=int, default=1, help="threads that a network may use (default 1)")
    command.add_argument(
        "--seconds",
        type=float,
        default=20.0,
        help="that the measurement may take, about; more are more rounds (default 20)",
    )
    command.set_defaults(command=_cost)


def _cost(options: argparse.Namespace, console: Console) -> None:
    _check(options)
    from .. import stages
    from ..analysis import write_costs
    from ..console import cost_table
    from ..latency import BATCH_SIZES
    from ..store import paths

    results = open_folder(options.results)
    stages.measure_costs(
        results,
        console,
        batch_sizes=tuple(options.batch or BATCH_SIZES),
        num_threads=options.threads,
        seconds=options.seconds,
    )
    table = cost_table(results.costs())
    if table is not None:
        console.print()
        console.print(table)
    if results.storage.exists(paths.table("summary")):
        write_costs(results)
        console.print(f"`pie-ray report {options.results}` draws it.", markup=False, highlight=False, soft_wrap=True)


def _check(options: argparse.Namespace) -> None:
    wrong = [size for size in options.batch or () if size < 1]
    if wrong:
        raise InputError(f"--batch: found {wrong[0]}; accepted is a number of images, 1 or more")
    if options.threads < 1:
        raise InputError(f"--threads: found {options.threads}; accepted is a number of threads, 1 or more")
    if not 0 < options.seconds < float("inf"):
        raise InputError(f"--seconds: found {options.seconds:g}; accepted is a number above 0")
