"""What every member of a sweep shares in one process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from torch import nn

from .config import Recipe
from .data import Splits, Suites, open_suites
from .identity import MemberSpec
from .models import build_network
from .prepared import PreparedImages
from .store import Sink, Storage


class Helpers(Protocol):
    """Starts the processes that help this one to train a member, numbered from 1."""

    host: str
    """How they reach this process's machine."""

    def start(self, spec: MemberSpec, port: int) -> None:
        """Have each call `teamwork.help_to_make`."""

    def ended(self) -> list[int]:
        """The numbers of those that are not there any more."""

    def stop(self) -> None:
        """End them all; nothing is lost with them."""


@dataclass(frozen=True)
class Workplace:
    """The recipe, its data and where results go."""

    recipe: Recipe
    splits: Splits
    storage: Storage
    sink: Sink
    helpers: Helpers | None = None
    """None starts them on this machine."""

    @cached_property
    def suites(self) -> Suites:
        """The evaluation sets. Raises DataError where a suite's files are not as they should be."""
        return open_suites(self.recipe.evaluation.suites, self.splits)

    @cached_property
    def prepared(self) -> PreparedImages:
        """Where the images of evaluation sets lie that were made once for all members."""
        return PreparedImages(self.recipe.execution)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        train_set = self.splits.train
        return train_set.num_channels, train_set.image_size, train_set.image_size

    def skeleton(self, seed: int) -> nn.Module:
        """The recipe's network with its initial weights for `seed`."""
        train_set = self.splits.train
        return build_network(
            self.recipe.model,
            num_classes=train_set.num_classes,
            num_channels=train_set.num_channels,
            image_size=train_set.image_size,
            seed=seed,
        )
