"""`pie-ray`: the command line. Exit codes: 0 done, 1 failed, 2 the user's input, 130 interrupted."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence

from . import __version__
from .commands.analysis import add_analysis_commands
from .commands.attribute import add_attribute_command
from .commands.cost import add_cost_command
from .commands.evaluate import add_evaluate_command
from .commands.export import add_export_command
from .commands.gate import add_gate_command
from .commands.jobs import add_job_commands
from .commands.making import add_making_commands
from .commands.pies import add_pies_commands
from .commands.plan import add_plan_command
from .commands.status import add_status_command
from .commands.ui import add_ui_command
from .errors import InputError, PieRayError

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; every expected error is one message on standard error."""
    from rich.console import Console
    from rich.markup import escape

    options = _parser().parse_args(arguments)
    console, errors = Console(), Console(stderr=True)
    signal.signal(signal.SIGTERM, _stop_cleanly)
    try:
        return options.command(options, console) or DONE
    except InputError as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return BAD_INPUT
    except PieRayError as error:
        errors.print(f"[red]failed:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return FAILED
    except KeyboardInterrupt:
        errors.print("Stopped. What is complete is kept; the same command goes on.", highlight=False)
        return INTERRUPTED


def _stop_cleanly(*_: object) -> None:
    """A spot warning, `kill` or `pie-ray stop` stops as Ctrl-C does, which a job in the background may ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pie-ray", description="What does a compressed network forget?")
    parser.add_argument("--version", action="version", version=f"pie_ray {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_making_commands(commands)
    add_evaluate_command(commands)
    add_attribute_command(commands)
    add_analysis_commands(commands)
    add_plan_command(commands)
    add_cost_command(commands)
    add_gate_command(commands)
    add_pies_commands(commands)
    add_export_command(commands)
    add_job_commands(commands)
    add_status_command(commands)
    add_ui_command(commands)
    return parser
