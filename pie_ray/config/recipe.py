"""The recipe whole: its parts, and how members are evaluated and where they run."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .base import Config, PositiveInt
from .compression import RewindingPruningGrid, VariantGrid
from .data import Data
from .model import Model
from .suites import Suite, SuiteName, free_names
from .training import Training


class AdaptivePopulation(Config):
    """When a variant has members enough: when repetitions of the study would find nearly the same PIEs."""

    target: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5,
        description="A variant stops where the PIE sets of two studies of its size would have this Jaccard similarity, "
        "by every curve that fits.",
    )
    interval: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2,
        description="A variant stops, too, where that similarity is known within this, whatever members up to `most` "
        "it gets.",
    )
    fewest: Annotated[int, Field(ge=4)] = Field(12, description="Members of every variant before any stops.")
    step: PositiveInt = Field(4, description="Members that a variant which does not stop gets in a round.")
    most: Annotated[int, Field(ge=4, le=10_000)] | None = Field(
        None, description="Members that no variant exceeds; None is twice num_members."
    )


class PopulationConfig(Config):
    num_members: Annotated[int, Field(ge=1, le=10_000)] = Field(description="K, members a variant.")
    base_seed: Annotated[int, Field(ge=0)] = Field(0, description="Seeds are base_seed .. base_seed + K - 1.")
    adaptive: AdaptivePopulation | None = Field(
        None,
        description="Stop adding members to a variant whose PIE set is stable, and spend them on others; no more than "
        "num_members x variants in all.",
    )

    @property
    def most_members(self) -> int:
        """Members of one variant that a sweep may come to have."""
        if self.adaptive is None:
            return self.num_members
        return self.adaptive.most or 2 * self.num_members

    @model_validator(mode="after")
    def _adaptive_fits(self) -> Self:
        adaptive = self.adaptive
        if adaptive is not None and not adaptive.fewest <= self.num_members <= self.most_members:
            raise ValueError(
                f"adaptive: num_members ({self.num_members}) must be from adaptive.fewest ({adaptive.fewest}) to "
                f"adaptive.most ({self.most_members})"
            )
        return self


AttributionMethod = Literal["grad_cam", "integrated_gradients"]


class Attribution(Config):
    """How alike the maps are that explain a compressed member and the dense member of equal seed."""

    num_examples: PositiveInt = Field(
        200, description="Test images that are explained: the first of a random order that is the same for all members."
    )
    methods: Annotated[tuple[AttributionMethod, ...], Field(min_length=1)] = Field(
        ("grad_cam", "integrated_gradients"), description="What makes the maps."
    )
    num_steps: PositiveInt = Field(
        20, description="Of integrated gradients, from the training images' mean colour to the image; a pass each."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods: each once, found {', '.join(self.methods)}")
        return self


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
    suites: Annotated[dict[SuiteName, Suite], AfterValidator(free_names)] = Field(
        {}, description="Further evaluation sets beside the test images, by the suite's name."
    )
    attribution: Attribution | None = Field(
        None, description="Also compare attribution maps of compressed and dense members; None leaves it out."
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
    members_per_trial: PositiveInt | None = Field(
        None,
        description="Members that a Tune trial completes one after the other; None is 1, and more in sweeps of "
        "thousands, where starting trials would cost more than training.",
    )
    save_minutes: Annotated[float, Field(ge=0)] | None = Field(
        10.0,
        description="A member that trains for longer keeps its state this often, and goes on from there when its node "
        "is lost; None never does.",
    )
    max_retries: Annotated[int, Field(ge=0)] = Field(2, description="New attempts after a member's failure.")
    num_writers: PositiveInt = Field(1, description="Writer actors that predictions stream to.")
    cache: str | None = Field(None, description="Folder for decoded images; None is ~/.cache/pie_ray.")
    measure_latency: bool = Field(
        True,
        description="Measure at the sweep's end how long each variant's network takes on the driver's processor; "
        "seconds to a minute, and `pie-ray cost` does it at any time.",
    )
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

    @model_validator(mode="after")
    def _a_gpu_a_process(self) -> Self:
        num_processes, gpus = self.training.num_processes, self.execution.gpus_per_member
        if num_processes > 1 and gpus not in (0, 1):
            raise ValueError(
                f"execution.gpus_per_member must be 1 or 0 where training.num_processes is above 1 (each process has "
                f"as many, and computes on one), found {gpus:g}"
            )
        return self

    @model_validator(mode="after")
    def _rewinds_into_the_training(self) -> Self:
        for index, grid in enumerate(self.variants):
            if isinstance(grid.pruning, RewindingPruningGrid) and grid.pruning.rewind_epoch >= self.training.epochs:
                raise ValueError(
                    f"variants.{index}.pruning.rewind_epoch must be below training.epochs ({self.training.epochs}), "
                    f"found {grid.pruning.rewind_epoch}"
                )
        return self
