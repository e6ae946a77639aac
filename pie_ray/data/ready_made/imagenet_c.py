"""ImageNet-C (Hendrycks & Dietterich, arXiv 1903.12261) as published: `<corruption>/<severity>/<class>/<image>`.

The classes' folders have their WordNet ids for names. The corruptions' folders may lie in their families', as the
archives unpack: `blur/defocus_blur/1/n01440764/ILSVRC2012_val_00000293.JPEG`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from ...config import CORRUPTION_FAMILIES, CORRUPTIONS, ImagenetCSuite
from ...errors import DataError
from ..evaluation_images import EvaluationImages
from ..image_set import ImageSet, Int64Array, Splits
from ..published import existing_folder
from .assembly import assemble, check_classes, suite_errors
from .class_tree import ClassTree, list_class_tree

_FAMILY_OF = {corruption: family for family, members in CORRUPTION_FAMILIES.items() for corruption in members}


def imagenet_c_sets(name: str, config: ImagenetCSuite, splits: Splits) -> list[EvaluationImages]:
    """`corruption/<corruption>/<severity>`; an image that the study's test split has too has its id there.

    See `_example_ids`. Keys are `<class>/<image>`, the same in all sets. Images come in the shape of the study's: grey
    or colour, resized from larger or smaller, the centre cropped. Raises DataError where folders are missing, for a
    folder that no class of the study has the name of, and for the first image that one set has and another lacks.
    """
    with suite_errors(name):
        check_classes(config.kind, splits)
        folder = existing_folder(config.path, "path")
        folders = {
            (corruption, severity): _severity_folder(corruption_folder, severity)
            for corruption, corruption_folder in _find_corruptions(folder, config.corruptions).items()
            for severity in config.severities
        }
        first = list_class_tree(next(iter(folders.values())), splits.test.class_names)
        example_ids = _example_ids(first, splits.test)
        sets = []
        for (corruption, severity), set_folder in folders.items():
            _check_same_files(first, list_class_tree(set_folder, splits.test.class_names))
            # With the first one's names, so that they are kept once.
            split = replace(first, folder=set_folder).published(example_ids)
            settings = {"kind": config.kind, "corruption": corruption, "severity": severity}
            set_name = f"corruption/{corruption}/{severity}"
            sets.append(assemble(set_name, split, splits.test, config.num_examples, settings))
    return sets


def _find_corruptions(folder: Path, wanted: tuple[str, ...] | None) -> dict[str, Path]:
    """Each corruption's folder: directly under `folder`, else in its family's."""
    places = {name: (folder / name, folder / _FAMILY_OF[name] / name) for name in wanted or CORRUPTIONS}
    found = {name: next((place for place in both if place.is_dir()), None) for name, both in places.items()}
    missing = [name for name, place in found.items() if place is None]
    if wanted and missing:
        direct, in_family = places[missing[0]]
        raise DataError(f"neither {direct} nor {in_family} is a folder; the suite's corruptions need theirs")
    there = {name: place for name, place in found.items() if place is not None}
    if not there:
        raise DataError(
            f"{folder} holds no corruption's folder, nor a family's with one in it; accepted are "
            f"{', '.join(CORRUPTIONS)}, and the families {', '.join(CORRUPTION_FAMILIES)}"
        )
    return there


def _severity_folder(corruption_folder: Path, severity: int) -> Path:
    folder = corruption_folder / str(severity)
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist; each severity of the suite needs its folder")
    return folder


def _check_same_files(first: ClassTree, other: ClassTree) -> None:
    if other.files == first.files:
        return
    different = min(set(first.files) ^ set(other.files))
    having, lacking = (first, other) if different in set(first.files) else (other, first)
    raise DataError(f"{lacking.folder} lacks {different}, which {having.folder} has; all sets need the same images")


def _example_ids(tree: ClassTree, study: ImageSet) -> Int64Array:
    """int64 [files]: the id of the study's test example of the same class and file name, whatever their suffixes.

    So the predictions on an image and on its corruptions can be held against each other. An image that the study does
    not have, or has several of that name, is numbered by its place, beyond the ids of the study: it is no clean
    image's equal. Raises DataError where two files are the same example.
    """
    known = _ids_by_name(study)
    ids = int(study.example_ids.max()) + 1 + np.arange(len(tree.files))
    taken: dict[int, str] = {}
    for row, (file, label) in enumerate(zip(tree.files, tree.labels.tolist(), strict=True)):
        example_id = known.get((label, PurePosixPath(file).stem))
        if example_id is None:
            continue
        if example_id in taken:
            raise DataError(f"{tree.folder}: {taken[example_id]} and {file} are one image by their names")
        taken[example_id] = file
        ids[row] = example_id
    return ids


def _ids_by_name(study: ImageSet) -> dict[tuple[int, str], int]:
    """Ids by class and file name without suffix, of the examples that these tell from all others."""
    names = [(label, PurePosixPath(key).stem) for label, key in zip(study.labels.tolist(), study.keys, strict=True)]
    counts = Counter(names)
    pairs = zip(names, study.example_ids.tolist(), strict=True)
    return {name: example_id for name, example_id in pairs if counts[name] == 1}
