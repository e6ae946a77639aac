"""What a sweep's folder belongs to: one description of data, model and training, and one set of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import Field, ValidationError

from ..config import Config
from ..errors import StoreError
from . import paths
from .storage import Storage

_LEFT_OUT = "the default"
_NUM_NAMED = 6


class Manifest(Config):
    """Written when a sweep starts; a later sweep into the same folder must agree with it."""

    name: str
    sweep_id: str
    base: dict[str, Any]
    """`identity.describe_base` of the recipe."""
    fingerprint: str
    """Of the images and labels, whatever path they came from."""
    num_classes: int
    class_names: tuple[str, ...] = ()
    num_train: int | None = None
    image_shape: tuple[int, ...] = ()
    """Channels, height, width."""
    is_multilabel: bool = False
    """Whether the classes are attributes learned jointly, any number of which an example may have."""
    suites: dict[str, dict[str, int]]
    """Number of examples by suite and evaluation set."""
    suite_fingerprints: dict[str, str] = Field(default_factory=dict)
    """Of the images of those suites that were not made from the splits as they are."""
    precision: str = "float32"
    """Of predictions (`evaluation.precision`)."""
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, str] = Field(default_factory=dict)
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def claim(storage: Storage, manifest: Manifest, recipe_text: str) -> Manifest:
    """Make a folder this sweep's, or go on with it: writes `recipe.yaml`, then `manifest.json` where they change.

    Population, variants and suites may grow; returns the manifest as it now stands, with the first one's versions,
    machine and time. Raises StoreError, with both values of each differing field, where the folder is another's.
    """
    known = _known(storage, manifest)
    if known is not None:
        manifest = _grown(known, manifest)
    if known is None or _recipe_text(storage) != recipe_text:
        storage.write_bytes(paths.RECIPE, recipe_text.encode())
    if manifest != known:
        storage.write_bytes(paths.MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
    return manifest


def is_claimed(storage: Storage, manifest: Manifest, recipe_text: str) -> bool:
    """Whether `claim` would change nothing. Raises StoreError as it does, and writes nothing."""
    known = _known(storage, manifest)
    return known is not None and _grown(known, manifest) == known and _recipe_text(storage) == recipe_text


def _known(storage: Storage, manifest: Manifest) -> Manifest | None:
    try:
        known = read_manifest(storage)
    except FileNotFoundError:
        return None
    _check_agreement(storage, known, manifest)
    return known


def _grown(known: Manifest, manifest: Manifest) -> Manifest:
    grown = ("suites", "suite_fingerprints")
    return known.model_copy(update={name: {**getattr(known, name), **getattr(manifest, name)} for name in grown})


def read_manifest(storage: Storage) -> Manifest:
    """Raises FileNotFoundError where there is none, StoreError where it is damaged."""
    data = storage.read_bytes(paths.MANIFEST)
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"{paths.MANIFEST} in {storage} cannot be read: {where and where + ': '}{first['msg']}; "
            "restore it, or use another name or storage"
        ) from error


def _recipe_text(storage: Storage) -> str | None:
    try:
        return storage.read_bytes(paths.RECIPE).decode(errors="replace")
    except FileNotFoundError:
        return None


def _check_agreement(storage: Storage, known: Manifest, wanted: Manifest) -> None:
    shared = known.suites.keys() & wanted.suites.keys()
    differences = [
        f"{name}: the results in {storage} have {old}, the recipe says {new}"
        for name, old, new in _differences(_identity(known, shared), _identity(wanted, shared))
    ]
    if differences:
        raise StoreError("\n".join(differences) + "; use another name or storage")


def _identity(manifest: Manifest, suites: Iterable[str]) -> dict[str, Any]:
    """What must agree, by the name that a reader of the recipe knows it by."""
    return {
        **manifest.base,
        "fingerprint of the images": manifest.fingerprint,
        "num_classes": manifest.num_classes,
        "class_names": list(manifest.class_names),
        "evaluation.precision": manifest.precision,
        **{f"suite {suite}": _suite_text(manifest.suites[suite]) for suite in suites},
        **{
            f"images of suite {suite} (or call it otherwise)": manifest.suite_fingerprints.get(suite, _LEFT_OUT)
            for suite in suites
        },
    }


def _suite_text(evaluation_sets: dict[str, int]) -> str:
    texts = [f"{name} ({num_examples} examples)" for name, num_examples in sorted(evaluation_sets.items())]
    more = [f"{len(texts)} sets in all"] if len(texts) > _NUM_NAMED else []
    return ", ".join(texts[:_NUM_NAMED] + more)


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted name and both values of each field that differs; a field left out has its default."""
    for name in sorted(old.keys() | new.keys()):
        known, wanted = old.get(name, _LEFT_OUT), new.get(name, _LEFT_OUT)
        if isinstance(known, dict) and isinstance(wanted, dict):
            yield from _differences(known, wanted, f"{prefix}{name}.")
        elif known != wanted:
            yield f"{prefix}{name}", known, wanted
