"""`pie-ray ui`: MLflow, opened on the sweep of a results folder."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .analysis import RESULTS, open_folder

if TYPE_CHECKING:
    from rich.console import Console

    from ..analysis import Results
    from ..config import MlflowTracking


def add_ui_command(commands: Any) -> None:
    text = "open MLflow on the sweep of a results folder; starts its server where the log is a local file"
    command = commands.add_parser("ui", help=text, description=text)
    command.add_argument("results", help=RESULTS)
    command.add_argument("--port", type=int, help="of the server that is started (default: a free one)")
    command.add_argument("--no-browser", action="store_true", help="only print the address")
    command.set_defaults(command=_ui)


def _ui(options: argparse.Namespace, console: Console) -> None:
    from ..config import NoTracking
    from ..store import paths
    from ..tracked import default_store
    from ..tracking import LocalServer, full_address, sqlite_file, tracking_uri

    results = open_folder(options.results)
    tracking = results.recipe.execution.tracking
    if isinstance(tracking, NoTracking):
        raise InputError(
            f"{results.storage}: its recipe has execution.tracking none, so MLflow knows nothing of it; "
            f"the report is {results.storage}/{paths.REPORT}"
        )
    uri = tracking_uri(tracking, default_store(results))
    file = sqlite_file(uri)
    if file is None:
        _show(options, console, full_address(uri, _page(results, tracking, uri)))
        return
    if not file.exists():
        raise InputError(f"{file} is not there yet: `pie-ray track {results.storage}` logs what the results hold")
    uri = f"sqlite:///{file}"
    page = _page(results, tracking, uri)
    try:
        with LocalServer(uri, port=options.port) as server:
            _show(options, console, full_address(server.address, page))
            console.print("Ctrl-C ends the server.")
            server.wait()
    except KeyboardInterrupt:
        console.print("The server has ended.")


def _page(results: Results, tracking: MlflowTracking, uri: str) -> str:
    from ..redaction import without_secrets
    from ..tracking import find_page

    page = find_page(uri, tracking.experiment, sweep_id=results.plan.sweep_id, name=results.recipe.name)
    if page is None:
        raise InputError(
            f"MLflow at {without_secrets(uri)} knows nothing of {results.recipe.name}: "
            f"`pie-ray track {results.storage}` logs what the results hold"
        )
    return page


def _show(options: argparse.Namespace, console: Console, address: str) -> None:
    from ..redaction import without_secrets

    console.print(without_secrets(address), markup=False, highlight=False, soft_wrap=True)
    if not options.no_browser and _has_desktop():
        webbrowser.open(address)


def _has_desktop() -> bool:
    """A browser for the terminal would take the terminal."""
    named = any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))
    return named or sys.platform in ("darwin", "win32")
