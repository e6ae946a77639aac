"""A recipe made ready to run: its data loaded, its network tried, its results folder claimed. No Ray in here."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from . import __version__
from .config import Recipe
from .data import ImageSet, Splits, load_splits
from .identity import Plan, describe_base, make_plan
from .models import build_network
from .recipe import dump_recipe
from .store import Manifest, Storage, claim, paths, write_examples
from .suites import evaluation_suites


@dataclass(frozen=True)
class Study:
    """Everything that the stages share."""

    recipe: Recipe
    plan: Plan
    storage: Storage
    splits: Splits
    num_parameters: int


def prepare(recipe: Recipe) -> Study:
    """Load the data, try the network, claim the results folder and write the examples' table.

    Raises DataError, ModelError, or StoreError where the folder holds results of another recipe or of other data.
    """
    recipe = _with_absolute_paths(recipe)
    plan = make_plan(recipe)
    splits = load_splits(recipe.data, recipe.execution.cache)
    network = build_network(
        recipe.model,
        num_classes=splits.train.num_classes,
        num_channels=splits.train.num_channels,
        image_size=splits.train.image_size,
        seed=0,
    )
    storage = results_storage(recipe)
    claim(storage, _manifest(recipe, plan, splits), dump_recipe(recipe))
    for evaluation_sets in evaluation_suites(splits).values():
        for name, images in evaluation_sets.items():
            _write_examples(storage, name, images)
    return Study(recipe, plan, storage, splits, sum(p.numel() for p in network.parameters()))


def results_storage(recipe: Recipe) -> Storage:
    """<storage>/<sweep name>."""
    return Storage(recipe.execution.storage).child(recipe.name)


def _with_absolute_paths(recipe: Recipe) -> Recipe:
    """Workers have other working directories; where data lies is no part of any identity."""
    path = getattr(recipe.data, "path", None)
    if path is None or not Path(path).expanduser().exists():
        return recipe
    absolute = os.path.abspath(Path(path).expanduser())
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": absolute})})


def _manifest(recipe: Recipe, plan: Plan, splits: Splits) -> Manifest:
    return Manifest(
        name=recipe.name,
        sweep_id=plan.sweep_id,
        base=describe_base(recipe),
        fingerprint=splits.fingerprint,
        num_classes=splits.test.num_classes,
        class_names=splits.test.class_names,
        suites={
            suite: {name: len(images) for name, images in evaluation_sets.items()}
            for suite, evaluation_sets in evaluation_suites(splits).items()
        },
        versions={"pie_ray": __version__}
        | {name: metadata.version(name) for name in ("torch", "torchvision", "ray", "pyarrow", "numpy")},
        machine={
            "platform": platform.platform(),
            "processor": platform.machine(),
            "num_cpus": str(os.cpu_count()),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        },
    )


def _write_examples(storage: Storage, evaluation_set: str, images: ImageSet) -> None:
    if storage.exists(paths.examples(evaluation_set)):
        return
    write_examples(
        storage,
        evaluation_set,
        example_ids=images.example_ids,
        labels=images.labels.numpy(),
        keys=images.keys,
        groups=images.groups,
        class_names=images.class_names,
    )
