"""Image sets: one file a source, decoded once and kept.

To add a source: a config `kind` in `config/data.py`, a file here with a function from that config to a `Source`, and
its line in `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import TRAIN, AbstractNamedSplits, Data, ImageFolderData
from ..errors import DataError
from .cache import cache_folder, cached_splits
from .celeba import celeba_source
from .decode import decode_splits
from .digits import digits_source
from .evaluation_images import EvaluationImages, Pixels, as_they_are
from .fashion_mnist import fashion_mnist_source
from .image_folder import image_folder_source
from .image_set import ChannelStatistics, ImageSet, Measured, Splits, StreamedSet, TrainingSet, channel_statistics
from .parquet import parquet_source
from .published import Encoded, Published, PublishedSplit, Source
from .streamed import StreamedImages, decode_kept, with_streamed_training
from .suites import Suites, open_suites, suite_fingerprint
from .torchvision_sets import torchvision_source

__all__ = [
    "SOURCES",
    "ChannelStatistics",
    "Encoded",
    "EvaluationImages",
    "ImageSet",
    "Measured",
    "Pixels",
    "Published",
    "PublishedSplit",
    "Source",
    "Splits",
    "StreamedImages",
    "StreamedSet",
    "Suites",
    "TrainingSet",
    "as_they_are",
    "cache_folder",
    "channel_statistics",
    "load_for_evaluation",
    "load_splits",
    "load_splits_of_sweep",
    "open_suites",
    "suite_fingerprint",
]

SOURCES: dict[str, Callable[[Any], Source]] = {
    "celeba": celeba_source,
    "digits": digits_source,
    "fashion_mnist": fashion_mnist_source,
    "image_folder": image_folder_source,
    "parquet": parquet_source,
    "torchvision": torchvision_source,
}


def load_splits(config: Data, cache: str | None = None) -> Splits:
    """The images that a recipe's `data` describes, to train on and to evaluate on.

    Decoded images are kept in the folder `cache` (None is $XDG_CACHE_HOME/pie_ray or ~/.cache/pie_ray) and mapped from
    there; the digits need none. Raises DataError for whatever is wrong with the files, naming the file and row.
    """
    return _load(config, cache, lambda: SOURCES[config.kind](config))


def load_splits_of_sweep(config: Data, cache: str | None, fingerprint: str) -> Splits:
    """As `load_splits`. Raises DataError, too, where the images are others than those that a sweep was begun with."""
    splits = load_splits(config, cache)
    if splits.fingerprint != fingerprint:
        raise DataError(
            f"data: the {config.kind} images that are there now are not those of the sweep: their fingerprint is "
            f"{splits.fingerprint}, it was begun with {fingerprint}"
        )
    return splits


def load_for_evaluation(config: Data, cache: str | None = None) -> Splits:
    """As `load_splits`, for who trains on nothing: an image folder without training images will do.

    Its classes are then the test split's folders, and its `train` is one image of the test split.
    """
    if not isinstance(config, ImageFolderData) or Path(config.path, TRAIN).expanduser().exists():
        return load_splits(config, cache)
    lone = config.model_copy(update={"num_train": 1, "streaming": False})
    return _load(lone, cache, lambda: image_folder_source(lone, train_name=config.test_split))


def _load(config: Data, cache: str | None, open_source: Callable[[], Source]) -> Splits:
    try:
        source = open_source()
        if not source.files:
            return decode_splits(source.read(), config)
        scratch = cache_folder(cache)
        if isinstance(config, AbstractNamedSplits) and config.streaming:
            published = source.read()
            kept = cached_splits(config, source.files, lambda: decode_kept(published, config, scratch), cache)
            return with_streamed_training(kept, published, config)
        return cached_splits(config, source.files, lambda: decode_splits(source.read(), config, scratch), cache)
    except OSError as error:
        raise DataError(f"data: {error}") from error
