"""The evaluation sets of a suite of corruptions: what is in them, and that their pixels depend on nothing else."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from imagecorruptions import corrupt
from sklearn.datasets import load_sample_image

from pie_ray.config import CORRUPTIONS, CorruptionSuite, DigitsData
from pie_ray.data import ImageSet, Splits, load_splits
from pie_ray.data.corruption import corruption_sets
from pie_ray.data.corruption.generate import cifar10_c
from pie_ray.data.decode import choose_rows
from pie_ray.data.evaluation_images import EvaluationImages
from pie_ray.errors import DataError

pytestmark = pytest.mark.filterwarnings("error")

Pixels = npt.NDArray[np.uint8]


def image_set(images: Pixels, first_id: int = 0) -> ImageSet:
    """Every third number is an example's id."""
    count = len(images)
    return ImageSet(
        images=torch.from_numpy(np.ascontiguousarray(images)),
        labels=torch.arange(count) % 3,
        example_ids=first_id + 3 * np.arange(count),
        keys=tuple(f"photograph[{row}]" for row in range(count)),
        class_names=("a", "b", "c"),
        groups={"half": np.array(["first", "second"])[np.arange(count) * 2 // count]},
    )


def splits_of(images: Pixels) -> Splits:
    return Splits(train=image_set(images[:2], first_id=1), test=image_set(images))


def photographs(size: int, num_images: int = 10) -> Pixels:
    """Parts of a photograph, uint8 [num_images, 3, size, size]."""
    whole = load_sample_image("china.jpg").transpose(2, 0, 1)
    lefts = np.linspace(0, 639 - size, num_images).astype(int)
    return np.stack([whole[:, 200 : 200 + size, left : left + size] for left in lefts])


def suite(**changes: Any) -> CorruptionSuite:
    return CorruptionSuite.model_validate({"kind": "corruptions"} | changes)


def sets_of(splits: Splits, **changes: Any) -> dict[str, EvaluationImages]:
    return {images.name: images for images in corruption_sets("noisy", suite(**changes), splits)}


def one_set(splits: Splits, corruption: str, severity: int, **changes: Any) -> EvaluationImages:
    (images,) = corruption_sets("noisy", suite(corruptions=(corruption,), severities=(severity,), **changes), splits)
    return images


def seed_of(suite_seed: int, corruption: str, severity: int, example_id: int) -> int:
    digest = hashlib.sha256(f"{suite_seed} {corruption} {severity} {example_id}".encode()).hexdigest()
    return int(digest[:8], 16)


# ------------------------------------------------------------------------------------------- what is in the sets


def test_there_is_a_set_for_each_corruption_and_severity() -> None:
    splits = splits_of(photographs(32))
    assert list(sets_of(splits)) == [
        f"corruption/{name}/{severity}" for name in CORRUPTIONS for severity in range(1, 6)
    ]
    some = sets_of(splits, corruptions=("fog", "snow"), severities=(5, 1))
    assert list(some) == ["corruption/fog/5", "corruption/fog/1", "corruption/snow/5", "corruption/snow/1"]


def test_examples_are_the_test_images() -> None:
    splits = splits_of(photographs(32))
    images = one_set(splits, "fog", 3)
    assert len(images) == 10 and images.image_shape == (3, 32, 32)
    np.testing.assert_array_equal(images.example_ids, splits.test.example_ids)
    assert images.keys == splits.test.keys and images.class_names == splits.test.class_names
    assert (images.labels == splits.test.labels).all() and images.among is None
    np.testing.assert_array_equal(images.groups["half"], splits.test.groups["half"])
    assert images.read(0, 10).shape == (10, 3, 32, 32) and images.read(0, 10).dtype == np.uint8


def test_a_subset_is_some_of_the_whole() -> None:
    splits = splits_of(photographs(32))
    whole, some = one_set(splits, "fog", 3), one_set(splits, "fog", 3, num_examples=4)
    rows = choose_rows(10, 4)
    assert len(some) == 4 and (rows != np.arange(4)).any()
    np.testing.assert_array_equal(some.example_ids, splits.test.example_ids[rows])
    assert some.keys == tuple(splits.test.keys[row] for row in rows)
    assert (some.labels == splits.test.labels[rows]).all()
    np.testing.assert_array_equal(some.groups["half"], splits.test.groups["half"][rows])
    np.testing.assert_array_equal(some.read(0, 4), whole.read(0, 10)[rows])
    np.testing.assert_array_equal(one_set(splits, "fog", 3, num_examples=100).example_ids, whole.example_ids)


def test_attributes_learned_jointly_stay_as_they_are() -> None:
    attributes = torch.from_numpy(np.random.RandomState(0).rand(10, 3) < 0.5)
    test = replace(image_set(photographs(32)), labels=attributes)
    images = one_set(Splits(train=test, test=test), "frost", 2, num_examples=4)
    assert images.is_multilabel and (images.labels == attributes[choose_rows(10, 4)]).all()
    assert images.read(0, 4).shape == (4, 3, 32, 32)


# ------------------------------------------------------------------------------------------------------- pixels


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_larger_images_are_the_librarys(corruption: str) -> None:
    clean = photographs(96, num_images=3)
    for images in sets_of(splits_of(clean), corruptions=(corruption,), seed=5).values():
        severity = int(images.name[-1])
        for row, corrupted in enumerate(images.read(0, 3)):
            seed = seed_of(5, corruption, severity, 3 * row)
            np.random.seed(seed)
            own_seed = {"seed": seed} if corruption in ("impulse_noise", "glass_blur") else {}
            library = corrupt(np.ascontiguousarray(clean[row].transpose(1, 2, 0)), severity, corruption, **own_seed)
            np.testing.assert_array_equal(corrupted.transpose(1, 2, 0), library)


@pytest.mark.parametrize("size", [32, 95])
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_smaller_images_have_the_parameters_of_cifar10_c(corruption: str, size: int) -> None:
    clean = photographs(size, num_images=3)
    for severity in (1, 5):
        corrupted = one_set(splits_of(clean), corruption, severity, seed=5).read(0, 3)
        for row in range(3):
            expected = cifar10_c(
                clean[row].transpose(1, 2, 0), corruption, severity, seed_of(5, corruption, severity, 3 * row)
            )
            np.testing.assert_array_equal(corrupted[row].transpose(1, 2, 0), expected)


@pytest.mark.parametrize("size", [16, 32, 96])
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_gray_image_is_the_green_channel_of_three_equal_ones(corruption: str, size: int) -> None:
    gray = photographs(size, num_images=3)[:, :1]
    for severity in (1, 5):
        in_colour = one_set(splits_of(np.repeat(gray, 3, axis=1)), corruption, severity).read(0, 3)
        images = one_set(splits_of(gray), corruption, severity)
        assert images.image_shape == (1, size, size)
        np.testing.assert_array_equal(images.read(0, 3), in_colour[:, 1:2])


def test_noise_in_gray_images_is_as_strong_as_in_a_channel() -> None:
    gray = np.full((20, 1, 32, 32), 128, dtype=np.uint8)
    assert one_set(splits_of(gray), "gaussian_noise", 5).read(0, 20).std() / 255 == pytest.approx(0.1, rel=0.02)


@pytest.fixture(scope="module")
def digits() -> Splits:
    """8 x 8 pixels, gray."""
    return load_splits(DigitsData(kind="digits", num_test=12))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_small_images_are_padded(corruption: str, digits: Splits) -> None:
    corrupted = one_set(digits, corruption, 4).read(0, 12)
    for row, example_id in enumerate(digits.test.example_ids):
        padded = np.pad(digits.test.images[row, 0].numpy(), 12, mode="reflect")
        whole = cifar10_c(np.dstack([padded] * 3), corruption, 4, seed_of(0, corruption, 4, example_id))
        np.testing.assert_array_equal(corrupted[row, 0], whole[12:20, 12:20, 1])


@pytest.mark.parametrize("size", [1, 2, 7, 28, 31])
@pytest.mark.parametrize("small_images", ["pad", "resize"])
def test_images_of_any_size_keep_it(size: int, small_images: str) -> None:
    clean = photographs(size, num_images=3)
    for name, images in sets_of(splits_of(clean), severities=(3,), small_images=small_images).items():
        assert images.read(0, 3).shape == (3, 3, size, size), name


def test_padding_keeps_the_image_where_it_was() -> None:
    """An odd number of pixels is missing; brightness moves none, and adds to the largest channel of each."""
    clean = photographs(27, num_images=3)
    brighter = one_set(splits_of(clean), "brightness", 1).read(0, 3)
    expected = np.minimum(clean.max(axis=1) + 0.05 * 255, 255)
    assert np.abs(brighter.max(axis=1) - expected).max() < 1.01


@pytest.mark.parametrize("corruption", ["gaussian_noise", "fog", "jpeg_compression", "contrast"])
def test_small_images_are_enlarged_and_reduced(corruption: str, digits: Splits) -> None:
    corrupted = one_set(digits, corruption, 2, small_images="resize").read(0, 12)
    for row, example_id in enumerate(digits.test.example_ids):
        # With antialias, torch has Pillow's coefficients.
        enlarged = torch.nn.functional.interpolate(
            digits.test.images[row : row + 1], (32, 32), mode="bicubic", antialias=True
        )[0, 0].numpy()
        whole = cifar10_c(np.dstack([enlarged] * 3), corruption, 2, seed_of(0, corruption, 2, example_id))
        means = whole[..., 1].reshape(8, 4, 8, 4).mean(axis=(1, 3))
        assert np.abs(corrupted[row, 0] - means).max() <= 1.01


# ---------------------------------------------------------------------- the same whenever, wherever, however often


@pytest.mark.parametrize("size", [16, 32, 96])
def test_parts_are_the_same_in_any_order(size: int) -> None:
    for images in sets_of(splits_of(photographs(size)), severities=(3,)).values():
        late, early = images.read(7, 10), images.read(3, 5)
        whole = images.read(0, 10)
        np.testing.assert_array_equal(early, whole[3:5], images.name)
        np.testing.assert_array_equal(late, whole[7:10], images.name)


DETERMINISTIC = {
    *("defocus_blur", "zoom_blur", "gaussian_blur", "brightness", "contrast", "saturate"),
    *("pixelate", "jpeg_compression"),
}


@pytest.mark.parametrize("size", [32, 96])
def test_seeds_and_examples_have_random_numbers_of_their_own(size: int) -> None:
    alike = np.repeat(photographs(size, num_images=1), 3, axis=0)
    for corruption in CORRUPTIONS:
        first = one_set(splits_of(alike), corruption, 5).read(0, 3)
        second = one_set(splits_of(alike), corruption, 5, seed=1).read(0, 3)
        is_random = corruption not in DETERMINISTIC
        assert (first != second).any() == is_random, corruption
        assert (first[0] != first[1]).any() == is_random, corruption


_READ_IN_ANOTHER_PROCESS = """
import hashlib
from tests.data.test_corruption_sets import digest_of_all
print(digest_of_all())
"""


def digest_of_all() -> str:
    digest = hashlib.sha256()
    for size in (16, 32, 96):
        for images in sets_of(splits_of(photographs(size, num_images=2)), severities=(2,)).values():
            digest.update(images.read(0, 2).data)
    return digest.hexdigest()


def test_pixels_are_the_same_in_another_process() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _READ_IN_ANOTHER_PROCESS], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == digest_of_all()
    assert run.stderr == ""


def test_pixels_are_the_same_after_a_journey() -> None:
    images = one_set(splits_of(photographs(32)), "snow", 4, num_examples=5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(images.read))(0, 5), images.read(0, 5))


def test_threads_do_not_disturb_each_other() -> None:
    sets = list(sets_of(splits_of(photographs(32)), severities=(4,)).values())
    alone = [images.read(0, 10) for images in sets]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda images: images.read(0, 10), sets))
    for images, expected, found in zip(sets, alone, together, strict=True):
        np.testing.assert_array_equal(found, expected, images.name)


def test_surroundings_are_as_before() -> None:
    np.random.seed(11)
    np.random.normal()
    cv2.setNumThreads(2)
    clean = photographs(32)
    splits, before = splits_of(clean), np.random.get_state()
    for images in sets_of(splits, severities=(3,)).values():
        images.read(0, 2)
    for found, expected in zip(np.random.get_state(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert cv2.getNumThreads() == 2
    np.testing.assert_array_equal(splits.test.images.numpy(), clean)


def test_surroundings_are_as_before_when_something_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Pixels:
        np.random.normal()
        raise RuntimeError("out of frost")

    images = one_set(splits_of(photographs(32)), "frost", 1)
    monkeypatch.setitem(sys.modules["pie_ray.data.corruption.generate"].ALGORITHMS, "frost", fail)
    before = np.random.get_state()[1]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of frost"):
            images.read(0, 2)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


# -------------------------------------------------------------------------------------------------- fingerprints


def test_fingerprints_stand_for_what_decides_the_pixels() -> None:
    splits = splits_of(photographs(28))
    fingerprints = [images.fingerprint for images in sets_of(splits).values()]
    assert len(set(fingerprints)) == 95

    def fingerprint(splits: Splits = splits, **changes: Any) -> str:
        return one_set(splits, "snow", 3, **changes).fingerprint

    test = splits.test
    relabelled = Splits(train=splits.train, test=replace(test, labels=(test.labels + 1) % 3))
    renumbered = Splits(train=splits.train, test=replace(test, example_ids=test.example_ids + 1))
    others = [
        fingerprint(seed=1),
        fingerprint(parameters="imagenet_c"),
        fingerprint(small_images="resize"),
        fingerprint(num_examples=9),
        fingerprint(splits_of(photographs(28)[::-1])),
        fingerprint(relabelled),
        fingerprint(renumbered),
    ]
    assert len({fingerprint(), *others}) == 1 + len(others)


def test_fingerprints_stand_for_nothing_else() -> None:
    splits = splits_of(photographs(40))
    fingerprint = one_set(splits, "snow", 3).fingerprint
    assert one_set(splits, "snow", 3, parameters="cifar10_c").fingerprint == fingerprint
    assert one_set(splits, "snow", 3, small_images="resize").fingerprint == fingerprint
    assert one_set(splits, "snow", 3, num_examples=10).fingerprint == fingerprint
    assert one_set(splits, "snow", 3, num_examples=1000).fingerprint == fingerprint
    other_keys = Splits(train=splits.train, test=replace(splits.test, keys=tuple("abcdefghij")))
    assert one_set(other_keys, "snow", 3).fingerprint == fingerprint
    other_train = Splits(train=image_set(photographs(40)[3:]), test=splits.test)
    assert one_set(other_train, "snow", 3).fingerprint == fingerprint
    (renamed,) = corruption_sets("other", suite(corruptions=("snow",), severities=(3,)), splits)
    assert renamed.fingerprint == fingerprint
    large = splits_of(photographs(96, num_images=2))
    assert one_set(large, "fog", 1).fingerprint == one_set(large, "fog", 1, parameters="imagenet_c").fingerprint


def test_a_fingerprint_is_pinned_because_stored_images_stand_under_it() -> None:
    """One that changes means that all stored images are made again: raise FORMAT where their pixels change."""
    black = splits_of(np.zeros((4, 3, 32, 32), dtype=np.uint8))
    assert one_set(black, "fog", 2, num_examples=3, seed=9).fingerprint == "036689f5638a76ed"


# -------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("num_channels", [2, 4])
def test_images_that_are_neither_gray_nor_rgb_are_refused(num_channels: int) -> None:
    splits = splits_of(np.zeros((3, num_channels, 32, 32), dtype=np.uint8))
    with pytest.raises(DataError, match=rf"evaluation.suites.noisy: images of {num_channels} channels .* 1 .* and 3"):
        sets_of(splits)


@pytest.mark.parametrize("module", ["cv2", "imagecorruptions"])
def test_a_library_that_is_missing_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = one_set(splits_of(photographs(32)), "fog", 1)
    monkeypatch.delattr("pie_ray.data.corruption.generate")
    monkeypatch.delitem(sys.modules, "pie_ray.data.corruption.generate")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=f"which cannot be used: import of {module} halted.*") as raised:
        images.read(0, 1)
    assert "pip install imagecorruptions-imaug" in str(raised.value)
    assert "opencv-python-headless" in str(raised.value)


def test_nothing_heavy_is_loaded_before_an_image_is_made() -> None:
    code = """
import sys
from pie_ray.config import CorruptionSuite, DigitsData
from pie_ray.data import load_splits
from pie_ray.data.corruption import corruption_sets
splits = load_splits(DigitsData(kind="digits", num_test=3))
sets = corruption_sets("noisy", CorruptionSuite(kind="corruptions"), splits)
heavy = {"cv2", "imagecorruptions", "numba", "skimage"}
print(sorted(heavy & set(sys.modules)))
sets[0].read(0, 1)
print(sorted(heavy & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[]", "['cv2', 'imagecorruptions', 'numba', 'skimage']"]
