"""What Label Studio and FiftyOne are given, held against their documented formats.

Both were tried with the real thing too: docs/downstream.md says with which versions.
"""

from __future__ import annotations

from xml.etree import ElementTree

import jsonschema
import pandas as pd
import pytest

import pie_ray
from pie_ray.errors import InputError
from pie_ray.export import (
    choose,
    fiftyone_samples,
    image_address,
    label_studio_tasks,
    labeling_config,
    named_pies,
)
from pie_ray.export.addresses import check_file_keys

from .conftest import CLASSES, VARIANTS

# https://labelstud.io/guide/predictions: what a task to import is.
REGION = {
    "type": "object",
    "required": ["id", "from_name", "to_name", "type", "value"],
    "properties": {
        "from_name": {"const": "label"},
        "to_name": {"const": "image"},
        "type": {"const": "choices"},
        "value": {
            "type": "object",
            "required": ["choices"],
            "properties": {
                "choices": {"type": "array", "items": {"enum": list(CLASSES)}, "minItems": 1, "maxItems": 1}
            },
        },
    },
}
PREDICTION = {
    "type": "object",
    "required": ["model_version", "score", "result"],
    "additionalProperties": False,
    "properties": {
        "model_version": {"type": "string"},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "result": {"type": "array", "items": REGION, "minItems": 1},
    },
}
TASKS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["data", "predictions"],
        "additionalProperties": False,
        "properties": {
            "data": {"type": "object", "required": ["image"], "properties": {"image": {"type": "string"}}},
            "predictions": {"type": "array", "items": PREDICTION, "minItems": 2},
        },
    },
}

# What fiftyone.Sample.from_dict takes; names of fields as fiftyone.core.odm.validate_field_name has them.
LABEL = {
    "type": "object",
    "required": ["_cls", "label"],
    "properties": {"_cls": {"const": "Classification"}, "confidence": {"type": "number", "minimum": 0, "maximum": 1}},
}
SAMPLES = {
    "type": "object",
    "required": ["samples"],
    "properties": {
        "samples": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["filepath", "tags", "ground_truth", "dense"],
                "propertyNames": {"pattern": r"^[^_$.][^$.]*$"},
                "properties": {"ground_truth": LABEL, "dense": LABEL, "tags": {"items": {"pattern": "^pie:"}}},
            },
        }
    },
}


@pytest.fixture(scope="module")
def rows(hostile):
    results = pie_ray.load_results(hostile)
    groups = results.examples().set_index("example_id")[["variant_id", "=site"]]
    return choose(named_pies(results.pies, {"test": groups}, results.class_names))


@pytest.fixture(scope="module")
def addresses(rows):
    return {("test", example_id): f"http://host/{example_id}.png" for example_id in rows["example_id"]}


def test_tasks_are_what_label_studio_imports(rows, addresses):
    tasks = label_studio_tasks(rows, addresses, "dense")
    jsonschema.validate(tasks, TASKS)
    assert len(tasks) == 10
    first = tasks[0]
    assert first["data"] == {
        "image": "http://host/0.png", "evaluation_set": "test", "example_id": 0, "key": "test/'q'/0 #1.png",
        "label": "'q'", "num_variants": 2, "forgotten_by": "magnitude-0.50, static_int8", "is_significant": True,
        "group_variant_id": "@0", "=site": "A",
    }  # fmt: skip
    assert [prediction["model_version"] for prediction in first["predictions"]] == [*VARIANTS, "dense"]
    chosen = [prediction["result"][0]["value"]["choices"] for prediction in first["predictions"]]
    assert chosen == [["+plus"], ["+plus"], ["<script>alert(1)<"]]
    assert tasks[9]["predictions"][0]["score"] == 0.75


def test_the_interface_names_every_class_as_it_is():
    view = ElementTree.fromstring(labeling_config(CLASSES, has_attributes=False))
    assert [choice.get("value") for choice in view.iter("Choice")] == list(CLASSES)
    (choices,), (image,) = view.iter("Choices"), view.iter("Image")
    assert (choices.get("choice"), choices.get("toName"), image.get("value")) == ("single", image.get("name"), "$image")
    assert choices.get("layout") is None and not list(view.iter("Header"))
    many = ElementTree.fromstring(labeling_config([str(index) for index in range(100)], has_attributes=False))
    assert next(many.iter("Choices")).get("layout") == "select"


def test_a_class_name_that_xml_cannot_hold_is_refused():
    with pytest.raises(InputError, match=r"class 'b\\x00ll': found a control character"):
        labeling_config(["ball", "b\x00ll"], has_attributes=False)


def test_samples_are_what_fiftyone_reads(rows, addresses):
    content = fiftyone_samples(rows, addresses, "dense")
    jsonschema.validate(content, SAMPLES)
    samples = content["samples"]
    assert samples[0]["tags"] == ["pie:magnitude-0.50", "pie:static_int8"]
    assert samples[0]["magnitude_0_50"]["label"] == "+plus" and samples[0]["magnitude_0_50"]["is_significant"] is True
    assert (samples[0]["group_variant_id"], samples[0]["site"]) == ("@0", "A")
    assert [("static_int8" in sample) for sample in samples] == [True] * 5 + [False] * 5


def test_fields_that_would_be_alike_are_numbered(rows, addresses):
    names = {"magnitude-0.50": "a b", "static_int8": "a.b"}
    renamed = rows.assign(variant_id=rows["variant_id"].map(names)).rename(
        columns={"=site": "key_", "group_variant_id": "id"}
    )
    sample = fiftyone_samples(renamed, addresses, "dense")["samples"][0]
    assert sample["a_b"]["_cls"] == sample["a_b_2"]["_cls"] == "Classification"
    assert (sample["key_2"], sample["id_2"], sample["key"]) == ("A", "@0", "test/'q'/0 #1.png")


def test_an_answer_about_an_attribute_is_a_task_of_its_own(joint):
    results = pie_ray.load_results(joint)
    rows = choose(named_pies(results.pies, {}, ["no", "yes"]))
    tasks = label_studio_tasks(rows, {("test", example_id): "x" for example_id in range(20)}, "dense")
    assert [task["data"]["attribute"] for task in tasks] == ["Even"] * 5
    assert {choice.get("value") for choice in _interface(["no", "yes"]).iter("Choice")} == {"no", "yes"}
    assert next(_interface(["no", "yes"]).iter("Header")).get("value") == "$attribute"


def _interface(names):
    return ElementTree.fromstring(labeling_config(names, has_attributes=True))


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/data/local-files/?d=pets", "/data/local-files/?d=pets/test/a%20%23b.png"),
        ("/data/local-files/?d=", "/data/local-files/?d=test/a%20%23b.png"),
        ("https://host/pets/", "https://host/pets/test/a%20%23b.png"),
        ("s3://bucket/pets", "s3://bucket/pets/test/a #b.png"),
        ("/home/me/pets", "/home/me/pets/test/a #b.png"),
    ],
)
def test_a_key_is_joined_to_its_root(root, expected):
    assert image_address(root, "test/a #b.png") == expected


def test_keys_that_are_no_files_have_no_address():
    check_file_keys(pd.Series(["test/a[1].png", "000001.jpg"]))
    with pytest.raises(InputError, match=r"found the key 'digits\[17\]', which names no file"):
        check_file_keys(["test/a.png", "digits[17]"])
