"""The 19 corruptions of imagecorruptions with their parameters in the caller's hand.

imagecorruptions has ImageNet-C's parameters written into its functions. These are its algorithms for RGB images, which
the tests hold equal to it pixel by pixel, except that `elastic_transform` and the size of the pictures of `frost` are
CIFAR-10-C's.

Each takes an image uint8 [height, width, 3], draws from numpy's global generator (`glass_blur` and `impulse_noise`
from one that begins at `seed`) and returns [height, width, 3] in [0, 255], which is made whole by truncation.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from imagecorruptions import corruptions as library
from PIL import Image
from scipy.ndimage import map_coordinates
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian
from skimage.util import random_noise

from ..evaluation_images import Pixels

Floats = npt.NDArray[np.floating[Any]]

_FROST_PICTURES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg")
_ROOM_TO_CROP = 1.1
_MUD = np.array([63, 42, 20]) / 255.0
_PALE_TURQUOISE = (np.array([175, 238, 238]) / 255.0).astype(np.float32)
_THICK_MUD = 0.8


# --------------------------------------------------------------------------------------------------------- noise


def gaussian_noise(image: Pixels, sigma: float) -> Floats:
    """Normal noise; `sigma` in units of the whole range."""
    scaled = image / 255.0
    return np.clip(scaled + np.random.normal(size=image.shape, scale=sigma), 0, 1) * 255


def shot_noise(image: Pixels, photons: float) -> Floats:
    """Poisson noise of a sensor that a white pixel gives `photons`."""
    return np.clip(np.random.poisson(image / 255.0 * photons) / float(photons), 0, 1) * 255


def impulse_noise(image: Pixels, share: float, seed: int) -> Floats:
    """A `share` of the values becomes black or white."""
    return np.clip(random_noise(image / 255.0, "s&p", seed, amount=share), 0, 1) * 255


def speckle_noise(image: Pixels, sigma: float) -> Floats:
    """Normal noise in proportion to the value."""
    scaled = image / 255.0
    return np.clip(scaled + scaled * np.random.normal(size=image.shape, scale=sigma), 0, 1) * 255


# ---------------------------------------------------------------------------------------------------------- blur


def gaussian_blur(image: Pixels, sigma: float) -> Floats:
    """`sigma` in pixels."""
    return np.clip(gaussian(image / 255.0, sigma=sigma, channel_axis=-1), 0, 1) * 255


def glass_blur(image: Pixels, sigma: float, max_shift: int, iterations: int, seed: int) -> Floats:
    """Pixels become like others up to `max_shift` away, between two blurs of `sigma` pixels."""
    blurred = np.uint8(gaussian(image / 255.0, sigma=sigma, channel_axis=-1) * 255)
    height, width, _ = image.shape
    shuffled = library._shuffle_pixels_njit_glass_blur(height, width, blurred, (sigma, max_shift, iterations), seed)
    return np.clip(gaussian(shuffled / 255.0, sigma=sigma, channel_axis=-1), 0, 1) * 255


def defocus_blur(image: Pixels, radius: float, alias_blur: float) -> Floats:
    """A disk of `radius` pixels, whose edge is smoothed by `alias_blur`."""
    kernel = library.disk(radius=radius, alias_blur=alias_blur)
    return np.clip(cv2.filter2D(image / 255.0, -1, kernel), 0, 1) * 255


def motion_blur(image: Pixels, radius: int, sigma: float) -> Floats:
    """Along a line at most 45 degrees from the horizontal."""
    return np.clip(library._motion_blur(image, radius, sigma, angle=np.random.uniform(-45, 45)), 0, 255)


def zoom_blur(image: Pixels, largest: float, step: float) -> Floats:
    """The mean of the image and its enlargements from 1 to `largest`."""
    scaled = (image / 255.0).astype(np.float32)
    height, width, _ = image.shape
    factors = np.arange(1, largest, step)
    total = np.zeros_like(scaled)
    for factor in factors:
        total += library.clipped_zoom(scaled, factor)[:height, :width]
    return np.clip((scaled + total) / (len(factors) + 1), 0, 1) * 255


# ------------------------------------------------------------------------------------------------------- weather


def snow(
    image: Pixels,
    mean: float,
    sigma: float,
    zoom: float,
    threshold: float,
    blur_radius: int,
    blur_sigma: float,
    mix: float,
) -> Floats:
    """Flakes above `threshold` that fall at a slant, over an image of which 1 - `mix` is whitened."""
    scaled = np.array(image, dtype=np.float32) / 255.0
    height, width, _ = image.shape
    flakes = library.clipped_zoom(np.random.normal(size=(height, width, 1), loc=mean, scale=sigma), zoom)[..., 0]
    flakes[flakes < threshold] = 0
    angle = np.random.uniform(-135, -45)
    falling = library._motion_blur(np.clip(flakes, 0, 1), blur_radius, blur_sigma, angle)
    layer = (np.round(falling * 255).astype(np.uint8) / 255.0)[:height, :width, np.newaxis]
    luma = cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY)[..., np.newaxis]
    whitened = mix * scaled + (1 - mix) * np.maximum(scaled, luma * 1.5 + 0.5)
    return np.clip(whitened + layer + np.rot90(layer, k=2), 0, 1) * 255


def frost(image: Pixels, image_weight: float, frost_weight: float, picture_scale: float) -> Floats:
    """A part of a picture of frost, made smaller by `picture_scale`, over the image."""
    height, width, _ = image.shape
    return add_frost(image, image_weight, frost_weight, _frost_pictures(height, width, picture_scale))


def add_frost(image: Pixels, image_weight: float, frost_weight: float, pictures: Sequence[Pixels]) -> Floats:
    """A random part of one of the `pictures`, each RGB and larger than the image."""
    height, width, _ = image.shape
    picture = pictures[np.random.randint(len(pictures))]
    top = np.random.randint(0, picture.shape[0] - height)
    left = np.random.randint(0, picture.shape[1] - width)
    return np.clip(image_weight * image + frost_weight * picture[top : top + height, left : left + width], 0, 255)


@cache
def _frost_pictures(height: int, width: int, scale: float) -> tuple[Pixels, ...]:
    """imagecorruptions' pictures made smaller, but not so small that no image can be cut from one."""
    return tuple(_scaled_to_cover(picture, height, width, scale) for picture in _whole_frost_pictures())


@cache
def _whole_frost_pictures() -> tuple[Pixels, ...]:
    folder = importlib.resources.files(library.__package__) / "frost"
    encoded = [np.frombuffer((folder / name).read_bytes(), dtype=np.uint8) for name in _FROST_PICTURES]
    return tuple(cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) for content in encoded)


def _scaled_to_cover(picture: Pixels, height: int, width: int, scale: float) -> Pixels:
    least = max(height / picture.shape[0], width / picture.shape[1]) * _ROOM_TO_CROP
    factor = max(scale, least)
    return cv2.resize(picture, (0, 0), fx=factor, fy=factor)


def fog(image: Pixels, strength: float, decay: float) -> Floats:
    """A plasma fractal whose roughness falls by `decay` with each halving of its scale."""
    height, width, _ = image.shape
    scaled = image / 255.0
    brightest = scaled.max()
    map_size = library.next_power_of_2(max(height, width))
    haze = library.plasma_fractal(mapsize=map_size, wibbledecay=decay)[:height, :width, np.newaxis]
    return np.clip((scaled + strength * haze) * brightest / (brightest + strength), 0, 1) * 255


def brightness(image: Pixels, added: float) -> Floats:
    """`added` to the value of HSV."""
    hsv = rgb2hsv(image / 255.0)
    hsv[..., 2] = np.clip(hsv[..., 2] + added, 0, 1)
    return np.clip(hsv2rgb(hsv), 0, 1) * 255


# ------------------------------------------------------------------------------------------------------- digital


def contrast(image: Pixels, factor: float) -> Floats:
    """Each channel drawn towards its mean."""
    scaled = image / 255.0
    means = np.mean(scaled, axis=(0, 1), keepdims=True)
    return np.clip((scaled - means) * factor + means, 0, 1) * 255


def elastic_transform(image: Pixels, alpha: float, sigma: float, affine: float) -> Floats:
    """CIFAR-10-C's: three points are moved up to `affine` pixels each way, which gives an affine map of the image; then
    each pixel is moved by noise in +-1 that is smoothed over `sigma` pixels and multiplied by `alpha`.
    """
    mapped = _random_affine(np.array(image, dtype=np.float32) / 255.0, affine)
    right, down = (_smooth_noise(image.shape[:2], alpha, sigma)[..., np.newaxis] for _ in range(2))
    rows, columns, channels = np.indices(image.shape)
    moved = map_coordinates(mapped, (rows + down, columns + right, channels), order=1, mode="reflect")
    return np.clip(moved, 0, 1) * 255


def _random_affine(image: Floats, reach: float) -> Floats:
    """Three corners of a square in the middle, each moved up to `reach` pixels in both directions."""
    height, width, _ = image.shape
    middle, side = np.array([height, width], dtype=np.float32) // 2, min(height, width) // 3
    corners = np.array([middle + side, [middle[0] + side, middle[1] - side], middle - side], dtype=np.float32)
    moved = corners + np.random.uniform(-reach, reach, size=corners.shape).astype(np.float32)
    matrix = cv2.getAffineTransform(corners, moved)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def _smooth_noise(shape: tuple[int, ...], alpha: float, sigma: float) -> Floats:
    noise = gaussian(np.random.uniform(-1, 1, size=shape), sigma, mode="reflect", truncate=3)
    return (noise * alpha).astype(np.float32)


def pixelate(image: Pixels, scale: float) -> Pixels:
    """Made smaller by `scale`, and larger again without smoothing."""
    height, width, _ = image.shape
    small = Image.fromarray(image).resize((int(width * scale), int(height * scale)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))


def jpeg_compression(image: Pixels, quality: int) -> Pixels:
    """Written as a JPEG file and read again."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


# --------------------------------------------------------------------------------------------------------- extra


def spatter(
    image: Pixels, mean: float, sigma: float, blur: float, threshold: float, intensity: float, is_mud: bool
) -> Floats:
    """Drops of water or splashes of mud on the lens."""
    scaled = np.array(image, dtype=np.float32) / 255.0
    liquid = gaussian(np.random.normal(size=image.shape[:2], loc=mean, scale=sigma), sigma=blur)
    liquid[liquid < threshold] = 0
    if is_mud:
        mud = gaussian((liquid > threshold).astype(np.float32), sigma=intensity)
        mud[mud < _THICK_MUD] = 0
        return np.clip(scaled * (1 - mud[..., np.newaxis]) + _MUD * mud[..., np.newaxis], 0, 1) * 255
    drops = _drops(liquid)[..., np.newaxis] * intensity
    return np.clip(scaled + drops * _PALE_TURQUOISE, 0, 1) * 255


def _drops(liquid: Floats) -> Floats:
    """How much light each pixel of a layer of water adds: float32 [height, width] in [0, 1]; none if there is none."""
    # By way of int64, because what becomes of more than 255 differs between processors.
    layer = (liquid * 255).astype(np.int64).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(layer, 50, 150), cv2.DIST_L2, 5)
    _, distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)
    depth = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    embossed = cv2.filter2D(depth, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    drops = layer * cv2.blur(embossed, (3, 3)).astype(np.float32)
    thickest = drops.max()
    return drops / thickest if thickest > 0 else drops


def saturate(image: Pixels, factor: float, added: float) -> Floats:
    """The saturation of HSV times `factor`, and more by `added`."""
    hsv = rgb2hsv(image / 255.0)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + added, 0, 1)
    return np.clip(hsv2rgb(hsv), 0, 1) * 255


ALGORITHMS: dict[str, Callable[..., Floats | Pixels]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
    "speckle_noise": speckle_noise,
    "gaussian_blur": gaussian_blur,
    "spatter": spatter,
    "saturate": saturate,
}
