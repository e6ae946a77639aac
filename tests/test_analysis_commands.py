"""`pie-ray analyze` and `pie-ray plan`, as a person runs them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from pie_ray.analysis import analyze, open_predictions, open_results
from pie_ray.analysis.tables import load_tables
from pie_ray.cli import main
from pie_ray.store import Storage

from .test_analysis import VARIANTS, complete, large_study, planted  # noqa: F401

WITHOUT = ("torch", "torchvision", "ray", "mlflow", "sklearn")


def predictions_table(num_members=10, num_examples=200):
    """Three variants: the pruned one differs on the first 20 examples, of site `A`; int8 members are their parents."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, num_examples)
    parts = []
    for variant in ("fp32", "pruned", "int8"):
        for member in range(num_members):
            own = np.random.default_rng((member, variant == "pruned"))
            predicted = np.where(own.random(num_examples) < 0.9, labels, (labels + 1) % 4)
            predicted[:20] = (labels[:20] + 2 * (variant == "pruned")) % 4
            site = np.where(np.arange(num_examples) < 20, "A", "B")
            parts.append(
                pd.DataFrame(
                    {
                        "variant": variant, "member": member, "example_id": np.arange(num_examples), "label": labels,
                        "argmax": predicted, "site": site,
                    }
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def predictions_file(tmp_path):
    path = tmp_path / "own.csv"
    predictions_table().to_csv(path, index=False)
    return path


def test_predictions_of_ones_own_need_no_torch_ray_or_mlflow(predictions_file, tmp_path):
    evidence = tmp_path / "evidence.csv"
    pd.DataFrame({"example_id": range(200), "label_error": [i < 15 for i in range(200)]}).to_csv(evidence, index=False)
    arguments = [
        "analyze", "--predictions", str(predictions_file), "--reference", "fp32", "--paired", "int8",
        "--column", "prediction=argmax", "--evidence", str(evidence),
    ]  # fmt: skip
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({WITHOUT!r})); "
        f"from pie_ray.cli import main; sys.exit(main({arguments!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "results/own/report/index.html" in done.stdout
    tables = load_tables(Storage(str(tmp_path / "results" / "own")))
    pruned = tables["summary"].set_index("variant_id").loc["pruned"]
    assert 20 <= pruned["num_significant"] <= 22 and pruned["num_pies"] >= 20
    assert set(tables["pies"].query("is_significant")["example_id"]) >= set(range(20))
    assert tables["summary"].set_index("variant_id").loc["int8", "num_pies"] == 0
    worst = tables["groups"].query("variant_id == 'pruned' and rate == 'error'").set_index("group")["change"]
    assert worst["site=A"] == 1
    assert tables["evidence"].set_index("variant_id").loc["pruned", "auroc"] > 0.7
    html = (tmp_path / "results" / "own" / "report" / "index.html").read_text()
    for heading in ("Compression, or chance?", "The cost by group", "Evidence from elsewhere", "Flips"):
        assert heading in html


def test_a_sweeps_predictions_brought_along_give_the_sweeps_tables(large_study, tmp_path):  # noqa: F811
    predictions = planted(large_study, 8)
    complete(large_study, predictions)
    test = large_study.splits.test
    rows = [
        pd.DataFrame(
            {
                "variant": variant, "member": seed, "example_id": test.example_ids,
                "label": test.labels.numpy(), "prediction": predicted,
            }
        )
        for (variant, seed), predicted in predictions.items()
    ]  # fmt: skip
    path = tmp_path / "exported.parquet"
    pd.concat(rows).to_parquet(path)
    imported = open_predictions(str(path), storage=Storage(str(tmp_path / "own")), paired=["static_int8"])
    own, ours = analyze(imported), analyze(open_results(large_study.storage))
    shared = ["evaluation_set", "variant_id", "example_id", "taxicab", "is_pie", "p_value", "q_value", "is_significant"]
    pd.testing.assert_frame_equal(own.pies[shared], ours.pies[shared])
    columns = ["num_pies", "top1_mean", "num_significant", "cie_mean", "null_cie_mean", "is_paired", "num_testable"]
    own_summary, our_summary = (each.summary.set_index("variant_id")[columns] for each in (own, ours))
    pd.testing.assert_frame_equal(own_summary.loc[list(VARIANTS)], our_summary.loc[list(VARIANTS)])
    for table in ("pairs", "classes"):
        numbers = ["variant_id", "p_value", "q_value"]
        pd.testing.assert_frame_equal(getattr(own, table)[numbers], getattr(ours, table)[numbers])


def test_a_plan_is_a_table(predictions_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    analyze_it = ["analyze", "--predictions", str(predictions_file), "--reference", "fp32", "--output", "audit"]
    assert main([*analyze_it, "--column", "prediction=argmax"]) == 0
    capsys.readouterr()
    assert main(["plan", "audit", "--target-jaccard", "0.6"]) == 0
    out = capsys.readouterr().out
    assert "Members a variant for a Jaccard similarity of 0.6" in out
    assert any(line.split()[:2] == ["pruned", "10"] for line in out.splitlines() if line.split())


def test_too_few_members_for_a_plan(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "few.csv"
    predictions_table(num_members=3).rename(columns={"argmax": "prediction"}).to_csv(path, index=False)
    assert main(["analyze", "--predictions", "few.csv", "--reference", "fp32"]) == 0
    assert main(["plan", "results/few"]) == 2
    assert "found fewer than four members a variant" in capsys.readouterr().err


def test_a_plan_needs_an_analysis(tmp_path, capsys):
    assert main(["plan", str(tmp_path)]) == 2
    assert "`pie-ray analyze` writes it" in capsys.readouterr().err


def test_variants_trained_apart_need_no_members_of_one_name(tmp_path):
    table = predictions_table().rename(columns={"argmax": "prediction"})
    table["member"] += 100 * (table["variant"] == "pruned")
    path = tmp_path / "apart.parquet"
    table.to_parquet(path)
    analysis = analyze(open_predictions(str(path), storage=Storage(str(tmp_path / "own")), reference="fp32"))
    sizes = analysis.stability.groupby("variant_id")["num_members"].apply(list).to_dict()
    assert sizes == {"int8": [2, 3, 4, 5], "pruned": [2, 3, 4, 5]}
    assert set(analysis.pairs["variant_id"]) == {"int8"}
    assert analysis.summary.set_index("variant_id").loc["pruned", "half_pie_fraction"] > 0.05


def test_groups_and_the_positive_class_can_be_named(predictions_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = [
        "analyze",
        "--predictions",
        str(predictions_file),
        "--reference",
        "fp32",
        "--column",
        "prediction=argmax",
    ]
    assert main([*command, "--group", "site", "--positive-class", "3"]) == 0
    groups = load_tables(Storage(str(tmp_path / "results" / "own")))["groups"]
    assert set(groups["group"]) == {"site=A", "site=B"}
    assert set(groups["rate"]) == {"error", "false_positive", "false_negative"}
    capsys.readouterr()
    assert main([*command, "--group", "age"]) == 2
    assert "found 'age'; accepted are the attributes of the data: site" in capsys.readouterr().err
    assert main([*command, "--positive-class", "cat"]) == 2
    assert "found 'cat'; accepted are 0, 1, 2, 3" in capsys.readouterr().err
