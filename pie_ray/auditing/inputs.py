"""How images go into a network of others, and what comes out: types, layouts, normalisation, shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..errors import ModelError
from ..training import Normalise

IMAGES_PER_PASS = 32
"""Where the network has no number of its own; fixed, so that an answer does not depend on an image's company."""

Layout = Literal["nchw", "nhwc"]
InputKind = Literal["uint8", "float"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of the channels that networks trained on ImageNet are normalised with."""

_SUM_TOLERANCE = 1e-2
"""Softmax in half precision or int8 sums to one within this."""


@dataclass(frozen=True)
class Preprocessing:
    """What is done to pixels for networks of others; ours know it themselves."""

    mean: tuple[float, ...] = ()
    """Of channels in [0, 1], subtracted; none: pixels are left in [0, 1]."""
    std: tuple[float, ...] = ()
    layout: Layout = "nchw"
    kind: InputKind | None = None
    """uint8: pixels as they are; float: divided by 255, then normalised. None: what the network's file declares."""


@dataclass(frozen=True)
class Images:
    """What a network is given, and what it is to answer."""

    shape: tuple[int, int, int]
    """channels, height, width"""
    num_classes: int


@dataclass
class Foreign:
    """A network of others: `call` maps a pass of images, laid out and typed as it wants them, to its scores.

    `dtype` is of its input. `input_shape` is what the file declares, [n, ...] in the network's layout, None where an
    axis is free. Raises ModelError for images that do not fit, and for answers that are none.
    """

    source: str
    call: Callable[[Tensor], Tensor]
    images: Images
    preprocessing: Preprocessing
    dtype: torch.dtype = torch.float32
    input_shape: tuple[int | None, ...] | None = None
    gives_probabilities: bool | None = field(default=None, init=False)
    """Whether its outputs sum to one, as its first answers say; None before."""

    def __post_init__(self) -> None:
        self._check_input()
        channels = self.images.shape[0]
        mean, std = (values or (default,) * channels for values, default in zip(
            (self.preprocessing.mean, self.preprocessing.std), (0.0, 1.0), strict=True
        ))  # fmt: skip
        self._normalise = Normalise((mean, std), torch.device("cpu"))

    @property
    def num_images(self) -> int:
        """Images of a pass."""
        declared = self.input_shape[0] if self.input_shape else None
        return declared or IMAGES_PER_PASS

    def predict(self, pixels: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Rows and float32 logits [n, classes] of uint8 `pixels` [examples, channels, height, width], in order."""
        for start in range(0, len(pixels), self.num_images):
            rows = slice(start, min(start + self.num_images, len(pixels)))
            given = pixels[rows]
            num_given = len(given)
            if num_given < self.num_images:
                given = torch.cat([given, given.new_zeros(self.num_images - num_given, *given.shape[1:])])
            yield rows, self._logits(self._scores(self._prepared(given)))[:num_given]

    def _prepared(self, pixels: Tensor) -> Tensor:
        images = pixels if self.dtype == torch.uint8 else self._normalise(pixels).to(self.dtype)
        return (images.permute(0, 2, 3, 1) if self.preprocessing.layout == "nhwc" else images).contiguous()

    def _scores(self, images: Tensor) -> Tensor:
        try:
            scores = self.call(images)
        # Whatever a network's own code raises.
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(
                f"{self.source}: the network fails on {_typed(images)}: {reason}; --layout, --input and "
                "data.image_size say what it is given"
            ) from error
        if not isinstance(scores, Tensor):
            raise ModelError(
                f"{self.source}: the network gives {type(scores).__name__}; accepted is a tensor of logits"
            )
        wanted = (len(images), self.images.num_classes)
        if tuple(scores.shape) != wanted:
            told = "x".join(map(str, scores.shape))
            raise ModelError(
                f"{self.source}: the network gives {told} outputs for {len(images)} images; accepted are "
                f"{wanted[0]}x{wanted[1]}, a number for each of the {wanted[1]} classes of the data"
            )
        return scores.detach().cpu().float()

    def _logits(self, scores: Tensor) -> Tensor:
        """Logits of what may be probabilities, which the first pass tells."""
        if self.gives_probabilities is None:
            is_share = bool(((scores >= 0) & (scores <= 1)).all())
            self.gives_probabilities = is_share and bool(((scores.sum(1) - 1).abs() <= _SUM_TOLERANCE).all())
        return scores.clamp(min=torch.finfo(torch.float32).tiny).log() if self.gives_probabilities else scores

    def _check_input(self) -> None:
        channels, height, width = self.images.shape
        for name, values in (("--mean", self.preprocessing.mean), ("--std", self.preprocessing.std)):
            if values and len(values) != channels:
                raise ModelError(
                    f"{name}: found {len(values)} numbers; accepted is one a channel, of which there are {channels}"
                )
        if self.input_shape is None:
            return
        wanted = (channels, height, width) if self.preprocessing.layout == "nchw" else (height, width, channels)
        found = self.input_shape[1:]
        if len(found) != 3 or any(size not in (None, given) for size, given in zip(found, wanted, strict=True)):
            declared = " x ".join("any" if size is None else str(size) for size in found)
            given = " x ".join(map(str, wanted))
            raise ModelError(
                f"{self.source}: the network takes images of {declared}, and these are {given} "
                f"({self.preprocessing.layout}); data.image_size resizes them, --layout nhwc puts channels last"
            )


def _typed(images: Tensor) -> str:
    return f"{str(images.dtype).removeprefix('torch.')} images {list(images.shape)}"
