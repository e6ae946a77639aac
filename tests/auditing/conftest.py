"""A real sweep of tiny networks, and files of two of its members in every format that others keep networks in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from pie_ray.analysis import Results
from pie_ray.data import load_splits

from ..swept import sweep_here

DATA = "{kind: digits, num_train: 200, num_test: 100}"


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return sweep_here(tmp_path_factory.mktemp("swept"))


@pytest.fixture(scope="session")
def pixels(swept: Results) -> torch.Tensor:
    """uint8 [100, 1, 8, 8]"""
    return load_splits(swept.recipe.data).test.images


class Linear(nn.Module):
    """A network of one layer over float images [n, 1, 8, 8]."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(64, 10, generator=generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weight


def write_onnx(
    path: Path,
    network: Linear,
    *,
    kind: int = TensorProto.FLOAT,
    shape: tuple[int | str, ...] = ("n", 1, 8, 8),
    softmax: bool = False,
    output: str = "scores",
) -> Path:
    """The linear network as an ONNX graph; of uint8 input it scales the pixels itself."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, (64, 10), network.weight.detach().numpy().ravel())
    scale = helper.make_tensor("scale", TensorProto.FLOAT, (), [255.0 if kind == TensorProto.UINT8 else 1.0])
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "scale"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["sums" if softmax else output]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["sums"], [output], axis=1))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, (shape[0], 10))],
        [weight, scale],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@dataclass(frozen=True)
class Expected:
    """What the linear network of a seed answers on the digits."""

    pixels: torch.Tensor

    def __call__(self, seed: int) -> np.ndarray:
        return Linear(seed)(self.pixels.float() / 255).argmax(1).numpy()


@pytest.fixture(scope="session")
def expected(pixels: torch.Tensor) -> Callable[[int], np.ndarray]:
    return Expected(pixels)
