"""One corrupted image, with the parameters of ImageNet-C or of CIFAR-10-C.

An image is uint8 [height, width, 3], RGB, of at least 32 pixels a side, and so is what becomes of it. `seed` decides
all random numbers, and becomes that of numpy's global generator: call these within `surroundings_kept`. Another build
of OpenCV or of libjpeg may round a pixel otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from imagecorruptions import corrupt

from ..evaluation_images import Pixels
from .algorithms import ALGORITHMS
from .cifar10_c import CIFAR10_C

_TAKES_A_SEED = {"impulse_noise", "glass_blur"}
"""Those that do not draw from numpy's global generator but from one of their own."""

_LOCK = threading.Lock()


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """For one thread at a time, which may seed numpy's global generator: afterwards that is as it was.

    OpenCV keeps to one thread meanwhile: other processes make images on the other cores.
    """
    with _LOCK:
        random_state, num_threads = np.random.get_state(), cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield
        finally:
            np.random.set_state(random_state)
            cv2.setNumThreads(num_threads)


def imagenet_c(image: Pixels, corruption: str, severity: int, seed: int) -> Pixels:
    """imagecorruptions' own pixels."""
    np.random.seed(seed)
    try:
        # Raised, where numpy would warn and then make a pixel of a NaN.
        with np.errstate(divide="raise", invalid="raise"):
            return corrupt(image, severity, corruption, **_own_seed(corruption, seed))
    except FloatingPointError:
        if corruption != "spatter":
            raise
        # The library divides by the thickest drop, and there is none in a small image now and then.
        return image


def cifar10_c(image: Pixels, corruption: str, severity: int, seed: int) -> Pixels:
    """imagecorruptions' algorithms with the published parameters for 32 pixels."""
    parameters = CIFAR10_C[corruption][severity - 1]
    np.random.seed(seed)
    with np.errstate(divide="raise", invalid="raise"):
        return ALGORITHMS[corruption](image, *parameters, **_own_seed(corruption, seed)).astype(np.uint8)


def _own_seed(corruption: str, seed: int) -> dict[str, int]:
    return {"seed": seed} if corruption in _TAKES_A_SEED else {}


GENERATORS = {"imagenet_c": imagenet_c, "cifar10_c": cifar10_c}
