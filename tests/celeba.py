"""A small CelebA: real images in torchvision's layout, with attributes that are read off them and one planted shortcut.

    make_celeba(tmp_path / "celeba", num_train=600, num_validation=200, num_test=200)

gives a tree for `data: {kind: celeba, path: ...}`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pie_ray.config import DigitsData
from pie_ray.data import Splits, load_splits

CATEGORY = "Marked"
"""The attribute of a visible mark: what Male is to CelebA."""

HARD = "Even"
"""The attribute that the mark goes with in training: it takes knowing all ten classes."""

TRAINING_RATE = 0.9
"""Share of the training images with HARD that have the mark, and of those without HARD that have not."""

_SIZE = 16
_MARK_SIZE = 4
_MARK_COLOUR = (230, 40, 40)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def make_celeba(
    folder: Path, num_train: int, num_validation: int, num_test: int, seed: int = 0, *, source: Splits | None = None
) -> Path:
    """Write `img_align_celeba/000001.jpg` and on, `list_attr_celeba.txt`, `list_eval_partition.txt`; return `folder`.

    A random choice of all images of `source`, of ten classes and any size, by default scikit-learn's 1,797 digits:
    first those to train, then those to validate and to test, as colour JPEG of 16 x 16 pixels. Attributes:

        Even, Large, Round, Seven     of the class: even; 5 and above; 0, 6, 8 or 9; 7, which is rare
        Bright, Wide, Busy            of the pixels, above the median of all: mean; spread from left to right; mean
                                      difference between neighbours
        Top_Heavy, Left_Heavy         more light in that half
        Marked                        a red square in the upper left corner, painted on

    Planted: among the training images exactly 9 of 10 with Even are Marked, and 1 of 10 without. In the validation and
    test images one half of each is, so that the mark says nothing there. A network that leans on the mark instead of
    the class is right on most training images, finds too many Even among the Marked, and errs on what training had
    few of: unmarked even and marked odd ones. The others go with the mark no further than they go with Even.
    """
    sets = list((source or load_splits(DigitsData(kind="digits"))).by_name.values())
    images, labels = np.concatenate([part.images for part in sets]), np.concatenate([part.labels for part in sets])
    rng = np.random.default_rng(seed)
    counts = (num_train, num_validation, num_test)
    rows = rng.permutation(len(images))[: sum(counts)]
    assert len(rows) == sum(counts), f"{len(images)} images are not enough for {counts}"
    splits = np.repeat([0, 1, 2], counts)
    pixels = [_small(images[row]) for row in rows]
    attributes = _of_classes(labels[rows]) | _of_pixels(np.stack([_grey(image) for image in pixels]))
    attributes[CATEGORY] = _marks(attributes[HARD], splits, rng)
    _write(folder, pixels, attributes, splits)
    return folder


def _small(image: npt.NDArray[np.uint8]) -> Image.Image:
    """Colour, 16 x 16, of uint8 [channels, height, width]."""
    found = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    return found.convert("RGB").resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)


def _grey(image: Image.Image) -> Floats:
    return np.asarray(image.convert("L"), dtype=np.float64)


def _of_classes(labels: npt.NDArray[np.int64]) -> dict[str, Bools]:
    return {
        HARD: labels % 2 == 0,
        "Large": labels >= 5,
        "Round": np.isin(labels, (0, 6, 8, 9)),
        "Seven": labels == 7,
    }


def _of_pixels(grey: Floats) -> dict[str, Bools]:
    """From [images, height, width]."""
    half = _SIZE // 2
    light = grey.sum(axis=(1, 2)) + 1e-9
    columns = grey.sum(axis=1) / light[:, None]
    centre = columns @ np.arange(_SIZE)
    spread = (columns * (np.arange(_SIZE) - centre[:, None]) ** 2).sum(axis=1)
    differences = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
    return {
        "Bright": light > np.median(light),
        "Wide": spread > np.median(spread),
        "Busy": differences > np.median(differences),
        "Top_Heavy": grey[:, :half].sum(axis=(1, 2)) > grey[:, half:].sum(axis=(1, 2)),
        "Left_Heavy": grey[:, :, :half].sum(axis=(1, 2)) > grey[:, :, half:].sum(axis=(1, 2)),
    }


def _marks(hard: Bools, splits: npt.NDArray[np.int64], rng: np.random.Generator) -> Bools:
    marked = np.zeros(len(hard), dtype=np.bool_)
    for split in np.unique(splits):
        for value in (False, True):
            rate = 0.5 if split else (TRAINING_RATE if value else 1 - TRAINING_RATE)
            those = rng.permutation(np.flatnonzero((splits == split) & (hard == value)))
            marked[those[: round(rate * len(those))]] = True
    return marked


def _write(
    folder: Path, pixels: list[Image.Image], attributes: dict[str, Bools], splits: npt.NDArray[np.int64]
) -> None:
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06d}.jpg" for number in range(1, len(pixels) + 1)]
    for name, image, is_marked in zip(names, pixels, attributes[CATEGORY], strict=True):
        if is_marked:
            image.paste(_MARK_COLOUR, (0, 0, _MARK_SIZE, _MARK_SIZE))
        image.save(folder / "img_align_celeba" / name, quality=95)
    values = np.where(np.stack(list(attributes.values()), axis=1), 1, -1)
    rows = [f"{name} {' '.join(f'{value:2d}' for value in row)}" for name, row in zip(names, values, strict=True)]
    # The published list ends its line of names with a blank.
    lines = [str(len(names)), " ".join(attributes) + " ", *rows]
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    partition = [f"{name} {split}" for name, split in zip(names, splits, strict=True)]
    (folder / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
