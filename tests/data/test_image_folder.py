from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
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


# --------------------------------------------------------------------------------------- metadata.csv and attributes


def write_metadata(folder: Path, columns: dict[str, Any]) -> Path:
    """`metadata.csv` with a row an image of the split's folder, unless `columns` names the files itself."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    path = folder / "metadata.csv"
    pd.DataFrame({"file_name": files, **columns}).to_csv(path, index=False)
    return path


def rows_of(folder: Path) -> npt.NDArray[np.int64]:
    """The digits' numbers, in the order of their files."""
    return np.array([int(path.stem) for path in sorted(folder.rglob("*.png"))])


def test_columns_of_few_values_become_groups(image_folder: Path) -> None:
    rows = rows_of(image_folder / "train")
    columns = {"odd": rows % 2 == 1, "third": rows % 3, "hand": np.where(rows % 2, "left", ""), "writer": rows * 0.5}
    write_metadata(image_folder / "train", columns)
    splits = load(image_folder)
    numbers = np.array([int(Path(key).stem) for key in splits.train.keys])
    groups = splits.train.groups
    assert list(groups) == ["odd", "third", "hand"]
    np.testing.assert_array_equal(groups["odd"], numbers % 2 == 1)
    np.testing.assert_array_equal(groups["third"], numbers % 3)
    np.testing.assert_array_equal(groups["hand"], np.where(numbers % 2, "left", ""))
    assert splits.test.groups == {}
    assert splits.train.class_names == tuple(f"class{label}" for label in range(10))


def test_metadata_changes_neither_images_nor_labels(image_folder: Path) -> None:
    before = load(image_folder)
    write_metadata(image_folder / "train", {"odd": rows_of(image_folder / "train") % 2})
    assert load(image_folder).fingerprint == before.fingerprint


def test_a_column_that_repeats_the_class_is_no_group(image_folder: Path) -> None:
    rows = rows_of(image_folder / "train")
    write_metadata(image_folder / "train", {"label": rows % 2, "odd": rows % 2})
    assert list(load(image_folder).train.groups) == ["odd"]


@pytest.fixture
def attribute_folder(image_folder: Path) -> Path:
    """Digits with the attributes Odd (0 and 1), Third (-1 and 1) and Small (True and False), flat under each split."""
    for split in ("train", "test"):
        folder = image_folder / split
        for path in sorted(folder.rglob("*.png")):
            path.rename(folder / path.name)
        for empty in folder.iterdir():
            if empty.is_dir():
                empty.rmdir()
        rows = rows_of(folder)
        columns = {"Odd": rows % 2, "Third": np.where(rows % 3, -1, 1), "Small": rows % 10 < 3, "age": rows % 4}
        write_metadata(folder, columns)
    return image_folder


def test_attributes_are_columns_and_need_no_class_folders(
    attribute_folder: Path, pixels: npt.NDArray[np.uint8]
) -> None:
    splits = load(attribute_folder, attributes=("Third", "Odd", "Small"))
    assert splits.train.class_names == ("Third", "Odd", "Small") and splits.train.is_multilabel
    rows = np.arange(40, 60)
    np.testing.assert_array_equal(splits.test.images[:, 0], pixels[rows])
    np.testing.assert_array_equal(splits.test.labels, np.stack([rows % 3 == 0, rows % 2 == 1, rows % 10 < 3], axis=1))
    assert splits.test.keys[0] == "test/0040.png"
    groups = splits.train.groups
    assert {name: values.dtype.kind for name, values in groups.items()} == {
        "Odd": "b",
        "Third": "b",
        "Small": "b",
        "age": "i",
    }
    np.testing.assert_array_equal(groups["Third"], np.arange(40) % 3 == 0)


def test_attributes_beside_class_folders(image_folder: Path) -> None:
    for split in ("train", "test"):
        write_metadata(image_folder / split, {"Odd": rows_of(image_folder / split) % 2})
    test = load(image_folder, attributes=("Odd",)).test
    assert test.class_names == ("Odd",)
    np.testing.assert_array_equal(test.labels[:, 0], [int(Path(key).stem) % 2 for key in test.keys])


def test_a_validation_split(image_folder: Path) -> None:
    shutil.copytree(image_folder / "test", image_folder / "val")
    assert load(image_folder).validation is None
    splits = load(image_folder, validation_split="val", num_test=5)
    assert splits.validation is not None
    assert (len(splits.test), len(splits.validation)) == (5, 5)
    assert splits.validation.keys[0].startswith("val/class0/")
    (image_folder / "val" / "class10").mkdir()
    with pytest.raises(DataError, match=r"digits/val has classes that .*digits/train lacks: class10"):
        load(image_folder, validation_split="val")


def test_other_metadata_is_another_entry_of_the_cache(attribute_folder: Path) -> None:
    before = load(attribute_folder, attributes=("Odd",)).train.labels
    path = attribute_folder / "train" / "metadata.csv"
    table = pd.read_csv(path)
    table["Odd"] = 1 - table["Odd"]
    table.to_csv(path, index=False)
    assert (load(attribute_folder, attributes=("Odd",)).train.labels == ~before).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Odd": [0, 1, 2] * 13 + [0]}, r"train/0002.png \(row 2\): attribute Odd is 2, accepted 0 and 1, or -1 and 1"),
        ({"Odd": [-1, 0] * 20}, r"train/0001.png \(row 1\): attribute Odd is 0, accepted 0 and 1, or -1 and 1"),
        ({"Odd": [0, None] * 20}, r"train/0001.png \(row 1\): attribute Odd is null"),
        ({"Odd": ["yes", "no"] * 20}, "0000.png .row 0. and following: attribute Odd is string, needs booleans or int"),
        ({"file_name": ["absent.png"] + [f"{row:04d}.png" for row in range(1, 40)]}, "row 0: there is no image absent"),
        ({"file_name": ["../a.png"] + [f"{row:04d}.png" for row in range(1, 40)]}, "row 0: there is no image ../a.png"),
        ({"file_name": ["0001.png"] + [f"{row:04d}.png" for row in range(1, 40)]}, "row 0: 0001.png stands twice"),
    ],
)
def test_bad_metadata_is_named(change: dict[str, Any], message: str, attribute_folder: Path) -> None:
    path = attribute_folder / "train" / "metadata.csv"
    table = pd.read_csv(path)
    for name, values in change.items():
        table[name] = pd.Series(values, dtype="Int64" if None in values else None)
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=message):
        load(attribute_folder, attributes=("Third", "Odd"))


def test_an_image_without_a_row_is_named(attribute_folder: Path) -> None:
    path = attribute_folder / "train" / "metadata.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(DataError, match=r"train/metadata.csv has no row for .*train/0039.png"):
        load(attribute_folder, attributes=("Odd",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,Odd\n0000.png,1\n", "metadata.csv has no column file_name, found name, Odd"),
        ("file_name,Odd,Odd\n0000.png,1,1\n", "metadata.csv: the column Odd stands twice"),
        ("file_name,Odd\n0000.png\n", "metadata.csv cannot be read as CSV: "),
        ("", "metadata.csv cannot be read as CSV: "),
    ],
)
def test_metadata_that_is_no_such_table(text: str, message: str, attribute_folder: Path) -> None:
    (attribute_folder / "train" / "metadata.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load(attribute_folder, attributes=("Odd",))


def test_attributes_need_metadata_and_images(attribute_folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"metadata.csv has no Old; did you mean Odd\? there are Odd, Third, Small, age"
    ):
        load(attribute_folder, attributes=("Old",))
    (attribute_folder / "test" / "metadata.csv").unlink()
    with pytest.raises(DataError, match=r"digits/test holds no metadata.csv; data.attributes are columns of it"):
        load(attribute_folder, attributes=("Odd",))
    (attribute_folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"digits/empty holds no image; accepted suffixes: .bmp"):
        load(attribute_folder, attributes=("Odd",), test_split="empty")
