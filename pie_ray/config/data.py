"""`data`: the images, and where they come from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .base import Config, PositiveInt

TRAIN, TEST, VALIDATION = "train", "test", "validation"
"""A study's splits, whatever its source calls them; the sets of examples that the results hold have the same names."""


def _all_different(names: tuple[str, ...]) -> tuple[str, ...]:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"every attribute once, found {', '.join(doubled)} several times")
    return names


Attributes = Annotated[tuple[str, ...], AfterValidator(_all_different)]


class AbstractData(Config):
    image_size: Annotated[int, Field(ge=8, le=512)] | None = Field(
        None, description="Resize the shorter side to this many pixels and crop the centre; None keeps the images."
    )
    num_train: PositiveInt | None = Field(None, description="Use a fixed random subset of the training images.")
    num_test: PositiveInt | None = Field(
        None, description="Use a fixed random subset of the test images, and at most as many validation images."
    )


class AbstractNamedSplits(AbstractData):
    """Data whose splits lie under names: `train`, the test split's and, where there is one, the validation split's."""

    path: str = Field(description="Folder that holds the splits.")
    test_split: str = Field("test", description="Name of the test split's files or folder, e.g. `val`.")
    validation_split: str | None = Field(
        None, description="Name of the validation split's, for thresholds chosen apart from the test images."
    )
    attributes: Attributes = Field(
        (),
        description="Columns of two values (false and true, 0 and 1, or -1 and 1) to learn jointly, in place of "
        "one label.",
    )

    streaming: bool = Field(
        False,
        description="Decode training images when a batch needs them, from the files, in place of keeping all of them "
        "decoded: for data larger than memory and disk. Needs image_size.",
    )

    @model_validator(mode="after")
    def _streamed_at_one_size(self) -> Self:
        if self.streaming and self.image_size is None:
            raise ValueError("streaming needs image_size: images of the files' own sizes make no batch")
        return self

    @model_validator(mode="after")
    def _splits_differ(self) -> Self:
        if self.validation_split in (TRAIN, self.test_split):
            raise ValueError(f"validation_split must be another split than {TRAIN} and {self.test_split}")
        return self


class DigitsData(AbstractData):
    """scikit-learn's 8 x 8 digits: 1,797 images that need no download; 1,000 to train, 797 to test."""

    kind: Literal["digits"]


class FashionMnistData(AbstractData):
    """Fashion-MNIST from its four IDX files, gzipped or not."""

    kind: Literal["fashion_mnist"]
    path: str | None = Field(
        None, description="Folder of the IDX files; None looks where Debian and torchvision put them."
    )


class ParquetData(AbstractNamedSplits):
    """Image classification in the Parquet layout that Hugging Face datasets use: `train*`/`test*.parquet`."""

    kind: Literal["parquet"]
    image_column: str | None = Field(None, description="None takes `img` or `image`.")
    label_column: str = Field("label", description="Column of integer labels.")

    @model_validator(mode="after")
    def _one_kind_of_label(self) -> Self:
        if self.attributes and self.label_column != "label":
            raise ValueError(f"either label_column or attributes, found {self.label_column} beside attributes")
        return self


class ImageFolderData(AbstractNamedSplits):
    """A tree `train/<class>/<image>` and `test/<class>/<image>`.

    A split's `metadata.csv` describes its images: `file_name` and further columns. With `attributes` no class folders
    are needed.
    """

    kind: Literal["image_folder"]


class TorchvisionData(AbstractData):
    """A data set of torchvision's by its class name, e.g. `CIFAR100`, `SVHN`, `STL10`."""

    kind: Literal["torchvision"]
    name: str = Field(description="Class name in torchvision.datasets.")
    path: str = Field(description="torchvision's `root`.")
    download: bool = Field(False, description="Let torchvision download what is missing.")


class CelebaData(AbstractData):
    """CelebA's aligned images and its binary attributes, laid out as torchvision has them."""

    kind: Literal["celeba"]
    path: str = Field(
        description="Folder that holds `img_align_celeba`, `list_attr_celeba.txt` and `list_eval_partition.txt`, or "
        "has them in a folder `celeba`, as torchvision's `root`."
    )
    attributes: Attributes = Field((), description="Attributes to learn jointly; all of the file where none is named.")


Data = Annotated[
    DigitsData | FashionMnistData | ParquetData | ImageFolderData | TorchvisionData | CelebaData,
    Field(discriminator="kind"),
]
