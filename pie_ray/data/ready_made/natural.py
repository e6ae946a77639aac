"""Any data set that a study could be made on, as an evaluation set: other images of the study's classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...config import TRAIN, NaturalSuite
from ...errors import DataError
from ..evaluation_images import EvaluationImages
from ..image_set import BoolArray, ImageSet, Int64Array, LabelArray, Splits
from ..published import PublishedSplit, Source
from .assembly import assemble, suite_errors
from .classes import find_classes, shown

_NOT_THE_IMAGES = {"path", "download", "image_size", "num_train", "num_test"}
"""Settings of the data that are seen in the ids and the shape, or nowhere."""


def natural_sets(name: str, config: NaturalSuite, splits: Splits) -> list[EvaluationImages]:
    """`natural/<name>` of one split of the data; ids, keys and groups are the data's own.

    Classes are found among the study's by name, in any order, and there may be fewer of them. Attributes must be the
    study's, in any order. Images come in the shape of the study's: grey or colour, resized from larger or smaller, the
    centre cropped. Raises DataError for whatever is wrong with the files, and for a class that the study has not.
    """
    study = splits.test
    with suite_errors(name):
        _check_image_size(config, study)
        source = _source(config)
        published = source.read()
        split = published.train if config.split == TRAIN else published.test
        split = replace(split, labels=_labels_of_study(split, published.class_names, study))
        # Without defaults, so that a field added to a source changes nothing.
        data = config.data.model_dump(mode="json", exclude=_NOT_THE_IMAGES, exclude_defaults=True)
        settings = {"kind": config.kind, "data": data, "split": config.split}
        return [assemble(f"natural/{name}", split, study, _num_examples(config), settings, source.files)]


def _source(config: NaturalSuite) -> Source:
    # Not above: the package of the sources imports the suites'.
    from .. import SOURCES

    return SOURCES[config.data.kind](config.data)


def _num_examples(config: NaturalSuite) -> int | None:
    """The smaller of the suite's number and the data's: either subset is part of the larger one."""
    of_data = config.data.num_train if config.split == TRAIN else config.data.num_test
    return min((number for number in (config.num_examples, of_data) if number is not None), default=None)


def _check_image_size(config: NaturalSuite, study: ImageSet) -> None:
    found = config.data.image_size
    if found not in (None, study.image_size):
        raise DataError(
            f"data.image_size: found {found}, accepted is the study's, {study.image_size}, "
            "or nothing: the suite's images are resized to it anyway"
        )


# ----------------------------------------------------------------------------------------------- labels of the study


def _labels_of_study(split: PublishedSplit, names: tuple[str, ...], study: ImageSet) -> LabelArray:
    has_attributes = split.labels.ndim == 2
    if has_attributes != study.is_multilabel:
        kinds = {True: "attributes", False: "one class an image"}
        raise DataError(f"data has {kinds[has_attributes]}, the study has {kinds[study.is_multilabel]}")
    if has_attributes:
        return _match_attributes(np.asarray(split.labels, dtype=np.bool_), names, study.class_names)
    return _match_classes(split, names, study.class_names)


def _match_classes(split: PublishedSplit, names: tuple[str, ...], study_names: tuple[str, ...]) -> Int64Array:
    """int64 [rows]; a class without examples need not be the study's."""
    found = find_classes(names, study_names)
    indices = np.array([-1 if index is None else index for index in found], dtype=np.int64)
    labels = indices[split.labels.astype(np.int64)]
    unknown = np.flatnonzero(labels < 0)
    if len(unknown):
        row = int(unknown[0])
        class_name = names[int(split.labels[row])]
        raise DataError(
            f"{split.locate(row)} is of the class {class_name}; the study needs one class of that name, "
            f"its classes are {shown(study_names)}"
        )
    return labels


def _match_attributes(labels: BoolArray, names: tuple[str, ...], study_names: tuple[str, ...]) -> BoolArray:
    """bool [rows, attributes] in the study's order."""
    if set(names) != set(study_names):
        lacking = [attribute for attribute in study_names if attribute not in names]
        further = [attribute for attribute in names if attribute not in study_names]
        raise DataError(
            f"data must have the study's attributes, {', '.join(study_names)}; it lacks "
            f"{', '.join(lacking) or 'none'}, and has beside them {', '.join(further) or 'none'}"
        )
    return np.ascontiguousarray(labels[:, [names.index(attribute) for attribute in study_names]])
