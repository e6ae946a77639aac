"""`model`: the network."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Config, PositiveInt


class SmallResNetModel(Config):
    """Three residual blocks; about 75 thousand parameters at width 16."""

    kind: Literal["small_resnet"]
    width: PositiveInt = Field(16, description="Channels of the first block; the others have 2 and 4 times as many.")


class WideResNetModel(Config):
    """Pre-activation wide ResNet, WRN-depth-width (Zagoruyko & Komodakis): e.g. depth 22, width 2."""

    kind: Literal["wide_resnet"]
    depth: Annotated[int, Field(ge=10)] = Field(description="6n + 4 layers: 10, 16, 22, 28, 34, 40.")
    width: PositiveInt = Field(description="Channels as a multiple of 16, 32 and 64.")

    @model_validator(mode="after")
    def _depth_fits(self) -> Self:
        if (self.depth - 4) % 6:
            raise ValueError(f"depth must be 6n + 4 (10, 16, 22, 28, 34, 40), found {self.depth}")
        return self


class ResNetModel(Config):
    """torchvision's ResNet-18 or ResNet-50, from random weights."""

    kind: Literal["resnet18", "resnet50"]
    stem: Literal["imagenet", "small"] = Field(
        "imagenet", description="`small` is a 3 x 3 convolution without pooling, for images under about 64 px."
    )


class CustomModel(Config):
    """A network of your own: `module:function`, called with num_classes, num_channels, image_size and arguments."""

    kind: Literal["custom"]
    factory: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] = Field(description="`module:function` that Python finds.")
    arguments: dict[str, int | float | str | bool] = Field(
        {}, description="Further arguments of the function, by name."
    )


Model = Annotated[SmallResNetModel | WideResNetModel | ResNetModel | CustomModel, Field(discriminator="kind")]
