"""The members of one seed explained: how alike their maps are to those of the reference member."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from .. import stats
from ..compress.quantization import as_floats
from ..compress.structure import reshape
from ..config import TEST, Attribution
from ..data import ImageSet
from ..identity import MemberSpec
from ..making import read_own_checkpoint, restore_network
from ..store import MapPair, MapSimilarities, write_map_similarities
from ..training import Normalise, choose_device
from ..workplace import Workplace
from .maps import explain, predicted_classes

SIMILARITIES = {"cosine": stats.cosine_similarity, "spearman": stats.rank_correlation}


def settings_text(config: Attribution) -> str:
    """What the figures depend on beside the members; figures of other settings are made again."""
    return config.model_dump_json()


def explain_pairs(
    pairs: Sequence[MapPair], workplace: Workplace, config: Attribution, on_pair: Callable[[MapPair], None]
) -> None:
    """Store the similarities of pairs that share their reference member; `on_pair` hears of each that is done.

    Both members explain what the reference member predicts, so that their maps answer the same question. Raises
    StoreError where a checkpoint is absent or damaged, ModelError where a network has no feature map for Grad-CAM.
    """
    question = _Question(pairs[0].reference, workplace, config, choose_device())
    for pair in pairs:
        write_map_similarities(workplace.storage, pair, question.ask(pair.member))
        on_pair(pair)


def explained_rows(images: ImageSet, num_examples: int) -> np.ndarray:
    """Rows of the explained test images, by ascending example id: the first of one random order."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).numpy()
    rows = order[:num_examples]
    sorted_rows: np.ndarray = rows[np.argsort(images.example_ids[rows])]
    return sorted_rows


@dataclass(frozen=True)
class _Question:
    """What a reference member predicts on some test images, and its reasons."""

    reference: MemberSpec
    workplace: Workplace
    config: Attribution
    device: torch.device

    @cached_property
    def rows(self) -> np.ndarray:
        return explained_rows(self.workplace.splits.test, self.config.num_examples)

    @cached_property
    def images(self) -> Tensor:
        """Normalised, [n, c, h, w]."""
        splits = self.workplace.splits
        return Normalise(splits.train.channel_statistics, self.device)(splits.test.images[self.rows].to(self.device))

    @cached_property
    def _network(self) -> nn.Module:
        return _float_network(self.reference, self.workplace, self.device)[0]

    @cached_property
    def classes(self) -> Tensor:
        return predicted_classes(self._network, self.images)

    @cached_property
    def maps(self) -> dict[str, Tensor]:
        return explain(self._network, self.images, self.classes, self.config)

    def ask(self, member: MemberSpec) -> MapSimilarities:
        network, is_float_of_rounded = _float_network(member, self.workplace, self.device)
        maps = explain(network, self.images, self.classes, self.config)
        return MapSimilarities(
            evaluation_set=TEST,
            settings=settings_text(self.config),
            is_float_of_rounded=is_float_of_rounded,
            example_ids=self.workplace.splits.test.example_ids[self.rows],
            similarities={
                method: {name: measure(self.maps[method], maps[method]) for name, measure in SIMILARITIES.items()}
                for method in maps
            },
            num_positions={method: self.maps[method].shape[1] for method in maps},
        )


def _float_network(spec: MemberSpec, workplace: Workplace, device: torch.device) -> tuple[nn.Module, bool]:
    """A network with gradients, and whether it lacks the rounding of its activations."""
    checkpoint, _ = read_own_checkpoint(spec, workplace.storage)
    skeleton = workplace.skeleton(spec.generator_seed)
    network = restore_network(skeleton, spec.variant.quantization, checkpoint, device)
    if spec.variant.quantization is None:
        return network, False
    skeleton = reshape(workplace.skeleton(spec.generator_seed), checkpoint.facts.structure)
    return as_floats(network, skeleton.to(device))
