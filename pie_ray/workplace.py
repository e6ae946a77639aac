"""What every member of a sweep shares in one process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from .config import Recipe
from .data import Splits, Suites, open_suites
from .models import build_network
from .prepared import PreparedImages
from .store import Sink, Storage


@dataclass(frozen=True)
class Workplace:
    """The recipe, its data and where results go."""

    recipe: Recipe
    splits: Splits
    storage: Storage
    sink: Sink

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
