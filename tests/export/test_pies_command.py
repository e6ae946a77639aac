"""`pie-ray pies`, as a person types it."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pie_ray.analysis import analyze, open_predictions
from pie_ray.cli import main
from pie_ray.store import Storage

from ..s3 import s3_server
from ..test_analysis_commands import predictions_table
from .conftest import VARIANTS


@pytest.fixture
def pies(hostile, capsysbinary):
    """Run the command on the hostile results: its exit code, output as bytes, and errors."""

    def run(*options, results=hostile):
        code = main(["pies", str(results), *map(str, options)])
        found = capsysbinary.readouterr()
        return code, found.out, found.err.decode()

    return run


def test_the_table_shows_names_as_they_are(pies, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = pies("--limit", 4)
    lines = out.decode().splitlines()
    assert code == 0
    row = next(line for line in lines if "test/'q'/0 #1.png" in line)
    assert "<script>alert(1)< 100 %" in row and "+plus" in row and "2 of 2*" in row
    assert sum("#1.png" in line for line in lines) == 4
    assert "1 of 1" in pies("--variant", "static_int8", "--limit", 1)[1].decode()


def test_lists_go_to_standard_output(pies):
    code, out, errors = pies("--format", "csv")
    assert (code, errors) == (0, "")
    assert pd.read_csv(io.BytesIO(out))["example_id"].tolist() == [0, 2, 4, 6, 8, 1, 5, 7, 9, 3]
    _, out, _ = pies("--format", "jsonl", "--by", "variant", "--significant", "--class", "+plus")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["example_id"], row["variant_id"]) for row in rows] == [(i, VARIANTS[0]) for i in (4, 5, 6, 7)]
    assert all(row["is_significant"] and row["p_value"] < 0.05 for row in rows)


def test_files_are_written_once(pies, tmp_path):
    path = tmp_path / "new" / "pies.parquet"
    code, out, _ = pies("--format", "parquet", "--output", path)
    assert code == 0 and f"10 rows: {path}" in out.decode()
    assert pd.read_parquet(path)["variant_ids"].iloc[0].tolist() == list(VARIANTS)
    code, _, errors = pies("--format", "parquet", "--output", path, "--limit", 1)
    assert code == 2 and "is there already, and somebody may have worked on it" in errors
    assert len(pd.read_parquet(path)) == 10
    assert pies("--format", "parquet", "--output", path, "--limit", 1, "--force")[0] == 0
    assert len(pd.read_parquet(path)) == 1
    assert [each.name for each in path.parent.iterdir()] == ["pies.parquet"]


def test_label_studio_finds_the_pictures_that_are_written(pies, hostile, tmp_path):
    folder = tmp_path / "to check"
    code, out, _ = pies("--format", "label-studio", "--output", folder, "--limit", 3)
    assert code == 0 and f"3 tasks: {folder}" in out.decode()
    tasks = json.loads((folder / "tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        f"/data/local-files/?d=to%20check/images/test/{example_id}.png" for example_id in (0, 2, 4)
    ]
    original = hostile.parent.parent / "images" / tasks[1]["data"]["key"]
    written = np.asarray(Image.open(folder / "images" / "test" / "2.png"))
    np.testing.assert_array_equal(written, np.asarray(Image.open(original)))
    assert "&lt;script&gt;" in (folder / "labeling_config.xml").read_text()
    assert len(list(folder.rglob("*.png"))) == 3


def test_image_files_are_pointed_at_where_they_are(pies, hostile, tmp_path, monkeypatch):
    root = "/data/local-files/?d=pets"
    assert pies("--format", "label-studio", "--image-root", root, "--output", tmp_path / "tasks")[0] == 0
    tasks = json.loads((tmp_path / "tasks" / "tasks.json").read_text())
    assert tasks[0]["data"]["image"] == f"{root}/test/%27q%27/0%20%231.png"
    assert not (tmp_path / "tasks" / "images").exists()
    monkeypatch.chdir(hostile.parent.parent)
    assert pies("--format", "fiftyone", "--image-root", "images", "--output", tmp_path / "samples")[0] == 0
    samples = json.loads((tmp_path / "samples" / "samples.json").read_text())["samples"]
    assert all(Image.open(sample["filepath"]).size == (8, 8) for sample in samples)


def test_fiftyone_has_the_pictures_beside_its_file(pies, tmp_path):
    assert pies("--format", "fiftyone", "--output", tmp_path / "samples", "--limit", 2)[0] == 0
    samples = json.loads((tmp_path / "samples" / "samples.json").read_text())["samples"]
    assert [sample["filepath"] for sample in samples] == ["images/test/0.png", "images/test/2.png"]
    assert all((tmp_path / "samples" / sample["filepath"]).is_file() for sample in samples)


def test_no_pies_are_an_empty_list_and_a_note(pies, quiet, tmp_path):
    note = "The list is empty: no example is a PIE and fits the options."
    for options in ((), ("--format", "csv"), ("--format", "jsonl")):
        code, out, errors = pies(*options, results=quiet)
        assert (code, errors.strip()) == (0, note)
        assert out.decode().startswith("evaluation_set,example_id,key,label," if "csv" in options else "")
    for name in ("parquet", "label-studio", "fiftyone"):
        assert pies("--format", name, "--output", tmp_path / name, results=quiet)[0] == 0
    assert len(pd.read_parquet(tmp_path / "parquet")) == 0
    assert json.loads((tmp_path / "label-studio" / "tasks.json").read_text()) == []
    assert json.loads((tmp_path / "fiftyone" / "samples.json").read_text()) == {"samples": []}
    assert pies("--variant", "static_int8", "--significant")[2].strip() == note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "dense"], "--variant: found 'dense'; accepted are magnitude-0.50, static_int8"),
        (["--evaluation-set", "x"], "--evaluation-set: found 'x'; accepted are test"),
        (["--class", "x"], "--class: found 'x'; accepted are 'q', +plus, <script>alert(1)<"),
        (["--class", "10"], "--class: found '10'"),
        (["--limit", "0"], "--limit: found 0; accepted is a whole number, 1 or more"),
        (["--output", "x"], "--output: found without --format"),
        (["--format", "parquet"], "--output: found none; accepted with --format parquet is a path"),
        (["--format", "fiftyone"], "--output: found none; accepted with --format fiftyone is a path"),
        (["--format", "csv", "--image-root", "x"], "--image-root: found without a tool"),
        (["--format", "csv", "--output", "."], "--output: . is a folder; accepted with --format csv is a file"),
        (["--format", "label-studio", "--output", "x", "--by", "variant"], "--by: found variant"),
        (["--format", "label-studio", "--output", "x", "--image-root", "/home"], "--image-root: found '/home'; acc"),
    ],
)
def test_a_mistake_is_one_message(pies, options, message):
    code, out, errors = pies(*options)
    assert (code, out) == (2, b"")
    assert errors.startswith(f"error: {message}") and errors.count("\n") == errors.rstrip("\n").count("\n") + 1


def test_images_that_are_gone_or_others_are_told(hostile, tmp_path, capsys):
    results, images = tmp_path / "hostile", tmp_path / "images"
    shutil.copytree(hostile, results)
    recipe = results / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(hostile.parent.parent / "images"), str(images)))
    command = ["pies", str(results), "--format", "fiftyone", "--output", str(tmp_path / "out")]
    assert main(command) == 2
    errors = capsys.readouterr().err
    assert "no pictures to write" in errors and "--image-root takes the address of the image files instead" in errors
    shutil.copytree(hostile.parent.parent / "images", images)
    Image.new("L", (8, 8)).save(images / "test" / "plain" / "0 #1.png")
    assert main(command) == 2
    assert "the image_folder images that are there now are not those of the sweep" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_predictions_from_elsewhere_have_keys_and_no_pictures(tmp_path, capsys):
    table = predictions_table().rename(columns={"argmax": "prediction"})
    table["example_id"] = [f"img/{example_id:03d}.png" for example_id in table["example_id"]]
    table.to_csv(tmp_path / "own.csv", index=False)
    storage = Storage(str(tmp_path / "own"))
    analyze(open_predictions(str(tmp_path / "own.csv"), storage=storage, reference="fp32"))
    command = ["pies", str(tmp_path / "own"), "--variant", "pruned"]
    assert main([*command, "--format", "jsonl", "--limit", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["key"].startswith("img/0")
    tool = [*command, "--format", "label-studio", "--output", str(tmp_path / "out")]
    assert main(tool) == 2
    assert "has predictions from elsewhere and no images; accepted is --image-root" in capsys.readouterr().err
    assert main([*tool, "--image-root", "s3://bucket/all", "--limit", "1"]) == 0
    task = json.loads((tmp_path / "out" / "tasks.json").read_text())[0]
    assert task["data"]["image"] == f"s3://bucket/all/{task['data']['key']}"


def test_answers_about_one_attribute(joint, tmp_path, capsysbinary):
    assert main(["pies", str(joint), "--format", "jsonl", "--class", "Even"]) == 0
    rows = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert [(row["example_id"], row["attribute"]) for row in rows] == [(i, "Even") for i in range(5)]
    assert {(row["label_name"], row["reference_mode_name"]) for row in rows} == {("yes", "yes"), ("no", "no")}
    assert main(["pies", str(joint), "--format", "label-studio", "--output", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 5


def test_a_reader_may_stop_early(hostile):
    # Lists longer than what a pipe holds.
    script = (
        "import pie_ray.export; from pie_ray.cli import main; make = pie_ray.export.csv_bytes; "
        "pie_ray.export.csv_bytes = lambda frame: make(frame) * 999; "
        f"raise SystemExit(main(['pies', {str(hostile)!r}, '--format', 'csv']))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline().startswith(b"evaluation_set")
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, b"")
    process.stderr.close()


def test_results_and_lists_on_object_storage(hostile, tmp_path, monkeypatch, capsys):
    with s3_server(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        remote, local = Storage(server.uri("results/hostile")), Storage(hostile)
        for path in local.list_files():
            remote.write_bytes(path, local.read_bytes(path))
        output = server.uri("lists/pies.csv")
        assert main(["pies", server.uri("results/hostile"), "--format", "csv", "--output", output]) == 0
        assert len(pd.read_csv(io.BytesIO(Storage(server.uri("lists")).read_bytes("pies.csv")))) == 10
        tool = ["pies", str(hostile), "--format", "label-studio", "--output", server.uri("tasks"), "--limit", "1"]
        assert main(tool) == 0
        tasks = json.loads(Storage(server.uri("tasks")).read_bytes("tasks.json"))
        assert tasks[0]["data"]["image"] == "s3://bucket/tasks/images/test/0.png"
        assert Storage(server.uri("tasks")).exists("images/test/0.png")
    capsys.readouterr()
