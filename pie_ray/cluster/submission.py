"""What a submitted sweep takes to its cluster: the resolved recipe and the user's own modules."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from ..config import Recipe
from ..errors import InputError
from ..recipe import dump_recipe

IGNORE_FILES = (".gitignore", ".rayignore")
"""Ray packs a folder without what these name."""

_SECRET_KEY = re.compile(r"secret|token|passw|credential|access_key|api_?key|signature", re.IGNORECASE)
_SHARED_FOLDER = "an absolute path that all nodes share, s3://bucket/folder or gs://bucket/folder"


def check_for_cluster(recipe: Recipe, folder: str | None) -> None:
    """Refuse what means something on this machine only, and secrets, which the job's recipe would show.

    `folder` is what goes along to the cluster. Raises InputError with every mistake at once.
    """
    if folder is not None and not Path(folder).is_dir():
        raise InputError(f"--working-dir: found {folder!r}, accepted: a folder of modules that the recipe names")
    mistakes = [*_storage_mistakes(recipe), *_tracking_mistakes(recipe), *_data_mistakes(recipe, folder)]
    if mistakes:
        raise InputError("\n  ".join(["the recipe cannot run on a cluster", *mistakes]))


def results_address(recipe: Recipe) -> str:
    """`<storage>/<sweep name>` as a job's metadata has it: without the query, which says how to get there."""
    storage = recipe.execution.storage.partition("?")[0].removeprefix("file://")
    return f"{storage.rstrip('/')}/{recipe.name}"


def keeps_no_log(recipe: Recipe) -> bool:
    """Whether MLflow's file would lie in the job's own folder, which ends with it: sqlite needs a local storage."""
    tracking, storage = recipe.execution.tracking, recipe.execution.storage
    return tracking.kind == "mlflow" and tracking.uri is None and storage.startswith(("s3://", "gs://"))


def recipe_file(recipe: Recipe) -> str:
    """Its name in the job's working directory."""
    return f"{recipe.name}.yaml"


@contextmanager
def packed(recipe: Recipe, folder: str | None) -> Iterator[Path]:
    """A temporary folder with the resolved recipe beside whatever is in `folder`, for Ray to send."""
    name = recipe_file(recipe)
    with tempfile.TemporaryDirectory(prefix="pie_ray-submit-") as made:
        target = Path(made)
        for source in Path(folder).resolve().iterdir() if folder is not None else ():
            if source.name in IGNORE_FILES:
                # The last rule wins: a user's `*.yaml` must not leave the recipe behind.
                (target / source.name).write_text(f"{source.read_text()}\n!/{name}\n")
            elif source.name != name:
                (target / source.name).symlink_to(source)
        (target / name).write_text(dump_recipe(recipe), encoding="utf-8")
        yield target


def has_credentials(address: str) -> bool:
    """Whether a `user:secret@`, or a query that names a secret, stands in an address."""
    try:
        parts = urlsplit(address)
        # Of a secret with a slash in it, only this much would be taken for host and port.
        _ = parts.port
    except ValueError:
        return True
    if "@" in parts.netloc + unquote(parts.query):
        return True
    return any(_SECRET_KEY.search(key) for key in parse_qs(parts.query, keep_blank_values=True))


def _storage_mistakes(recipe: Recipe) -> Iterator[str]:
    storage = recipe.execution.storage
    if has_credentials(storage):
        yield (
            "execution.storage: carries credentials, which everybody on the cluster could read; accepted: an address "
            "without them, and credentials in the environment of the cluster's nodes or in their role"
        )
    elif not storage.startswith(("/", "file:///", "s3://", "gs://")):
        yield f"execution.storage: found {storage!r}, which is elsewhere on every machine; accepted: {_SHARED_FOLDER}"


def _tracking_mistakes(recipe: Recipe) -> Iterator[str]:
    uri = getattr(recipe.execution.tracking, "uri", None)
    if uri is None:
        return
    if has_credentials(uri):
        yield (
            "execution.tracking.uri: carries credentials, which everybody on the cluster could read; accepted: an "
            "address without them, and MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole "
            "MLFLOW_TRACKING_URI, in the environment of the cluster's head"
        )
    elif uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        yield (
            f"execution.tracking.uri: found {uri!r}, a file that ends with the job; accepted: the address of a "
            "server, or sqlite:////absolute/path"
        )


def _data_mistakes(recipe: Recipe, folder: str | None) -> Iterator[str]:
    path = getattr(recipe.data, "path", None)
    if path is None or str(path).startswith(("/", "~")):
        return
    goes_along = folder is not None and ".." not in PurePosixPath(path).parts and (Path(folder) / path).exists()
    if not goes_along:
        yield (
            f"data.path: found {str(path)!r}, which is elsewhere on every machine; accepted: an absolute path that "
            "all nodes share, or a path inside --working-dir"
        )
