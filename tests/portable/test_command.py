"""`pie-ray export`: what it says, what it refuses, and that a file is there only where it agrees."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pie_ray.checkpoint import Checkpoint
from pie_ray.cli import main
from pie_ray.portable import load_safetensors
from pie_ray.store import Storage
from tests.portable.test_formats import MODEL, in_onnx_runtime
from tests.s3 import s3_server
from tests.swept import sweep_here

VARIANTS = "variants=[{quantization: [static_int8]}]"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return sweep_here(tmp_path_factory.mktemp("export"), MODEL, VARIANTS)


@pytest.fixture
def here(sweep, tmp_path, monkeypatch):
    """A folder to work in, with `results/tiny` in it."""
    shutil.copytree(sweep.storage.uri, tmp_path / "results" / "tiny")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(*arguments):
    return main(["export", "results/tiny", *arguments])


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "results")


def test_onnx_is_what_is_written_and_checked(here, sweep, capfd):
    assert export("--member", "static_int8/1") == 0
    told, errors = capfd.readouterr()
    assert files(here) == ["static_int8-1.onnx"]
    assert "static_int8/1" in told and "static_int8-1.onnx" in told
    assert "Checked in ONNX Runtime: 100 of 100 answers on 100 test images are the stored ones" in told
    assert errors == "" and len(told.splitlines()) == 2
    predictions = in_onnx_runtime((here / "static_int8-1.onnx").read_bytes())
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8).numpy()
    assert predictions(images).shape == (2, 10)


def test_a_variant_stands_for_its_best_member(here, sweep, capsys):
    best = max((r for r in sweep.records if r.variant_id == "dense"), key=lambda r: (r.top1["test"], -r.seed))
    assert export("--member", "dense", "--format", "safetensors") == 0
    assert f"dense/{best.seed} ({best.member_id}, the best of its variant)" in capsys.readouterr().out
    assert files(here) == [f"dense-{best.seed}.safetensors"]


def test_a_member_is_known_by_its_id_or_the_beginning_of_it(here, sweep):
    record = sweep.records[-1]
    for name, output in ((record.member_id, "a.safetensors"), (record.member_id[:8], "b.safetensors")):
        assert export("--member", name, "--format", "safetensors", "--output", output) == 0
    assert (here / "a.safetensors").read_bytes() == (here / "b.safetensors").read_bytes()
    assert load_safetensors("a.safetensors").facts.num_channels == 1


def test_results_and_file_on_object_storage(here, sweep, tmp_path, monkeypatch):
    with s3_server(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        local, remote = sweep.storage, Storage(server.uri("results/tiny"))
        for path in local.list_files():
            remote.write_bytes(path, local.read_bytes(path))
        output = server.uri("files/member.safetensors")
        arguments = ("--member", "dense/1", "--format", "safetensors", "--output")
        assert main(["export", remote.uri, *arguments, output]) == 0
        assert export(*arguments, "here.safetensors") == 0
        assert Storage(server.uri("files")).read_bytes("member.safetensors") == Path("here.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("static_int8/7", "has no member 'static_int8/7'; accepted"),
        ("static_int/0", "did you mean static_int8? accepted: a member id, VARIANT/SEED or VARIANT"),
        ("magnitude-0.90", "of the variants dense, static_int8 and the seeds 0, 1"),
        ("0123456789abcdef", "has no member '0123456789abcdef'"),
    ],
)
def test_a_member_that_there_is_not(here, name, message, capsys):
    assert export("--member", name) == 2
    assert message in capsys.readouterr().err
    assert files(here) == []


def test_a_file_that_is_there_is_left_alone(here, capsys):
    arguments = ("--member", "dense/0", "--format", "torchscript", "--output", "network.pt")
    Path("network.pt").write_text("precious")
    assert export(*arguments) == 2
    assert "network.pt is there already" in capsys.readouterr().err
    assert Path("network.pt").read_text() == "precious"
    assert export(*arguments, "--force") == 0
    assert Path("network.pt").stat().st_size > 10_000
    assert export("--member", "dense/0", "--output", "results") == 2
    assert "results is a folder" in capsys.readouterr().err


def test_a_file_that_disagrees_is_not_written(here, capsys):
    storage = Storage("results/tiny")
    path = "checkpoints/dense/0.safetensors"
    checkpoint = Checkpoint.from_bytes(storage.read_bytes(path), source=path)
    moved = {name: -t if name == "classifier.weight" else t for name, t in checkpoint.state.items()}
    storage.write_bytes(path, replace(checkpoint, state=moved).to_bytes())
    assert export("--member", "dense/0", "--format", "torchscript") == 1
    told = capsys.readouterr().err
    assert "disagrees with what was audited" in told and "100 % of the images are off" in told
    assert files(here) == []
    assert export("--member", "dense/0", "--format", "torchscript", "--no-check") == 0
    assert "Not checked." in capsys.readouterr().out
    assert files(here) == ["dense-0.pt"]


def test_damaged_and_missing_checkpoints(here, capsys):
    path = Path("results/tiny/checkpoints/dense/0.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert export("--member", "dense/0") == 2
    assert "checkpoints/dense/0.safetensors" in capsys.readouterr().err
    path.unlink()
    assert export("--member", "dense/0") == 2
    assert "dense/0 is not complete" in capsys.readouterr().err
    assert files(here) == []


def test_other_images_than_the_sweep_had(here, capsys):
    recipe = Path("results/tiny/recipe.yaml")
    recipe.write_text(recipe.read_text().replace("num_test: 100", "num_test: 90"))
    assert export("--member", "dense/0") == 2
    assert "error:" in capsys.readouterr().err and files(here) == []


def test_without_the_extra_there_is_one_message(here, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert export("--member", "dense/0") == 2
    told = capsys.readouterr().err
    assert "onnxscript" in told and "pip install 'pie_ray[onnx]'" in told and "--format torchscript" in told
    assert files(here) == []
    assert export("--member", "dense/0", "--format", "torchscript") == 0


def test_without_onnx_runtime_the_file_is_written_unchecked(here, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export("--member", "dense/0") == 0
    assert "Not checked: onnxruntime cannot be imported" in capsys.readouterr().out
    assert files(here) == ["dense-0.onnx"]
