"""Write what the documentation says of recipes and commands from the code that reads them.

    python docs/tools/reference.py

makes `docs/recipe.md` anew, from the pydantic models, and in `docs/commands.md` the tables of options, from argparse.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pie_ray.cli import _parser
from pie_ray.config import CORRUPTION_FAMILIES as FAMILIES
from pie_ray.config import Recipe

DOCS = Path(__file__).parents[1]
RECIPE, COMMANDS = DOCS / "recipe.md", DOCS / "commands.md"

_INTRODUCTION = """\
# Recipe

<!-- Written by docs/tools/reference.py from pie_ray/config/: change it there. -->

A recipe is one YAML file that describes a study. Unknown keys are refused, and every mistake is told at once, with its
path, what was found and what is accepted. Any field can be set on the command line, `--set training.epochs=5`; values
are YAML. Where alternatives are chosen between, `kind` says which.

```yaml
name: my_study
data: {kind: image_folder, path: data/my_images, image_size: 64}
model: {kind: resnet18, stem: small}
training: {epochs: 20, augmentation: {crop_padding: 4, flip: true}}
population: {num_members: 10}
variants:
  - pruning: {kind: magnitude, sparsities: [0.5, 0.9]}
  - quantization: [static_int8]
```

`data`, `model`, `training`, `population.base_seed` and `variants` decide a member's bits, and with them its id;
`evaluation` and `execution` do not. Recipes to start from: [digits](../examples/digits.yaml),
[Fashion-MNIST](../examples/fashion_mnist.yaml), [CIFAR-10](../examples/cifar10.yaml),
[robustness](../examples/robustness.yaml), [CIFAR-10 as the paper has it](../examples/cifar10_paper.yaml),
[CelebA](../examples/celeba.yaml).
"""

# ------------------------------------------------------------------------------------------------------- recipes


def recipe_page() -> str:
    """The recipe's reference: a table of the fields, then a section for every one that has fields of its own."""
    sections = [f"{_INTRODUCTION}\n{_table(Recipe)}"]
    for name, field in Recipe.model_fields.items():
        sections += _sections(name, field)
    return "\n".join([*sections, _corruptions()])


def _corruptions() -> str:
    families = [f"| {family} | {', '.join(f'`{name}`' for name in names)} |" for family, names in FAMILIES.items()]
    return "\n".join(["## Corruptions\n", "| family | names |", "|---|---|", *families, ""])


def _sections(path: str, field: FieldInfo) -> list[str]:
    """The section of a field, and those of the fields below it."""
    models = _models(field.annotation)
    if not models:
        return []
    found = [f"## `{path}`\n"]
    if len(models) > 1 or _kinds(models[0]):
        found = [
            f"## `{path}`\n\nOne of, by `kind`: {', '.join(kind for model in models for kind in _kinds(model))}.\n"
        ]
    for model in models:
        heading = f"### `{path}`: {', '.join(_kinds(model))}\n\n" if _kinds(model) else ""
        found.append(f"{heading}{_sentence(model)}{_table(model)}")
    for model in models:
        for name, inner in model.model_fields.items():
            # A suite's `data` is described where the recipe's is.
            if name != "data":
                found += _sections(f"{path}{_index(field.annotation)}.{name}", inner)
    return found


def _index(annotation: Any) -> str:
    origins = {get_origin(part) for part in _parts(annotation)}
    return "[]" if tuple in origins else ".<name>" if dict in origins else ""


def _table(model: type[BaseModel]) -> str:
    fields = {name: field for name, field in model.model_fields.items() if name != "kind"}
    if not fields:
        return "No fields.\n"
    rows = [f"| `{name}` | {_cells(field)} |" for name, field in fields.items()]
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def _cells(field: FieldInfo) -> str:
    return f"{_type(field.annotation, field.metadata)} | {_default(field)} | {_escaped(field.description or '')}"


def _sentence(model: type[BaseModel]) -> str:
    text = " ".join((model.__doc__ or "").split())
    return f"{text}\n\n" if text else ""


def _kinds(model: type[BaseModel]) -> list[str]:
    return (
        [f"`{kind}`" for kind in get_args(model.model_fields["kind"].annotation)]
        if "kind" in model.model_fields
        else []
    )


def _escaped(text: str) -> str:
    """For a cell of a table: no column ends in it, and outside of code nothing is a tag."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    return "–" if field.default is None else f"`{_yaml(field.default)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        chosen = value.model_dump(exclude_defaults=True)
        return "{" + ", ".join(f"{key}: {_yaml(part)}" for key, part in chosen.items()) + "}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]" if len(value) < 6 else f"all {len(value)}"
    return str(value).lower() if isinstance(value, bool) else str(value)


_NAMES = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}


def _type(annotation: Any, metadata: list[Any]) -> str:
    """A field's type in words, with the limits on it."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _type(inner, [*more, *metadata])
    if get_origin(annotation) is tuple:
        few = [f"{limit.min_length} or more" for limit in metadata if isinstance(limit, annotated_types.MinLen)]
        return f"list{''.join(f' of {words}' for words in few)}: {_type(get_args(annotation)[0], [])}"
    return f"{_plain(annotation)}{_limits(metadata)}"


def _plain(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if _is_model(annotation):
        return "mapping, by `kind`" if _kinds(annotation) else "mapping"
    if origin in (Union, UnionType):
        present = [part for part in arguments if part is not type(None)]
        return (
            "mapping, by `kind`" if len(_models(annotation)) > 1 else " or ".join(_type(part, []) for part in present)
        )
    if origin is dict:
        return f"names, each with: {_type(arguments[1], [])}"
    return _NAMES[annotation]


def _limits(metadata: list[Any]) -> str:
    words = {"gt": "above {}", "ge": "at least {}", "lt": "below {}", "le": "at most {}"}
    found = []
    for limit in (part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])):
        found += [
            words[name].format(f"{value:g}") for name in words if (value := getattr(limit, name, None)) is not None
        ]
        if isinstance(limit, annotated_types.MaxLen):
            found.append(f"up to {limit.max_length} characters")
        if pattern := getattr(limit, "pattern", None):
            found.append(f"that matches `{pattern}`")
    return "".join(f", {words}" for words in found)


def _parts(annotation: Any) -> list[Any]:
    """An annotation and all that it is made of."""
    return [annotation, *(part for argument in get_args(annotation) for part in _parts(argument))]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(annotation) if _is_model(part)]


# ------------------------------------------------------------------------------------------------------ commands

_OPTIONS = re.compile(r"(<!-- options of ([\w-]+) -->\n).*?(<!-- end of options -->\n)", re.DOTALL)


def commands_page(text: str) -> str:
    """The page with every table of options as argparse has them now. Raises KeyError for a command that is none."""
    parsers = command_parsers()
    return _OPTIONS.sub(lambda found: f"{found[1]}{_options(parsers[found[2]])}{found[3]}", text)


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by its name."""
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def _options(parser: argparse.ArgumentParser) -> str:
    rows = [
        f"| {_usage(action)} | {_help(action)} |" for action in parser._actions if "--help" not in action.option_strings
    ]
    return "\n".join(["", "| option | meaning |", "|---|---|", *rows, "", ""])


def _usage(action: argparse.Action) -> str:
    value = action.metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper())
    if not action.option_strings:
        return f"`{action.metavar or action.dest.upper()}`" + (" (optional)" if action.nargs == "?" else "")
    return f"`{', '.join(action.option_strings)}{f' {value}' if action.nargs != 0 else ''}`"


def _help(action: argparse.Action) -> str:
    text = _escaped((action.help or "").replace("%%", "%"))
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    RECIPE.write_text(recipe_page())
    COMMANDS.write_text(commands_page(COMMANDS.read_text()))
