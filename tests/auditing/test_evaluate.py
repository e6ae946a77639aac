"""`pie-ray evaluate --model`: from two files to tables, report, list of examples and verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import pie_ray
from pie_ray.cli import main
from pie_ray.loaded import LoadedResults
from pie_ray.store import PredictionStore

from .conftest import DATA, Linear, write_onnx

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Linear networks 0 to 5 as ONNX; the even ones are references."""
    folder = tmp_path_factory.mktemp("nets")
    for seed in range(6):
        write_onnx(folder / f"{seed}.onnx", Linear(seed))
    return folder


@pytest.fixture(scope="module")
def pair(nets: Path) -> LoadedResults:
    """An audit of one network against one."""
    code = main(
        ["evaluate", "--model", f"small={nets}/1.onnx", "--reference", f"{nets}/0.onnx", "--data", DATA,
         "--output", str(nets / "pair")]
    )  # fmt: skip
    assert code == 0
    return pie_ray.load_results(nets / "pair")


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert main(list(arguments)) == code
    output = capsys.readouterr()
    return " ".join((output.out + output.err).split())


def test_predictions_are_the_networks_own(pair, expected):
    assert pair.is_audit
    assert pair.variants == ["dense", "small"]
    for variant_id, seed in (("dense", 0), ("small", 1)):
        assert np.array_equal(pair.predictions(variant_id)["prediction"], expected(seed))
    row = pair.summary.query("variant_id == 'small'").iloc[0]
    changed = expected(0) != expected(1)
    assert row["num_pies"] == changed.sum()
    labels = pair.examples()["label"]
    assert row["cie_u_mean"] == pytest.approx((changed & (expected(0) == labels)).mean())
    # As a sweep has them: ranks, margins and entropies are stored too.
    assert row["top5_mean"] > row["top1_mean"]
    assert set(pair.foretelling["score"]) >= {"expected_entropy", "unconfidence"}


def test_what_was_audited_stands_in_the_folder_and_the_report(pair, nets):
    members = pair.members.set_index("variant_id")
    assert members.loc["small", "what"] == f"{nets}/1.onnx"
    assert members.loc["small", "num_bytes"] == (nets / "1.onnx").stat().st_size
    assert len(pair.audit.fingerprint) == 16
    page = (nets / "pair/report/index.html").read_text()
    assert members.loc["small", "sha256"][:12] in page
    assert "onnxruntime" in page


def test_the_report_of_one_pair_speaks_of_cies(pair, nets):
    page = (nets / "pair/report/index.html").read_text()
    for text in (
        "one network against one",
        "cannot be known",
        "of answers were right and changed",
        "<b>small</b> costs",
    ):
        assert text in page, text
    for text in ("most frequent answer on", "cannot be told", 'id="chance"', "moved apart from the rest"):
        assert text not in page, text
    assert "data:image/" in page


def test_the_terminal_speaks_of_cies(pair, nets, capsys):
    found = told(capsys, "analyze", str(nets / "pair"), code=0)
    assert "Network against network" in found
    assert "CIE-U" in found
    assert "half" not in found


def test_pies_gate_and_report_work_on_the_folder(pair, nets, capsys, tmp_path):
    folder = str(nets / "pair")
    listed = told(capsys, "pies", folder, "--format", "csv", "--limit", "2", code=0)
    assert "digits[" in listed
    told(capsys, "pies", folder, "--format", "fiftyone", "--output", str(tmp_path / "fo"), "--limit", "2", code=0)
    assert len(list((tmp_path / "fo").rglob("*.png"))) == 2
    for limit, code in ((0.99, 0), (0.0, 1)):
        (tmp_path / "policy.yaml").write_text(f"limits: {{max_cie_u: {limit}}}\n")
        told(capsys, "gate", folder, "--policy", str(tmp_path / "policy.yaml"), code=code)
    told(capsys, "report", folder, code=0)
    assert "holds an audit" in told(capsys, "status", folder)


def test_evidence_joins_an_audit(pair, nets, capsys, tmp_path):
    keys = pair.examples()["key"]
    pd.DataFrame({"key": keys, "hard": np.arange(len(keys)) % 2}).to_csv(tmp_path / "hard.csv", index=False)
    told(capsys, "analyze", str(nets / "pair"), "--evidence", str(tmp_path / "hard.csv"), code=0)
    assert list(pie_ray.load_results(nets / "pair").evidence["evidence"]) == ["hard"]


def test_several_networks_of_a_name_are_a_population(nets, expected, capsys):
    arguments = ["evaluate", "--data", DATA, "--paired", "odd", "--output", str(nets / "three")]
    for seed in (0, 2, 4):
        arguments += ["--reference", f"{nets}/{seed}.onnx", "--model", f"odd={nets}/{seed + 1}.onnx"]
    told(capsys, *arguments, code=0)
    results = pie_ray.load_results(nets / "three")
    row = results.summary.query("variant_id == 'odd'").iloc[0]
    assert (row["num_members"], bool(row["is_paired"])) == (3, True)
    found = results.predictions("odd").query("seed == 2")["prediction"]
    assert np.array_equal(found, expected(5))
    assert "population study" in (nets / "three/report/index.html").read_text()


def test_members_of_ours_are_audited_with_networks_of_others(swept, nets, capsys):
    root = swept.storage.uri.removeprefix("file://")
    output = str(nets / "mixed")
    told(
        capsys, "evaluate", "--model", f"{root}:static_int8/0", "--model", f"{nets}/1.onnx", "--reference",
        f"{root}/checkpoints/dense/0.safetensors", "--data", DATA, "--output", output, code=0,
    )  # fmt: skip
    results = pie_ray.load_results(output)
    assert results.variants == ["dense", "static_int8", "1"]
    ids = {"dense": 0, "static_int8": 0}
    for variant_id in ids:
        member_id = next(s.member_id for s in swept.plan.members if (s.variant_id, s.seed) == (variant_id, 0))
        stored = PredictionStore(swept.storage).read_populations(
            "clean", ["test"], variant_id, {0: member_id}, ["prediction"], member_ids={0: member_id}
        )["test"]
        assert np.array_equal(results.predictions(variant_id)["prediction"], stored.arrays["prediction"][0])


def write_folder(root: Path, num_images: int = 12) -> Path:
    """<class>/<image> of grey 8 x 8 pixels, in three classes, and no training images."""
    rng = np.random.default_rng(0)
    for number in range(num_images):
        path = root / f"{'abc'[number % 3]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return root


THREE_CLASSES = """
import torch
from torch import nn

def make(num_classes, num_channels, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(num_channels * image_size**2, num_classes))

def other():
    torch.manual_seed(1)
    return make(3, 1, 8)

def broken(images):
    return torch.full((len(images), 3), float("nan"))
"""


@pytest.mark.parametrize("given", ["images", "images/test"])
def test_a_folder_of_images_needs_no_training_images(tmp_path, monkeypatch, capsys, given):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "three_classes.py").write_text(THREE_CLASSES)
    write_folder(tmp_path / "images/test")
    told(
        capsys,
        "evaluate",
        "--model",
        "three_classes:other",
        "--reference",
        "three_classes:make",
        "--data",
        given,
        code=0,
    )
    results = pie_ray.load_results("results/other")
    assert results.class_names == ["a", "b", "c"]
    assert set(results.examples()["key"]) == {f"test/{'abc'[number % 3]}/{number}.png" for number in range(12)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    row = results.examples().set_index("key").loc["test/b/1.png"]
    pixels = torch.from_numpy(np.array(Image.open(tmp_path / "images/test/b/1.png"))).float()[None, None] / 255
    answers = results.predictions("dense").set_index("example_id")["prediction"]
    assert answers[row["example_id"]] == int(network(pixels).argmax())

    message = told(
        capsys, "evaluate", "--model", "three_classes:broken", "--reference", "three_classes:make", "--data", given
    )
    assert "three_classes:broken: the network gives NaN or infinity for test/a/0.png" in message
    assert not Path("results/broken").exists()


def test_further_suites_give_the_tables_of_robustness(nets, tmp_path, capsys):
    suites = tmp_path / "suites.yaml"
    suites.write_text("noise: {kind: corruptions, corruptions: [gaussian_noise], severities: [1]}\n")
    told(
        capsys, "evaluate", "--model", f"{nets}/1.onnx", "--reference", f"{nets}/0.onnx", "--data",
        "{kind: digits, num_test: 20, num_train: 20}", "--suites", str(suites), "--output", str(tmp_path / "shift"),
        code=0,
    )  # fmt: skip
    table = pie_ray.load_results(tmp_path / "shift").robustness
    assert set(table["evaluation_set"]) == {"corruption/gaussian_noise/1"}
    assert set(table["variant_id"]) == {"dense", "1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "found neither RESULTS nor --model"),
        (["results/digits", "--model", "a.onnx"], "found RESULTS with --model; accepted is a sweep's RESULTS, or"),
        (["--model", "a.onnx"], "without --reference and --data"),
        (["--address", "auto"], "--address without RESULTS"),
        (["--model", "a.onnx", "--reference", "b.onnx", "--data", "{kind: digits}", "--threads", "0"], "--threads"),
        (
            ["--model", "a.onnx", "--reference", "b.onnx", "--data", "{kind: digits}", "--paired", "c"],
            "--paired: found c",
        ),
        (["--model", "a.onnx", "--reference", "b.onnx", "--data", "none"], "--data: found no file or folder none"),
        (["--model", "a.onnx", "--reference", "b.onnx", "--data", "{kind: dogs}"], "data.kind: found 'dogs'"),
        (["--model", "a.onnx", "--reference", "b.onnx", "--data", "{path: x}"], "--data: found the keys path"),
        (["--model", "a.onnx", "--reference", "b.onnx", "--data", DATA], "b.onnx: found no such file"),
        (
            ["--model", "a.onnx", "--reference", "b.onnx", "--data", DATA, "--normalise", "none", "--mean", "0.5"],
            "--normalise: found with --mean or --std",
        ),
    ],
)
def test_mistakes_are_one_message_and_nothing_is_written(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in told(capsys, "evaluate", *arguments)
    assert not (tmp_path / "results").exists()


def test_folders_of_others_are_left_alone(swept, nets, capsys, tmp_path):
    common = ["evaluate", "--model", f"{nets}/1.onnx", "--reference", f"{nets}/0.onnx", "--data", DATA, "--output"]
    assert "holds a sweep's results" in told(capsys, *common, swept.storage.uri.removeprefix("file://"))
    assert "a folder of this machine" in told(capsys, *common, "s3://bucket/audit")
    (tmp_path / "predictions.parquet").write_bytes(b"of somebody else")
    assert "predictions.parquet" in told(capsys, *common, str(tmp_path))
    assert (tmp_path / "predictions.parquet").read_bytes() == b"of somebody else"
