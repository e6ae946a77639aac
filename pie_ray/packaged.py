"""A member's network as files that predict anywhere pie_ray is installed: checkpoint, recipe, record and facts.

    network = load_network("folder")
    logits = network.predict(images)     # uint8 [n, channels, height, width] -> float32 [n, outputs]

MLflow loads it by `_load_pyfunc`. Nothing in the folder is code or pickle; a network of your own (`model.kind: custom`)
is imported by its name, as in the sweep.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from . import __version__
from .checkpoint import Checkpoint
from .config import Config, Recipe
from .data import Splits, TrainingSet
from .errors import StoreError
from .identity import make_plan
from .making import restore_network
from .models import build_network
from .recipe import dump_recipe, parse_recipe
from .records import MemberRecord
from .store import Storage, read_checkpoint
from .tracking import NetworkFiles
from .training import choose_device, make_route, predict

_CHECKPOINT, _RECIPE, _RECORD, _FACTS = "checkpoint.safetensors", "recipe.yaml", "member.json", "facts.json"
_NUM_EXAMPLES = 2


class NetworkFacts(Config):
    """What a network needs to know of the images it was trained on."""

    class_names: tuple[str, ...]
    num_channels: int
    image_size: int
    channel_mean: tuple[float, ...]
    """Of pixels in [0, 1]."""
    channel_std: tuple[float, ...]


@final
class Network:
    """Predicts as its member did in the sweep, image by image."""

    def __init__(self, facts: NetworkFacts, recipe: Recipe, record: MemberRecord, checkpoint: Checkpoint) -> None:
        self.facts = facts
        """`facts.class_names` are the outputs, in order."""
        self._batch_size = recipe.evaluation.batch_size
        self._device = choose_device()
        spec = next(spec for spec in make_plan(recipe).members if spec.member_id == record.member_id)
        skeleton = build_network(
            recipe.model,
            num_classes=len(facts.class_names),
            num_channels=facts.num_channels,
            image_size=facts.image_size,
            seed=spec.generator_seed,
        )
        network = restore_network(skeleton, spec.variant.quantization, checkpoint, self._device)
        self._forward = make_route(
            network.eval(),
            arithmetic=checkpoint.facts.arithmetic,
            precision=recipe.evaluation.precision,
            image_shape=(facts.num_channels, facts.image_size, facts.image_size),
        )

    def predict(self, images: npt.NDArray[np.uint8], params: dict[str, Any] | None = None) -> npt.NDArray[np.float32]:
        """Logits [n, outputs] of uint8 images [n, channels, height, width]; the largest is the answer, and where a
        sweep learns several attributes jointly, every one above 0. `params` is MLflow's, and unused.
        """
        batches = predict(
            self._forward,
            torch.from_numpy(np.array(images, dtype=np.uint8)),
            statistics=(self.facts.channel_mean, self.facts.channel_std),
            batch_size=self._batch_size,
            device=self._device,
        )
        return np.concatenate([logits.numpy() for _, logits in batches])


def network_facts(images: TrainingSet) -> NetworkFacts:
    """Of the training images."""
    mean, std = images.channel_statistics
    return NetworkFacts(
        class_names=images.class_names,
        num_channels=images.num_channels,
        image_size=images.image_size,
        channel_mean=tuple(mean),
        channel_std=tuple(std),
    )


def network_files(storage: Storage, recipe: Recipe, record: MemberRecord, splits: Splits) -> NetworkFiles:
    """A member of a sweep, packed. Raises StoreError where its checkpoint is missing or damaged."""
    facts = network_facts(splits.train)
    return NetworkFiles(
        loader_module=__name__,
        files={
            _CHECKPOINT: read_checkpoint(storage, record.variant_id, record.seed, member_id=record.member_id),
            _RECIPE: dump_recipe(recipe).encode(),
            _RECORD: record.model_dump_json(indent=2).encode(),
            _FACTS: facts.model_dump_json(indent=2).encode(),
        },
        example=splits.test.images[:_NUM_EXAMPLES].numpy(),
        num_outputs=len(facts.class_names),
        requirements=(f"pie_ray=={__version__}",),
    )


def load_network(folder: str) -> Network:
    """Raises StoreError where the folder holds no packed network."""
    root = Path(folder)
    try:
        facts = NetworkFacts.model_validate_json((root / _FACTS).read_bytes())
        record = MemberRecord.model_validate_json((root / _RECORD).read_bytes())
        recipe = parse_recipe((root / _RECIPE).read_text(), source=str(root / _RECIPE))
        data = (root / _CHECKPOINT).read_bytes()
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder} holds no network packed by pie_ray: {error}") from error
    checkpoint = Checkpoint.from_bytes(data, source=str(root / _CHECKPOINT))
    return Network(facts, recipe, record, checkpoint)


_load_pyfunc = load_network
"""The name that MLflow asks for."""
