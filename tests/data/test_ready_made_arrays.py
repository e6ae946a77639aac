"""CIFAR-10-C and CIFAR-10.1 in their published layouts, of a few photographs' squares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pie_ray.config import CORRUPTIONS, Cifar10CSuite, Cifar101Suite
from pie_ray.data import Splits
from pie_ray.data.decode import choose_rows
from pie_ray.data.evaluation_images import EvaluationImages
from pie_ray.data.ready_made import cifar10_1_sets, cifar10_c_sets
from pie_ray.errors import DataError

from .test_ready_made import Pixels, copied_with_other_times, crops, study_of

pytestmark = pytest.mark.filterwarnings("error")

NUM_IMAGES = 90
CIFAR_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LABELS = np.random.default_rng(0).integers(0, 10, NUM_IMAGES)


def blurred(severity: int) -> Pixels:
    images = [Image.fromarray(pixels) for pixels in crops()[:NUM_IMAGES]]
    return np.stack([np.asarray(image.filter(ImageFilter.GaussianBlur(severity / 2))) for image in images])


def noisy(severity: int) -> Pixels:
    noise = np.random.default_rng(severity).normal(0, 10 * severity, (NUM_IMAGES, 32, 32, 3))
    return np.clip(crops()[:NUM_IMAGES] + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def cifar10_c(tmp_path: Path) -> Path:
    """As the archive unpacks, with two of the corruptions and ninety test images."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    for corruption, corrupt in (("gaussian_blur", blurred), ("shot_noise", noisy)):
        np.save(folder / f"{corruption}.npy", np.concatenate([corrupt(severity) for severity in range(1, 6)]))
    np.save(folder / "labels.npy", np.tile(LABELS, 5).astype(np.uint8))
    return folder


def make(folder: Path, study: Splits | None = None, **settings: Any) -> list[EvaluationImages]:
    config = Cifar10CSuite(kind="cifar10_c", path=str(folder), **settings)
    return cifar10_c_sets("c", config, study or study_of(LABELS, CIFAR_NAMES))


def test_every_corruption_and_severity_is_a_set(cifar10_c: Path) -> None:
    sets = {images.name: images for images in make(cifar10_c)}
    assert list(sets) == [
        f"corruption/{name}/{severity}" for name in ("shot_noise", "gaussian_blur") for severity in (1, 2, 3, 4, 5)
    ]
    for severity in range(1, 6):
        for name, corrupt in (("gaussian_blur", blurred), ("shot_noise", noisy)):
            images = sets[f"corruption/{name}/{severity}"]
            expected = corrupt(severity).transpose(0, 3, 1, 2)
            np.testing.assert_array_equal(images.read(0, NUM_IMAGES), expected)
            np.testing.assert_array_equal(images.read(30, 37), expected[30:37])
    assert len({images.fingerprint for images in sets.values()}) == 10


def test_ids_are_rows_of_the_test_split(cifar10_c: Path) -> None:
    for images in make(cifar10_c):
        assert images.labels.dtype.is_signed and images.labels.tolist() == LABELS.tolist()
        assert images.example_ids.dtype == np.int64
        np.testing.assert_array_equal(images.example_ids, np.arange(NUM_IMAGES))
        assert images.keys[17] == "test[17]"
        assert images.class_names == CIFAR_NAMES
        assert images.image_shape == (3, 32, 32)
        assert images.among is None and not images.groups


def test_chosen_corruptions_and_severities(cifar10_c: Path) -> None:
    sets = make(cifar10_c, corruptions=("gaussian_blur",), severities=(4, 2))
    assert [images.name for images in sets] == ["corruption/gaussian_blur/4", "corruption/gaussian_blur/2"]
    np.testing.assert_array_equal(sets[0].read(0, NUM_IMAGES), blurred(4).transpose(0, 3, 1, 2))


def test_all_nineteen_published_names_are_known(cifar10_c: Path) -> None:
    for name in CORRUPTIONS:
        if not (cifar10_c / f"{name}.npy").exists():
            (cifar10_c / f"{name}.npy").hardlink_to(cifar10_c / "shot_noise.npy")
    assert len(make(cifar10_c)) == 19 * 5


def test_the_same_examples_are_chosen_of_every_set(cifar10_c: Path) -> None:
    rows = choose_rows(NUM_IMAGES, 12)
    for images in make(cifar10_c, num_examples=12, severities=(3,)):
        np.testing.assert_array_equal(images.example_ids, rows)
        assert images.labels.tolist() == LABELS[rows].tolist()
    np.testing.assert_array_equal(images.read(0, 12), blurred(3)[rows].transpose(0, 3, 1, 2))


def test_a_study_on_some_of_the_test_images(cifar10_c: Path) -> None:
    rows = choose_rows(NUM_IMAGES, 20)
    study = study_of(LABELS[rows], CIFAR_NAMES, example_ids=rows.tolist())
    assert len(make(cifar10_c, study)[0]) == NUM_IMAGES
    (images,) = make(cifar10_c, study, num_examples=20, corruptions=("shot_noise",), severities=(1,))
    np.testing.assert_array_equal(images.example_ids, study.test.example_ids)


def test_labels_that_are_not_the_studys_are_named(cifar10_c: Path) -> None:
    labels = LABELS.copy()
    labels[[41, 60]] = (labels[[41, 60]] + 1) % 10
    mine, theirs = labels[41], LABELS[41]
    message = (
        rf"^evaluation.suites.c: {cifar10_c}/labels.npy, row 41: label {theirs} \({CIFAR_NAMES[theirs]}\), but the "
        rf"study's test image test\[41\] has {mine} \({CIFAR_NAMES[mine]}\); .* in the published order"
    )
    with pytest.raises(DataError, match=message):
        make(cifar10_c, study_of(labels, CIFAR_NAMES))
    backwards = study_of(labels[::-1], CIFAR_NAMES, example_ids=range(NUM_IMAGES)[::-1])
    with pytest.raises(DataError, match=rf"row 41: label {theirs} .*test image test\[48\] has {mine} "):
        make(cifar10_c, backwards)


def test_a_study_of_more_images_than_were_corrupted(cifar10_c: Path) -> None:
    study = study_of(np.append(LABELS, 0), CIFAR_NAMES)
    with pytest.raises(DataError, match=r"labels.npy has the labels of 90 test images, .* have ids from 0 to 90"):
        make(cifar10_c, study)


def test_labels_that_differ_between_severities_are_named(cifar10_c: Path) -> None:
    labels = np.tile(LABELS, 5).astype(np.uint8)
    labels[2 * NUM_IMAGES + 5] = (labels[5] + 1) % 10
    np.save(cifar10_c / "labels.npy", labels)
    message = rf"labels.npy, row 185: label {labels[185]}, but the same test image has {labels[5]} in row 5"
    with pytest.raises(DataError, match=message):
        make(cifar10_c)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.tile(LABELS, 5)[:-1], r"labels.npy: 449 labels; needs the test labels 5 times"),
        (
            np.tile(LABELS, 4),
            r"labels.npy, row 72: label \d, but the same test image has \d in row 0; needs",
        ),
        (np.tile(LABELS, 5).astype(np.float32), r"labels.npy: found float32 \[450\], accepted are labels as whole"),
        (np.tile(LABELS, 5)[None], r"labels.npy: found int64 \[1, 450\], accepted are labels as whole"),
        (np.tile(LABELS, 5) + np.eye(1, 450, 7, dtype=np.int64)[0] * 50, r"row 7: label 5\d, accepted 0 to 9"),
        (np.tile(LABELS, 5) - np.eye(1, 450, 8, dtype=np.int64)[0] * 50, r"row 8: label -\d+, accepted 0 to 9"),
        (np.tile(LABELS, 5).astype(object), r"labels.npy cannot be read as .npy: .*objects"),
    ],
)
def test_bad_labels(labels: np.ndarray, message: str, cifar10_c: Path) -> None:
    np.save(cifar10_c / "labels.npy", labels)
    with pytest.raises(DataError, match=message):
        make(cifar10_c)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((450, 32, 32, 3), np.float32), r"found float32 \[450, 32, 32, 3\], accepted are images as uint8"),
        (np.zeros((450, 3, 32, 32), np.uint8), r"found uint8 \[450, 3, 32, 32\], accepted are images as uint8"),
        (np.zeros((450, 3072), np.uint8), r"found uint8 \[450, 3072\], accepted are images as uint8"),
        (np.zeros((449, 32, 32, 3), np.uint8), r"shot_noise.npy has 449 images, but .*labels.npy has 450 labels"),
    ],
)
def test_bad_images(images: np.ndarray, message: str, cifar10_c: Path) -> None:
    np.save(cifar10_c / "shot_noise.npy", images)
    with pytest.raises(DataError, match=message):
        make(cifar10_c)


def test_damaged_and_missing_files(cifar10_c: Path) -> None:
    path = cifar10_c / "shot_noise.npy"
    content = path.read_bytes()
    for damaged in (content[:-1], content[:5], b"", b"PK\3\4" + content):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"^evaluation.suites.c: {path} cannot be read as .npy: "):
            make(cifar10_c)
    path.unlink()
    assert [images.name for images in make(cifar10_c, severities=(1,))] == ["corruption/gaussian_blur/1"]
    with pytest.raises(DataError, match=rf"^evaluation.suites.c: {path} does not exist"):
        make(cifar10_c, corruptions=("gaussian_blur", "shot_noise"))
    (cifar10_c / "gaussian_blur.npy").unlink()
    with pytest.raises(DataError, match=r"CIFAR-10-C holds no corruption; accepted are gaussian_noise, .*, saturate"):
        make(cifar10_c)
    (cifar10_c / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"CIFAR-10-C/labels.npy does not exist"):
        make(cifar10_c)


def test_the_fingerprint_of_arrays(cifar10_c: Path) -> None:
    before = {images.name: images.fingerprint for images in make(cifar10_c)}
    copy = copied_with_other_times(cifar10_c)
    assert {images.name: images.fingerprint for images in make(copy)} == before
    path = cifar10_c / "shot_noise.npy"
    pixels = np.load(path)
    # Every image of the third block a little: as many bytes as before.
    pixels[2 * NUM_IMAGES : 3 * NUM_IMAGES, 16, 16, 1] ^= 1
    np.save(path, pixels)
    changed = {images.name for images in make(cifar10_c) if images.fingerprint != before[images.name]}
    assert changed == {"corruption/shot_noise/3"}


def test_equal_pixels_of_two_corruptions_are_told_apart(cifar10_c: Path) -> None:
    (cifar10_c / "fog.npy").write_bytes((cifar10_c / "shot_noise.npy").read_bytes())
    fingerprints = {images.fingerprint for images in make(cifar10_c, severities=(1,))}
    assert len(fingerprints) == 3


# ------------------------------------------------------------------------------------------------------- CIFAR-10.1


@pytest.fixture
def cifar10_1(tmp_path: Path) -> Path:
    """Version v6 has 50 images and int32 labels here, v4 has 60 and int64."""
    for version, rows, dtype in (("v6", slice(100, 150), np.int32), ("v4", slice(200, 260), np.int64)):
        pixels = crops()[rows]
        np.save(tmp_path / f"cifar10.1_{version}_data.npy", pixels)
        np.save(tmp_path / f"cifar10.1_{version}_labels.npy", np.arange(len(pixels)).astype(dtype) % 10)
    return tmp_path


def make_natural(folder: Path, study: Splits | None = None, **settings: Any) -> EvaluationImages:
    config = Cifar101Suite(kind="cifar10_1", path=str(folder), **settings)
    (images,) = cifar10_1_sets("fresh", config, study or study_of(LABELS, CIFAR_NAMES))
    return images


def test_cifar10_1(cifar10_1: Path) -> None:
    images = make_natural(cifar10_1)
    assert images.name == "natural/fresh"
    assert len(images) == 50
    np.testing.assert_array_equal(images.read(0, 50), crops()[100:150].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(images.labels, np.arange(50) % 10)
    np.testing.assert_array_equal(images.example_ids, np.arange(50))
    assert images.keys[3] == "cifar10.1_v6_data.npy[3]"
    assert images.among is None
    older = make_natural(cifar10_1, version="v4", num_examples=40)
    rows = choose_rows(60, 40)
    np.testing.assert_array_equal(older.example_ids, rows)
    np.testing.assert_array_equal(older.read(0, 40), crops()[200:260][rows].transpose(0, 3, 1, 2))
    assert older.fingerprint != images.fingerprint


def test_cifar10_1_finds_the_studys_classes_by_name(cifar10_1: Path) -> None:
    names = ("truck", "unicorn", *CIFAR_NAMES[:9])
    images = make_natural(cifar10_1, study_of(LABELS, names))
    assert [names[label] for label in images.labels.tolist()] == [CIFAR_NAMES[row % 10] for row in range(50)]
    numbered = make_natural(cifar10_1, study_of(LABELS))
    np.testing.assert_array_equal(numbered.labels, np.arange(50) % 10)


def test_cifar10_1_of_a_study_with_other_classes(cifar10_1: Path) -> None:
    names = ("plane", *CIFAR_NAMES[1:9], "lorry")
    with pytest.raises(DataError, match=r"^evaluation.suites.fresh: .*the study has no airplane, truck; .* plane, aut"):
        make_natural(cifar10_1, study_of(LABELS, names))
    with pytest.raises(DataError, match=r"cifar10.1_v6_labels.npy, row 3: label 3, accepted 0 to 2"):
        make_natural(cifar10_1, study_of(LABELS % 3, ("0", "1", "2")))


def test_bad_files_of_cifar10_1(cifar10_1: Path) -> None:
    np.save(cifar10_1 / "cifar10.1_v6_labels.npy", np.zeros(49, dtype=np.int64))
    with pytest.raises(DataError, match=r"cifar10.1_v6_data.npy has 50 images, but .*v6_labels.npy has 49 labels"):
        make_natural(cifar10_1)
    np.save(cifar10_1 / "cifar10.1_v6_labels.npy", np.zeros(0, dtype=np.int64))
    np.save(cifar10_1 / "cifar10.1_v6_data.npy", np.zeros((0, 32, 32, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"cifar10.1_v6_data.npy holds no image"):
        make_natural(cifar10_1)
    (cifar10_1 / "cifar10.1_v4_data.npy").unlink()
    with pytest.raises(DataError, match=r"^evaluation.suites.fresh: .*/cifar10.1_v4_data.npy does not exist"):
        make_natural(cifar10_1, version="v4")


def test_the_fingerprint_of_cifar10_1(cifar10_1: Path) -> None:
    before = make_natural(cifar10_1).fingerprint
    assert make_natural(copied_with_other_times(cifar10_1)).fingerprint == before
    path = cifar10_1 / "cifar10.1_v6_data.npy"
    pixels = np.load(path)
    pixels[33, 0, 0, 0] ^= 1
    np.save(path, pixels)
    assert make_natural(cifar10_1).fingerprint != before
