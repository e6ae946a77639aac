"""Streaming: the same images, labels and bits as decoded ones give, whoever decodes, and nothing but them in memory."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pie_ray.data
from pie_ray.config import Augmentation, ImageFolderData, ParquetData, ResizedCrop
from pie_ray.data import ImageSet, Splits, StreamedSet, load_for_evaluation, load_splits
from pie_ray.data.decode import ImageFormat, decode_part
from pie_ray.data.streamed import measured_rows
from pie_ray.errors import DataError
from pie_ray.training import Batches, BatchSource, StreamedBatches, make_batches
from pie_ray.training.streamed import num_decoders, shuffle_blocks

CPU = torch.device("cpu")
CROPS = Augmentation(resized_crop=ResizedCrop(), flip=True)


@pytest.fixture(params=["image_folder", "parquet"])
def load(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Splits]:
    kind = ImageFolderData if request.param == "image_folder" else ParquetData
    folder = request.getfixturevalue("image_folder" if request.param == "image_folder" else "parquet_folder")

    def load(streaming: bool = True, path: Path = folder, **settings: Any) -> Splits:
        config = kind(kind=request.param, path=str(path), image_size=8, streaming=streaming, **settings)
        return load_splits(config, cache=str(tmp_path / "cache"))

    load.folder = folder  # type: ignore[attr-defined]
    return load


def streamed(splits: Splits) -> StreamedSet:
    assert isinstance(splits.train, StreamedSet)
    return splits.train


def make(train: Any, augmentation: Augmentation, seed: int = 3, **settings: Any) -> BatchSource:
    make = make_batches if isinstance(train, ImageSet) or not settings else StreamedBatches
    return make(
        train.pixels,
        train.labels,
        statistics=train.channel_statistics,
        batch_size=6,
        augmentation=augmentation,
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
        **settings,
    )


def two_epochs(batches: BatchSource) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [batch for _ in range(2) for batch in batches.epoch()]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_streamed_images_are_the_decoded_ones(load: Callable[..., Splits]) -> None:
    for settings in ({}, {"num_train": 13, "num_test": 5}):
        there, kept = streamed(load(**settings)), load(streaming=False, **settings)
        train = kept.train
        assert isinstance(train, ImageSet)
        assert torch.equal(there.pixels.read(np.arange(len(there))[::-1]), train.images.flip(0))
        assert torch.equal(there.first(9), train.first(9))
        assert torch.equal(there.labels, train.labels) and there.keys == train.keys
        assert (there.example_ids == train.example_ids).all() and there.class_names == train.class_names
        assert there.channel_statistics == train.channel_statistics
        assert torch.equal(load(**settings).test.images, kept.test.images)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(crop_padding=2, flip="alternating")], ids=repr)
def test_batches_are_bit_for_bit_those_of_decoded_images(
    load: Callable[..., Splits], augmentation: Augmentation
) -> None:
    decoded, there = make(load(streaming=False).train, augmentation), make(load().train, augmentation)
    assert isinstance(decoded, Batches) and isinstance(there, StreamedBatches)
    assert_same(two_epochs(there), two_epochs(decoded))


def test_processes_that_share_and_epochs_gone_back_to_see_the_same(load: Callable[..., Splits]) -> None:
    train = streamed(load())
    settings = {"num_workers": 0, "window_bytes": 9 * 64}
    expected = two_epochs(make(train, CROPS, **settings))
    parts = [two_epochs(make(train, CROPS, share=(rank, 2), **settings)) for rank in range(2)]
    assert_same([tuple(map(torch.cat, zip(*halves, strict=True))) for halves in zip(*parts, strict=True)], expected)

    left = make(train, CROPS, **settings)
    epoch = left.epoch()
    for _ in range(2):
        next(epoch)
    state = {name: value.clone() for name, value in left.state().items()}
    again = make(train, CROPS, seed=99, **settings)
    again.restore(state)
    assert_same([*again.epoch(first_step=2), *again.epoch()], expected[2:])


def test_any_number_of_processes_decodes_the_same_bits(load: Callable[..., Splits]) -> None:
    train = streamed(load())
    expected = two_epochs(make(train, CROPS, num_workers=0, window_bytes=9 * 64))
    assert not torch.equal(expected[0][0], expected[len(expected) // 2][0])
    for num_workers in (1, 2):
        batches = make(train, CROPS, num_workers=num_workers, window_bytes=9 * 64)
        next(batches.epoch())
        begun = make(train, CROPS, num_workers=0, window_bytes=9 * 64)
        next(begun.epoch())
        # An epoch that was left early leaves nothing behind for those after it.
        assert_same(two_epochs(batches), two_epochs(begun))


def test_no_block_is_in_two_windows_and_every_image_is_seen_once() -> None:
    blocks = np.array([0, 10, 13, 40, 41, 60, 95, 100])
    order, windows = shuffle_blocks(blocks, 25, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(100))
    of_image = np.searchsorted(blocks, order.numpy(), side="right")
    held = [set(of_image[start:stop]) for start, stop in pairwise(windows)]
    assert sum(map(len, held)) == len(blocks) - 1
    assert all(stop - start >= 25 for start, stop in pairwise(windows[:-1]))
    assert any((np.diff(order[start:stop]) < 0).any() for start, stop in pairwise(windows))


def test_what_is_known_of_streamed_images_is_kept(
    load: Callable[..., Splits], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = load()
    monkeypatch.setattr(pie_ray.data, "decode_kept", lambda *arguments: pytest.fail("measured again"))
    assert load().fingerprint == first.fingerprint
    monkeypatch.undo()
    moved = shutil.copytree(load.folder, tmp_path / "moved")  # type: ignore[attr-defined]
    assert load(path=moved).fingerprint == first.fingerprint
    assert load(num_train=13).fingerprint != first.fingerprint


def test_another_image_is_another_fingerprint(image_folder: Path, tmp_path: Path) -> None:
    config = ImageFolderData(kind="image_folder", path=str(image_folder), image_size=8, streaming=True)
    before = load_splits(config, cache=str(tmp_path / "cache")).fingerprint
    path = sorted((image_folder / "train").rglob("*.png"))[7]
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert load_splits(config, cache=str(tmp_path / "cache")).fingerprint != before


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_image_is_named(image_folder: Path, tmp_path: Path, num_workers: int) -> None:
    config = ImageFolderData(kind="image_folder", path=str(image_folder), image_size=8, streaming=True)
    train = streamed(load_splits(config, cache=str(tmp_path / "cache")))
    path = sorted((image_folder / "train").rglob("*.png"))[7]
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DataError) as caught:
        list(make(train, CROPS, num_workers=num_workers).epoch())
    assert str(caught.value).startswith(f"{path} (row 7): the image cannot be read")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_disk_that_fails_is_not_the_images_fault(load: Callable[..., Splits], num_workers: int) -> None:
    train = streamed(load())
    gone = sorted(path for path in load.folder.rglob("*") if "train" in str(path) and path.is_file())[-1]  # type: ignore[attr-defined]
    gone.unlink()
    with pytest.raises(OSError, match=re.escape(str(gone))) as caught:
        list(make(train, CROPS, num_workers=num_workers).epoch())
    assert caught.value.errno == errno.ENOENT


def test_tasks_hold_no_files_open(load: Callable[..., Splits], monkeypatch: Any) -> None:
    monkeypatch.setattr("pie_ray.training.streamed.NUM_TASK_IMAGES", 1)
    epoch = make(streamed(load()), CROPS, num_workers=1).epoch()
    next(epoch)
    before = len(os.listdir("/proc/self/fd"))
    assert list(epoch) and len(os.listdir("/proc/self/fd")) <= before + 3


def test_what_is_measured_of_many_images_lies_in_few_blocks(load: Callable[..., Splits], monkeypatch: Any) -> None:
    pixels = streamed(load()).pixels
    monkeypatch.setattr("pie_ray.data.streamed._NUM_MEASURED", 8)
    rows = measured_rows(pixels)  # type: ignore[arg-type]
    assert (np.diff(rows) > 0).all()
    if pixels.blocks is None:
        assert len(rows) == 8
    else:
        of_row = np.searchsorted(pixels.blocks, rows, side="right")
        lengths = np.diff(pixels.blocks)
        assert all((of_row == block).sum() == lengths[block - 1] for block in set(of_row)) and 8 <= len(rows) < 20


def test_streaming_needs_a_size(image_folder: Path) -> None:
    with pytest.raises(ValueError, match="streaming needs image_size"):
        ImageFolderData(kind="image_folder", path=str(image_folder), streaming=True)


def test_where_nothing_is_trained_the_test_images_do(image_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "without training images"
    shutil.copytree(image_folder / "test", folder / "test")
    config = ImageFolderData(kind="image_folder", path=str(folder), image_size=8, streaming=True)
    splits = load_for_evaluation(config, cache=str(tmp_path / "cache"))
    assert isinstance(splits.train, ImageSet) and len(splits.train) == 1 and len(splits.test) > 1


def test_processors_are_never_too_few_for_their_threads() -> None:
    assert [num_decoders(cpus, CPU) for cpus in (1, 2, 8)] == [0, 0, 0]
    assert [num_decoders(cpus, torch.device("cuda")) for cpus in (1, 2, 8)] == [1, 1, 7]


# ------------------------------------------------------------------------------------------------- parts of images


def photograph(size: int = 512) -> np.ndarray[Any, np.dtype[np.uint8]]:
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image("china.jpg"))[:size, :size]


def jpeg(pixels: np.ndarray[Any, Any], **settings: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, **settings)
    return file.getvalue()


def part(encoded: Any, box: tuple[float, float, float, float], size: int) -> np.ndarray[Any, Any]:
    sizes: list[tuple[int, int]] = []

    def box_of(height: int, width: int) -> tuple[float, float, float, float]:
        sizes.append((height, width))
        return box

    cut = decode_part(encoded, ImageFormat("RGB", size), box_of, name=lambda: "here")
    assert cut.shape == (3, size, size)
    return cut.transpose(1, 2, 0)


def test_a_part_is_what_lies_in_its_box() -> None:
    pixels = photograph(400)
    assert (part(pixels, (30, 50, 94, 114), 64) == pixels[50:114, 30:94]).all()


def test_a_large_jpeg_is_decoded_small_and_looks_the_same() -> None:
    pixels = photograph(427)
    encoded = jpeg(pixels)
    found = part(encoded, (10, 20, 410, 420), 48)
    with Image.open(io.BytesIO(encoded)) as image:
        expected = np.asarray(image.resize((48, 48), Image.Resampling.BILINEAR, box=(10, 20, 410, 420)))
    difference = np.abs(found.astype(int) - expected)
    assert 0 < difference.mean() < 3


def test_an_image_that_lies_on_its_side_is_cut_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = photograph(427)[:, :200]
    found = part(jpeg(pixels, exif=exif), (100, 0, 300, 200), 200)
    upright = np.rot90(pixels, 3)
    assert np.abs(found.astype(int) - upright[:, 100:300]).mean() < 4
