"""What an opened file does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Predict = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""uint8 images [n, channels, height, width] to float32 logits [n, outputs]."""
