"""`training`: how members are trained, and how networks that are trained already are trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .base import Config, PositiveInt

Optimizer = Literal["sgd", "adam", "muon"]
TrainingPreset = Literal["fast"]


class CosineSchedule(Config):
    """Cosine decay to zero after a linear warm-up."""

    kind: Literal["cosine"]
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(0.0, description="Length of the linear warm-up, in epochs.")


class StepSchedule(Config):
    """Multiply the learning rate by `factor` at each of `milestones` (epochs), after a linear warm-up."""

    kind: Literal["step"]
    # Not strict: what a validator of `training` has seen is no JSON any more, and a list there is no tuple.
    milestones: tuple[PositiveInt, ...] = Field(strict=False, description="Epochs, ascending and below `epochs`.")
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="What the rate is multiplied by.")
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(0.0, description="Length of the linear warm-up, in epochs.")


class ConstantSchedule(Config):
    """The highest rate throughout, after a linear warm-up."""

    kind: Literal["constant"]
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(0.0, description="Length of the linear warm-up, in epochs.")


class LinearSchedule(Config):
    """Linear decay to zero after a linear warm-up."""

    kind: Literal["linear"]
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(0.0, description="Length of the linear warm-up, in epochs.")


Schedule = Annotated[CosineSchedule | StepSchedule | ConstantSchedule | LinearSchedule, Field(discriminator="kind")]


def _check_schedule(schedule: Schedule, epochs: int) -> None:
    if schedule.warmup_epochs >= epochs:
        raise ValueError(f"schedule.warmup_epochs must be below epochs ({epochs}), found {schedule.warmup_epochs:g}")
    if isinstance(schedule, StepSchedule):
        milestones = schedule.milestones
        if list(milestones) != sorted(set(milestones)) or not milestones or milestones[-1] >= epochs:
            raise ValueError(f"schedule.milestones must increase and stay below epochs ({epochs}), found {milestones}")


class ResizedCrop(Config):
    """A random part of each image, resized to the image's size (Inception's crop, as ImageNet is trained with)."""

    smallest: Annotated[float, Field(gt=0, le=1)] = Field(0.08, description="Smallest share of the image's area.")
    aspect: Annotated[float, Field(ge=1)] = Field(4 / 3, description="Largest ratio of width to height, or inverse.")


class Augmentation(Config):
    crop_padding: Annotated[int, Field(ge=0)] = Field(0, description="Pad by this many pixels, crop at random.")
    padding: Literal["zeros", "reflect"] = Field("zeros", description="What `crop_padding` pads with.")
    flip: bool | Literal["alternating"] = Field(
        False,
        description="Mirror each image with probability one half; `alternating` draws once and mirrors every other "
        "epoch, so that any two epochs in a row show both.",
    )
    resized_crop: ResizedCrop | None = Field(
        None, description="Cut a random part of each image and resize it; in place of crop_padding."
    )

    @model_validator(mode="after")
    def _one_crop(self) -> Self:
        if self.resized_crop is not None and self.crop_padding:
            raise ValueError(f"either crop_padding or resized_crop, found crop_padding {self.crop_padding} beside it")
        return self


PRESETS: Mapping[TrainingPreset, Mapping[str, Any]] = {
    # After Jordan's airbench94_muon (arXiv 2404.00498 and github.com/KellerJordan/cifar10-airbench): its optimizer,
    # augmentation, whitening and smoothing; the rates are tuned to our networks, whose weights are not renormalised.
    "fast": {
        "epochs": 8,
        "optimizer": "muon",
        "learning_rate": 0.1,
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
        "schedule": {"kind": "linear", "warmup_epochs": 0.5},
        "augmentation": {"crop_padding": 2, "padding": "reflect", "flip": "alternating"},
        "initialisation": "whitening",
        "compile": "auto",
        "pack": "auto",
    }
}


class Training(Config):
    epochs: PositiveInt = Field(description="Passes over the training images; pruning happens during them.")
    batch_size: PositiveInt = Field(128, description="Images a step.")
    preset: TrainingPreset | None = Field(
        None,
        exclude=True,
        description="Published settings in place of the defaults: `fast` is for quick training of small images. What "
        "is named beside it counts; the resolved recipe has the settings and no preset.",
    )
    optimizer: Optimizer = Field(
        "sgd",
        description="SGD with momentum, Adam with its usual moments, or Muon: SGD whose steps of convolutions and "
        "matrices are made orthogonal.",
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.1, description="Highest rate of the schedule.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Of SGD.")
    nesterov: bool = Field(True, description="Nesterov's momentum in place of the classical one, of SGD.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        5e-4,
        description="L2 penalty on convolutions and the classifier; biases and batch norm are spared. With Muon it is "
        "decoupled, about a hundred times as large for the same effect, and of convolutions alone.",
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of a label's weight that is spread over all classes."
    )
    schedule: Schedule = Field(CosineSchedule(kind="cosine"), description="The learning rate over the epochs.")
    augmentation: Augmentation = Field(Augmentation(), description="What is done to training images at random.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="`auto` autocasts to bfloat16 where the processor or GPU computes in it."
    )
    initialisation: Literal["default", "whitening"] = Field(
        "default",
        description="Of the first convolution: `whitening` sets its filters to the leading principal components of the "
        "training images' patches, each scaled to unit variance, and their negatives.",
    )
    compile: bool | Literal["auto"] = Field(
        False,
        description="torch.compile the network, on a GPU with CUDA graphs: worth it for long training. `auto` does so "
        "on a GPU.",
    )
    pack: PositiveInt | Literal["auto"] = Field(
        1,
        description="Members trained together in one process, as one network of grouped convolutions: for networks so "
        "small that starting an operation costs more than computing it. `auto` chooses by size and device. Packed "
        "members differ from lone ones in the last digits.",
    )
    num_processes: PositiveInt = Field(
        1,
        description="Processes that share a member's batches (DistributedDataParallel), each with the processors and "
        "GPUs of `execution`; batch norm sees a process's share.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, values: Any) -> Any:
        """Settings of a preset beside those that are named; the preset's name goes, what it stands for stays."""
        if not isinstance(values, Mapping) or values.get("preset") not in list(PRESETS):
            return values
        preset = dict(PRESETS[values["preset"]])
        if values.get("optimizer", preset["optimizer"]) != preset["optimizer"]:
            del preset["weight_decay"]  # what it does hangs on the optimizer
        return {**preset, **values, "preset": None}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0: raise training.momentum or set training.nesterov false")
        _check_schedule(self.schedule, self.epochs)
        if self.num_processes > 1 and self.pack not in (1, "auto"):
            raise ValueError(f"pack must be 1 or auto where num_processes is above 1, found {self.pack}")
        if self.batch_size % self.num_processes:
            raise ValueError(
                f"batch_size must be a multiple of num_processes ({self.num_processes}), found {self.batch_size}"
            )
        return self


class FineTuning(Config):
    """Training that goes on from trained weights. What is not named here is as in `training`."""

    epochs: PositiveInt = Field(description="Passes over the training images.")
    optimizer: Optimizer = Field("sgd", description="SGD with the momentum of `training`, or Adam.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.01, description="Highest rate of the schedule.")
    schedule: Schedule = Field(CosineSchedule(kind="cosine"), description="The learning rate over the epochs.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_schedule(self.schedule, self.epochs)
        return self

    def of(self, training: Training) -> Training:
        """All of `training` but for what is named here; where Muon is left for another, the default weight decay."""
        update = {name: getattr(self, name) for name in type(self).model_fields}
        if training.optimizer == "muon" and self.optimizer != "muon":
            # Muon's is decoupled; as an L2 penalty the same number would be a hundred times too large.
            update["weight_decay"] = Training.model_fields["weight_decay"].default
        return training.model_copy(update=update)
