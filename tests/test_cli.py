"""What a person gets for a mistake: one clear message, exit code 2, and never a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pie_ray import __version__
from pie_ray.cli import main


def run(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def recipe_file(tmp_path, tiny_text):
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny_text)
    return path


MISTAKES = {
    "unknown kind": (["data.kind=imagenet"], "data.kind: found 'imagenet'"),
    "unknown key": (["training.epoch=3"], "did you mean 'epochs'?"),
    "no such folder": (["data={kind: parquet, path: /no/such/folder}"], "/no/such/folder"),
    "no such image tree": (["data={kind: image_folder, path: /no/such/tree}"], "/no/such/tree"),
    "no such torchvision set": (["data={kind: torchvision, name: CIFAR11, path: /tmp}"], "CIFAR11"),
    "too many images": (["data.num_train=9999"], "9999"),
    "no such network": (["model={kind: custom, factory: 'nowhere:f'}"], "cannot import 'nowhere:f'"),
    "one variant twice": (["variants=[{pruning: {kind: magnitude, sparsities: [0.5]}}, {pruning: "
                           "{kind: magnitude, sparsities: [0.5], schedule: {end: 0.9}}}]"], "described twice"),
    "unusable storage": (["execution.storage=/proc/nowhere"], "/proc/nowhere"),
    "unknown storage": (["execution.storage=ftp://host/results"], "ftp"),
}  # fmt: skip


@pytest.mark.parametrize(("overrides", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_message_and_exit_code_2(capsys, recipe_file, tmp_path, overrides, message):
    storage = [] if any("storage" in override for override in overrides) else ["--storage", str(tmp_path / "results")]
    options = [option for override in overrides for option in ("--set", override)]
    code, _, err = run(capsys, "run", str(recipe_file), *storage, *options)
    assert code == 2
    assert err.startswith("error: ") and message in err
    assert "Traceback" not in err


def test_a_results_folder_of_another_recipe_is_refused_with_both_values(capsys, recipe_file, tmp_path):
    from pie_ray.recipe import load_recipe
    from pie_ray.study import prepare

    storage = str(tmp_path / "results")
    prepare(load_recipe(str(recipe_file), [f"execution.storage={storage}"]))
    code, _, err = run(capsys, "run", str(recipe_file), "--storage", storage, "--set", "training.epochs=3")
    assert code == 2
    assert "training.epochs" in err and " 2," in err and " 3" in err


@pytest.mark.parametrize("command", ["analyze", "report", "track"])
def test_a_folder_without_results(capsys, tmp_path, command):
    code, _, err = run(capsys, command, str(tmp_path))
    assert code == 2
    assert "holds no results" in err


def test_a_sweep_of_which_nothing_is_complete_cannot_be_analysed(capsys, recipe_file, tmp_path):
    from pie_ray.recipe import load_recipe
    from pie_ray.study import prepare

    study = prepare(load_recipe(str(recipe_file), [f"execution.storage={tmp_path}"]))
    code, _, err = run(capsys, "analyze", study.storage.uri)
    assert code == 2
    assert "no member of the dense reference is complete" in err


ANALYZE_MISTAKES = {
    "nothing to analyse": ([], "results: found none; accepted are a results folder, or --predictions"),
    "both": (["folder", "--predictions", "p.csv"], "found folder and --predictions; accepted is one of the two"),
    "options without their file": (["folder", "--reference", "fp32"], "--reference: found without --predictions"),
    "a cluster for a file": (["--predictions", "p.csv", "--address", "auto"], "--address: found with --predictions"),
    "no such file": (["--predictions", "/no/such/file.csv"], "/no/such/file.csv"),
    "a column without its name": (["--predictions", "p.csv", "--column", "argmax"], "--column: found 'argmax'"),
}


@pytest.mark.parametrize(("arguments", "message"), ANALYZE_MISTAKES.values(), ids=ANALYZE_MISTAKES)
def test_a_mistaken_analysis_is_one_message_and_exit_code_2(capsys, arguments, message):
    code, _, err = run(capsys, "analyze", *arguments)
    assert code == 2
    assert err.startswith("error: ") and message in err


@pytest.mark.parametrize("target", ["0", "1", "90"])
def test_a_target_that_is_no_similarity(capsys, tmp_path, target):
    code, _, err = run(capsys, "plan", str(tmp_path), "--target-jaccard", target)
    assert code == 2
    assert f"--target-jaccard: found {target}; accepted is a number above 0, below 1" in err


@pytest.mark.parametrize("arguments", [[], ["dance"], ["run", "--colour"]])
def test_a_wrong_command_line_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: pie-ray" in capsys.readouterr().err


def test_python_dash_m_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "pie_ray", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"pie_ray {__version__}\n"


NOWHERE = "http://127.0.0.1:1"
"""Whoever asks there is told that nothing answers."""

SUBMIT_MISTAKES = {
    "the recipe's": (["training.epochs=0"], "training.epochs: found 0"),
    "a storage of this machine": (["execution.storage=results"], "execution.storage: found 'results'"),
    "a home folder": (["execution.storage=~/results"], "execution.storage: found '~/results'"),
    "a secret in the storage": (["execution.storage=s3://key:hunter2@bucket/results"], "execution.storage: carries"),
    "a slash in the secret": (["execution.storage=s3://key:hunter2/x@bucket/results"], "execution.storage: carries"),
    "a secret in the query": (["execution.storage=s3://bucket/x?secret_key=hunter2"], "execution.storage: carries"),
    "a secret for the tracker": (["execution.tracking={kind: mlflow, uri: 'https://me:hunter2@host'}"],
                                 "execution.tracking.uri: carries"),
    "a log that goes with the job": (["execution.tracking={kind: mlflow, uri: 'sqlite:///mlflow.db'}"],
                                     "execution.tracking.uri: found 'sqlite:///mlflow.db'"),
    "data of this machine": (["data={kind: parquet, path: data/images}"], "data.path: found 'data/images'"),
    "data beside the working directory": (["data={kind: parquet, path: ../tiny}"], "data.path: found '../tiny'"),
}  # fmt: skip


@pytest.mark.parametrize(("overrides", "message"), SUBMIT_MISTAKES.values(), ids=SUBMIT_MISTAKES)
def test_what_cannot_run_on_a_cluster_is_refused_before_anything_is_sent(
    capsys, recipe_file, tmp_path, overrides, message
):
    storage = [] if any("storage" in override for override in overrides) else ["--storage", "/shared"]
    options = [option for override in overrides for option in ("--set", override)]
    submit = ["submit", str(recipe_file), "--address", NOWHERE, "--working-dir", str(tmp_path)]
    code, out, err = run(capsys, *submit, *storage, *options)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and message in err
    assert "nothing answers" not in err and "hunter2" not in err


def test_all_that_cannot_run_on_a_cluster_is_told_at_once(capsys, recipe_file):
    mistakes = ["--storage", "here", "--set", "data={kind: parquet, path: there}"]
    _, _, err = run(capsys, "submit", str(recipe_file), "--address", NOWHERE, *mistakes)
    assert "execution.storage: found 'here'" in err and "data.path: found 'there'" in err


@pytest.mark.parametrize(
    "options",
    [
        ["--storage", "/shared/results"],
        ["--storage", "file:///shared/results"],
        ["--storage", "s3://bucket/results?endpoint_override=http://localhost:9000"],
        ["--storage", "gs://bucket"],
        ["--storage", "/shared", "--set", "data={kind: parquet, path: /shared/images}"],
        ["--storage", "/shared", "--set", "execution.tracking={kind: mlflow, uri: 'http://mlflow.internal:5000'}"],
    ],
)
def test_what_can_run_on_a_cluster_is_not_refused(capsys, recipe_file, options):
    code, _, err = run(capsys, "submit", str(recipe_file), "--address", NOWHERE, *options)
    assert code == 2 and "nothing answers" in err


def test_data_inside_the_working_directory_goes_along(capsys, recipe_file, tmp_path):
    (tmp_path / "images").mkdir()
    options = ["--storage", "/shared", "--working-dir", str(tmp_path), "--set", "data={kind: parquet, path: images}"]
    _, _, err = run(capsys, "submit", str(recipe_file), "--address", NOWHERE, *options)
    assert "nothing answers" in err


def test_a_working_directory_that_is_not_there(capsys, recipe_file, tmp_path):
    options = ["--storage", "/shared", "--working-dir", str(tmp_path / "nowhere")]
    code, _, err = run(capsys, "submit", str(recipe_file), "--address", NOWHERE, *options)
    assert code == 2 and "--working-dir: found" in err


@pytest.mark.parametrize(
    ("overrides", "is_lost"),
    [
        (["execution.storage=s3://bucket", "execution.tracking={kind: mlflow}"], True),
        (["execution.storage=s3://bucket", "execution.tracking={kind: mlflow, uri: 'http://host:5000'}"], False),
        (["execution.storage=s3://bucket"], False),
        (["execution.storage=/shared", "execution.tracking={kind: mlflow}"], False),
    ],
)
def test_a_log_beside_objects_has_no_place_of_its_own(tiny_text, overrides, is_lost):
    from pie_ray.cluster.submission import keeps_no_log
    from pie_ray.recipe import parse_recipe

    assert keeps_no_log(parse_recipe(tiny_text, overrides)) == is_lost


STOPPED_IN_THE_BACKGROUND = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
from pie_ray import cli
from pie_ray.commands import analysis as analysis_commands

def killed(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
    print("it went on")

analysis_commands._track = killed
sys.exit(cli.main(["track", "results"]))
"""


def test_sigterm_stops_what_ignores_ctrl_c():
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_IN_THE_BACKGROUND], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr.startswith("Stopped.") and done.stdout == ""
