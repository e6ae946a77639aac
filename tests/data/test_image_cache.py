from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import pie_ray.data
from pie_ray.config import CelebaData, DigitsData, ImageFolderData, ParquetData
from pie_ray.data import Splits, channel_statistics, entry, load_splits
from tests.celeba import make_celeba

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def load(image_folder: Path, cache: Path) -> Callable[..., Splits]:
    def load(**settings: Any) -> Splits:
        return load_splits(ImageFolderData(kind="image_folder", path=str(image_folder), **settings), cache=str(cache))

    return load


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(pie_ray.data, "decode_splits", fail)


def assert_equal(one: Splits, other: Splits) -> None:
    assert list(one.by_name) == list(other.by_name) and one.fingerprint == other.fingerprint
    for a, b in zip(one.by_name.values(), other.by_name.values(), strict=True):
        assert (a.images == b.images).all() and (a.labels == b.labels).all()
        assert a.labels.dtype == b.labels.dtype
        assert (a.example_ids == b.example_ids).all() and a.example_ids.dtype == b.example_ids.dtype
        assert (a.keys, a.class_names) == (b.keys, b.class_names)
        assert a.fingerprint == b.fingerprint and channel_statistics(a) == channel_statistics(b)
        assert list(a.groups) == list(b.groups)
        assert all((a.groups[name] == b.groups[name]).all() for name in a.groups)


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def test_the_second_load_decodes_nothing_and_is_equal(
    load: Callable[..., Splits], image_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ImageFolderData(kind="image_folder", path=str(image_folder))
    decoded = pie_ray.data.decode_splits(pie_ray.data.SOURCES["image_folder"](config).read(), config)
    first = load()
    assert len(entries(cache)) == 1 and entries(cache)[0].startswith("image_folder-")
    forbid_decoding(monkeypatch)
    assert_equal(first, decoded)
    assert_equal(load(), decoded)


def test_groups_come_back(tmp_path: Path, write_parquet: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"a/b": [True, False] * 10, "hand": ["left", "right"] * 10, "age": list(range(20))}
    write_parquet(tmp_path / "train.parquet", columns=columns)
    write_parquet(tmp_path / "test.parquet")
    config = ParquetData(kind="parquet", path=str(tmp_path))
    first = load_splits(config, cache=str(tmp_path / "cache"))
    forbid_decoding(monkeypatch)
    again = load_splits(config, cache=str(tmp_path / "cache"))
    assert_equal(first, again)
    assert {name: values.dtype.kind for name, values in again.train.groups.items()} == {
        "a/b": "b",
        "hand": "U",
        "age": "i",
    }


def test_attributes_and_a_validation_split_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_celeba(tmp_path / "celeba", num_train=20, num_validation=5, num_test=10)
    config = CelebaData(kind="celeba", path=str(tmp_path / "celeba"))
    decoded = pie_ray.data.decode_splits(pie_ray.data.SOURCES["celeba"](config).read(), config)
    assert decoded.validation is not None and decoded.train.is_multilabel
    assert_equal(load_splits(config, cache=str(tmp_path / "cache")), decoded)
    forbid_decoding(monkeypatch)
    assert_equal(load_splits(config, cache=str(tmp_path / "cache")), decoded)


def test_writing_to_loaded_images_changes_no_one_elses(load: Callable[..., Splits]) -> None:
    mine, yours = load(), load()
    before = yours.train.images.clone()
    mine.train.images.zero_()
    assert (yours.train.images == before).all() and (load().train.images == before).all()


def test_other_settings_and_other_files_are_other_entries(
    load: Callable[..., Splits], image_folder: Path, cache: Path
) -> None:
    whole = load()
    assert len(load(num_train=5).train) == 5
    assert load(image_size=16).train.image_size == 16
    assert len(entries(cache)) == 3
    path = image_folder / whole.train.keys[0]
    path.write_bytes((image_folder / whole.train.keys[1]).read_bytes())
    assert (load().train.images[0] == whole.train.images[1]).all()
    assert len(entries(cache)) == 4


def test_digits_are_not_kept(cache: Path) -> None:
    load_splits(DigitsData(kind="digits"), cache=str(cache))
    assert not cache.exists()


def test_the_default_folder(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ImageFolderData(kind="image_folder", path=str(image_folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    load_splits(config)
    assert len(entries(tmp_path / "xdg" / "pie_ray")) == 1
    # The XDG specification has relative values ignored.
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    load_splits(config)
    assert len(entries(tmp_path / "home" / ".cache" / "pie_ray")) == 1


def test_an_unwritable_cache_warns_and_decodes(image_folder: Path, tmp_path: Path) -> None:
    config = ImageFolderData(kind="image_folder", path=str(image_folder))
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match=r"decoded images cannot be kept in .*file/cache"):
        splits = load_splits(config, cache=str(tmp_path / "file" / "cache"))
    assert len(splits.train) == 40


@pytest.mark.parametrize("damage", ["truncate", "remove", "not json", "other json"])
def test_a_damaged_entry_warns_and_is_replaced(damage: str, load: Callable[..., Splits], cache: Path) -> None:
    whole = load()
    (folder,) = cache.iterdir()
    if damage == "truncate":
        path = folder / "train-images.npy"
        content = path.read_bytes()
        path.unlink()  # and not overwritten in place: `whole` is mapped from it
        path.write_bytes(content[: len(content) // 2])
    elif damage == "remove":
        (folder / "test-labels.npy").unlink()
    else:
        (folder / "splits.json").write_text("{" if damage == "not json" else "{}")
    with pytest.warns(UserWarning, match=r"image_folder-\w+ is damaged, its images are decoded anew"):
        assert_equal(load(), whole)
    with warnings.catch_warnings(action="error"):
        assert_equal(load(), whole)
    assert len(entries(cache)) == 1


def test_an_interrupted_write_leaves_nothing(
    load: Callable[..., Splits], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[object] = []

    def save(*arguments: object, **options: object) -> None:
        saved.append(arguments)
        if len(saved) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(entry.np, "save", save)
    with pytest.raises(KeyboardInterrupt):
        load()
    assert entries(cache) == []


DIES_WHILE_WRITING = """
import os, sys
from pie_ray.config import ImageFolderData
from pie_ray.data import entry, load_splits
entry._flush = lambda file: os._exit(9)
load_splits(ImageFolderData(kind="image_folder", path=sys.argv[1]), cache=sys.argv[2])
"""


def test_a_killed_process_leaves_no_entry(load: Callable[..., Splits], image_folder: Path, cache: Path) -> None:
    root = Path(pie_ray.data.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", DIES_WHILE_WRITING, str(image_folder), str(cache)], cwd=root)
    assert done.returncode == 9
    left = entries(cache)
    assert left and all(name.startswith(".") for name in left)
    assert len(load().train) == 40
    assert len(entries(cache)) == len(left) + 1


def test_decoding_at_once_is_safe(load: Callable[..., Splits], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    num_loaders = 4
    barrier = threading.Barrier(num_loaders)
    decode = pie_ray.data.decode_splits

    def decode_together(*arguments: Any) -> Splits:
        barrier.wait(timeout=20)
        return decode(*arguments)

    monkeypatch.setattr(pie_ray.data, "decode_splits", decode_together)
    with ThreadPoolExecutor(num_loaders) as pool:
        loaded = [future.result() for future in [pool.submit(load) for _ in range(num_loaders)]]
    for splits in loaded:
        assert_equal(splits, loaded[0])
    assert len(entries(cache)) == 1


def test_files_that_change_while_they_are_read_are_not_kept(
    load: Callable[..., Splits], image_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = pie_ray.data.decode_splits

    def decode_and_change(*arguments: Any) -> Splits:
        splits = decode(*arguments)
        path = image_folder / splits.train.keys[0]
        path.write_bytes(path.read_bytes() + b"!")
        return splits

    monkeypatch.setattr(pie_ray.data, "decode_splits", decode_and_change)
    load()
    assert not cache.exists()
