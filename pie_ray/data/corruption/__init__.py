"""Test images corrupted as those of ImageNet-C and CIFAR-10-C are (Hendrycks & Dietterich, arXiv 1903.12261).

`sets` says which evaluation sets there are; `generate` makes the pixels, and is loaded when the first are asked for.
"""

from __future__ import annotations

from .sets import corruption_sets

__all__ = ["corruption_sets"]
