"""A recipe made ready to run: data loaded, network tried, results folder looked at, then claimed. No Ray in here."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from . import __version__
from .config import TRAIN, Recipe
from .data import ImageSet, Splits, load_splits
from .identity import Plan, describe_base, make_plan
from .models import build_network
from .recipe import dump_recipe
from .store import Manifest, Storage, claim, is_claimed, paths, write_examples
from .suites import evaluation_suites


@dataclass(frozen=True)
class Study:
    """Everything that the stages share."""

    recipe: Recipe
    plan: Plan
    storage: Storage
    splits: Splits
    num_parameters: int
    manifest: Manifest


def prepare(recipe: Recipe) -> Study:
    """`design` and `begin` at once, where no other driver can be.

    Raises what they raise.
    """
    study = design(recipe)
    begin(study)
    return study


def design(recipe: Recipe) -> Study:
    """Load the data and try the network; the results folder is left as it is.

    Raises DataError or ModelError.
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
    num_parameters = sum(p.numel() for p in network.parameters())
    return Study(recipe, plan, results_storage(recipe), splits, num_parameters, _manifest(recipe, plan, splits))


def is_begun(study: Study) -> bool:
    """Whether `begin` would change nothing. Raises StoreError as it does, and writes nothing."""
    return is_claimed(study.storage, study.manifest, dump_recipe(study.recipe)) and all(
        study.storage.exists(paths.examples(name)) for name in _told_sets(study)
    )


def begin(study: Study) -> None:
    """Claim the results folder and write the examples' tables.

    Raises StoreError where the folder holds results of another recipe or of other data.
    """
    claim(study.storage, study.manifest, dump_recipe(study.recipe))
    for name, images in _told_sets(study).items():
        if not study.storage.exists(paths.examples(name)):
            _write_examples(study.storage, name, images)


def _told_sets(study: Study) -> dict[str, ImageSet]:
    """The sets whose examples are written down.

    Of attributes learned jointly the training images are one: how often they occur in training says what to expect.
    """
    sets = {name: images for suite in evaluation_suites(study.splits).values() for name, images in suite.items()}
    return sets | {TRAIN: study.splits.train} if study.splits.train.is_multilabel else sets


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
        is_multilabel=splits.test.is_multilabel,
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
    write_examples(
        storage,
        evaluation_set,
        example_ids=images.example_ids,
        labels=images.labels.numpy(),
        keys=images.keys,
        groups=images.groups,
        class_names=images.class_names,
    )
