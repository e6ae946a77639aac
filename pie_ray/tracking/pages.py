"""Where MLflow shows a sweep, found without changing anything."""

from __future__ import annotations

from typing import Any

from ..errors import PieRayError
from .connection import connect, root_cause
from .entries import Entries

FOR_TRAINING = "workflowType=machine_learning"
"""MLflow opens on its pages for language models unless an address says this."""


def sweep_tags(sweep_id: str, name: str) -> dict[str, str]:
    """What a sweep's parent is found by."""
    return {"pie_ray.sweep_id": sweep_id, "pie_ray.sweep_name": name}


def page_of(parent: Any) -> str:
    """A parent's page, below the server's address."""
    return f"experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}"


def full_address(server: str, page: str) -> str:
    return f"{server.rstrip('/')}/#/{page}?{FOR_TRAINING}"


def find_page(uri: str, experiment: str, *, sweep_id: str, name: str) -> str | None:
    """The page of a sweep, below the server's address; None where the store has no such sweep.

    Raises PieRayError where the store cannot be asked.
    """
    try:
        client = connect(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return None
        parent = Entries(client, found.experiment_id).find(sweep_tags(sweep_id, name))
    except Exception as error:  # whatever a service's library raises
        raise PieRayError(f"MLflow at {uri} cannot be asked for {name}: {root_cause(error)}") from error
    return None if parent is None else page_of(parent)
