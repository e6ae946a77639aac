"""Read a recipe: YAML, `--set` overrides, and one message that lists every mistake."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

import yaml

from .checked_yaml import Document, kind_of
from .config import Recipe
from .errors import RecipeError
from .redaction import without_secrets

EMBEDDED = "digits"
"""The recipe that needs no file and no download."""

_DOCUMENT = Document("recipe", Recipe, RecipeError)


def embedded_recipe() -> str:
    """Text of the embedded recipe."""
    return resources.files("pie_ray").joinpath(f"recipes/{EMBEDDED}.yaml").read_text(encoding="utf-8")


def load_recipe(path: str | None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file (None: the embedded one) and apply `a.b=value` overrides, values in YAML.

    Raises RecipeError with every mistake at once: the field's path, what was found, what is accepted.
    """
    if path is None:
        return parse_recipe(embedded_recipe(), overrides, source="the embedded recipe")
    return parse_recipe(_DOCUMENT.read(path), overrides, source=path)


def parse_recipe(text: str, overrides: Sequence[str] = (), *, source: str = "recipe") -> Recipe:
    """Validate the text of a recipe; see `load_recipe`."""
    return _validated(_DOCUMENT.parse_mapping(text, source), overrides, source)


def _validated(raw: dict[str, Any], overrides: Sequence[str], source: str) -> Recipe:
    for override in overrides:
        _apply(raw, override)
    return _DOCUMENT.check(raw, source)


def with_suites(recipe_text: str, suites_path: str | None, overrides: Sequence[str]) -> Recipe:
    """A recipe with the suites of a file beside its own: a mapping of them by name, or a recipe that has them.

    Raises RecipeError as `load_recipe` does.
    """
    raw, source = _DOCUMENT.parse(recipe_text, "the results' recipe"), suites_path or "the results' recipe"
    if suites_path is not None:
        evaluation = raw.setdefault("evaluation", {})
        evaluation["suites"] = {**evaluation.get("suites", {}), **read_suites(suites_path)}
    return _validated(raw, overrides, source)


def read_suites(path: str) -> dict[str, Any]:
    """The suites by name that a file of them has, or a recipe under `evaluation.suites`; unchecked."""
    found = _DOCUMENT.parse(_DOCUMENT.read(path, "file of suites"), path)
    for key in ("evaluation", "suites"):
        inner = found.get(key) if isinstance(found, dict) else None
        # A suite may be called so; it has a kind.
        if isinstance(inner, dict) and "kind" not in inner:
            found = inner
    if not isinstance(found, dict) or not found:
        raise RecipeError(f"{path}: found {kind_of(found)}, expected suites by name, or a recipe that has them")
    return found


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML, defaults written out; its addresses without credentials."""
    fields = recipe.model_dump(mode="json")
    fields["execution"] = _without_secrets(fields["execution"])
    return yaml.safe_dump(fields, sort_keys=False, width=100)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(part) for key, part in value.items()}
    return without_secrets(value) if isinstance(value, str) else value


# ----------------------------------------------------------------------------------------------------- overrides


def _apply(raw: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise RecipeError(f"--set {override!r}: expected KEY=VALUE, e.g. training.epochs=5")
    *parents, last = path.strip().split(".")
    target: Any = raw
    for depth, key in enumerate(parents):
        if isinstance(target, dict):
            # What is switched off has no fields yet.
            target[key] = {} if target.get(key) is None else target[key]
            target = target[key]
        elif isinstance(target, list):
            target = target[_index(key, target, override)]
        if not isinstance(target, dict | list):
            where = ".".join(parents[: depth + 1])
            raise RecipeError(f"--set {override!r}: {where} is {kind_of(target)}, which has no keys")
    if isinstance(target, list):
        target[_index(last, target, override)] = _DOCUMENT.parse(text, f"--set {override!r}")
    else:
        target[last] = _DOCUMENT.parse(text, f"--set {override!r}")


def _index(key: str, target: list[Any], override: str) -> int:
    if not key.isdigit() or int(key) >= len(target):
        raise RecipeError(f"--set {override!r}: {key!r} is no index of a list of {len(target)}")
    return int(key)
