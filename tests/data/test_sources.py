from __future__ import annotations

from typing import get_args

import pytest

from pie_ray.config import Data
from pie_ray.data import SOURCES
from pie_ray.errors import RecipeError
from pie_ray.identity import describe_base
from pie_ray.recipe import parse_recipe


def test_every_kind_of_data_has_a_source() -> None:
    union, _discriminator = get_args(Data)
    kinds = {get_args(config.model_fields["kind"].annotation)[0] for config in get_args(union)}
    assert kinds == set(SOURCES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "{kind: celeba, path: /a, attributes: [Male, Young, Male]}",
            "data.attributes: every attribute once, found Male",
        ),
        (
            "{kind: parquet, path: /a, attributes: [b], label_column: c}",
            "data: either label_column or attributes, found c",
        ),
        (
            "{kind: parquet, path: /a, validation_split: test}",
            "data: validation_split must be another split than train",
        ),
        (
            "{kind: image_folder, path: /a, validation_split: train}",
            "data: validation_split must be another split than",
        ),
    ],
)
def test_data_that_cannot_be_meant(data: str, message: str, tiny_text: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(tiny_text, [f"data={data}"])


@pytest.mark.parametrize("kind", ["parquet", "image_folder"])
def test_settings_that_are_switched_off_are_no_part_of_the_datas_description(kind: str, tiny_text: str) -> None:
    recipe = parse_recipe(
        tiny_text, [f"data={{kind: {kind}, path: /a, attributes: [], validation_split: null, test_split: test}}"]
    )
    assert describe_base(recipe)["data"] == {"kind": kind}
