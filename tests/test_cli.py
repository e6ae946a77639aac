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


@pytest.mark.parametrize("arguments", [[], ["dance"], ["run", "--colour"]])
def test_a_wrong_command_line_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: pie-ray" in capsys.readouterr().err


def test_python_dash_m_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "pie_ray", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"pie_ray {__version__}\n"
