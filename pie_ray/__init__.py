"""What does a compressed network forget? Populations of networks, compared example by example."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .loaded import LoadedResults

__version__ = "0.1.0"


def load_results(path: str | os.PathLike[str]) -> LoadedResults:
    """The results of a sweep, or of `pie-ray analyze --predictions`, as pandas frames.

        results = pie_ray.load_results("results/digits")
        results.pies.query("is_significant")
        results.predictions("magnitude-0.90")

    `path` is a folder, or an s3:// or gs:// address; results may be partial. Raises StoreError where there are none.
    """
    from .loaded import load

    return load(path)
