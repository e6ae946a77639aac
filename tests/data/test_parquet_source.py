from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet
import pytest

from pie_ray.config import ParquetData
from pie_ray.data import Splits, load_splits
from pie_ray.errors import DataError

pytestmark = pytest.mark.filterwarnings("error")

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Write = Callable[..., Path]
TRAIN, TEST = "train-00000-of-00001.parquet", "test-00000-of-00001.parquet"


def load(folder: Path, **settings: Any) -> Splits:
    cache = folder.parent / f"{folder.name}-cache"
    return load_splits(ParquetData(kind="parquet", path=str(folder), **settings), cache=str(cache))


def test_reads_images_labels_ids_and_keys(parquet_folder: Path, pixels: Pixels, labels: Labels) -> None:
    splits = load(parquet_folder)
    np.testing.assert_array_equal(splits.train.images[:, 0], pixels[:20])
    np.testing.assert_array_equal(splits.test.images[:, 0], pixels[20:30])
    np.testing.assert_array_equal(splits.test.labels, labels[20:30])
    np.testing.assert_array_equal(splits.test.example_ids, np.arange(10))
    assert splits.test.keys[4] == "test[4]"
    assert splits.test.class_names == tuple("0123456789")


def test_shards_are_one_table_in_the_order_of_their_names(tmp_path: Path, write_parquet: Write, pixels: Pixels) -> None:
    for index, rows in enumerate([range(9), range(9, 10), range(10, 25)]):
        write_parquet(tmp_path / f"train-0000{index}-of-00003.parquet", rows)
    write_parquet(tmp_path / TEST)
    train = load(tmp_path).train
    np.testing.assert_array_equal(train.images[:, 0], pixels[:25])
    np.testing.assert_array_equal(train.example_ids, np.arange(25))


def test_subset_reads_the_same_images_under_the_same_ids(tmp_path: Path, write_parquet: Write, pixels: Pixels) -> None:
    write_parquet(tmp_path / "train-00000-of-00002.parquet", range(50), row_group_size=3)
    write_parquet(tmp_path / "train-00001-of-00002.parquet", range(50, 100), row_group_size=60)
    write_parquet(tmp_path / TEST)
    train = load(tmp_path, num_train=7).train
    assert len(train) == 7
    np.testing.assert_array_equal(train.images[:, 0], pixels[train.example_ids])
    assert train.keys == tuple(f"train[{row}]" for row in train.example_ids)


@pytest.mark.parametrize("place", ["data", "plain_text", "train.parquet"])
def test_other_layouts_of_hugging_face(place: str, tmp_path: Path, write_parquet: Write) -> None:
    if place.endswith(".parquet"):
        write_parquet(tmp_path / place)
        write_parquet(tmp_path / "test.parquet")
        write_parquet(tmp_path / "train_extra-00000-of-00001.parquet", range(3))
    else:
        write_parquet(tmp_path / place / TRAIN)
        write_parquet(tmp_path / place / TEST)
    assert len(load(tmp_path).train) == 20


def test_one_folder_a_split(tmp_path: Path, write_parquet: Write) -> None:
    write_parquet(tmp_path / "default" / "train" / "0000.parquet")
    write_parquet(tmp_path / "default" / "validation" / "0000.parquet", range(4))
    splits = load(tmp_path, test_split="validation")
    assert len(splits.train) == 20
    assert splits.test.keys[3] == "validation[3]"


def test_a_plain_binary_column_under_another_name(
    tmp_path: Path, write_parquet: Write, pixels: Pixels, labels: Labels, encode: Callable[[Pixels], bytes]
) -> None:
    contents = [encode(pixels[row]) for row in range(20)]
    columns = {"image": None, "picture": contents, "label": None, "digit": labels[:20].astype(np.int8)}
    for name in (TRAIN, TEST):
        write_parquet(tmp_path / name, columns=columns)
    train = load(tmp_path, image_column="picture", label_column="digit").train
    np.testing.assert_array_equal(train.images[:, 0], pixels[:20])
    np.testing.assert_array_equal(train.labels, labels[:20])


def test_class_names_come_from_the_metadata(tmp_path: Path, write_parquet: Write) -> None:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "none")
    write_parquet(tmp_path / TRAIN, class_names=names)
    write_parquet(tmp_path / TEST)
    assert load(tmp_path).test.class_names == names


def test_paths_that_tell_images_apart_are_their_keys(
    tmp_path: Path, write_parquet: Write, pixels: Pixels, encode: Callable[[Pixels], bytes]
) -> None:
    def images(name: str) -> list[dict[str, Any]]:
        return [{"bytes": encode(pixels[row]), "path": name.format(row)} for row in range(20)]

    write_parquet(tmp_path / TRAIN, columns={"image": images("digits/{}.png")})
    write_parquet(tmp_path / TEST, columns={"image": images("image.png")})
    splits = load(tmp_path)
    assert splits.train.keys[7] == "digits/7.png"
    assert splits.test.keys[7] == "test[7]"


def test_columns_of_few_values_become_groups(tmp_path: Path, write_parquet: Write) -> None:
    columns = {
        "male": [row % 2 == 0 for row in range(60)],
        "age": pyarrow.array(np.arange(60) % 3, pyarrow.uint8()),
        "country": pyarrow.array(["fr", None] * 30),
        "hand": pyarrow.array(["left", "right"] * 30).dictionary_encode(),
        "weight": np.linspace(0, 1, 60),
        "writer": np.arange(60),
    }
    write_parquet(tmp_path / TRAIN, range(60), columns)
    write_parquet(tmp_path / TEST, range(20), {"writer": np.arange(20), "age": np.arange(20) % 2})
    splits = load(tmp_path, num_train=50)
    ids = splits.train.example_ids
    groups = splits.train.groups
    assert list(groups) == ["male", "age", "country", "hand"]
    np.testing.assert_array_equal(groups["male"], ids % 2 == 0)
    np.testing.assert_array_equal(groups["age"], ids % 3)
    np.testing.assert_array_equal(groups["country"], np.where(ids % 2, "null", "fr"))
    np.testing.assert_array_equal(groups["hand"], np.where(ids % 2, "right", "left"))
    # `writer` has 60 values in the train split, so it is no group of the test split either.
    assert list(splits.test.groups) == ["age"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": None}, "has no column img or image, found label; set data.image_column"),
        ({"image": list(range(20))}, "image column image is int64, needs binary or struct<bytes, path>"),
        ({"label": np.zeros(20)}, "label column label is double, needs integers"),
        ({"label": ["cat"] * 20}, "label column label is string, needs integers"),
        ({"label": [0, None] * 10}, "row 1: label is null"),
        ({"label": [0] * 17 + [-1, 0, 0]}, "row 17: label -1, accepted 0 to 9"),
        ({"label": [0] * 19 + [10]}, "row 19: label 10, accepted 0 to 9"),
        ({"label": np.full(20, 2**63, dtype=np.uint64)}, "labels do not fit 64 bits"),
        ({"image": [b"\x89PNG no"] * 20}, "row 0: the image cannot be read: cannot identify image file"),
    ],
)
def test_bad_columns_name_the_file_and_the_row(
    columns: dict[str, Any], message: str, tmp_path: Path, write_parquet: Write
) -> None:
    write_parquet(tmp_path / TRAIN)
    write_parquet(tmp_path / TEST, columns=columns)
    with pytest.raises(DataError, match=f"{TEST}.*{message}"):
        load(tmp_path)


@pytest.mark.parametrize(("field", "name"), [("image_column", "photo"), ("label_column", "fine")])
def test_a_column_that_is_not_there_names_those_that_are(field: str, name: str, parquet_folder: Path) -> None:
    with pytest.raises(DataError, match=f"{TRAIN} has no column {name}, found image, label; set data.{field}"):
        load(parquet_folder, **{field: name})


def test_a_label_that_is_an_id_is_refused(tmp_path: Path, write_parquet: Write) -> None:
    write_parquet(tmp_path / TRAIN, columns={"label": [10**12] * 20})
    write_parquet(tmp_path / TEST)
    with pytest.raises(DataError, match=f"{TRAIN}, row 0: label 1000000000000, accepted 0 to 99999 without class nam"):
        load(tmp_path)


def images_with(
    row: int, content: bytes | None, pixels: Pixels, encode: Callable[[Pixels], bytes]
) -> list[dict[str, Any]]:
    contents = [encode(pixels[index]) for index in range(20)]
    return [{"bytes": content if index == row else contents[index], "path": None} for index in range(20)]


@pytest.mark.parametrize("num_shards", [1, 2])
def test_one_bad_image_is_named_by_its_shard_and_row(
    num_shards: int, tmp_path: Path, write_parquet: Write, pixels: Pixels, encode: Callable[[Pixels], bytes]
) -> None:
    bad = {
        "image is null": None,
        "image cannot be read: ": encode(pixels[0])[:-30],
        "6 x 6 pixels where the first image has 8 x 8; set data.image_size": encode(pixels[0, :6, :6]),
    }
    for message, content in bad.items():
        last = tmp_path / f"train-{num_shards - 1:05d}-of-{num_shards:05d}.parquet"
        if num_shards == 2:
            write_parquet(tmp_path / "train-00000-of-00002.parquet")
        write_parquet(last, columns={"image": images_with(13, content, pixels, encode)})
        write_parquet(tmp_path / TEST)
        with pytest.raises(DataError, match=f"{last.name}, row 13: .*{message}"):
            load(tmp_path)


def test_image_size_makes_odd_images_one_size(
    tmp_path: Path, write_parquet: Write, pixels: Pixels, encode: Callable[[Pixels], bytes]
) -> None:
    write_parquet(tmp_path / TRAIN, columns={"image": images_with(13, encode(pixels[0, :6]), pixels, encode)})
    write_parquet(tmp_path / TEST)
    assert load(tmp_path, image_size=8).train.image_size == 8


def test_images_that_are_not_square_are_refused(
    tmp_path: Path, write_parquet: Write, pixels: Pixels, encode: Callable[[Pixels], bytes]
) -> None:
    write_parquet(tmp_path / TRAIN, columns={"image": images_with(0, encode(pixels[0, :6]), pixels, encode)})
    write_parquet(tmp_path / TEST)
    with pytest.raises(DataError, match=f"{TRAIN}, row 0: 6 x 8 pixels, and images must be square; set data.image_si"):
        load(tmp_path)


def test_missing_and_doubtful_files(tmp_path: Path, write_parquet: Write) -> None:
    with pytest.raises(DataError, match=r"data.path: .*/absent does not exist"):
        load(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"data.path: .*/file is a file; a folder is needed"):
        load(tmp_path / "file")
    with pytest.raises(DataError, match=r"holds no train\*.parquet, nor do its folders; found file"):
        load(tmp_path)
    write_parquet(tmp_path / TRAIN)
    with pytest.raises(DataError, match=r"holds no val\*.parquet, nor do its folders; found file, train-00000"):
        load(tmp_path, test_split="val")


def test_two_configurations_are_not_mixed(tmp_path: Path, write_parquet: Write) -> None:
    write_parquet(tmp_path / "large" / TRAIN)
    write_parquet(tmp_path / "small" / TRAIN)
    with pytest.raises(DataError, match=r"train\*.parquet lie in .*/large, .*/small: set data.path to one of them"):
        load(tmp_path)


def test_a_missing_shard_is_noticed(tmp_path: Path, write_parquet: Write) -> None:
    write_parquet(tmp_path / "train-00000-of-00002.parquet")
    write_parquet(tmp_path / TEST)
    with pytest.raises(DataError, match="1 files of the train split, their names promise 2"):
        load(tmp_path)


def test_a_corrupt_file_is_named(parquet_folder: Path) -> None:
    path = parquet_folder / TRAIN
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(DataError, match=f"{TRAIN} cannot be read as Parquet: "):
        load(parquet_folder)
    path.write_bytes(whole[:100] + bytes(len(whole) // 2 - 100) + whole[len(whole) // 2 :])
    with pytest.raises(DataError, match=TRAIN):
        load(parquet_folder)


def test_an_empty_split_is_refused(parquet_folder: Path) -> None:
    table = pyarrow.parquet.read_table(parquet_folder / TRAIN)
    pyarrow.parquet.write_table(table.slice(0, 0), parquet_folder / TEST)
    with pytest.raises(DataError, match=r"\(test\): the split is empty, found no examples"):
        load(parquet_folder)


def test_asking_for_more_than_there_are_is_refused(parquet_folder: Path) -> None:
    with pytest.raises(DataError, match=r"data.num_train is 21, but .* \(train\) has 20 examples"):
        load(parquet_folder, num_train=21)


# ------------------------------------------------------------------------------------------- attributes, validation


def write_attributes(folder: Path, write_parquet: Write) -> None:
    """Digits with the attributes Odd (bool), Third (-1 and 1, as int8) and Small (0 and 1), and a column of no use."""
    for name, rows in (
        (TRAIN, np.arange(20)),
        (TEST, np.arange(20, 30)),
        ("validation-00000-of-00001.parquet", np.arange(8)),
    ):
        columns = {
            "Odd": rows % 2 == 1,
            "Third": np.where(rows % 3, -1, 1).astype(np.int8),
            "Small": (rows % 10 < 3).astype(np.int64),
            "age": rows % 4,
        }
        write_parquet(folder / name, rows.tolist(), columns)


def test_attributes_are_columns_of_two_values(tmp_path: Path, write_parquet: Write) -> None:
    write_attributes(tmp_path, write_parquet)
    splits = load(tmp_path, attributes=("Third", "Odd", "Small"))
    rows = np.arange(20, 30)
    assert splits.test.class_names == ("Third", "Odd", "Small") and splits.test.is_multilabel
    np.testing.assert_array_equal(splits.test.labels, np.stack([rows % 3 == 0, rows % 2 == 1, rows % 10 < 3], axis=1))
    assert {name: values.dtype.kind for name, values in splits.test.groups.items()} == {
        "Odd": "b",
        "Third": "b",
        "Small": "b",
        "age": "i",
    }
    np.testing.assert_array_equal(splits.test.groups["Third"], rows % 3 == 0)


def test_a_validation_split(tmp_path: Path, write_parquet: Write) -> None:
    write_attributes(tmp_path, write_parquet)
    assert load(tmp_path).validation is None
    for attributes in ((), ("Odd",)):
        splits = load(tmp_path, validation_split="validation", attributes=attributes)
        assert splits.validation is not None
        assert (len(splits.validation), splits.validation.keys[3]) == (8, "validation[3]")
        np.testing.assert_array_equal(splits.validation.groups["Odd"], np.arange(8) % 2 == 1)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([True, None] * 10, "row 1: attribute Odd is null"),
        ([0, 1] * 9 + [0, 2], "row 19: attribute Odd is 2, accepted 0 and 1, or -1 and 1"),
        ([0, 1] * 9 + [0, -1], "row 0: attribute Odd is 0, accepted 0 and 1, or -1 and 1"),
        (np.zeros(20), "row 0 and following: attribute Odd is double, needs booleans or integers"),
        (None, "has no Odd; there are image, label, Third"),
    ],
)
def test_bad_attributes_name_the_file_and_the_row(
    column: Any, message: str, tmp_path: Path, write_parquet: Write
) -> None:
    write_attributes(tmp_path, write_parquet)
    write_parquet(tmp_path / TEST, range(20), {"Odd": column, "Third": [1, -1] * 10})
    with pytest.raises(DataError, match=f"{TEST}.*{message}"):
        load(tmp_path, attributes=("Odd", "Third"))
