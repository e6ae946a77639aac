"""ImageNet-A (Hendrycks et al., arXiv 1907.07174) and ImageNet-R (arXiv 2006.16241) as published: `<class>/<image>`.

Each has 200 of ImageNet's classes, and folders with their WordNet ids for names. As published, an answer is chosen
among the set's own classes alone.
"""

from __future__ import annotations

import numpy as np

from ...config import ClassFoldersSuite
from ..evaluation_images import EvaluationImages
from ..image_set import Splits
from ..published import existing_folder
from .assembly import assemble, check_classes, suite_errors
from .class_tree import list_class_tree


def class_folder_sets(name: str, config: ClassFoldersSuite, splits: Splits) -> list[EvaluationImages]:
    """`natural/<name>`; an example's id is its place in the order of classes' folders and files.

    Images come in the shape of the study's: grey or colour, resized from larger or smaller, the centre cropped. Raises
    DataError for a folder that no class of the study has the name of, and where one holds no image.
    """
    with suite_errors(name):
        check_classes(config.kind, splits)
        folder = existing_folder(config.path, "path")
        tree = list_class_tree(folder, splits.test.class_names)
        split = tree.published(np.arange(len(tree.files)))
        # Of the whole set: the same classes whichever examples are chosen.
        among = tuple(np.unique(tree.labels).tolist()) if config.among == "present" else None
        settings = {"kind": config.kind}
        return [assemble(f"natural/{name}", split, splits.test, config.num_examples, settings, among=among)]
