"""`training`: how members are trained, and how networks that are trained already are trained on."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Config, PositiveInt

Optimizer = Literal["sgd", "adam"]


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


class ConstantSchedule(Config):
    """The highest rate throughout, after a linear warm-up."""

    kind: Literal["constant"]
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(0.0, description="Length of the linear warm-up, in epochs.")


Schedule = Annotated[CosineSchedule | StepSchedule | ConstantSchedule, Field(discriminator="kind")]


def _check_schedule(schedule: Schedule, epochs: int) -> None:
    if schedule.warmup_epochs >= epochs:
        raise ValueError(f"schedule.warmup_epochs must be below epochs ({epochs}), found {schedule.warmup_epochs:g}")
    if isinstance(schedule, StepSchedule):
        milestones = schedule.milestones
        if list(milestones) != sorted(set(milestones)) or not milestones or milestones[-1] >= epochs:
            raise ValueError(f"schedule.milestones must increase and stay below epochs ({epochs}), found {milestones}")


class Augmentation(Config):
    crop_padding: Annotated[int, Field(ge=0)] = Field(0, description="Pad by this many pixels, crop at random.")
    flip: bool = Field(False, description="Mirror each image with probability one half.")


class Training(Config):
    epochs: PositiveInt = Field(description="Passes over the training images; pruning happens during them.")
    batch_size: PositiveInt = Field(128, description="Images a step.")
    optimizer: Optimizer = Field("sgd", description="SGD with momentum, or Adam with its usual moments.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.1, description="Highest rate of the schedule.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Of SGD.")
    nesterov: bool = Field(True, description="Nesterov's momentum in place of the classical one, of SGD.")
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
    def _fits(self) -> Self:
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0: raise training.momentum or set training.nesterov false")
        _check_schedule(self.schedule, self.epochs)
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
        """All of `training` but for what is named here."""
        return training.model_copy(update={name: getattr(self, name) for name in type(self).model_fields})
