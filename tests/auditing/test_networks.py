"""Every kind of network answers in an audit as it does by itself, and each mistake is one message."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto

from pie_ray.auditing.inputs import Images, Preprocessing
from pie_ray.auditing.networks import Setting, open_network
from pie_ray.errors import InputError
from pie_ray.store import PredictionStore

from .conftest import Linear, write_onnx

SETTING = Setting(Images((1, 8, 8), 10), Preprocessing(), num_threads=1)

MODULE = """
import numpy as np, torch
from torch import nn
from tests.auditing.conftest import Linear

network = Linear(3)

def make(num_classes, num_channels, image_size):
    assert (num_classes, num_channels, image_size) == (10, 1, 8)
    return Linear(3)

def load():
    return Linear(3)

def answer(images):
    return np.asarray(Linear(3)(images).detach())

def drawn():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def wrong(a, b, c, d):
    pass

def text():
    return "network"

number = 7
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the current folder."""
    name = f"user_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def logits(what: str | Path, pixels: torch.Tensor, setting: Setting = SETTING) -> torch.Tensor:
    return torch.cat([part for _, part in open_network(str(what), setting).network.predict(pixels)])


def answers(what: str | Path, pixels: torch.Tensor, setting: Setting = SETTING) -> np.ndarray:
    return logits(what, pixels, setting).argmax(1).numpy()


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_an_onnx_file_gets_the_pixels_that_its_input_asks_for(tmp_path, pixels, expected, kind):
    path = write_onnx(tmp_path / "net.onnx", Linear(3), kind=kind)
    same = (answers(path, pixels) == expected(3)).mean()
    assert same == 1 if kind != TensorProto.FLOAT16 else same > 0.95


@pytest.mark.parametrize("batch", [1, 7])
def test_a_fixed_number_of_images_is_filled_up(tmp_path, pixels, expected, batch):
    path = write_onnx(tmp_path / "net.onnx", Linear(3), shape=(batch, 1, 8, 8))
    assert np.array_equal(answers(path, pixels), expected(3))


def test_probabilities_become_logits(tmp_path, pixels):
    opened = open_network(str(write_onnx(tmp_path / "net.onnx", Linear(3), softmax=True)), SETTING)
    found = torch.cat([part for _, part in opened.network.predict(pixels)])
    wanted = torch.softmax(Linear(3)(pixels.float() / 255), 1)
    assert torch.allclose(found.softmax(1), wanted, atol=1e-5)
    assert opened.network.gives_probabilities


def test_pixels_are_normalised_and_laid_out_as_told(tmp_path, pixels):
    path = write_onnx(tmp_path / "net.onnx", Linear(3), shape=("n", 8, 8, 1))
    setting = Setting(SETTING.images, Preprocessing((0.4,), (0.2,), "nhwc"), 1)
    wanted = Linear(3)((pixels.float() / 255 - 0.4) / 0.2)
    assert torch.allclose(logits(path, pixels, setting), wanted, atol=1e-3)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:FutureWarning")
def test_torchscript_and_exported_programs_answer_as_the_network(tmp_path, pixels, expected):
    torch.jit.trace(Linear(3), torch.zeros(2, 1, 8, 8)).save(tmp_path / "net.pt")
    dynamic = {"images": {0: torch.export.Dim("n", min=1, max=4096)}}
    torch.export.save(
        torch.export.export(Linear(3), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=dynamic), tmp_path / "net.pt2"
    )
    for name in ("net.pt", "net.pt2"):
        assert np.array_equal(answers(tmp_path / name, pixels), expected(3)), name


@pytest.mark.parametrize("name", ["network", "make", "load", "answer"])
def test_code_may_be_a_network_what_makes_one_or_what_answers(module, pixels, expected, name):
    assert np.array_equal(answers(f"{module}:{name}", pixels), expected(3))


def test_weights_that_code_draws_are_the_same_every_time(module, pixels):
    before = torch.random.get_rng_state()
    first, second = (logits(f"{module}:drawn", pixels) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("variant_id", ["dense", "magnitude-0.50", "static_int8"])
def test_members_of_ours_predict_bit_for_bit_as_in_their_sweep(swept, pixels, variant_id):
    store = PredictionStore(swept.storage)
    member_id = next(s.member_id for s in swept.plan.members if (s.variant_id, s.seed) == (variant_id, 1))
    stored = store.read_populations(
        "clean", ["test"], variant_id, {1: member_id}, ["logits"], member_ids={1: member_id}
    )["test"].arrays["logits"][0]
    root = swept.storage.uri.removeprefix("file://")
    for what in (f"{root}:{variant_id}/1", f"{root}/checkpoints/{variant_id}/1.safetensors"):
        assert np.array_equal(logits(what, pixels).numpy(), stored), what


def mistaken(what: object, pixels: torch.Tensor, *told: str, setting: Setting = SETTING) -> None:
    with pytest.raises(InputError) as caught:
        logits(str(what), pixels, setting)
    for text in told:
        assert text in str(caught.value), str(caught.value)


def test_files_that_are_absent_damaged_or_of_no_known_kind(tmp_path, pixels):
    mistaken(tmp_path / "none.onnx", pixels, "none.onnx: found no such file")
    mistaken(tmp_path / "net.h5", pixels, "net.h5: found nothing", ".onnx", "module:function")
    for name in ("net.onnx", "net.pt", "net.pt2"):
        (tmp_path / name).write_bytes(b"no network")
        mistaken(tmp_path / name, pixels, name, "accepted is a whole")


def test_weights_alone_are_no_network(tmp_path, pixels):
    torch.save(Linear(3).state_dict(), tmp_path / "weights.pt")
    mistaken(tmp_path / "weights.pt", pixels, "TorchScript", "module:function")


def test_images_that_do_not_fit(tmp_path, pixels):
    path = write_onnx(tmp_path / "net.onnx", Linear(3), shape=("n", 1, 16, 4))
    mistaken(path, pixels, "takes images of 1 x 16 x 4, and these are 1 x 8 x 8 (nchw)", "data.image_size")
    mistaken(
        write_onnx(tmp_path / "other.onnx", Linear(3)), pixels, "--mean: found 3 numbers",
        setting=Setting(SETTING.images, Preprocessing((0.1, 0.2, 0.3)), 1),
    )  # fmt: skip


def test_another_number_of_classes(tmp_path, pixels):
    setting = Setting(Images((1, 8, 8), 7), Preprocessing(), 1)
    path = write_onnx(tmp_path / "net.onnx", Linear(3))
    mistaken(path, pixels, "gives 32x10 outputs", "the 7 classes of the data", setting=setting)


def test_code_that_is_none(module, pixels):
    mistaken("no_such_module:make", pixels, "cannot be imported")
    mistaken(f"{module}:absent", pixels, "cannot be imported")
    mistaken(f"{module}:wrong", pixels, "accepted is a function of num_classes")
    mistaken(f"{module}:text", pixels, "returned str")
    mistaken(f"{module}:number", pixels, "found int")


def test_members_that_are_not_there(swept, pixels, tmp_path):
    root = swept.storage.uri.removeprefix("file://")
    mistaken(f"{root}:static_int8/7", pixels, "no such member", "seeds 0 to 1")
    mistaken(f"{root}:int3/0", pixels, "dense, magnitude-0.50, static_int8")
    mistaken(f"{tmp_path}:dense/0", pixels, "holds no results")


def test_members_on_images_of_another_shape(swept, pixels):
    root = swept.storage.uri.removeprefix("file://")
    setting = Setting(Images((3, 32, 32), 10), Preprocessing(), 1)
    mistaken(f"{root}:dense/0", pixels, "trained on 8 x 8 pixels, 1 channel", "data.image_size", setting=setting)


def test_without_onnx_runtime_the_command_that_installs_it_is_told(tmp_path, pixels, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    mistaken(write_onnx(tmp_path / "net.onnx", Linear(3)), pixels, "pip install 'pie_ray[onnx]'")
