"""Label Studio: a task an answer with what the networks say as predictions, and the labeling interface.

Formats: https://labelstud.io/guide/tasks.html (tasks), https://labelstud.io/tags/choices (interface).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from ..errors import InputError
from .listing import ANSWER, answers, free_name, group_columns

_CHOICES, _IMAGE = "label", "image"
_MAX_BUTTONS = 20
"""More classes than this are chosen from a list that can be searched."""

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Addresses = Mapping[tuple[str, int], str]
"""Of pictures, by evaluation set and example id."""


def label_studio_tasks(rows: pd.DataFrame, addresses: Addresses, reference: str) -> list[dict[str, Any]]:
    """The JSON of an import from the rows of `choose`.

    A task's `data` have the picture's address, the example's id, key, label and groups, which the Data Manager shows
    and filters by. Its predictions are the mode of each variant that forgets the example and the reference's; the
    score is the share of members that agree. The reference is the last, as Label Studio fills in the latest one where
    it is to prelabel.
    """
    groups = group_columns(rows)
    return [_task(of_answer, groups, addresses, reference) for of_answer in answers(rows)]


def labeling_config(class_names: Sequence[str], *, has_attributes: bool) -> bytes:
    """The XML of the interface: one choice among the classes, or of multi-label data an attribute's no or yes.

    It does not show the label: whoever is to judge it should not be led. Raises InputError for a class name with
    characters that XML cannot hold.
    """
    wrong = next((name for name in class_names if _NO_XML.search(name)), None)
    if wrong is not None:
        raise InputError(
            f"class {wrong!r}: found a control character; accepted is what XML, and Label Studio, can hold"
        )
    view = ElementTree.Element("View")
    if has_attributes:
        ElementTree.SubElement(view, "Header", value="$attribute")
    ElementTree.SubElement(view, "Image", name=_IMAGE, value=f"${_IMAGE}", zoom="true")
    choices = ElementTree.SubElement(
        view, "Choices", name=_CHOICES, toName=_IMAGE, choice="single", required="true", showInline="true"
    )
    if len(class_names) > _MAX_BUTTONS:
        choices.set("layout", "select")
    for name in class_names:
        ElementTree.SubElement(choices, "Choice", value=name)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="utf-8", xml_declaration=False) + b"\n"


def _task(rows: list[dict[str, Any]], groups: list[str], addresses: Addresses, reference: str) -> dict[str, Any]:
    """Of one answer's rows, a row a variant."""
    first = rows[0]
    data = {
        _IMAGE: addresses[first["evaluation_set"], first["example_id"]],
        **{name: first[name] for name in ANSWER if name in first},
        "key": first["key"],
        "label": first["label_name"],
        "num_variants": len(rows),
        "forgotten_by": ", ".join(row["variant_id"] for row in rows),
        "is_significant": any(row["is_significant"] for row in rows),
    }
    data |= {free_name(name, data): first[name] for name in groups}
    dense = _prediction(reference, first["reference_mode_name"], first["reference_agreement"])
    others = [_prediction(row["variant_id"], row["variant_mode_name"], row["variant_agreement"]) for row in rows]
    return {"data": data, "predictions": [*others, dense]}


def _prediction(version: str, choice: str, agreement: float) -> dict[str, Any]:
    region = {
        "id": _CHOICES,
        "from_name": _CHOICES,
        "to_name": _IMAGE,
        "type": "choices",
        "value": {"choices": [choice]},
    }
    return {"model_version": version, "score": agreement, "result": [region]}
