"""CIFAR-10-C and CIFAR-100-C (Hendrycks & Dietterich, arXiv 1903.12261) as published, in .npy files.

`<corruption>.npy` is uint8 [50000, 32, 32, 3]: the 10,000 test images at severity 1, then at 2, up to 5. `labels.npy`
is the test labels, five times. Labels are indices in CIFAR's own order of classes: airplane, automobile, bird, cat, ...
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...config import CORRUPTIONS, Cifar10CSuite
from ...errors import DataError
from ..evaluation_images import EvaluationImages
from ..image_set import ImageSet, Int64Array, Splits
from ..published import existing_folder
from .arrays import check_lengths, map_images, read_labels, split_of_arrays
from .assembly import assemble, check_classes, suite_errors

LABELS = "labels.npy"
NUM_SEVERITIES = 5


def cifar10_c_sets(name: str, config: Cifar10CSuite, splits: Splits) -> list[EvaluationImages]:
    """`corruption/<corruption>/<severity>`; an example's id is its row in the published test split, as in the study.

    Images come in the shape of the study's: grey or colour, resized from larger or smaller, the centre cropped. Raises
    DataError where files are missing or damaged, and for the first label that is not the study's test image's: the
    suite belongs to other images then, or the study has them in another order.
    """
    with suite_errors(name):
        check_classes(config.kind, splits)
        folder = existing_folder(config.path, "path")
        labels_of_all = read_labels(folder / LABELS, splits.test.num_classes)
        labels = _labels_of_one_severity(folder / LABELS, labels_of_all)
        _check_against_study(folder / LABELS, labels, splits.test)
        keys = tuple(f"test[{row}]" for row in range(len(labels)))
        sets = []
        for corruption in config.corruptions or _find_corruptions(folder):
            path = folder / f"{corruption}.npy"
            images = map_images(path)
            check_lengths(path, images, folder / LABELS, labels_of_all)
            for severity in config.severities:
                split = split_of_arrays(path, images, labels, keys, first_row=(severity - 1) * len(labels))
                settings = {"kind": config.kind, "corruption": corruption, "severity": severity}
                set_name = f"corruption/{corruption}/{severity}"
                sets.append(assemble(set_name, split, splits.test, config.num_examples, settings))
    return sets


def _find_corruptions(folder: Path) -> tuple[str, ...]:
    found = tuple(corruption for corruption in CORRUPTIONS if (folder / f"{corruption}.npy").is_file())
    if not found:
        raise DataError(f"{folder} holds no corruption; accepted are {', '.join(CORRUPTIONS)}, each with .npy")
    return found


def _labels_of_one_severity(path: Path, labels: Int64Array) -> Int64Array:
    """int64 [test images]: the labels of severity 1, which the other severities repeat."""
    if len(labels) == 0 or len(labels) % NUM_SEVERITIES:
        raise DataError(f"{path}: {len(labels)} labels; needs the test labels {NUM_SEVERITIES} times")
    by_severity = labels.reshape(NUM_SEVERITIES, -1)
    wrong = np.argwhere(by_severity != by_severity[0])
    if len(wrong):
        severity, row = wrong[0].tolist()
        raise DataError(
            f"{path}, row {severity * by_severity.shape[1] + row}: label {by_severity[severity, row]}, but the same "
            f"test image has {by_severity[0, row]} in row {row}; needs the test labels {NUM_SEVERITIES} times"
        )
    return by_severity[0]


def _check_against_study(path: Path, labels: Int64Array, study: ImageSet) -> None:
    order = np.argsort(study.example_ids)
    ids, of_study = study.example_ids[order], study.labels.numpy()[order]
    if ids[0] < 0 or ids[-1] >= len(labels):
        raise DataError(
            f"{path} has the labels of {len(labels)} test images, but the study's have ids from {ids[0]} to {ids[-1]}: "
            "the suite belongs to other images"
        )
    wrong = np.flatnonzero(labels[ids] != of_study)
    if len(wrong):
        position = int(wrong[0])
        row = int(ids[position])
        raise DataError(
            f"{path}, row {row}: label {labels[row]} ({study.class_names[labels[row]]}), but the study's test image "
            f"{study.keys[order[position]]} has {of_study[position]} ({study.class_names[of_study[position]]}); "
            "the study's test images must be those that were corrupted, in the published order"
        )
