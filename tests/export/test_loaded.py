"""`pie_ray.load_results`, as a notebook uses it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import pie_ray
from pie_ray.analysis import analyze, open_predictions, open_results
from pie_ray.analysis.tables import TABLES
from pie_ray.errors import InputError, StoreError
from pie_ray.recipe import parse_recipe
from pie_ray.store import Storage
from pie_ray.study import prepare

from ..test_analysis_commands import predictions_table
from .conftest import CLASSES, NUM_TEST, VARIANTS, planted


@pytest.fixture(scope="module")
def results(hostile):
    return pie_ray.load_results(hostile)


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """Path of a folder that `pie-ray analyze --predictions` wrote."""
    folder = tmp_path_factory.mktemp("brought")
    predictions_table().rename(columns={"argmax": "prediction"}).to_csv(folder / "own.csv", index=False)
    storage = Storage(str(folder / "results"))
    analyze(open_predictions(str(folder / "own.csv"), storage=storage, reference="fp32"))
    return folder / "results"


def test_every_table_is_an_attribute(results):
    assert set(TABLES) <= set(dir(results))
    for name in TABLES:
        assert isinstance(getattr(results, name), pd.DataFrame)
    assert results.pies is results.pies
    assert results.summary["variant_id"].tolist() == ["dense", *VARIANTS]
    with pytest.raises(AttributeError, match="results have no 'pie'; the tables are summary, pies"):
        _ = results.pie


def test_examples_have_keys_names_and_groups(results):
    examples = results.examples()
    assert len(examples) == NUM_TEST
    assert list(examples) == ["example_id", "key", "label", "label_name", "variant_id", "=site"]
    assert examples["label_name"].tolist() == [name for name in sorted(CLASSES) for _ in range(4)]
    assert examples["key"].iloc[0] == "test/'q'/0 #1.png"


def test_predictions_are_long_frames_of_the_members(results, hostile):
    rows = results.predictions("magnitude-0.50")
    columns = ["prediction", "confidence", "label_probability", "label_rank", "margin", "entropy"]
    assert list(rows) == ["seed", "example_id", "label", *columns]
    assert len(rows) == 4 * NUM_TEST
    study = prepare(open_results(Storage(hostile)).recipe)
    expected = planted(study)
    for seed, of_member in rows.groupby("seed"):
        np.testing.assert_array_equal(of_member["prediction"], expected["magnitude-0.50", seed])
    assert list(results.predictions("dense", columns=["entropy"])) == ["seed", "example_id", "label", "entropy"]
    with_logits = results.predictions("dense", columns=["prediction", "logits"])
    assert (with_logits["logits"].map(np.argmax) == with_logits["prediction"]).all()


def test_modes_are_those_of_the_tables(results):
    modes = results.modes()
    assert len(modes) == 3 * NUM_TEST
    wide = modes.pivot(index="example_id", columns="variant_id", values="mode")
    moved = {(name, int(i)) for name in VARIANTS for i in wide.index[wide[name] != wide["dense"]]}
    pies = results.pies[results.pies["is_pie"]]
    assert moved == set(zip(pies["variant_id"], pies["example_id"], strict=True))
    assert modes.query("variant_id == 'magnitude-0.50' and example_id == 3")["agreement"].tolist() == [0.75]


def test_members_recipe_and_what_is_missing(results, quiet):
    assert results.recipe.name == "hostile"
    assert (len(results.members), results.missing) == (12, [])
    assert results.members["checkpoint_bytes"].tolist()[:4] == [7, 8, 9, 10]
    partial = pie_ray.load_results(quiet)
    assert partial.missing == ["static_int8 seed 3"]
    assert sorted(partial.predictions("static_int8")["seed"].unique()) == [0, 1, 2]
    assert "11 of 12 are complete" in repr(partial)


def test_attributes_learned_jointly(joint):
    results = pie_ray.load_results(joint)
    examples, rows = results.examples(), results.predictions("magnitude-0.50")
    assert results.is_multilabel and results.class_names[0] == "Even"
    assert examples["Even"].dtype == bool and "label" not in examples
    assert list(rows) == ["seed", "example_id", "attribute", "label", "prediction", "logit"]
    wrong = rows[rows["label"] != rows["prediction"]]
    assert set(zip(wrong["attribute"], wrong["example_id"], strict=True)) == {("Even", i) for i in range(5)}
    labels = rows.query("seed == 0 and attribute == 'Even'")["label"].astype(bool)
    np.testing.assert_array_equal(labels, examples["Even"])
    assert set(results.modes()["attribute"]) == set(results.class_names)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda results: results.predictions("dens"), r"variant_id: found 'dens'; accepted are dense, magnitude-0.50"),
        (lambda results: results.examples("train"), r"evaluation_set: found 'train'; accepted are test"),
        (lambda results: results.modes("x"), r"evaluation_set: found 'x'; accepted are test"),
        (lambda results: results.predictions("dense", columns=["loss"]), r"columns: found 'loss'; accepted are pred"),
        (lambda results: results.table("x"), r"table: found 'x'; accepted are summary"),
    ],
)
def test_a_mistake_is_told_with_what_is_accepted(results, call, message):
    with pytest.raises(InputError, match=message):
        call(results)


def test_results_that_were_not_analysed_have_predictions_only(tmp_path, tiny_text):
    study = prepare(parse_recipe(tiny_text, [f"execution.storage={tmp_path}"]))
    results = pie_ray.load_results(tmp_path / "tiny")
    with pytest.raises(StoreError, match=r"tiny has no result tables yet: `pie-ray analyze .*tiny` makes them"):
        _ = results.summary
    assert len(results.examples()) == len(study.splits.test) == 100
    assert len(results.missing) == 6 and results.members.empty
    with pytest.raises(StoreError, match="no member of dense is complete on test"):
        results.predictions("dense")
    assert "none yet: `pie-ray analyze" in repr(results)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(StoreError, match="holds no results"):
        pie_ray.load_results(tmp_path)


def test_tables_of_predictions_from_elsewhere(brought):
    results = pie_ray.load_results(brought)
    assert results.variants == ["dense", "int8", "pruned"]
    assert (results.class_names, results.evaluation_sets) == (["0", "1", "2", "3"], ["test"])
    assert len(results.pies) > 0 and results.missing == []
    with pytest.raises(StoreError, match="holds tables alone"):
        results.predictions("pruned")
    assert "pruned" in repr(results)


def test_names_from_data_are_escaped_in_notebooks(results):
    html = results._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;alert(1)&lt;" in html


def test_importing_the_package_loads_no_pandas():
    script = "import sys, pie_ray; pie_ray.load_results; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "pie_ray" in loaded and not {"pandas", "pyarrow", "numpy", "pie_ray.loaded"} & set(loaded)
