"""A network of the user's own, named `module:function` in the recipe."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from torch import nn

from ..config import CustomModel
from ..errors import ModelError


def build_custom(config: CustomModel, num_classes: int, num_channels: int, image_size: int) -> nn.Module:
    """Call the user's factory with num_classes, num_channels, image_size and the recipe's arguments.

    Raises ModelError where the module or function is not found, or does not return an nn.Module.
    """
    module_name, _, function_name = config.factory.partition(":")
    try:
        factory = getattr(imported_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"model.factory: cannot import {config.factory!r} ({error}); accepted: 'module:function' of a module "
            "that Python finds (run from its folder, or install it)"
        ) from error
    try:
        network = factory(num_classes=num_classes, num_channels=num_channels, image_size=image_size, **config.arguments)
    except TypeError as error:
        raise ModelError(
            f"model.factory: {config.factory} refused its arguments ({error}); it is called with num_classes, "
            f"num_channels, image_size and model.arguments ({', '.join(config.arguments) or 'none'})"
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"model.factory: {config.factory} returned {type(network).__name__}, not an nn.Module")
    return network


def imported_module(name: str) -> ModuleType:
    """A module of the current folder too: `python -m pie_ray` looks there by itself, the command `pie-ray` does not."""
    if (folder := os.getcwd()) not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)
