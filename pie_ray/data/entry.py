"""One entry of the cache: a folder with .npy files for each split, and a JSON file with all that is not an array."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch

from ..config import TEST, TRAIN, VALIDATION
from .image_set import ImageSet, Measured, Splits

_DESCRIPTION = "splits.json"


def write_entry(folder: Path, splits: Splits) -> None:
    """Write into an empty folder, and out of the system's buffers, so that a power cut leaves no hollow files."""
    for split, image_set in _in_memory(splits).items():
        for name, values in _arrays(image_set).items():
            with (folder / f"{split}-{name}.npy").open("wb") as file:
                np.save(file, values, allow_pickle=False)
                _flush(file)
    description: dict[str, Any] = {
        "class_names": splits.train.class_names,
        **{split: _describe(image_set) for split, image_set in _in_memory(splits).items()},
    }
    with (folder / _DESCRIPTION).open("wb") as file:
        file.write(json.dumps(description).encode())
        _flush(file)


def read_entry(folder: Path) -> Splits:
    """Map an entry's arrays: pages are shared by all processes that read it, and copied where one writes.

    Raises OSError, ValueError, KeyError or TypeError where it is damaged.
    """
    description = json.loads((folder / _DESCRIPTION).read_bytes())
    class_names = tuple(description["class_names"])

    def read(split: str) -> ImageSet:
        return _read_split(folder, split, description[split], class_names)

    return Splits(read(TRAIN), read(TEST), read(VALIDATION) if VALIDATION in description else None)


def _in_memory(splits: Splits) -> dict[str, ImageSet]:
    found = splits.by_name
    return {name: images for name, images in found.items() if isinstance(images, ImageSet)}


def _arrays(image_set: ImageSet) -> dict[str, npt.NDArray[np.generic]]:
    """Groups are numbered, because their names need not be file names."""
    return {
        "images": image_set.images.numpy(),
        "labels": image_set.labels.numpy(),
        "example_ids": image_set.example_ids,
    } | {f"group{index}": values for index, values in enumerate(image_set.groups.values())}


def _describe(image_set: ImageSet) -> dict[str, Any]:
    mean, std = image_set.channel_statistics
    return {
        "keys": image_set.keys,
        "groups": list(image_set.groups),
        "measured": {"fingerprint": image_set.fingerprint, "channel_mean": mean, "channel_std": std},
    }


def _read_split(folder: Path, split: str, description: dict[str, Any], class_names: tuple[str, ...]) -> ImageSet:
    def read(name: str) -> npt.NDArray[Any]:
        return np.load(folder / f"{split}-{name}.npy", mmap_mode="c", allow_pickle=False)

    measured = description["measured"]
    return ImageSet(
        images=torch.from_numpy(read("images")),
        labels=torch.from_numpy(read("labels")),
        example_ids=np.asarray(read("example_ids")),
        keys=tuple(description["keys"]),
        class_names=class_names,
        groups={name: np.asarray(read(f"group{index}")) for index, name in enumerate(description["groups"])},
        measured=Measured(
            fingerprint=measured["fingerprint"],
            channel_mean=tuple(measured["channel_mean"]),
            channel_std=tuple(measured["channel_std"]),
        ),
    )


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
