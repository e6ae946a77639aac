from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import write_idx

from pie_ray.config import FashionMnistData
from pie_ray.data import SOURCES, fashion_mnist, load_splits
from pie_ray.errors import DataError

pytestmark = pytest.mark.filterwarnings("error")
