"""The recipe: one YAML file that describes a study, validated in full before anything runs.

What decides a member's bits (`data`, `model`, `training`, `variants`, `population`) is kept apart from where it
runs (`execution`), which never enters an identity. Reading and error messages live in `recipe.py`.

Defaults are part of every identity (see `identity.py`): changing one is a breaking change. A `kind` that chooses
between alternatives has no default.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class Config(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Sparsity = Annotated[float, Field(gt=0, lt=1)]

# ---------------------------------------------------------------------------------------------------------- data


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

# --------------------------------------------------------------------------------------------------------- model


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

# ------------------------------------------------------------------------------------------------------ training


class CosineSchedule(Config):
    """Cosine decay to zero after a linear warm-up."""

    kind: Literal["cosine"]
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(0.0, description="Length of the linear warm-up, in epochs.")


class StepSchedule(Config):
    """Multiply the learning rate by `factor` at each of `milestones` (epochs), after a linear warm-up."""

    kind: Literal["step"]
    milestones: tuple[PositiveInt, ...] = Field(description="Epochs, ascending and below `epochs`.")
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="What the rate is multiplied by.")
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(0.0, description="Length of the linear warm-up, in epochs.")


Schedule = Annotated[CosineSchedule | StepSchedule, Field(discriminator="kind")]


class Augmentation(Config):
    crop_padding: Annotated[int, Field(ge=0)] = Field(0, description="Pad by this many pixels, crop at random.")
    flip: bool = Field(False, description="Mirror each image with probability one half.")


class Training(Config):
    epochs: PositiveInt = Field(description="Passes over the training images; pruning happens during them.")
    batch_size: PositiveInt = Field(128, description="Images a step.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.1, description="Highest rate of the schedule, of SGD.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Of SGD.")
    nesterov: bool = Field(True, description="Nesterov's momentum in place of the classical one.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        5e-4, description="L2 penalty on convolutions and the classifier; biases and batch norm are spared."
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of a label's weight that is spread over all classes."
    )
    schedule: Schedule = Field(CosineSchedule(kind="cosine"), description="The learning rate over the epochs.")
    augmentation: Augmentation = Field(Augmentation(), description="What is done to training images at random.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="`auto` autocasts to bfloat16 where the processor or GPU computes in it."
    )
    compile: bool = Field(False, description="torch.compile the network: worth it for long training.")

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0: raise training.momentum or set training.nesterov false")
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs must be below epochs ({self.epochs}), found {self.schedule.warmup_epochs:g}"
            )
        if isinstance(self.schedule, StepSchedule):
            milestones = self.schedule.milestones
            if list(milestones) != sorted(set(milestones)) or not milestones or milestones[-1] >= self.epochs:
                raise ValueError(
                    f"schedule.milestones must increase and stay below epochs ({self.epochs}), found {milestones}"
                )
        return self


# ------------------------------------------------------------------------------------------ population, variants


class PopulationConfig(Config):
    num_members: Annotated[int, Field(ge=1, le=10_000)] = Field(description="K, members a variant.")
    base_seed: Annotated[int, Field(ge=0)] = Field(0, description="Seeds are base_seed .. base_seed + K - 1.")


class PruningSchedule(Config):
    """Cubic sparsity schedule (Zhu & Gupta): when it starts and ends, as fractions of the training steps."""

    begin: Fraction = Field(0.2, description="Where it starts; below `end`.")
    end: Fraction = Field(0.75, description="Where the sparsity is reached; training goes on with fixed masks.")
    num_updates: PositiveInt = Field(20, description="Times that the masks are recomputed, evenly spaced.")
    initial_sparsity: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Sparsity at `begin`.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.begin < self.end:
            raise ValueError(f"begin must be below end, found begin {self.begin:g} and end {self.end:g}")
        return self


Scope = Literal["layer", "global"]
QuantizationScheme = Literal["float16", "dynamic_int8", "static_int8"]


class MagnitudePruningGrid(Config):
    """Gradual magnitude pruning during training, at each sparsity and scope."""

    kind: Literal["magnitude"]
    sparsities: Annotated[tuple[Sparsity, ...], Field(min_length=1)] = Field(
        description="Shares of the weights that are removed, a variant each."
    )
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = Field(
        ("layer",), description="`layer` spares the classifier (Hooker et al.); `global` includes it (Iofinova et al.)."
    )
    schedule: PruningSchedule = Field(PruningSchedule(), description="How the sparsity grows during training.")


class VariantGrid(Config):
    """Pruning alone, quantization alone, or every combination of the two."""

    pruning: MagnitudePruningGrid | None = Field(None, description="Trained anew, pruned on the way.")
    quantization: tuple[QuantizationScheme, ...] = Field(
        (), description="Post-training schemes, a variant each: converted from the uncompressed or pruned members."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.pruning is None and not self.quantization:
            raise ValueError("needs pruning, quantization or both; the dense reference is always trained")
        return self


# -------------------------------------------------------------------------------------------------------- suites

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


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"each once, found {', '.join(map(str, values))}")
    return values


CorruptionNames = Annotated[
    tuple[str, ...], Field(min_length=1), AfterValidator(_known_corruptions), AfterValidator(_once)
]
Severity = Annotated[int, Field(ge=1, le=5)]
Severities = Annotated[tuple[Severity, ...], Field(min_length=1), AfterValidator(_once)]


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


def _free_names(suites: dict[str, Any]) -> dict[str, Any]:
    taken = sorted({CLEAN, VALIDATION} & set(suites))
    if taken:
        raise ValueError(f"{taken[0]} is the name of a suite that every study has; choose another")
    return suites


# ---------------------------------------------------------------------------------------- evaluation, execution


class Evaluation(Config):
    batch_size: PositiveInt = Field(500, description="Images that are loaded at a time; answers do not depend on it.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Arithmetic of convolutions and matrix products, whatever members are trained in. bfloat16 is up "
        "to 1.8 times as fast where the processor has it, and moves labels that compression did not (1 in 200 on "
        "CIFAR-10). int8 variants keep to theirs.",
    )
    store_logits: bool | None = Field(
        None,
        description="Also store every logit, 4 bytes x classes a prediction; None does on clean images of up to 100 "
        "classes. Mutual information and the entropy of the mean need them.",
    )
    num_noise_splits: PositiveInt = Field(200, description="Random halvings of the reference for the noise floor.")
    num_permutations: Annotated[int, Field(ge=99)] = Field(
        10_000, description="Random permutations of members, an example, where counting all would take too long."
    )
    groups: tuple[str, ...] | None = Field(
        None,
        description="Attributes to compare groups by, crossed where joined as in `Male & Young`; None is each "
        "attribute of few values, and all pairs where there are no more than four.",
    )
    positive_class: str | None = Field(
        None, description="The class whose FPR and FNR are told by group; None is the second of two."
    )
    tie: Literal["largest", "smallest"] = Field(
        "largest", description="Which of several tied labels is the mode; the published code takes the largest."
    )
    suites: Annotated[dict[SuiteName, Suite], AfterValidator(_free_names)] = Field(
        {}, description="Further evaluation sets beside the test images, by the suite's name."
    )


class MlflowTracking(Config):
    kind: Literal["mlflow"]
    uri: str | None = Field(None, description="None takes MLFLOW_TRACKING_URI, else a sqlite file in the results.")
    experiment: str = Field("pie_ray", description="MLflow's experiment, which several sweeps may share.")
    log_models: Literal["none", "best"] = Field(
        "none",
        description="`best` also keeps each variant's best member (by top-1 on the test images) as a logged model of "
        "MLflow, which `mlflow.pyfunc.load_model` loads.",
    )


class NoTracking(Config):
    kind: Literal["none"]


Tracking = Annotated[MlflowTracking | NoTracking, Field(discriminator="kind")]


class Execution(Config):
    """Where a sweep runs. Never hashed: the same recipe gives the same members anywhere."""

    storage: str = Field("results", description="Folder, or s3:// or gs:// address, that holds <sweep name>/.")
    cpus_per_member: PositiveInt = Field(1, description="Processors, and torch threads, a member.")
    gpus_per_member: Annotated[float, Field(ge=0)] = Field(0.0, description="Fractions pack members on a GPU.")
    resources_per_member: dict[str, Annotated[float, Field(ge=1e-4)]] = Field(
        {}, description="Ray's custom resources that a member's node must have, e.g. `accelerator_type:A100: 0.001`."
    )
    max_concurrent: PositiveInt | None = Field(None, description="Members at once; None uses what the cluster has.")
    num_pending: PositiveInt = Field(16, description="Members queued beyond the running ones, for the autoscaler.")
    max_retries: Annotated[int, Field(ge=0)] = Field(2, description="New attempts after a member's failure.")
    num_writers: PositiveInt = Field(1, description="Writer actors that predictions stream to.")
    cache: str | None = Field(None, description="Folder for decoded images; None is ~/.cache/pie_ray.")
    tracking: Tracking = Field(MlflowTracking(kind="mlflow"), description="Where progress and results are logged.")

    @model_validator(mode="after")
    def _whole_gpus(self) -> Self:
        if self.gpus_per_member > 1 and self.gpus_per_member % 1:
            raise ValueError(f"gpus_per_member above 1 must be whole, found {self.gpus_per_member:g}")
        return self

    @model_validator(mode="after")
    def _custom_resources(self) -> Self:
        fields = {"cpu": "set cpus_per_member", "gpu": "set gpus_per_member"}
        fields |= dict.fromkeys(("memory", "object_store_memory"), "members are not placed by memory")
        for name in self.resources_per_member:
            if name.lower() in fields:
                raise ValueError(f"resources_per_member.{name}: not a custom resource; {fields[name.lower()]}")
        return self


class Recipe(Config):
    """A study: what is trained, compressed and evaluated, and where."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = Field(
        description="Name of the sweep and of its folder."
    )
    data: Data = Field(description="The images.")
    model: Model = Field(description="The network.")
    training: Training = Field(description="How every member is trained.")
    population: PopulationConfig = Field(description="How many members, from which seeds.")
    variants: Annotated[tuple[VariantGrid, ...], Field(min_length=1)] = Field(
        description="Compression settings; the uncompressed reference is always there."
    )
    evaluation: Evaluation = Field(Evaluation(), description="What members predict on, and how they are compared.")
    execution: Execution = Field(Execution(), description="Where it runs.")
