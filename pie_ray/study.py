"""A recipe made ready to run: data loaded, network tried, results folder looked at, then claimed. No Ray in here."""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch

from . import __version__
from .attribution import check_attribution
from .config import TRAIN, Config, Recipe
from .data import EvaluationImages, Splits, Suites, as_they_are, load_splits, open_suites, suite_fingerprint
from .identity import Plan, describe_base, make_plan
from .models import build_network
from .recipe import dump_recipe, parse_recipe
from .store import Manifest, Storage, claim, is_claimed, paths, write_examples

C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Study:
    """Everything that the stages share."""

    recipe: Recipe
    plan: Plan
    storage: Storage
    splits: Splits
    num_parameters: int
    manifest: Manifest
    suites: Suites


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
    storage = results_storage(recipe)
    recipe = _with_known_suites(_with_absolute_paths(recipe), storage)
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
    if recipe.evaluation.attribution is not None:
        check_attribution(recipe.evaluation.attribution, network, splits.test)
    suites = open_suites(recipe.evaluation.suites, splits)
    manifest = _manifest(recipe, plan, splits, suites)
    return Study(recipe, plan, storage, splits, num_parameters, manifest, suites)


def is_begun(study: Study) -> bool:
    """Whether `begin` would change nothing. Raises StoreError as it does, and writes nothing."""
    is_mine = is_claimed(study.storage, study.manifest, dump_recipe(study.recipe))
    return is_mine and not _untold_sets(study)


def begin(study: Study) -> None:
    """Claim the results folder and write the examples' tables.

    Raises StoreError where the folder holds results of another recipe or of other data.
    """
    claim(study.storage, study.manifest, dump_recipe(study.recipe))
    with ThreadPoolExecutor(study.storage.num_threads) as pool:
        for _ in pool.map(partial(_write_examples, study.storage), _untold_sets(study)):
            pass


def _untold_sets(study: Study) -> list[EvaluationImages]:
    """The sets whose examples are not written down yet.

    Of attributes learned jointly the training images are one: how often they occur in training says what to expect.
    """
    sets = [images for suite in study.suites.values() for images in suite]
    if study.splits.train.is_multilabel:
        sets.append(as_they_are(TRAIN, study.splits.train))
    told = set(study.storage.list_files(paths.EXAMPLES))
    return [images for images in sets if paths.examples(images.name) not in told]


def results_storage(recipe: Recipe) -> Storage:
    """<storage>/<sweep name>."""
    return Storage(recipe.execution.storage).child(recipe.name)


def _with_known_suites(recipe: Recipe, storage: Storage) -> Recipe:
    """With the suites that the results folder has already: they may grow, and none is forgotten."""
    if not storage.exists(paths.MANIFEST):
        return recipe
    text = storage.read_bytes(paths.RECIPE).decode(errors="replace")
    known = parse_recipe(text, source=f"{paths.RECIPE} in {storage}").evaluation.suites
    suites = {**known, **recipe.evaluation.suites}
    return recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"suites": suites})})


def _with_absolute_paths(recipe: Recipe) -> Recipe:
    """Workers have other working directories; where data lies is no part of any identity."""
    suites = {name: _absolute(suite) for name, suite in recipe.evaluation.suites.items()}
    evaluation = recipe.evaluation.model_copy(update={"suites": suites})
    return recipe.model_copy(update={"data": _absolute(recipe.data), "evaluation": evaluation})


def _absolute(config: C) -> C:
    """With the paths that are there made absolute."""
    changed: dict[str, Any] = {}
    path, data = getattr(config, "path", None), getattr(config, "data", None)
    if path is not None and Path(path).expanduser().exists():
        changed["path"] = os.path.abspath(Path(path).expanduser())
    if data is not None:
        changed["data"] = _absolute(data)
    return config.model_copy(update=changed)


def _manifest(recipe: Recipe, plan: Plan, splits: Splits, suites: Suites) -> Manifest:
    return Manifest(
        name=recipe.name,
        sweep_id=plan.sweep_id,
        base=describe_base(recipe),
        fingerprint=splits.fingerprint,
        num_classes=splits.test.num_classes,
        class_names=splits.test.class_names,
        num_train=len(splits.train),
        image_shape=(splits.train.num_channels, splits.train.image_size, splits.train.image_size),
        is_multilabel=splits.test.is_multilabel,
        suites={suite: {images.name: len(images) for images in sets} for suite, sets in suites.items()},
        suite_fingerprints={name: suite_fingerprint(suites[name]) for name in recipe.evaluation.suites},
        precision=recipe.evaluation.precision,
        versions={"pie_ray": __version__}
        | {name: metadata.version(name) for name in ("torch", "torchvision", "ray", "pyarrow", "numpy")},
        machine={
            "platform": platform.platform(),
            "processor": platform.machine(),
            "num_cpus": str(os.cpu_count()),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        },
    )


def _write_examples(storage: Storage, images: EvaluationImages) -> None:
    write_examples(
        storage,
        images.name,
        example_ids=images.example_ids,
        labels=images.labels.numpy(),
        keys=images.keys,
        groups=images.groups,
        class_names=images.class_names,
    )
