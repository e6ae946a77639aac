"""`pie-ray attribute` on a real sweep: what it stores, the table and the report's section; killed, changed, mixed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from pie_ray.analysis import open_results
from pie_ray.analysis.attribution import attribution_table
from pie_ray.attribution import check_attribution
from pie_ray.attribution_stage import attribute
from pie_ray.cli import main
from pie_ray.config import Attribution, DigitsData
from pie_ray.data import load_splits
from pie_ray.errors import ModelError, RecipeError, StoreError
from pie_ray.recipe import parse_recipe
from pie_ray.report.attribution import attribution_section
from pie_ray.stages import recipe_with_suites
from pie_ray.store import Storage, map_pairs, read_map_similarities
from pie_ray.study import design
from tests.conftest import TINY
from tests.swept import sweep_here

LOSS = "magnitude-0.50+ce_kd4"
VARIANTS = """variants=[
  {pruning: {kind: magnitude, sparsities: [0.5]}, losses: [{terms: [cross_entropy, distillation]}]},
  {quantization: [static_int8]},
  {pruning: {kind: structured, sparsities: [0.25]}, quantization: [static_int8]},
]"""
NAMES = ("magnitude-0.50", LOSS, "static_int8", "structured-0.25", "structured-0.25+static_int8")
CHEAPLY = ("evaluation.attribution.num_examples=20", "evaluation.attribution.num_steps=4")
KEYS = ["variant_id", "method", "similarity"]


@pytest.fixture(scope="module")
def attributed(tmp_path_factory):
    """The folder of a sweep that was attributed, and what the command said."""
    results = sweep_here(tmp_path_factory.mktemp("attributed"), VARIANTS, "training.epochs=4")
    folder = results.storage.uri.removeprefix("file://")
    assert main(["attribute", folder, *(part for setting in CHEAPLY for part in ("--set", setting))]) == 0
    return folder


@pytest.fixture
def copied(attributed, tmp_path):
    """The same in a folder of the test's own."""
    return shutil.copytree(attributed, tmp_path / "results" / "tiny")


@pytest.fixture(scope="module")
def table(attributed):
    return pd.read_parquet(f"{attributed}/analysis/attribution.parquet").set_index(KEYS)


def attribute_again(folder, *overrides):
    """The command's stage without analysis and report; returns what it said."""
    said = StringIO()
    attribute(recipe_with_suites(str(folder), None, overrides or CHEAPLY), Console(file=said, width=200))
    return said.getvalue()


def table_of(folder):
    return attribution_table(open_results(Storage(folder)), pd.DataFrame())


def files(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.glob("attributions/*/*.parquet")
    }


def test_every_pair_of_members_has_its_file_with_a_row_an_example_and_method(attributed):
    results = open_results(Storage(attributed))
    pairs = map_pairs(results.plan)
    assert {pair.path for pair in pairs} == {
        "attributions/dense/0.parquet",
        *(f"attributions/{name}/{seed}.parquet" for name in NAMES for seed in (0, 1)),
    }
    for pair in pairs:
        stored = pq.read_table(f"{attributed}/{pair.path}").to_pandas()
        assert list(stored.columns) == ["evaluation_set", "example_id", "method", "cosine", "spearman"]
        assert len(stored) == 40 and set(stored["evaluation_set"]) == {"test"}
        assert stored.groupby("method")["example_id"].nunique().eq(20).all()
    assert len({tuple(read_map_similarities(results.storage, pair).example_ids) for pair in pairs}) == 1


def test_int8_of_rounded_weights_hardly_moves_maps_and_another_training_does(table):
    int8, dense = (table.xs(name) for name in ("static_int8", "dense"))
    assert (int8["mean"] > 0.9).all() and (int8["mean"] <= 1).all()
    gradients = ("integrated_gradients", "cosine")
    assert dense.loc[gradients, "mean"] < 0.6 < int8.loc[gradients, "mean"]
    rounded = table["is_float_of_rounded"].groupby("variant_id").all()
    assert set(rounded[rounded].index) == {"static_int8", "structured-0.25+static_int8"}
    assert (dense["num_members"] == 1).all() and dense["low"].isna().all() and dense["mean_on_pies"].isna().all()


def test_a_network_without_some_of_its_channels_is_explained_and_its_int8_looks_where_it_looks(table):
    thin, rounded = (table.xs(name).xs("cosine", level="similarity") for name in NAMES[-2:])
    assert (thin["num_members"] == 2).all() and (thin["mean"] < 0.999).all()
    np.testing.assert_allclose(rounded["mean"], thin["mean"], atol=0.05)


def test_the_loss_is_held_against_the_plain_one_over_the_same_seeds(attributed, table):
    results = open_results(Storage(attributed))
    plain, preserving = (results.map_similarities(name) for name in ("magnitude-0.50", LOSS))
    for method, name in table.xs(LOSS).index:
        before, after = (
            1 - np.stack([one[seed].similarities[method][name] for seed in (0, 1)]) for one in (plain, preserving)
        )
        known = ~np.isnan(before + after)
        row = table.loc[LOSS, method, name]
        assert row["dissimilarity_ratio"] == pytest.approx(before[known].mean() / after[known].mean())
        assert row["dissimilarity_ratio_low"] < row["dissimilarity_ratio"] < row["dissimilarity_ratio_high"]
        assert (row["plain_id"], row["loss"], row["num_seeds"]) == ("magnitude-0.50", "ce_kd4", 2)
        assert row["mean"] == pytest.approx(np.nanmean(1 - after))
        assert row["num_undefined"] == np.isnan(after).sum()
    assert table.drop(LOSS)["dissimilarity_ratio"].isna().all()


def test_a_pie_among_the_images_is_told_apart(attributed, table):
    pies = pd.read_parquet(f"{attributed}/analysis/pies.parquet")
    results = open_results(Storage(attributed))
    members = results.map_similarities("magnitude-0.50")
    is_pie = np.isin(
        members[0].example_ids,
        pies.loc[(pies["variant_id"] == "magnitude-0.50") & pies["is_pie"], "example_id"],
    )
    assert 0 < is_pie.sum() < 20
    similarity = np.stack([one.similarities["integrated_gradients"]["cosine"] for one in members.values()])
    row = table.loc["magnitude-0.50", "integrated_gradients", "cosine"]
    assert (row["num_pies"], row["num_examples"]) == (is_pie.sum(), 20)
    assert row["mean_on_pies"] == pytest.approx(similarity[:, is_pie].mean())
    assert row["mean_on_rest"] == pytest.approx(similarity[:, ~is_pie].mean())


def test_the_report_has_a_section(attributed):
    page = Path(attributed, "report/index.html").read_text()
    section = page.split('<section id="attribution">')[1].split("</section>")[0]
    assert "Where networks look" in section and "rounded weights" in section and "Plain / preserving" in section
    assert section.count("<svg") == 2 and "Maps of Grad-CAM have 4 places here" in section
    assert '<a href="#attribution">' in page


def test_what_is_missing_is_made_alone_and_the_same_bit_for_bit(copied):
    before = files(copied)
    (copied / "attributions/static_int8/1.parquet").unlink()
    (copied / "attributions/dense/0.parquet").write_bytes(b"half")
    assert "maps of 2 pairs of members; those of 9 are there" in attribute_again(copied)
    after = files(copied)
    assert {name: data for name, (_, data) in after.items()} == {name: data for name, (_, data) in before.items()}
    changed = {name for name in after if after[name][0] != before[name][0]}
    assert changed == {"attributions/static_int8/1.parquet", "attributions/dense/0.parquet"}
    assert "maps of all 11 pairs of finished members are compared" in attribute_again(copied)


def test_other_settings_make_all_anew_and_are_not_mixed(copied):
    kept = (copied / "attributions/dense/0.parquet").read_bytes()
    attribute_again(copied, "evaluation.attribution={num_examples: 10, methods: [grad_cam]}")
    table = table_of(copied)
    assert set(table["method"]) == {"grad_cam"} and set(table["num_examples"]) == {10}
    (copied / "attributions/dense/0.parquet").write_bytes(kept)
    with pytest.raises(StoreError, match=r"attributions in .* are of different settings .*`pie-ray attribute` makes"):
        table_of(copied)


def test_a_file_of_other_members_is_refused_and_made_again(copied):
    shutil.copy(copied / "attributions/static_int8/0.parquet", copied / "attributions/static_int8/1.parquet")
    with pytest.raises(StoreError, match=r"static_int8/1.parquet in .* is of the members .* the recipe's are"):
        table_of(copied)
    assert "maps of 1 pairs" in attribute_again(copied)
    assert len(table_of(copied))


def test_results_without_attribution_have_an_empty_table_and_no_section(copied):
    shutil.rmtree(copied / "attributions")
    table = table_of(copied)
    assert len(table) == 0 and attribution_section(table, []) == attribution_section(None, []) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["evaluation.attribution.methods=[saliency]"], "evaluation.attribution.methods"),
        (["evaluation.attribution.methods=[grad_cam, grad_cam]"], "methods: each once, found grad_cam, grad_cam"),
        (["evaluation.attribution.num_steps=0"], "evaluation.attribution.num_steps"),
    ],
)
def test_other_settings_are_refused(copied, capsys, options, message):
    arguments = [part for option in options for part in ("--set", option)]
    assert main(["attribute", str(copied), *arguments]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_a_folder_without_results_is_refused(tmp_path, capsys):
    assert main(["attribute", str(tmp_path)]) == 2
    assert "holds no results" in capsys.readouterr().err


FLAT = """
from torch import nn


def build(num_classes, num_channels, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(num_channels * image_size**2, num_classes))
"""


def test_what_cannot_be_explained_is_told_before_the_sweep(tmp_path, monkeypatch):
    (tmp_path / "flat_network.py").write_text(FLAT)
    monkeypatch.syspath_prepend(tmp_path)
    flat = ["model={kind: custom, factory: 'flat_network:build'}", f"execution.storage={tmp_path}"]
    with pytest.raises(ModelError, match="grad_cam: found a network no module of which"):
        design(parse_recipe(TINY, [*flat, "evaluation.attribution={}"]))
    design(parse_recipe(TINY, [*flat, "evaluation.attribution={methods: [integrated_gradients]}"]))


def test_attributes_learned_jointly_have_no_predicted_class_to_explain():
    images = load_splits(DigitsData(kind="digits", num_train=20, num_test=10), None).test
    images = replace(images, labels=torch.zeros(10, 2, dtype=torch.bool), class_names=("Male", "Young"))
    with pytest.raises(RecipeError, match="found images of attributes that are learned jointly; accepted are images"):
        check_attribution(Attribution(), torch.nn.Identity(), images)
