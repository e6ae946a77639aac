from __future__ import annotations

from typing import get_args

from pie_ray.config import Data
from pie_ray.data import SOURCES


def test_every_kind_of_data_has_a_source() -> None:
    union, _discriminator = get_args(Data)
    kinds = {get_args(config.model_fields["kind"].annotation)[0] for config in get_args(union)}
    assert kinds == set(SOURCES)
