"""FiftyOne: a sample an answer, with what the reference and each variant that forgets it say.

`samples.json` is a `fiftyone.types.LegacyFiftyOneDataset`, each sample what `fiftyone.Sample.from_dict` takes: the
newer `FiftyOneDataset` is a copy of the database's own documents, which differ from version to version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from .label_studio import Addresses
from .listing import ANSWER, answers, group_columns

_OWN = {
    *("id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "media_type", "ground_truth"),
    *(*ANSWER, "key", "num_variants", "is_significant"),
}


def fiftyone_samples(rows: pd.DataFrame, addresses: Addresses, reference: str) -> dict[str, Any]:
    """The content of `samples.json` from the rows of `choose`.

    Fields: ground_truth, one named like the reference and one like each variant, as a Classification whose confidence
    is the share of members that agree; a variant's is there on the examples that it forgets, which are tagged
    `pie:<variant id>`. Names of fields have `_` for what is no letter or digit.
    """
    populations, groups = [reference, *dict.fromkeys(rows["variant_id"])], group_columns(rows)
    names = _field_names([*populations, *groups])
    by_population = dict(zip(populations, names, strict=False))
    by_group = dict(zip(groups, names[len(populations) :], strict=True))
    return {"samples": [_sample(each, addresses, by_population, by_group) for each in answers(rows)]}


def _sample(
    rows: list[dict[str, Any]], addresses: Addresses, by_population: dict[str, str], by_group: dict[str, str]
) -> dict[str, Any]:
    """Of one answer's rows, a row a variant; the fields of populations, the reference's first, and of groups."""
    first, reference_field = rows[0], next(iter(by_population.values()))
    sample = {
        "filepath": addresses[first["evaluation_set"], first["example_id"]],
        "tags": [f"pie:{row['variant_id']}" for row in rows],
        **{name: first[name] for name in (*ANSWER, "key") if name in first},
        "num_variants": len(rows),
        "is_significant": any(row["is_significant"] for row in rows),
        "ground_truth": _classification(first["label_name"]),
        reference_field: _classification(first["reference_mode_name"], confidence=first["reference_agreement"]),
    }
    for row in rows:
        sample[by_population[row["variant_id"]]] = _classification(
            row["variant_mode_name"],
            confidence=row["variant_agreement"],
            taxicab=row["taxicab"],
            p_value=row["p_value"],
            q_value=row["q_value"],
            is_significant=row["is_significant"],
        )
    return sample | {field: first[name] for name, field in by_group.items()}


def _classification(label: str, **others: Any) -> dict[str, Any]:
    return {"_cls": "Classification", "label": label, **others}


def _field_names(names: Iterable[str]) -> list[str]:
    """A field for each name; those that would be alike are numbered."""
    fields: list[str] = []
    for name in names:
        stem = field = re.sub(r"\W", "_", name).strip("_") or "field"
        number = 2
        while field in _OWN or field in fields:
            field, number = f"{stem}_{number}", number + 1
        fields.append(field)
    return fields
