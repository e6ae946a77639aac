"""What --model and --reference mean."""

from __future__ import annotations

import pytest

from pie_ray.auditing.asked import MemberAddress, asked, member_address
from pie_ray.errors import InputError


def variants(models: list[str], references: tuple[str, ...] = ("dense.onnx",)) -> dict[str, tuple[str, ...]]:
    return {population.variant_id: population.members for population in asked(models, references)}


def test_names_are_the_files_and_members_of_one_name_are_one_population():
    assert variants(["nets/int8.onnx", "small=a.onnx", "small=b.onnx", "my.nets:make"]) == {
        "dense": ("dense.onnx",),
        "int8": ("nets/int8.onnx",),
        "small": ("a.onnx", "b.onnx"),
        "make": ("my.nets:make",),
    }


def test_members_of_ours_are_called_as_their_variant():
    assert list(variants(["results/d/checkpoints/magnitude-0.90/0.safetensors", "results/d:static_int8/3"])) == [
        "dense",
        "magnitude-0.90",
        "static_int8",
    ]


def test_an_equals_sign_in_a_path_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=1.onnx").touch()
    assert variants(["lr=1.onnx", "runs/lr=2/net.onnx"]) == {
        "dense": ("dense.onnx",),
        "lr=1": ("lr=1.onnx",),
        "net": ("runs/lr=2/net.onnx",),
    }


@pytest.mark.parametrize(
    ("what", "address"),
    [
        ("s3://b/results/d/checkpoints/dense/12.safetensors", MemberAddress("s3://b/results/d", "dense", 12)),
        ("/r/d:magnitude-0.50+static_int8/0", MemberAddress("/r/d", "magnitude-0.50+static_int8", 0)),
        ("weights.safetensors", None),
        ("net.onnx", None),
        ("module:make", None),
    ],
)
def test_addresses_of_members(what, address):
    assert member_address(what) == address


@pytest.mark.parametrize(
    ("models", "references", "told"),
    [
        ([], ["a.onnx"], "--model: found none"),
        (["a.onnx"], [], "--reference: found none"),
        (["dense=a.onnx"], ["b.onnx"], "called dense as the reference is"),
        (["small="], ["b.onnx"], "without a network"),
        (["s=a.onnx", "s=a.onnx"], ["b.onnx"], "--model: found a.onnx twice in one population"),
        (["a.onnx"], ["b.onnx", "b.onnx"], "--reference: found b.onnx twice"),
    ],
)
def test_mistakes(models, references, told):
    with pytest.raises(InputError, match=told):
        asked(models, references)
