"""What every part of a recipe is made of: strict, frozen models that know no key but their own."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Sparsity = Annotated[float, Field(gt=0, lt=1)]


def once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Validates that no value is there twice."""
    if len(set(values)) < len(values):
        raise ValueError(f"each once, found {', '.join(map(str, values))}")
    return values
