"""CIFAR-10.1 (Recht, Roelofs, Schmidt & Shankar, arXiv 1806.00451) as published: new images for CIFAR-10's classes.

`cifar10.1_<version>_data.npy` is uint8 [rows, 32, 32, 3], `cifar10.1_<version>_labels.npy` whole numbers [rows] in
CIFAR-10's order of classes. The version v4 has 2,021 images, v6 has 2,000.
"""

from __future__ import annotations

import numpy as np

from ...config import Cifar101Suite
from ...errors import DataError
from ..evaluation_images import EvaluationImages
from ..image_set import Int64Array, Splits
from ..published import existing_folder
from .arrays import check_lengths, map_images, read_labels, split_of_arrays
from .assembly import assemble, check_classes, suite_errors
from .classes import are_numbers

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10_1_sets(name: str, config: Cifar101Suite, splits: Splits) -> list[EvaluationImages]:
    """`natural/<name>`; an example's id is its row in the file.

    Classes are found among the study's by CIFAR-10's names; where the study's are numbers, labels are its indices.
    Images come in the shape of the study's: grey or colour, resized from larger or smaller, the centre cropped. Raises
    DataError where files are missing or damaged, and where the study has other classes.
    """
    with suite_errors(name):
        check_classes(config.kind, splits)
        folder = existing_folder(config.path, "path")
        image_path, label_path = (folder / f"cifar10.1_{config.version}_{part}.npy" for part in ("data", "labels"))
        images = map_images(image_path)
        indices = _class_indices(splits.test.class_names)
        labels = indices[read_labels(label_path, len(indices))]
        check_lengths(image_path, images, label_path, labels)
        if len(labels) == 0:
            raise DataError(f"{image_path} holds no image")
        keys = tuple(f"{image_path.name}[{row}]" for row in range(len(labels)))
        split = split_of_arrays(image_path, images, labels, keys)
        settings = {"kind": config.kind, "version": config.version}
        return [assemble(f"natural/{name}", split, splits.test, config.num_examples, settings)]


def _class_indices(class_names: tuple[str, ...]) -> Int64Array:
    """int64 [classes]: the study's index of each of CIFAR-10's classes, as many as it can have."""
    if are_numbers(class_names):
        return np.arange(min(len(CLASS_NAMES), len(class_names)))
    lacking = [class_name for class_name in CLASS_NAMES if class_name not in class_names]
    if lacking:
        raise DataError(
            f"cifar10_1 has CIFAR-10's classes, the study has no {', '.join(lacking)}; "
            f"its classes are {', '.join(class_names)}"
        )
    return np.array([class_names.index(class_name) for class_name in CLASS_NAMES], dtype=np.int64)
