"""What all ready-made sets have in common, and the studies and images that their tests use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from pie_ray.config import Cifar10CSuite, Cifar101Suite, ClassFoldersSuite, ImagenetCSuite
from pie_ray.data import ImageSet, Splits
from pie_ray.data.decode import choose_rows
from pie_ray.data.image_set import LabelArray
from pie_ray.data.ready_made import cifar10_1_sets, cifar10_c_sets, class_folder_sets, imagenet_c_sets
from pie_ray.errors import DataError

pytestmark = pytest.mark.filterwarnings("error")

Pixels = npt.NDArray[np.uint8]

DIGIT_NAMES = tuple(str(number) for number in range(10))


@cache
def crops(size: int = 32) -> Pixels:
    """uint8 [images, size, size, 3]: squares of two photographs, 520 of them at 32 px."""
    squares = []
    for name in ("china.jpg", "flower.jpg"):
        photograph = load_sample_image(name)
        rows, columns = (side // size for side in photograph.shape[:2])
        cut = photograph[: rows * size, : columns * size].reshape(rows, size, columns, size, 3)
        squares.append(cut.transpose(0, 2, 1, 3, 4).reshape(-1, size, size, 3))
    return np.concatenate(squares)


def study_of(
    labels: LabelArray,
    class_names: Sequence[str] = DIGIT_NAMES,
    keys: Sequence[str] | None = None,
    example_ids: Sequence[int] | None = None,
    shape: tuple[int, int, int] = (3, 32, 32),
) -> Splits:
    """Splits whose test split has the labels; pixels play no part in ready-made sets."""
    test = ImageSet(
        images=torch.zeros((len(labels), *shape), dtype=torch.uint8),
        labels=torch.from_numpy(np.array(labels)),
        example_ids=np.arange(len(labels)) if example_ids is None else np.array(example_ids, dtype=np.int64),
        keys=tuple(keys if keys is not None else (f"test[{row}]" for row in range(len(labels)))),
        class_names=tuple(class_names),
    )
    return Splits(test, test)


def copied_with_other_times(folder: Path) -> Path:
    """The same tree in a folder of another depth, its files older by a day."""
    copy = folder.parent / "another" / "disk" / folder.name
    shutil.copytree(folder, copy)
    for path in copy.rglob("*"):
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 86_400 * 10**9))
    return copy


def save_png(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


# ----------------------------------------------------------------------------------------------------- their tests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty images in folders of two classes, half of them 64 px and the others 48 x 80."""
    for index, pixels in enumerate(crops(64)[:10]):
        save_png(tmp_path / "set" / "3" / f"{index:02d}.png", pixels)
        save_png(tmp_path / "set" / "7" / f"{index:02d}.png", np.hstack([pixels, pixels])[:48, :80])
    return tmp_path / "set"


def config_of(folder: Path, num_examples: int | None = None) -> ClassFoldersSuite:
    return ClassFoldersSuite(kind="imagenet_a", path=str(folder), num_examples=num_examples)


@pytest.mark.parametrize("size", [16, 64, 100])
def test_images_take_the_size_of_the_studys(size: int, folder: Path) -> None:
    (images,) = class_folder_sets("a", config_of(folder), study_of(np.arange(10), shape=(3, size, size)))
    assert images.image_shape == (3, size, size)
    pixels = images.read(0, 20)
    assert pixels.shape == (20, 3, size, size) and pixels.dtype == np.uint8
    square = Image.fromarray(crops(64)[4]).resize((size, size), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixels[4], np.asarray(square).transpose(2, 0, 1))
    # The shorter side is the height, and the centre remains.
    wide = Image.open(folder / "7" / "04.png").resize((size * 80 // 48, size), Image.Resampling.BILINEAR)
    left = round((wide.width - size) / 2)
    np.testing.assert_array_equal(pixels[14], np.asarray(wide)[:, left : left + size].transpose(2, 0, 1))


def test_colour_becomes_grey_and_grey_colour_as_the_study_has_it(folder: Path) -> None:
    grey = np.asarray(Image.fromarray(crops(64)[0]).convert("L"))
    save_png(folder / "3" / "00.png", grey)
    (images,) = class_folder_sets("a", config_of(folder), study_of(np.arange(10), shape=(1, 64, 64)))
    np.testing.assert_array_equal(images.read(0, 1)[0, 0], grey)
    np.testing.assert_array_equal(images.read(1, 2)[0, 0], np.asarray(Image.fromarray(crops(64)[1]).convert("L")))
    (images,) = class_folder_sets("a", config_of(folder), study_of(np.arange(10), shape=(3, 64, 64)))
    np.testing.assert_array_equal(images.read(0, 1)[0], [grey] * 3)


def test_any_part_reads_the_same_in_any_number_of_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (images,) = class_folder_sets("a", config_of(folder), study_of(np.arange(10)))
    everything = images.read(0, len(images))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    parts = [images.read(start, min(start + 3, len(images))) for start in range(0, len(images), 3)]
    np.testing.assert_array_equal(np.concatenate(parts), everything)
    assert images.read(5, 5).shape == (0, 3, 32, 32)


def test_some_examples_are_a_fixed_subset(folder: Path) -> None:
    study = study_of(np.arange(10))
    (everything,) = class_folder_sets("a", config_of(folder), study)
    (some,) = class_folder_sets("a", config_of(folder, 6), study)
    rows = choose_rows(20, 6)
    assert len(some) == 6
    np.testing.assert_array_equal(some.example_ids, rows)
    np.testing.assert_array_equal(some.labels, everything.labels[rows])
    assert some.keys == tuple(everything.keys[row] for row in rows)
    np.testing.assert_array_equal(some.read(0, 6), everything.read(0, 20)[rows])
    assert some.fingerprint != everything.fingerprint
    (more,) = class_folder_sets("a", config_of(folder, 100), study)
    assert more.fingerprint == everything.fingerprint


def test_a_broken_image_is_named_when_it_is_read(folder: Path) -> None:
    path = folder / "7" / "03.png"
    path.write_bytes(path.read_bytes()[:200])
    (images,) = class_folder_sets("a", config_of(folder), study_of(np.arange(10)))
    assert len(images.read(0, 13)) == 13
    with pytest.raises(DataError, match=rf"^{path}: the image cannot be read: image file is truncated"):
        images.read(10, 20)


def test_the_fingerprint_is_of_the_content_alone(folder: Path) -> None:
    study = study_of(np.arange(10))

    def fingerprint(folder: Path = folder, study: Splits = study) -> str:
        return class_folder_sets("any", config_of(folder), study)[0].fingerprint

    before = fingerprint()
    assert len(before) == 16 and int(before, 16) >= 0
    assert fingerprint(copied_with_other_times(folder)) == before
    assert class_folder_sets("other", config_of(folder), study)[0].fingerprint == before
    assert fingerprint(study=study_of(np.arange(10), shape=(3, 16, 16))) != before
    assert fingerprint(study=study_of(np.arange(10), shape=(1, 32, 32))) != before
    assert fingerprint(study=study_of(np.arange(10), DIGIT_NAMES[::-1])) != before
    path = folder / "3" / "05.png"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    of_same_size = fingerprint()
    assert of_same_size != before
    path.write_bytes(content)
    path.rename(path.with_name("05b.png"))
    assert fingerprint() not in (before, of_same_size)


def test_the_size_of_every_file_is_in_the_fingerprint_where_only_some_are_sampled(tmp_path: Path) -> None:
    for index, pixels in enumerate(crops(32)[:200]):
        save_png(tmp_path / "4" / f"{index:03d}.png", pixels)
    fingerprints = set()
    for index in range(9, 190, 20):
        with (tmp_path / "4" / f"{index:03d}.png").open("ab") as file:
            file.write(b"\0")
        fingerprints.add(class_folder_sets("a", config_of(tmp_path), study_of(np.arange(10)))[0].fingerprint)
    assert len(fingerprints) == 10


def test_suites_with_classes_are_refused_for_a_study_of_attributes(tmp_path: Path) -> None:
    study = study_of(np.eye(4, 2, dtype=bool), ("Male", "Young"))
    message = (
        r"^evaluation.suites.hard: {} has one class an image, the study learns the attributes Male, Young; "
        "accepted there is kind natural"
    )
    with pytest.raises(DataError, match=message.format("cifar10_c")):
        cifar10_c_sets("hard", Cifar10CSuite(kind="cifar10_c", path=str(tmp_path)), study)
    with pytest.raises(DataError, match=message.format("cifar10_1")):
        cifar10_1_sets("hard", Cifar101Suite(kind="cifar10_1", path=str(tmp_path)), study)
    with pytest.raises(DataError, match=message.format("imagenet_c")):
        imagenet_c_sets("hard", ImagenetCSuite(kind="imagenet_c", path=str(tmp_path)), study)
    with pytest.raises(DataError, match=message.format("imagenet_r")):
        class_folder_sets("hard", ClassFoldersSuite(kind="imagenet_r", path=str(tmp_path)), study)


def test_a_folder_that_is_not_there_is_named_with_its_suite(tmp_path: Path) -> None:
    study = study_of(np.arange(10))
    message = rf"^evaluation.suites.hard: path: {tmp_path / 'no'} does not exist; a folder is needed"
    with pytest.raises(DataError, match=message):
        cifar10_c_sets("hard", Cifar10CSuite(kind="cifar10_c", path=str(tmp_path / "no")), study)
    with pytest.raises(DataError, match=message):
        cifar10_1_sets("hard", Cifar101Suite(kind="cifar10_1", path=str(tmp_path / "no")), study)
    with pytest.raises(DataError, match=message):
        imagenet_c_sets("hard", ImagenetCSuite(kind="imagenet_c", path=str(tmp_path / "no")), study)
    with pytest.raises(DataError, match=message):
        class_folder_sets("hard", config_of(tmp_path / "no"), study)


def test_a_file_that_cannot_be_opened_is_an_error_of_ours(folder: Path) -> None:
    (folder / "3" / "05.png").unlink()
    (folder / "3" / "05.png").symlink_to(folder / "gone.png")
    with pytest.raises(DataError, match=r"^evaluation.suites.a: .*No such file.*3/05.png"):
        class_folder_sets("a", config_of(folder), study_of(np.arange(10)))
