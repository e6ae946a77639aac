"""`evaluation.suites`: evaluation sets beside the test images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from .base import Config, PositiveInt, once
from .data import VALIDATION, Data

CORRUPTION_FAMILIES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
"""The 15 corruptions of ImageNet-C by family, and the 4 extra ones (Hendrycks & Dietterich, arXiv 1903.12261)."""

CORRUPTIONS = tuple(name for family in CORRUPTION_FAMILIES.values() for name in family)


def _known_corruptions(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in CORRUPTIONS]
    if unknown:
        raise ValueError(f"found {', '.join(unknown)}; accepted are {', '.join(CORRUPTIONS)}")
    return names


CorruptionNames = Annotated[
    tuple[str, ...], Field(min_length=1), AfterValidator(_known_corruptions), AfterValidator(once)
]
Severity = Annotated[int, Field(ge=1, le=5)]
Severities = Annotated[tuple[Severity, ...], Field(min_length=1), AfterValidator(once)]


class AbstractSuite(Config):
    num_examples: PositiveInt | None = Field(
        None, description="Use a fixed random subset of each evaluation set; None takes all there are."
    )


class AbstractCorruptions(AbstractSuite):
    """Evaluation sets `corruption/<corruption>/<severity>`."""

    severities: Severities = Field((1, 2, 3, 4, 5), description="Which of the five strengths.")


class CorruptionSuite(AbstractCorruptions):
    """The test images, corrupted as ImageNet-C's are: made once, and shared by all members and sweeps."""

    kind: Literal["corruptions"]
    corruptions: CorruptionNames = Field(CORRUPTIONS, description="Which of the 19; all by default.")
    parameters: Literal["auto", "imagenet_c", "cifar10_c"] = Field(
        "auto",
        description="Whose strength a severity has: ImageNet-C's, made for 224 px, or CIFAR-10-C's, made for 32 px; "
        "`auto` takes CIFAR-10-C's below 96 px.",
    )
    small_images: Literal["pad", "resize"] = Field(
        "pad", description="What is done to images below 32 px, which cannot be corrupted as they are."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Of the random numbers; each image has its own of them.")


class Cifar10CSuite(AbstractCorruptions):
    """CIFAR-10-C or CIFAR-100-C as published: `<corruption>.npy` of 50,000 rows, five severities, and `labels.npy`."""

    kind: Literal["cifar10_c"]
    path: str = Field(description="Folder that holds the .npy files.")
    corruptions: CorruptionNames | None = Field(None, description="None takes those whose files are there.")


class ImagenetCSuite(AbstractCorruptions):
    """ImageNet-C as published: `<corruption>/<severity>/<class>/<image>`."""

    kind: Literal["imagenet_c"]
    path: str = Field(description="Folder that holds the corruptions' folders, or their families' with them inside.")
    corruptions: CorruptionNames | None = Field(None, description="None takes those whose folders are there.")


class ClassFoldersSuite(AbstractSuite):
    """ImageNet-A or ImageNet-R as published, `<class>/<image>`: 200 of the classes, found by the folders' names."""

    kind: Literal["imagenet_a", "imagenet_r"]
    path: str = Field(description="Folder that holds the classes' folders.")
    among: Literal["present", "all"] = Field(
        "present",
        description="Which classes an answer is chosen among: the set's own, as published, or all of the study's.",
    )


class Cifar101Suite(AbstractSuite):
    """CIFAR-10.1 as published: `cifar10.1_<version>_data.npy` and `cifar10.1_<version>_labels.npy`."""

    kind: Literal["cifar10_1"]
    path: str = Field(description="Folder that holds the .npy files.")
    version: Literal["v4", "v6"] = Field("v6", description="Which of the two published sets.")


class NaturalSuite(AbstractSuite):
    """Any image set that a study could be made on, evaluated as `natural/<name of the suite>`."""

    kind: Literal["natural"]
    data: Data = Field(description="As a recipe's `data`; its classes are found among the study's by name.")
    split: Literal["train", "test"] = Field("test", description="Which split of it.")


Suite = Annotated[
    CorruptionSuite | Cifar10CSuite | ImagenetCSuite | ClassFoldersSuite | Cifar101Suite | NaturalSuite,
    Field(discriminator="kind"),
]
SuiteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]

CLEAN = "clean"
"""The suite of the test images as they are; every study has it."""


def free_names(suites: dict[str, Any]) -> dict[str, Any]:
    taken = sorted({CLEAN, VALIDATION} & set(suites))
    if taken:
        raise ValueError(f"{taken[0]} is the name of a suite that every study has; choose another")
    return suites
