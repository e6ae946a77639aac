from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pie_ray.config import FashionMnistData
from pie_ray.data import SOURCES, fashion_mnist, load_splits
from pie_ray.errors import DataError

pytestmark = pytest.mark.filterwarnings("error")

Pixels = npt.NDArray[np.uint8]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def config(folder: Path) -> FashionMnistData:
    return FashionMnistData(kind="fashion_mnist", path=str(folder))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reads_plain_and_gzipped_files(
    suffix: str, tmp_path: Path, write_idx_files: Callable[..., Path], pixels: Pixels, labels: npt.NDArray[np.int64]
) -> None:
    splits = load_splits(config(write_idx_files(tmp_path / "raw", suffix)), cache=str(tmp_path / "cache"))
    np.testing.assert_array_equal(splits.train.images[:, 0], pixels[:30])
    np.testing.assert_array_equal(splits.test.labels, labels[30:40])
    np.testing.assert_array_equal(splits.test.example_ids, np.arange(10))
    assert splits.test.keys[3] == "test[3]"
    assert splits.train.class_names[9] == "Ankle boot"


def test_without_a_path_looks_where_torchvision_puts_it(
    tmp_path: Path, write_idx_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert fashion_mnist._places() == (
        DEBIAN,
        Path("data/FashionMNIST/raw"),
        tmp_path / "data/FashionMNIST/raw",
        tmp_path / ".cache/torchvision/FashionMNIST/raw",
    )
    monkeypatch.setattr(fashion_mnist, "_places", lambda: (tmp_path / "absent", tmp_path / "raw"))
    write_idx_files(tmp_path / "raw")
    assert len(load_splits(FashionMnistData(kind="fashion_mnist"), cache=str(tmp_path / "cache")).train) == 30


def test_not_found_says_where_it_looked_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "_places", lambda: (tmp_path / "one", tmp_path / "two"))
    with pytest.raises(DataError, match=r"looked in .*/one, .*/two. Set data.path, or get it with `apt install datas"):
        load_splits(FashionMnistData(kind="fashion_mnist"))


def test_missing_folder_and_missing_files(tmp_path: Path, write_idx_files: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"data.path: .*/absent does not exist; a folder is needed"):
        load_splits(config(tmp_path / "absent"))
    folder = write_idx_files(tmp_path / "raw")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"raw lacks t10k-labels-idx1-ubyte \(plain or .gz\); get it with `apt"):
        load_splits(config(folder))


def damaged(name: str, content: bytes, folder: Path) -> DataError:
    (folder / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_splits(config(folder), cache=str(folder / "cache"))
    assert name in str(caught.value)
    return caught.value


def test_damaged_files_are_named(tmp_path: Path, write_idx_files: Callable[..., Path]) -> None:
    folder = write_idx_files(tmp_path)
    name = "train-images-idx3-ubyte"
    whole = (folder / name).read_bytes()
    assert "magic 2049, expected 2051" in str(damaged(name, b"\0\0\x08\1" + whole[4:], folder))
    assert "truncated: 1919 bytes of values, its header promises 1920" in str(damaged(name, whole[:-1], folder))
    assert "too long: 1921 bytes" in str(damaged(name, whole + b"x", folder))
    assert "truncated: 7 bytes, less than its header" in str(damaged(name, whole[:7], folder))


def test_damaged_gzip_files_are_named(tmp_path: Path, write_idx_files: Callable[..., Path]) -> None:
    folder = write_idx_files(tmp_path, ".gz")
    name = "train-images-idx3-ubyte.gz"
    whole = (folder / name).read_bytes()
    assert "cannot be read: Compressed file ended" in str(damaged(name, whole[:-20], folder))
    assert "cannot be read: Not a gzipped file" in str(damaged(name, gzip.decompress(whole), folder))


def test_images_and_labels_must_be_as_many(
    tmp_path: Path, write_idx_files: Callable[..., Path], write_idx: Callable[..., Path]
) -> None:
    folder = write_idx_files(tmp_path)
    write_idx(folder / "train-labels-idx1-ubyte", np.zeros(29, dtype=np.uint8))
    with pytest.raises(DataError, match=r"images-idx3-ubyte has 30 images, but .*labels-idx1-ubyte has 29 labels"):
        load_splits(config(folder))


def test_label_out_of_range_is_named_by_file_and_row(
    tmp_path: Path, write_idx_files: Callable[..., Path], write_idx: Callable[..., Path]
) -> None:
    folder = write_idx_files(tmp_path)
    write_idx(folder / "t10k-labels-idx1-ubyte", np.array([0, 1, 10] + [0] * 7, dtype=np.uint8))
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte, row 2: label 10, accepted 0 to 9"):
        load_splits(config(folder))


def test_an_empty_split_is_refused(
    tmp_path: Path, write_idx_files: Callable[..., Path], write_idx: Callable[..., Path]
) -> None:
    folder = write_idx_files(tmp_path)
    write_idx(folder / "t10k-images-idx3-ubyte", np.zeros((0, 8, 8), dtype=np.uint8))
    write_idx(folder / "t10k-labels-idx1-ubyte", np.zeros(0, dtype=np.uint8))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: the split is empty, found no examples"):
        load_splits(config(folder))


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_debians_files() -> None:
    published = SOURCES["fashion_mnist"](config(DEBIAN)).read()
    assert np.bincount(published.train.labels).tolist() == [6000] * 10
    assert np.bincount(published.test.labels).tolist() == [1000] * 10
