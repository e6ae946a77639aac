"""Reach an MLflow store without its long waits and without its chatter."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .background import RejectedError

_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Each only where the user has not set it: MLflow's own defaults wait for minutes on a server that is down."""

_LOGIN = {
    "UNAUTHENTICATED": "it asks for a user and a password, or refuses those in MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD",
    "PERMISSION_DENIED": "its user (MLFLOW_TRACKING_USERNAME) may not write to this experiment",
}
_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}


def connect(uri: str) -> Any:
    """A client of the store at `uri`; mlflow is imported here and its global state left alone."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # warns of each retry, which the outcome tells once
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    folder = sqlite_folder(uri)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    from mlflow.tracking import MlflowClient

    # the variable is too late where someone imported mlflow before us
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
    return MlflowClient(tracking_uri=uri)


def find_or_create_experiment(client: Any, uri: str, name: str) -> str:
    """The id of the experiment, whoever creates it first; an sqlite store keeps artifacts beside the database."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        folder = sqlite_folder(uri)
        location = None if folder is None else (folder / "mlflow-artifacts").as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)
    if experiment.lifecycle_stage == "deleted":
        raise RuntimeError(
            f"MLflow's experiment {name!r} is in the trash: restore it with "
            f"`mlflow experiments restore -x {experiment.experiment_id}`, or name another one in the recipe"
        )
    return str(experiment.experiment_id)


@contextmanager
def refusals_named(what: str) -> Iterator[None]:
    """Tell a store that refuses `what` (RejectedError) from one that cannot be reached (anything else)."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in _REFUSALS:
            raise RejectedError(f"MLflow refuses {what}: {error}") from error
        raise


def sqlite_file(uri: str) -> Path | None:
    """The file of an sqlite store; None for every other store."""
    path = uri.removeprefix("sqlite:///").partition("?")[0]
    return Path(path).resolve() if uri.startswith("sqlite:///") and path else None


def sqlite_folder(uri: str) -> Path | None:
    file = sqlite_file(uri)
    return None if file is None else file.parent


def root_cause(error: BaseException) -> str:
    """One line that a person can use: `[Errno 111] Connection refused` rather than the six layers around it."""
    if (login := _LOGIN.get(getattr(error, "error_code", ""))) is not None:
        return login
    innermost = error
    while (cause := innermost.__cause__ or innermost.__context__) is not None:
        innermost = cause
    told = innermost if isinstance(innermost, OSError) else error
    lines = str(told).strip().splitlines() or [type(told).__name__]
    return lines[0][:300]
