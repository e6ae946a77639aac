from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pie_ray.config import ImageFolderData
from pie_ray.data import Splits, load_splits
from pie_ray.errors import DataError

pytestmark = pytest.mark.filterwarnings("error")


def load(folder: Path, **settings: Any) -> Splits:
    config = ImageFolderData(kind="image_folder", path=str(folder), **settings)
    return load_splits(config, cache=str(folder.parent / "cache"))


def test_reads_a_tree_of_classes(
    image_folder: Path, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> None:
    test = load(image_folder).test
    rows = [int(Path(key).stem) for key in test.keys]
    assert rows == sorted(range(40, 60), key=lambda row: (labels[row], row))
    np.testing.assert_array_equal(test.images[:, 0], pixels[rows])
    np.testing.assert_array_equal(test.labels, labels[rows])
    np.testing.assert_array_equal(test.example_ids, np.arange(20))
    assert test.keys[0] == f"test/class0/{rows[0]:04d}.png"
    assert test.class_names == tuple(f"class{label}" for label in range(10))


def test_images_may_lie_deeper_and_other_files_are_passed_over(image_folder: Path) -> None:
    folder = image_folder / "train" / "class3"
    (folder / "images").mkdir()
    first = sorted(folder.glob("*.png"))[0]
    first.rename(folder / "images" / "FIRST.PNG")
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    (image_folder / "train" / ".ipynb_checkpoints").mkdir()
    train = load(image_folder).train
    assert len(train) == 40 and train.num_classes == 10
    assert "train/class3/images/FIRST.PNG" in train.keys


def test_another_name_for_the_test_split(image_folder: Path) -> None:
    (image_folder / "test").rename(image_folder / "val")
    assert load(image_folder, test_split="val").test.keys[0].startswith("val/class0/")
    with pytest.raises(DataError, match=r"digits/test does not exist; data.path must hold it"):
        load(image_folder)


def test_a_class_of_the_test_split_that_the_train_split_lacks(image_folder: Path) -> None:
    (image_folder / "test" / "class3").rename(image_folder / "test" / "class10")
    with pytest.raises(DataError, match=r"digits/test has classes that .*digits/train lacks: class10"):
        load(image_folder)


def test_a_class_that_the_test_split_lacks_is_fine(image_folder: Path) -> None:
    for path in (image_folder / "test" / "class3").iterdir():
        path.unlink()
    (image_folder / "test" / "class3").rmdir()
    test = load(image_folder).test
    assert test.num_classes == 10 and not (test.labels == 3).any()


def test_folders_without_images(image_folder: Path) -> None:
    (image_folder / "train" / "classless").mkdir()
    with pytest.raises(DataError, match=r"train/classless holds no image; accepted suffixes: .bmp .gif"):
        load(image_folder)
    (image_folder / "flat" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="flat/train holds no folder; each class needs one"):
        load(image_folder / "flat")


def test_a_broken_image_is_named(image_folder: Path) -> None:
    path = sorted((image_folder / "train" / "class9").iterdir())[-1]
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match=rf"{path} \(row 39\): the image cannot be read: cannot identify image file"):
        load(image_folder)


def test_an_empty_test_split_is_refused(image_folder: Path) -> None:
    (image_folder / "val" / "class0").mkdir(parents=True)
    with pytest.raises(DataError, match="digits/val: the split is empty, found no examples"):
        load(image_folder, test_split="val")
