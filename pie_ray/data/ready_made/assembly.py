"""From a published split to an evaluation set: rows chosen, fingerprint taken, images left where they are.

The fingerprint is made of names, sizes, labels and ids, and of the content of a few examples: reading all of it would
cost as much as preparing the set.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from ...errors import DataError
from ..decode import choose_rows, decode_rows
from ..evaluation_images import EvaluationImages, Pixels, fingerprint_of
from ..image_set import ImageSet, Int64Array, LabelArray, Splits
from ..published import Encoded, PublishedSplit

FORMAT = 1
"""Raised when the same files and settings come to mean other pixels, labels or ids."""

NUM_SAMPLED = 64

_NUM_STAT_THREADS = 16


@contextmanager
def suite_errors(name: str) -> Iterator[None]:
    """Name the suite in every error; what the system says of a file that cannot be read becomes a DataError too."""
    try:
        yield
    except (OSError, DataError) as error:
        raise DataError(f"evaluation.suites.{name}: {error}") from error


def check_classes(kind: str, splits: Splits) -> None:
    """DataError where the study learns attributes: suites of this kind have one class an image."""
    if splits.test.is_multilabel:
        raise DataError(
            f"{kind} has one class an image, the study learns the attributes "
            f"{', '.join(splits.test.class_names)}; accepted there is kind natural, of data with these attributes"
        )


def assemble(
    name: str,
    split: PublishedSplit,
    study: ImageSet,
    num_examples: int | None,
    settings: dict[str, Any],
    files: Sequence[Path] = (),
    among: tuple[int, ...] | None = None,
) -> EvaluationImages:
    """The evaluation set `name` of `num_examples` of the split's rows, in ascending order of their ids.

    `split.labels` are in the study's classes already. `settings` is what the fingerprint holds beside labels, ids and
    content; `files` hold the images where the split hands out bytes.
    """
    rows = choose_rows(len(split), num_examples)
    rows = rows[np.argsort(split.example_ids[rows], kind="stable")]
    channels, height, width = study.images.shape[1:]
    image_shape = (channels, height, width)
    keys = tuple(split.keys[row] for row in rows)
    labels, example_ids = split.labels[rows], split.example_ids[rows]
    fingerprint = fingerprint_of(
        {
            "format": FORMAT,
            "settings": settings,
            "image_shape": image_shape,
            "labels": _digest_of_labels(labels),
            "example_ids": _digest([np.ascontiguousarray(example_ids, dtype="<i8").tobytes()]),
            "keys": _digest(["\0".join(keys).encode(errors="surrogateescape")]),
            "content": _describe_content(split, rows, files),
        }
    )

    def read(start: int, stop: int) -> Pixels:
        return decode_rows(split, rows[start:stop], image_shape)

    return EvaluationImages(
        name=name,
        labels=torch.from_numpy(labels),
        example_ids=example_ids,
        keys=keys,
        class_names=study.class_names,
        image_shape=image_shape,
        fingerprint=fingerprint,
        read=read,
        groups={group: values[rows] for group, values in split.groups.items()},
        among=among,
    )


# --------------------------------------------------------------------------------------------------- fingerprint


def _digest_of_labels(labels: LabelArray) -> str:
    if labels.ndim == 2:
        # With their shape, because eight attributes have as many bytes as a class.
        return _digest([repr(labels.shape).encode(), np.ascontiguousarray(labels).tobytes()])
    return _digest([np.ascontiguousarray(labels, dtype="<i8").tobytes()])


def _describe_content(split: PublishedSplit, rows: Int64Array, files: Sequence[Path]) -> dict[str, Any]:
    """Sizes of files, and the SHA-256 of evenly spaced examples: arrays are all of one size, whatever is in them.

    Examples that are bytes come from larger files, whose sizes tell; to sample them would read all of the files.
    """
    first = next(split.images(rows[:1]))
    if isinstance(first, bytes):
        return {"files": [(path.name, path.stat().st_size) for path in files]}
    sample = rows[np.unique(np.linspace(0, len(rows) - 1, NUM_SAMPLED).round().astype(np.int64))]
    sizes = _file_sizes(split, rows) if isinstance(first, Path) else b""
    return {"sizes": _digest([sizes]), "sample": _digest(_content(encoded) for encoded in split.images(sample))}


def _file_sizes(split: PublishedSplit, rows: Int64Array) -> bytes:
    """Asked for in threads, because a network file system takes its time for each."""

    def sizes_of(chunk: Int64Array) -> list[int]:
        return [os.stat(cast(Path, path)).st_size for path in split.images(chunk)]

    with ThreadPoolExecutor(_NUM_STAT_THREADS) as pool:
        chunks = np.array_split(rows, -(-len(rows) // 512))
        return b"".join(np.array(sizes, dtype="<i8").tobytes() for sizes in pool.map(sizes_of, chunks))


def _content(encoded: Encoded) -> bytes:
    if isinstance(encoded, bytes):
        return encoded
    if isinstance(encoded, Path):
        return encoded.read_bytes()
    pixels = np.asarray(encoded)
    mode = encoded.mode if isinstance(encoded, Image.Image) else ""
    return f"{mode} {pixels.shape} ".encode() + pixels.tobytes()


def _digest(parts: Any) -> str:
    """SHA-256 of the parts, each with its length before it, so that no two lists of them are alike."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)} ".encode())
        digest.update(part)
    return digest.hexdigest()
