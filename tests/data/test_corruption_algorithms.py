"""Our algorithms with imagecorruptions' parameters are imagecorruptions; with CIFAR-10-C's they do what those say."""

from __future__ import annotations

import importlib.resources
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from imagecorruptions import corrupt
from sklearn.datasets import load_sample_image

from pie_ray.config import CORRUPTIONS
from pie_ray.data.corruption import algorithms, generate
from pie_ray.data.corruption.algorithms import ALGORITHMS
from pie_ray.data.corruption.cifar10_c import CIFAR10_C

pytestmark = pytest.mark.filterwarnings("error")

Pixels = npt.NDArray[np.uint8]
Generator = Callable[[Pixels, str, int, int], Pixels]

SEVERITIES = (1, 2, 3, 4, 5)

# What imagecorruptions has in its functions; frost and elastic_transform have tests of their own.
IMAGENET_C: dict[str, list[tuple[float, ...]]] = {
    "gaussian_noise": [(0.08,), (0.12,), (0.18,), (0.26,), (0.38,)],
    "shot_noise": [(60,), (25,), (12,), (5,), (3,)],
    "impulse_noise": [(0.03,), (0.06,), (0.09,), (0.17,), (0.27,)],
    "speckle_noise": [(0.15,), (0.2,), (0.35,), (0.45,), (0.6,)],
    "gaussian_blur": [(1,), (2,), (3,), (4,), (6,)],
    "glass_blur": [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
    "defocus_blur": [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)],
    "motion_blur": [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)],
    "zoom_blur": [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)],
    "fog": [(1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)],
    "contrast": [(0.4,), (0.3,), (0.2,), (0.1,), (0.05,)],
    "brightness": [(0.1,), (0.2,), (0.3,), (0.4,), (0.5,)],
    "saturate": [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)],
    "jpeg_compression": [(25,), (18,), (15,), (10,), (7,)],
    "pixelate": [(0.6,), (0.5,), (0.4,), (0.3,), (0.25,)],
    "snow": [
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ],
    "spatter": [
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ],
}
IMAGENET_C_FROST = [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)]
IMAGENET_C_ELASTIC = [250 * 0.05, 250 * 0.065, 250 * 0.085, 250 * 0.1, 250 * 0.12]


def crops(size: int, num_crops: int) -> list[Pixels]:
    """Parts of two photographs, uint8 [size, size, 3]."""
    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    return [
        np.ascontiguousarray(photograph[top : top + size, left : left + size])
        for left in range(40, 600 - size, 67)
        for top in (120, 200)
        for photograph in photographs
    ][:num_crops]


def of_the_library(image: Pixels, corruption: str, severity: int, seed: int) -> Pixels:
    own_seed = {"seed": seed} if corruption in ("impulse_noise", "glass_blur") else {}
    np.random.seed(seed)
    return corrupt(image, severity, corruption, **own_seed)


def of_ours(image: Pixels, corruption: str, parameters: tuple[float, ...], seed: int) -> Pixels:
    own_seed = {"seed": seed} if corruption in ("impulse_noise", "glass_blur") else {}
    np.random.seed(seed)
    return ALGORITHMS[corruption](image, *parameters, **own_seed).astype(np.uint8)


def test_there_is_an_algorithm_and_five_severities_for_each_corruption() -> None:
    assert set(ALGORITHMS) == set(CIFAR10_C) == set(CORRUPTIONS)
    assert {len(parameters) for parameters in CIFAR10_C.values()} == {5}


@pytest.mark.parametrize("size", [32, 45, 64, 128])
@pytest.mark.parametrize("corruption", IMAGENET_C)
def test_with_the_librarys_parameters_they_are_the_library(corruption: str, size: int) -> None:
    for severity, (seed, image) in itertools.product(SEVERITIES, enumerate(crops(size, 4))):
        before = image.copy()
        ours = of_ours(image, corruption, IMAGENET_C[corruption][severity - 1], seed)
        np.testing.assert_array_equal(ours, of_the_library(image, corruption, severity, seed))
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("size", [32, 128])
def test_frost_of_the_librarys_pictures_is_the_library(size: int) -> None:
    pictures = [
        cv2.resize(picture, _size(picture, 1.1), interpolation=cv2.INTER_CUBIC) for picture in whole_frost_pictures()
    ]
    for severity, (seed, image) in itertools.product(SEVERITIES, enumerate(crops(size, 8))):
        np.random.seed(seed)
        ours = algorithms.add_frost(image, *IMAGENET_C_FROST[severity - 1], pictures).astype(np.uint8)
        np.testing.assert_array_equal(ours, of_the_library(image, "frost", severity, seed))


def whole_frost_pictures() -> list[Pixels]:
    """RGB."""
    folder = importlib.resources.files("imagecorruptions") / "frost"
    names = ["frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg"]
    return [np.ascontiguousarray(cv2.imread(str(folder / name))[..., ::-1]) for name in names]


def _size(picture: Pixels, scale: float) -> tuple[int, int]:
    return int(np.ceil(picture.shape[1] * scale)), int(np.ceil(picture.shape[0] * scale))


def test_frost_is_cut_from_a_fifth_of_the_pictures() -> None:
    small = [cv2.resize(picture, (0, 0), fx=0.2, fy=0.2) for picture in whole_frost_pictures()]
    black = np.zeros((32, 32, 3), dtype=np.uint8)
    found = set()
    for seed in range(40):
        layer = of_ours(black, "frost", (1, 1, 0.2), seed)
        for number, picture in enumerate(small):
            parts = np.lib.stride_tricks.sliding_window_view(picture, (32, 32), axis=(0, 1))
            places = (parts == layer.transpose(2, 0, 1)).all(axis=(2, 3, 4))
            found |= {(number, *place) for place in np.argwhere(places).tolist()}
    assert {number for number, *_ in found} == set(range(6))
    assert len({tuple(place) for _, *place in found}) > 30


@pytest.mark.parametrize("size", [32, 63, 95, 224, 700])
def test_frost_covers_an_image_of_any_size(size: int) -> None:
    black = np.zeros((size, size, 3), dtype=np.uint8)
    for seed in range(12):
        layer = of_ours(black, "frost", (1, 1, 0.2), seed)
        assert layer.shape == black.shape and layer.std() > 0


def test_pictures_of_frost_are_scaled_once() -> None:
    of_ours(crops(32, 1)[0], "frost", (1, 0.2, 0.2), 0)
    misses = algorithms._frost_pictures.cache_info().misses
    for seed in range(5):
        of_ours(crops(32, 1)[0], "frost", (0.75, 0.45, 0.2), seed)
    assert algorithms._frost_pictures.cache_info().misses == misses


@pytest.mark.parametrize("size", [32, 64])
def test_elastic_transform_without_its_affine_map_is_the_library(size: int) -> None:
    """The library's noise is in +-.005 of the size instead of +-1, its smoothing .01 of the size."""
    for severity, (seed, image) in itertools.product(SEVERITIES, enumerate(crops(size, 4))):
        alpha = IMAGENET_C_ELASTIC[severity - 1] * size * 0.005
        ours = of_ours(image, "elastic_transform", (alpha, size * 0.01, 0), seed)
        np.random.seed(seed)
        np.random.uniform(size=(3, 2))
        library = corrupt(image, severity, "elastic_transform")
        # The noise is scaled at another step of the arithmetic, which may round a pixel otherwise.
        assert np.abs(ours.astype(int) - library).max() <= 1 and (ours == library).mean() > 0.99


def displacement(alpha: float, sigma: float, affine: float, seed: int) -> npt.NDArray[np.float64]:
    """Where each pixel of an image [32, 32] was taken from: columns and rows [32, 32, 2]."""
    columns, rows = np.meshgrid(np.arange(32), np.arange(32))
    image = np.stack([columns, rows, rows], axis=2).astype(np.uint8) * 8
    np.random.seed(seed)
    return algorithms.elastic_transform(image, alpha, sigma, affine)[..., :2] / 8.0


def fit_affine(taken_from: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(matrix [3, 2] from places to where they were taken from, what it misses), away from the mirrored edges."""
    columns, rows = np.meshgrid(np.arange(8, 24), np.arange(8, 24))
    places = np.stack([columns.ravel(), rows.ravel(), np.ones(columns.size)], axis=1)
    wanted = taken_from[8:24, 8:24].reshape(-1, 2)
    matrix = np.linalg.lstsq(places, wanted, rcond=None)[0]
    return matrix, wanted - places @ matrix


@pytest.mark.parametrize("reach", [1.0, 0.08 * 32])
def test_elastic_transform_moves_three_corners_no_further_than_it_should(reach: float) -> None:
    corners = np.array([[26, 26], [26, 6], [6, 6]])
    moves = []
    for seed in range(60):
        matrix, missed = fit_affine(displacement(0, 0, reach, seed))
        # OpenCV interpolates between 1/32 pixels.
        assert np.abs(missed).max() < 0.06
        moves.append((corners - matrix[2]) @ np.linalg.inv(matrix[:2]) - corners)
    largest = np.abs(moves).max(axis=0)
    assert (largest < reach + 0.1).all() and (largest > 0.8 * reach).all()
    assert (np.std(moves, axis=0) > 0.8 * reach / np.sqrt(3)).all()


def test_elastic_transform_distorts_more_with_severity_while_it_moves_less() -> None:
    bends, moves = [], []
    for parameters in CIFAR10_C["elastic_transform"]:
        fits = [fit_affine(displacement(*parameters, seed)) for seed in range(20)]
        bends.append(np.mean([np.abs(missed).mean() for _, missed in fits]))
        moves.append(np.mean([np.abs(matrix[2]).mean() for matrix, _ in fits]))
    assert (np.diff(bends) > 0).all()
    assert moves[0] > moves[4]


# -------------------------------------------------------------------------------------- strength as published


GRAY = np.full((32, 32, 3), 128, dtype=np.uint8)


def of_cifar10_c(image: Pixels, corruption: str, severity: int, num_images: int = 20) -> npt.NDArray[np.float64]:
    """Corrupted under different seeds, [images, 32, 32, 3] in [0, 1]."""
    return np.stack([generate.cifar10_c(image, corruption, severity, seed) for seed in range(num_images)]) / 255


def test_noise_has_the_published_strength() -> None:
    for severity, sigma in enumerate((0.04, 0.06, 0.08, 0.09, 0.10), start=1):
        assert of_cifar10_c(GRAY, "gaussian_noise", severity).std() == pytest.approx(sigma, rel=0.02)
    for severity, sigma in enumerate((0.06, 0.1, 0.12, 0.16, 0.2), start=1):
        assert of_cifar10_c(GRAY, "speckle_noise", severity).std() == pytest.approx(sigma * 128 / 255, rel=0.02)
    for severity, photons in enumerate((500, 250, 100, 75, 50), start=1):
        expected = np.sqrt(128 / 255 / photons)
        assert of_cifar10_c(GRAY, "shot_noise", severity).std() == pytest.approx(expected, rel=0.02)
    for severity, share in enumerate((0.01, 0.02, 0.03, 0.05, 0.07), start=1):
        noisy = of_cifar10_c(GRAY, "impulse_noise", severity)
        assert np.isin(noisy, (0, 1)).mean() == pytest.approx(share, rel=0.1)


def test_light_has_the_published_strength() -> None:
    for severity, added in enumerate((0.05, 0.1, 0.15, 0.2, 0.3), start=1):
        assert of_cifar10_c(GRAY, "brightness", severity, 1).mean() == pytest.approx(128 / 255 + added, abs=1 / 255)
    image = crops(32, 1)[0]
    for severity, factor in enumerate((0.75, 0.5, 0.4, 0.3, 0.15), start=1):
        lowered = algorithms.contrast(image, *CIFAR10_C["contrast"][severity - 1])
        np.testing.assert_allclose(lowered.std(axis=(0, 1)), factor * image.std(axis=(0, 1)))
        np.testing.assert_allclose(lowered.mean(axis=(0, 1)), image.mean(axis=(0, 1)))


def test_gaussian_blur_spreads_a_point_as_published() -> None:
    point = np.zeros((33, 33, 3), dtype=np.uint8)
    point[16, 16] = 255
    offsets = np.arange(33) - 16
    for severity, sigma in enumerate((0.4, 0.6, 0.7, 0.8, 1.0), start=1):
        parameters = CIFAR10_C["gaussian_blur"][severity - 1]
        profile = algorithms.gaussian_blur(point, *parameters)[..., 0].sum(axis=0) / 255
        expected = np.exp(-(offsets**2) / (2 * sigma**2))
        # Cut off after four sigmas.
        np.testing.assert_allclose(profile, expected / expected.sum(), atol=1e-3)


def test_saturate_takes_colour_away_and_then_adds_it() -> None:
    images = crops(32, 24)

    def colourfulness(images: list[Pixels]) -> float:
        return float(np.mean([np.ptp(image.astype(int), axis=2).mean() for image in images]))

    of_severity = [
        colourfulness([generate.cifar10_c(image, "saturate", severity, 0) for image in images])
        for severity in SEVERITIES
    ]
    clean = colourfulness(images)
    assert of_severity[1] < of_severity[0] < clean < of_severity[2] < of_severity[3] < of_severity[4]
    assert of_severity[0] == pytest.approx(0.3 * clean, rel=0.1)


OF_THEIR_OWN = {"elastic_transform", "saturate"}
NOT_STEADY = {
    "frost": "less image stands beside more frost",
    "glass_blur": "less blur but one more round",
    "spatter": "water, then mud",
}


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("corruption", [name for name in CORRUPTIONS if name not in OF_THEIR_OWN])
def test_images_are_further_from_the_clean_ones_at_higher_severities(corruption: str, size: int) -> None:
    images = crops(size, 24)
    distances = [
        np.mean(
            [
                np.abs(generate.cifar10_c(image, corruption, severity, seed).astype(int) - image).mean()
                for seed, image in enumerate(images)
            ]
        )
        for severity in SEVERITIES
    ]
    assert distances[0] > 0.5 and distances[4] > 1.2 * distances[0]
    assert corruption in NOT_STEADY or (np.diff(distances) > -0.01).all(), distances


# --------------------------------------------------------------------------------------------- nothing untoward


def extreme_images(size: int) -> list[Pixels]:
    """Black, white, one colour, one white point, a checkerboard."""
    shape = (size, size, 3)
    point = np.zeros(shape, dtype=np.uint8)
    point[size // 2, size // 2] = 255
    board = (np.indices((size, size)).sum(axis=0) % 2 * 255).astype(np.uint8)
    colour = np.broadcast_to(np.array([200, 10, 90], dtype=np.uint8), shape)
    return [np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), colour.copy(), point, np.dstack([board] * 3)]


@pytest.mark.parametrize("size", [32, 33, 61, 95])
@pytest.mark.parametrize("generator", [generate.imagenet_c, generate.cifar10_c])
def test_no_image_is_too_strange(generator: Generator, size: int, capfd: pytest.CaptureFixture[str]) -> None:
    for corruption, severity in itertools.product(CORRUPTIONS, SEVERITIES):
        for seed, image in enumerate(extreme_images(size)):
            corrupted = generator(image, corruption, severity, seed)
            assert corrupted.dtype == np.uint8 and corrupted.shape == image.shape
    assert capfd.readouterr() == ("", "")


def test_spatter_without_a_drop_leaves_the_image_as_it_is() -> None:
    """There the library divides by zero, and makes the image black."""
    image = crops(32, 1)[0]
    num_dry = 0
    for seed in range(120):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            library = of_the_library(image, "spatter", 1, seed)
        ours = generate.imagenet_c(image, "spatter", 1, seed)
        if not caught:
            np.testing.assert_array_equal(ours, library)
            continue
        num_dry += 1
        np.testing.assert_array_equal(ours, image)
        np.testing.assert_array_equal(of_ours(image, "spatter", IMAGENET_C["spatter"][0], seed), image)
    assert 0 < num_dry < 60


def test_another_floating_point_error_is_not_taken_for_spatter(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: Any, **__: Any) -> Pixels:
        return (np.zeros(1) / np.zeros(1)).astype(np.uint8)

    monkeypatch.setattr(generate, "corrupt", diverge)
    with pytest.raises(FloatingPointError):
        generate.imagenet_c(GRAY, "fog", 1, 0)
    np.testing.assert_array_equal(generate.imagenet_c(GRAY, "spatter", 1, 0), GRAY)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_seed_decides_everything(corruption: str) -> None:
    image = min(crops(32, 24), key=np.mean)
    for generator in (generate.imagenet_c, generate.cifar10_c):
        first = generator(image, corruption, 3, 7)
        np.random.seed(None)
        np.testing.assert_array_equal(generator(image, corruption, 3, 7), first)
        is_random = any((generator(image, corruption, 3, seed) != first).any() for seed in range(5))
        assert is_random == (corruption in RANDOM)


RANDOM = {
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur"),
    *("snow", "frost", "fog", "elastic_transform", "spatter"),
}
