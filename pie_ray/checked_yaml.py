"""YAML that people write, checked against a pydantic model: one message lists every mistake."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from .errors import InputError

M = TypeVar("M", bound=BaseModel)
Location = tuple[int | str, ...]


@dataclass(frozen=True)
class Document(Generic[M]):
    """A kind of YAML file: what people call it, the model it is checked against, the error that its mistakes raise."""

    name: str
    model: type[M]
    error: type[InputError]

    def read(self, path: str, what: str = "") -> str:
        """The text of a file; `what` it is called, where not as the document."""
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise self.error(f"cannot read the {what or self.name} {path}: {reason}; expected a YAML file") from error

    def parse(self, text: str, source: str) -> Any:
        """What the text says, unchecked; `source` is what errors name."""
        try:
            return yaml.load(text, _Loader)
        except (yaml.YAMLError, TypeError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            raise self.error(f"{source}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error

    def parse_mapping(self, text: str, source: str) -> dict[str, Any]:
        """As `parse`, of a text that must be a mapping."""
        raw = self.parse(text, source)
        if not isinstance(raw, dict):
            raise self.error(f"{source}: found {kind_of(raw)}, expected a mapping with the keys {_names(self.model)}")
        return raw

    def check(self, raw: dict[str, Any], source: str) -> M:
        """The model of what was parsed; else its error lists each field's path, what was found, what is accepted."""
        try:
            # JSON mode is the strict mode that takes YAML's lists for tuples.
            return self.model.model_validate_json(to_json(raw, fallback=str))
        except ValidationError as error:
            lines = sorted({self._explain(details, raw) for details in _root_causes(error.errors())})
            mistakes = f"{len(lines)} mistake{'s' * (len(lines) > 1)}"
            raise self.error(f"{source}: {mistakes}\n  " + "\n  ".join(lines)) from error

    def _explain(self, details: ErrorDetails, raw: Any) -> str:
        location = details["loc"]
        path = _path(location, raw)
        match details["type"]:
            case "extra_forbidden":
                return f"{path}: unknown key; {_accepted_keys(self.model, location)}"
            case "missing":
                return f"{path}: missing"
            case "union_tag_not_found":
                return f"{path}.kind: missing; accepted: {_tags(self.model, location)}"
            case "union_tag_invalid":
                context = details["ctx"]
                return f"{path}.kind: found {context['tag']!r}; accepted: {context['expected_tags']}"
            case "value_error":
                return f"{path or self.name}: {details['msg'].removeprefix('Value error, ')}"
        message = details["msg"][0].lower() + details["msg"][1:]
        for phrase, ours in _PHRASES.items():
            message = message.replace(phrase, ours)
        return f"{path}: found {_shown(details['input'])}; {message}"


def kind_of(value: Any) -> str:
    """What a parsed value is, as people say it."""
    names = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing"}
    return names.get(type(value), f"{value!r}")


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

    def has_deeper(place: Location) -> bool:
        return any(len(other) > len(place) and other[: len(place)] == place for other in places)

    return [mistake for mistake in mistakes if mistake["type"] != "too_short" or not has_deeper(mistake["loc"])]


def _path(location: Location, raw: Any) -> str:
    """The field's path as the user wrote it: without the tags that pydantic puts in for the alternatives."""
    parts: list[str] = []
    value, is_entered = raw, True
    for key in location:
        # A field may be called as the alternative it belongs to; the tag comes first.
        is_tag = is_entered and isinstance(value, dict) and value.get("kind") == key
        is_entered = not is_tag
        if is_tag:
            continue
        if isinstance(key, str) and not isinstance(value, dict | None):
            # A model took this value for the field of its own that is meant.
            break
        parts.append(str(key))
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            value = None
    return ".".join(parts)


def _accepted_keys(root: type[BaseModel], location: Location) -> str:
    model = _model_at(root, location[:-1])
    if model is None:
        return "nothing of this name is accepted here"
    close = difflib.get_close_matches(str(location[-1]), list(model.model_fields), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}accepted: {_names(model)}"


def _tags(root: type[BaseModel], location: Location) -> str:
    models = _models_in(_annotation_at(root, location))
    return ", ".join(repr(tag) for model in models for tag in get_args(model.model_fields["kind"].annotation))


def _model_at(root: type[BaseModel], location: Location) -> type[BaseModel] | None:
    models = _models_in(_annotation_at(root, location))
    return models[0] if len(models) == 1 else None


def _annotation_at(root: type[BaseModel], location: Location) -> Any:
    annotation: Any = root
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


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
