"""The study's classes and attributes, found by the names that another data set has for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_NUM_SHOWN = 5


def are_numbers(names: Sequence[str]) -> bool:
    """Whether the classes have no names but numbers, as where a publisher gives none."""
    return all(name.isdecimal() for name in names)


def find_classes(names: Sequence[str], study_names: Sequence[str]) -> list[int | None]:
    """The study's index of each of `names`; None where it has no such class, or several.

    Where both sides have numbers alone, `07` is `7`.
    """
    if tuple(names) == tuple(study_names):
        # ImageNet has two cranes.
        return list(range(len(names)))
    counts = Counter(study_names)
    indices = {name: index for index, name in enumerate(study_names) if counts[name] == 1}
    if are_numbers(names) and are_numbers(study_names):
        indices = {str(int(name)): index for name, index in indices.items()} | indices
        return [indices.get(name, indices.get(str(int(name)))) for name in names]
    return [indices.get(name) for name in names]


def shown(names: Sequence[str]) -> str:
    """The first few names, for an error."""
    return ", ".join(names[:_NUM_SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > _NUM_SHOWN else "")
