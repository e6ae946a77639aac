"""Data sets of any source as evaluation sets of a study on another one."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image
from pydantic import TypeAdapter

from pie_ray.config import DigitsData, NaturalSuite
from pie_ray.data import Splits, load_splits
from pie_ray.data.decode import choose_rows
from pie_ray.data.evaluation_images import EvaluationImages
from pie_ray.data.ready_made import natural_sets
from pie_ray.data.ready_made.classes import find_classes
from pie_ray.errors import DataError

from .test_ready_made import DIGIT_NAMES, Pixels, copied_with_other_times, crops, study_of

pytestmark = pytest.mark.filterwarnings("error")

CLASS_NAMES = tuple(f"class{digit}" for digit in range(10))


def make(data: dict[str, Any], study: Splits | None = None, **settings: Any) -> EvaluationImages:
    config = TypeAdapter(NaturalSuite).validate_python({"kind": "natural", "data": data} | settings)
    (images,) = natural_sets("others", config, study or study_of(np.arange(10), CLASS_NAMES, shape=(1, 8, 8)))
    return images


def tree(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"kind": "image_folder", "path": str(folder), **settings}


def test_a_split_of_another_data_set(image_folder: Path, pixels: Pixels, labels: npt.NDArray[np.int64]) -> None:
    for split, rows in (("test", range(40, 60)), ("train", range(40))):
        images = make(tree(image_folder), split=split)
        numbers = [int(Path(key).stem) for key in images.keys]
        assert images.name == "natural/others"
        assert sorted(numbers) == list(rows)
        np.testing.assert_array_equal(images.read(0, len(images))[:, 0], pixels[numbers])
        np.testing.assert_array_equal(images.labels, labels[numbers])
        np.testing.assert_array_equal(images.example_ids, np.arange(len(rows)))
        assert images.keys[0].startswith(f"{split}/class0/")
        assert images.class_names == CLASS_NAMES and images.among is None


def test_images_come_in_the_shape_of_the_studys(image_folder: Path, pixels: Pixels) -> None:
    study = study_of(np.arange(10), CLASS_NAMES, shape=(3, 20, 20))
    images = make(tree(image_folder), study)
    number = int(Path(images.keys[6]).stem)
    expected = np.asarray(Image.fromarray(pixels[number]).resize((20, 20), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(images.read(6, 7)[0], [expected] * 3)
    assert make(tree(image_folder, image_size=20), study).fingerprint == images.fingerprint
    with pytest.raises(DataError, match=r"^evaluation.suites.others: data.image_size: found 16, accepted is .* 20, or"):
        make(tree(image_folder, image_size=16), study)


def test_classes_are_found_by_name(image_folder: Path, labels: npt.NDArray[np.int64]) -> None:
    names = ("more", *CLASS_NAMES[::-1])
    images = make(tree(image_folder), study_of(np.arange(11), names, shape=(1, 8, 8)))
    numbers = [int(Path(key).stem) for key in images.keys]
    assert [names[label] for label in images.labels.tolist()] == [f"class{labels[number]}" for number in numbers]


def test_a_class_that_the_study_has_not(image_folder: Path) -> None:
    study = study_of(np.arange(8), CLASS_NAMES[:8], shape=(1, 8, 8))
    message = (
        r"^evaluation.suites.others: .*/test/class8/00\d\d.png \(row \d+\) is of the class class8; the study needs one "
        r"class of that name, its classes are class0, class1, class2, class3, class4, ... \(8 in all\)"
    )
    with pytest.raises(DataError, match=message):
        make(tree(image_folder), study)
    for path in (image_folder / "test" / "class8").iterdir():
        path.unlink()
    # A class without examples in the split is no matter.
    assert make(tree(image_folder), study).labels.max() == 7
    with pytest.raises(DataError, match=r"/train/class8/00\d\d.png"):
        make(tree(image_folder), study, split="train")


@pytest.mark.parametrize(
    ("names", "study_names", "expected"),
    [
        (("cat", "dog"), ("dog", "emu", "cat"), [2, 0]),
        (("cat", "Dog"), ("dog", "cat"), [1, None]),
        (("0", "1", "2"), ("0", "1"), [0, 1, None]),
        (("3", "7"), DIGIT_NAMES, [3, 7]),
        (("03", "07", "10"), DIGIT_NAMES, [3, 7, None]),
        (("3", "7"), ("07", "03"), [1, 0]),
        (("0", "1"), ("cat", "dog"), [None, None]),
        (("cat", "dog"), ("0", "1"), [None, None]),
        (("crane", "maillot", "crane"), ("crane", "maillot", "crane"), [0, 1, 2]),
        (("maillot", "crane"), ("crane", "maillot", "crane"), [1, None]),
    ],
)
def test_names_of_classes(names: Sequence[str], study_names: Sequence[str], expected: list[int | None]) -> None:
    assert find_classes(names, study_names) == expected


def test_numbered_classes(write_idx_files: Callable[..., Path], tmp_path: Path) -> None:
    test = load_splits(DigitsData(kind="digits")).test
    images = make({"kind": "digits"}, study_of(np.arange(10), shape=(1, 8, 8)), num_examples=50)
    rows = choose_rows(797, 50)
    np.testing.assert_array_equal(images.example_ids, test.example_ids[rows])
    np.testing.assert_array_equal(images.labels, test.labels[rows])
    np.testing.assert_array_equal(images.read(0, 50), test.images[rows])
    fashion = {"kind": "fashion_mnist", "path": str(write_idx_files(tmp_path))}
    with pytest.raises(DataError, match=r"row 0 is of the class .*; the study needs one class of that name"):
        make(fashion, study_of(np.arange(10)))


def test_parquet_shards(parquet_folder: Path, pixels: Pixels, labels: npt.NDArray[np.int64]) -> None:
    data = {"kind": "parquet", "path": str(parquet_folder)}
    study = study_of(np.arange(10), shape=(1, 8, 8))
    images = make(data, study)
    np.testing.assert_array_equal(images.read(0, 10)[:, 0], pixels[20:30])
    np.testing.assert_array_equal(images.read(4, 6)[:, 0], pixels[24:26])
    np.testing.assert_array_equal(images.labels, labels[20:30])
    assert images.keys[4] == "test[4]"
    smaller = study_of(np.arange(2), ("0", "1"), shape=(1, 8, 8))
    with pytest.raises(DataError, match=r"test-00000-of-00001.parquet, row \d is of the class \d; the study needs"):
        make(data, smaller)


def test_groups_are_kept(image_folder: Path) -> None:
    folder = image_folder / "test"
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    pd.DataFrame({"file_name": files, "third": np.arange(20) % 3}).to_csv(folder / "metadata.csv", index=False)
    np.testing.assert_array_equal(make(tree(image_folder)).groups["third"], np.arange(20) % 3)
    chosen = make(tree(image_folder), num_examples=5)
    np.testing.assert_array_equal(chosen.groups["third"], choose_rows(20, 5) % 3)


def test_the_smaller_number_of_examples_counts(image_folder: Path) -> None:
    def ids(num_examples: int | None, **data: int) -> list[int]:
        return make(tree(image_folder, **data), num_examples=num_examples).example_ids.tolist()

    assert ids(8, num_test=5) == ids(5, num_test=8) == ids(5) == choose_rows(20, 5).tolist()
    assert ids(None, num_test=8) == choose_rows(20, 8).tolist()
    assert ids(None, num_train=8) == list(range(20))
    images = make(tree(image_folder, num_train=7, num_test=3), split="train")
    assert images.example_ids.tolist() == choose_rows(40, 7).tolist()


def attribute_tree(folder: Path, columns: Sequence[str], num_images: int = 12) -> Path:
    """Images without classes, and a table of attributes: bit k of an image's number is the k-th of Big, Fat, Old."""
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        for row in range(num_images):
            Image.fromarray(crops()[row]).save(folder / split / f"{row:02d}.png")
        files = [f"{row:02d}.png" for row in range(num_images)]
        bits = {name: np.arange(num_images) >> index & 1 for index, name in enumerate(("Big", "Fat", "Old"))}
        table = pd.DataFrame({"file_name": files} | {name: bits[name] for name in columns})
        table.to_csv(folder / split / "metadata.csv", index=False)
    return folder


def test_attributes_are_put_in_the_studys_order(tmp_path: Path) -> None:
    folder = attribute_tree(tmp_path / "people", ("Big", "Fat", "Old"))
    study = study_of(np.eye(4, 2, dtype=bool), ("Old", "Big"))
    images = make(tree(folder, attributes=("Big", "Old")), study)
    expected = np.stack([np.arange(12) >> 2 & 1, np.arange(12) & 1], axis=1)
    np.testing.assert_array_equal(images.labels, expected == 1)
    assert images.is_multilabel and images.class_names == ("Old", "Big")
    np.testing.assert_array_equal(images.groups["Old"], expected[:, 0])
    np.testing.assert_array_equal(images.read(0, 12), crops()[:12].transpose(0, 3, 1, 2))


def test_attributes_that_are_not_the_studys(tmp_path: Path, image_folder: Path) -> None:
    folder = attribute_tree(tmp_path / "people", ("Big", "Fat", "Old"))
    study = study_of(np.eye(4, 2, dtype=bool), ("Old", "Big"))
    message = r"data must have the study's attributes, Old, Big; it lacks Old, and has beside them Fat"
    with pytest.raises(DataError, match=message):
        make(tree(folder, attributes=("Big", "Fat")), study)
    with pytest.raises(DataError, match=r"others: data has one class an image, the study has attributes"):
        make(tree(image_folder), study)
    with pytest.raises(DataError, match=r"others: data has attributes, the study has one class an image"):
        make(tree(folder, attributes=("Big", "Old")))


def test_errors_of_the_data_name_the_suite(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(DataError, match=rf"^evaluation.suites.others: data.path: {tmp_path / 'no'} does not exist"):
        make(tree(tmp_path / "no"))
    path = sorted((image_folder / "test").rglob("*.png"))[-1]
    path.write_bytes(b"no image")
    images = make(tree(image_folder))
    with pytest.raises(DataError, match=rf"^{path} \(row 19\): the image cannot be read: cannot identify"):
        images.read(15, 20)


# ------------------------------------------------------------------------------------------------------ fingerprints


def test_the_fingerprint_of_files(image_folder: Path) -> None:
    before = make(tree(image_folder)).fingerprint
    assert make(tree(copied_with_other_times(image_folder))).fingerprint == before
    assert make(tree(image_folder), split="train").fingerprint != before
    path = sorted((image_folder / "test" / "class3").iterdir())[0]
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    assert make(tree(image_folder)).fingerprint != before
    path.write_bytes(content)
    # What the test split is not made of.
    sorted((image_folder / "train" / "class3").iterdir())[0].write_bytes(b"no image")
    assert make(tree(image_folder)).fingerprint == before


def test_the_fingerprint_of_shards(parquet_folder: Path, write_parquet: Callable[..., Path]) -> None:
    data = {"kind": "parquet", "path": str(parquet_folder)}
    study = study_of(np.arange(10), shape=(1, 8, 8))
    before = make(data, study).fingerprint
    copy = copied_with_other_times(parquet_folder)
    assert make({"kind": "parquet", "path": str(copy)}, study).fingerprint == before
    assert make(data | {"image_column": "image"}, study).read(0, 1).shape == (1, 1, 8, 8)
    write_parquet(parquet_folder / "test-00000-of-00001.parquet", rows=range(30, 40))
    assert make(data, study).fingerprint != before


def test_two_splits_whose_examples_have_the_same_names(
    tmp_path: Path, write_parquet: Callable[..., Path], encode: Callable[[Pixels], bytes], pixels: Pixels
) -> None:
    for split, first in (("train", 0), ("test", 10)):
        images = [{"bytes": encode(pixels[first + row]), "path": f"{row}.png"} for row in range(5)]
        write_parquet(tmp_path / f"{split}.parquet", range(5), {"image": images, "label": [3] * 5})
    data = {"kind": "parquet", "path": str(tmp_path)}
    test, train = (make(data, study_of(np.arange(10), shape=(1, 8, 8)), split=split) for split in ("test", "train"))
    assert test.keys == train.keys
    assert test.fingerprint != train.fingerprint


def test_the_fingerprint_of_arrays_is_of_their_content(write_idx_files: Callable[..., Path], tmp_path: Path) -> None:
    """IDX files are of one size, whatever is in them; gzipped they are not, and the images are the same."""
    from pie_ray.data.fashion_mnist import CLASS_NAMES as NAMES

    study = study_of(np.arange(10), NAMES, shape=(1, 8, 8))

    def fingerprint(folder: Path) -> str:
        return make({"kind": "fashion_mnist", "path": str(folder)}, study).fingerprint

    plain, packed = write_idx_files(tmp_path / "plain"), write_idx_files(tmp_path / "packed", ".gz")
    before = fingerprint(plain)
    assert fingerprint(packed) == before
    path = plain / "t10k-images-idx3-ubyte"
    content = path.read_bytes()
    path.write_bytes(content[:-30] + bytes([content[-30] ^ 1]) + content[-29:])
    assert fingerprint(plain) != before
    assert gzip.decompress((packed / "t10k-images-idx3-ubyte.gz").read_bytes()) == content


def test_the_fingerprint_of_torchvisions_sets(write_idx_files: Callable[..., Path], tmp_path: Path) -> None:
    """Its root may hold other sets, and the archives that the files came from."""
    from pie_ray.data.fashion_mnist import CLASS_NAMES as NAMES

    raw = write_idx_files(tmp_path / "root" / "FashionMNIST" / "raw")
    data = {"kind": "torchvision", "name": "FashionMNIST", "path": str(tmp_path / "root")}
    study = study_of(np.arange(10), NAMES, shape=(1, 8, 8))
    before = make(data, study).fingerprint
    (tmp_path / "root" / "another.tar").write_bytes(b"archive")
    assert make(data, study).fingerprint == before
    path = raw / "t10k-images-idx3-ubyte"
    content = path.read_bytes()
    path.write_bytes(content[:-30] + bytes([content[-30] ^ 1]) + content[-29:])
    assert make(data, study).fingerprint != before
