"""Evaluation sets that others made: corrupted images and natural ones, read from files in their published layout.

A maker is a function of a suite's name, its configuration and the study's splits, one a layout. It lists files and
reads labels; pixels are decoded when they are asked for, into the shape of the study's images.
"""

from __future__ import annotations

from .cifar10_1 import cifar10_1_sets
from .cifar10_c import cifar10_c_sets
from .class_folders import class_folder_sets
from .imagenet_c import imagenet_c_sets
from .natural import natural_sets

__all__ = ["cifar10_1_sets", "cifar10_c_sets", "class_folder_sets", "imagenet_c_sets", "natural_sets"]
