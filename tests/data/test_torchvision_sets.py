from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import torchvision
from PIL import Image

from pie_ray.config import TorchvisionData
from pie_ray.data import Splits, load_splits
from pie_ray.errors import DataError

pytestmark = pytest.mark.filterwarnings("error")


def load(root: Path, name: str = "FashionMNIST", **settings: Any) -> Splits:
    config = TorchvisionData(kind="torchvision", name=name, path=str(root), **settings)
    return load_splits(config, cache=str(root.parent / "cache"))


def test_reads_a_set_of_torchvisions(
    tmp_path: Path,
    write_idx_files: Callable[..., Path],
    pixels: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
) -> None:
    root = tmp_path / "root"
    write_idx_files(root / "FashionMNIST" / "raw")
    splits = load(root, num_test=4)
    np.testing.assert_array_equal(splits.train.images[:, 0], pixels[:30])
    np.testing.assert_array_equal(splits.test.images[:, 0], pixels[30 + splits.test.example_ids])
    np.testing.assert_array_equal(splits.train.labels, labels[:30])
    assert splits.train.keys[2] == "train[2]"
    assert splits.train.class_names[9] == "Ankle boot"


class FakeSet:
    """Stands for a set with `split=`, no `test` split, and labels that only its items tell."""

    made: ClassVar[list[dict[str, Any]]] = []
    label: Any = 1

    def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
        if split not in ("train", "val"):
            raise ValueError(f"Unknown value '{split}' for argument split.")
        self.made.append({"root": root, "split": split, "download": download})
        self.split = split

    def __len__(self) -> int:
        return 3

    def __getitem__(self, row: int) -> tuple[Image.Image, Any]:
        if row > 2:
            raise IndexError
        return Image.new("RGB", (4, 4), (row, 0, 0)), self.label if row == 2 else 0


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[FakeSet]:
    monkeypatch.setattr(torchvision.datasets, "Imagenette", FakeSet)
    monkeypatch.setattr(FakeSet, "made", [])
    (tmp_path / "root").mkdir()
    return FakeSet


def test_a_set_with_split_names(fake: type[FakeSet], tmp_path: Path) -> None:
    splits = load(tmp_path / "root", "Imagenette", download=True)
    assert [made["split"] for made in fake.made] == ["train", "val"]
    assert all(made["download"] for made in fake.made)
    assert splits.test.labels.tolist() == [0, 0, 1]
    assert splits.test.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert splits.test.class_names == ("0", "1")


@pytest.mark.parametrize("label", [None, 0.5, "cat"])
def test_labels_must_be_whole_numbers(
    label: Any, fake: type[FakeSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "label", label)
    with pytest.raises(DataError, match=rf"Imagenette in .*root, train row 2: label {label!r} is no whole number"):
        load(tmp_path / "root", "Imagenette")
    monkeypatch.setattr(fake, "labels", [0, 1, label], raising=False)
    with pytest.raises(DataError, match=rf"train row 2: label {label!r} is no whole number"):
        load(tmp_path / "root", "Imagenette")


def test_an_item_that_cannot_be_read_is_named(
    fake: type[FakeSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "__len__", lambda self: 4)
    monkeypatch.setattr(fake, "labels", [0] * 4, raising=False)
    with pytest.raises(DataError, match="train row 3: torchvision cannot read it"):
        load(tmp_path / "root", "Imagenette")


def test_an_unknown_name_gets_close_matches(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data.name: torchvision has no data set FasionMnist; did you mean FashionMNIST"
    ):
        load(tmp_path, "FasionMnist")
    with pytest.raises(DataError, match=r"no data set zzz; there are .*CIFAR100"):
        load(tmp_path, "zzz")


@pytest.mark.parametrize("name", ["FakeData", "VOCDetection", "UCF101"])
def test_a_set_that_does_not_divide_into_splits_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"torchvision's {name} does not divide into splits"):
        load(tmp_path, name)


def test_missing_files_say_to_allow_the_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.path: the folder .*absent does not exist; set data.download: true to"):
        load(tmp_path / "absent")
    with pytest.raises(
        DataError, match=r"torchvision's CIFAR100 in .*: Dataset not found.*; set data.download: true to"
    ):
        load(tmp_path, "CIFAR100")


def test_a_set_whose_split_has_another_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"torchvision's EMNIST in .*: Unknown value 'train' for argument split"):
        load(tmp_path, "EMNIST")
