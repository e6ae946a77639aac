"""Read a recipe: YAML, `--set` overrides, and one message that lists every mistake."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from .config import Recipe
from .errors import RecipeError
from .redaction import without_secrets

EMBEDDED = "digits"
"""The recipe that needs no file and no download."""


def embedded_recipe() -> str:
    """Text of the embedded recipe."""
    return resources.files("pie_ray").joinpath(f"recipes/{EMBEDDED}.yaml").read_text(encoding="utf-8")


def load_recipe(path: str | None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file (None: the embedded one) and apply `a.b=value` overrides, values in YAML.

    Raises RecipeError with every mistake at once: the field's path, what was found, what is accepted.
    """
    if path is None:
        return parse_recipe(embedded_recipe(), overrides, source="the embedded recipe")
    return parse_recipe(_read_text(path, "recipe"), overrides, source=path)


def _read_text(path: str, what: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RecipeError(f"cannot read the {what} {path}: {reason}; expected a YAML file") from error


def parse_recipe(text: str, overrides: Sequence[str] = (), *, source: str = "recipe") -> Recipe:
    """Validate the text of a recipe; see `load_recipe`."""
    raw = _parse_yaml(text, source)
    if not isinstance(raw, dict):
        raise RecipeError(f"{source}: found {_kind_of(raw)}, expected a mapping with the keys {_names(Recipe)}")
    return _validated(raw, overrides, source)


def _validated(raw: dict[str, Any], overrides: Sequence[str], source: str) -> Recipe:
    for override in overrides:
        _apply(raw, override)
    try:
        # JSON mode is the strict mode that takes YAML's lists for tuples.
        return Recipe.model_validate_json(to_json(raw, fallback=str))
    except ValidationError as error:
        lines = sorted({_explain(details, raw) for details in _root_causes(error.errors())})
        raise RecipeError(f"{source}: {len(lines)} mistake{'s' * (len(lines) > 1)}\n  " + "\n  ".join(lines)) from error


def with_suites(recipe_text: str, suites_path: str | None, overrides: Sequence[str]) -> Recipe:
    """A recipe with the suites of a file beside its own: a mapping of them by name, or a recipe that has them.

    Raises RecipeError as `load_recipe` does.
    """
    raw, source = _parse_yaml(recipe_text, "the results' recipe"), suites_path or "the results' recipe"
    if suites_path is not None:
        evaluation = raw.setdefault("evaluation", {})
        evaluation["suites"] = {**evaluation.get("suites", {}), **_read_suites(suites_path)}
    return _validated(raw, overrides, source)


def _read_suites(path: str) -> dict[str, Any]:
    found = _parse_yaml(_read_text(path, "file of suites"), path)
    for key in ("evaluation", "suites"):
        inner = found.get(key) if isinstance(found, dict) else None
        # A suite may be called so; it has a kind.
        if isinstance(inner, dict) and "kind" not in inner:
            found = inner
    if not isinstance(found, dict) or not found:
        raise RecipeError(f"{path}: found {_kind_of(found)}, expected suites by name, or a recipe that has them")
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


# ---------------------------------------------------------------------------------------------------------- YAML


class _Loader(yaml.SafeLoader):
    """YAML whose floats are JSON's (1e-3 is a number) and whose repeated keys are mistakes."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
    return {key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RecipeError(f"{source}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error


# ----------------------------------------------------------------------------------------------------- overrides


def _apply(raw: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise RecipeError(f"--set {override!r}: expected KEY=VALUE, e.g. training.epochs=5")
    *parents, last = path.strip().split(".")
    target: Any = raw
    for depth, key in enumerate(parents):
        if isinstance(target, dict):
            target = target.setdefault(key, {})
        elif isinstance(target, list):
            target = target[_index(key, target, override)]
        if not isinstance(target, dict | list):
            where = ".".join(parents[: depth + 1])
            raise RecipeError(f"--set {override!r}: {where} is {_kind_of(target)}, which has no keys")
    if isinstance(target, list):
        target[_index(last, target, override)] = _parse_yaml(text, f"--set {override!r}")
    else:
        target[last] = _parse_yaml(text, f"--set {override!r}")


def _index(key: str, target: list[Any], override: str) -> int:
    if not key.isdigit() or int(key) >= len(target):
        raise RecipeError(f"--set {override!r}: {key!r} is no index of a list of {len(target)}")
    return int(key)


# ---------------------------------------------------------------------------------------------------- explaining


_PHRASES = {
    "input should be": "accepted:",
    "string should match pattern": "accepted: text that matches",
    "tuple should have at least": "accepted: a list of at least",
    " after validation, not 0": "",
}


def _root_causes(mistakes: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without the lists that are only too short because their items have mistakes of their own."""
    places = [mistake["loc"] for mistake in mistakes]

    def has_deeper(place: tuple[int | str, ...]) -> bool:
        return any(len(other) > len(place) and other[: len(place)] == place for other in places)

    return [mistake for mistake in mistakes if mistake["type"] != "too_short" or not has_deeper(mistake["loc"])]


def _explain(details: ErrorDetails, raw: Any) -> str:
    location = details["loc"]
    path = _path(location, raw)
    match details["type"]:
        case "extra_forbidden":
            return f"{path}: unknown key; {_accepted_keys(location)}"
        case "missing":
            return f"{path}: missing"
        case "union_tag_not_found":
            return f"{path}.kind: missing; accepted: {_tags(location)}"
        case "union_tag_invalid":
            context = details["ctx"]
            return f"{path}.kind: found {context['tag']!r}; accepted: {context['expected_tags']}"
        case "value_error":
            return f"{path or 'recipe'}: {details['msg'].removeprefix('Value error, ')}"
    message = details["msg"][0].lower() + details["msg"][1:]
    for phrase, ours in _PHRASES.items():
        message = message.replace(phrase, ours)
    return f"{path}: found {_shown(details['input'])}; {message}"


def _path(location: tuple[int | str, ...], raw: Any) -> str:
    """The field's path as the user wrote it: without the tags that pydantic puts in for the alternatives."""
    parts, value, is_entered = [], raw, True
    for key in location:
        # A field may be called as the alternative it belongs to; the tag comes first.
        is_tag = is_entered and isinstance(value, dict) and value.get("kind") == key
        is_entered = not is_tag
        if is_tag:
            continue
        parts.append(str(key))
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            value = None
    return ".".join(parts)


def _accepted_keys(location: tuple[int | str, ...]) -> str:
    model = _model_at(location[:-1])
    if model is None:
        return "nothing of this name is accepted here"
    close = difflib.get_close_matches(str(location[-1]), list(model.model_fields), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}accepted: {_names(model)}"


def _tags(location: tuple[int | str, ...]) -> str:
    models = _models_in(_annotation_at(location))
    return ", ".join(repr(tag) for model in models for tag in get_args(model.model_fields["kind"].annotation))


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel] | None:
    models = _models_in(_annotation_at(location))
    return models[0] if len(models) == 1 else None


def _annotation_at(location: tuple[int | str, ...]) -> Any:
    annotation: Any = Recipe
    for key in location:
        models = _models_in(annotation)
        tagged = [m for m in models if "kind" in m.model_fields and key in get_args(m.model_fields["kind"].annotation)]
        if isinstance(key, int):
            continue
        values = _values_of(annotation)
        if values is not None:
            annotation = values
        elif tagged and (len(models) > 1 or key not in models[0].model_fields):
            annotation = tagged[0]
        elif len(models) == 1 and key in models[0].model_fields:
            annotation = models[0].model_fields[key].annotation
        else:
            return None
    return annotation


def _values_of(annotation: Any) -> Any:
    """What a mapping with keys of the user's choice holds; None of anything else."""
    if get_origin(annotation) is Annotated:
        return _values_of(get_args(annotation)[0])
    return get_args(annotation)[1] if get_origin(annotation) is dict else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation admits, through Optional, Annotated, unions and tuples."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType, tuple):
        return [model for argument in get_args(annotation) for model in _models_in(argument)]
    return []


def _names(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def _kind_of(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing"}
    return names.get(type(value), f"{value!r}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
