"""Members of label-preserving losses, made of real digits, and the table that holds them against the plain loss."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pie_ray import stats
from pie_ray.analysis import analyze, load_analysis, open_results
from pie_ray.analysis.comparison import compare, load_subject
from pie_ray.analysis.preservation import preservation_table
from pie_ray.errors import RecipeError, StoreError
from pie_ray.identity import make_plan
from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.store import MemorySink, ParquetSink, PredictionStore, paths, read_checkpoint
from pie_ray.study import prepare
from pie_ray.workplace import Workplace
from tests.celeba import make_celeba
from tests.conftest import TINY
from tests.swept import sweep_here

LOSSES = "[{terms: [cross_entropy, distillation], weighting: {kind: softadapt}}]"
TUNED = "fine_tuning: {epochs: 1, learning_rate: 0.02}"
VARIANTS = (
    "variants=[{pruning: {kind: magnitude, sparsities: [0.8]}, losses: "
    f"{LOSSES}}}, {{pruning: {{kind: magnitude, sparsities: [0.8], {TUNED}}}, losses: {LOSSES}, "
    "quantization: [static_int8]}]"
)
SCRATCH, POST = "magnitude-0.80+ce_kd4-softadapt", "magnitude_pt-0.80+ce_kd4-softadapt"
PLAIN = {
    SCRATCH: "magnitude-0.80",
    POST: "magnitude_pt-0.80",
    f"{POST}+static_int8": "magnitude_pt-0.80+static_int8",
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return sweep_here(tmp_path_factory.mktemp("swept"), VARIANTS, "training.epochs=1")


@pytest.fixture(scope="module")
def analysis(swept):
    return analyze(swept)


def predictions(results, variant_id):
    found = PredictionStore(results.storage).read_population("clean", "test", variant_id, range(2), ("prediction",))
    return found.arrays["prediction"], found.labels


# -------------------------------------------------------------------------------------------------------------- members


def test_the_plain_variants_join_the_plan(swept):
    assert [variant.variant_id for variant in swept.plan.variants] == [
        "dense",
        "magnitude-0.80",
        SCRATCH,
        "magnitude_pt-0.80",
        POST,
        "magnitude_pt-0.80+static_int8",
        f"{POST}+static_int8",
    ]
    infos = {info.variant_id: info for info in swept.variants}
    for variant_id, info in infos.items():
        assert info.plain_id == PLAIN.get(variant_id)
        assert info.loss == ("ce_kd4-softadapt" if variant_id in PLAIN else None)
        assert info.is_paired == (variant_id not in ("dense", "magnitude-0.80"))


def test_a_preserving_member_waits_for_the_dense_one_of_its_seed(swept):
    by_id = {spec.member_id: spec for spec in swept.plan.members}
    for spec in swept.plan.members:
        assert by_id[spec.reference_id].variant_id == "dense" and by_id[spec.reference_id].seed == spec.seed
        if spec.variant_id in (SCRATCH, POST):
            assert spec.parent_id == spec.reference_id
    (quantized,) = {by_id[spec.parent_id].variant_id for spec in swept.plan.population(f"{POST}+static_int8")}
    assert quantized == POST


def test_every_preserving_member_is_trained_pruned_and_recorded(swept):
    records = [record for record in swept.records if record.variant_id in (SCRATCH, POST)]
    assert len(records) == 4
    for record in records:
        assert record.achieved_sparsity == pytest.approx(0.8, abs=0.01)
        assert np.isfinite(record.train_loss)


def test_resume_gives_the_same_bytes_and_rewrites_nothing(swept, tmp_path):
    again = sweep_here(tmp_path, VARIANTS, "training.epochs=1", "population.num_members=1")
    for variant_id in (SCRATCH, POST):
        assert read_checkpoint(again.storage, variant_id, 0) == read_checkpoint(swept.storage, variant_id, 0)
    study = prepare(parse_recipe(TINY, [f"execution.storage={tmp_path / 'results'}", VARIANTS, "training.epochs=1"]))
    spec = again.plan.population(SCRATCH)[0]
    epochs = []
    place = Workplace(study.recipe, study.splits, study.storage, MemorySink())
    run_member(spec, place, on_epoch=lambda epoch, loss: epochs.append(epoch))
    assert epochs == []


@pytest.mark.parametrize("variant_id", [SCRATCH, POST])
def test_a_reference_that_is_not_there_is_one_clear_error(tmp_path, variant_id):
    study = prepare(parse_recipe(TINY, [f"execution.storage={tmp_path}", VARIANTS]))
    place = Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage))
    (spec,) = [s for s in study.plan.members if (s.variant_id, s.seed) == (variant_id, 1)]
    with pytest.raises(StoreError, match=r"dense/1\.safetensors.*not trained yet"):
        run_member(spec, place)
    assert not study.storage.exists(paths.checkpoint(variant_id, 1))


def test_another_recipes_reference_is_refused(swept, tmp_path):
    study = prepare(parse_recipe(TINY, [f"execution.storage={tmp_path}", VARIANTS, "training.epochs=2"]))
    path = paths.checkpoint("dense", 0)
    study.storage.write_bytes(path, swept.storage.read_bytes(path))
    place = Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage))
    (spec,) = [s for s in study.plan.members if (s.variant_id, s.seed) == (SCRATCH, 0)]
    with pytest.raises(StoreError, match=spec.reference_id):
        run_member(spec, place)


def test_a_loss_moves_no_id_of_what_is_trained_without_it():
    ids = {}
    for overrides in ((), (VARIANTS,)):
        for spec in make_plan(parse_recipe(TINY, overrides)).members:
            ids.setdefault((spec.variant_id, spec.seed), set()).add(spec.member_id)
    assert all(len(found) == 1 for found in ids.values())


def test_two_settings_of_one_weighting_are_refused():
    """What a variant is called does not tell them apart."""
    weightings = ("{kind: softadapt}", "{kind: softadapt, beta: 1}")
    losses = ", ".join(f"{{terms: [cross_entropy, distillation], weighting: {kind}}}" for kind in weightings)
    recipe = parse_recipe(TINY, [f"variants=[{{pruning: {{kind: magnitude, sparsities: [0.8]}}, losses: [{losses}]}}]"])
    message = r"variants\.0: magnitude-0.80\+ce_kd4-softadapt is described twice .* each loss one weighting"
    with pytest.raises(RecipeError, match=message):
        make_plan(recipe)


# ---------------------------------------------------------------------------------------------------------------- table


def test_a_row_a_variant_with_a_loss(analysis, swept):
    table = analysis.preservation.set_index("variant_id")
    assert dict(table["plain_variant_id"]) == PLAIN
    assert list(table["plain_is_paired"]) == [False, True, True]
    assert (table["loss"] == "ce_kd4-softadapt").all() and (table["num_members"] == 2).all()
    reference, labels = predictions(swept, "dense")
    for variant_id, row in table.iterrows():
        preserving, plain = (predictions(swept, name)[0] for name in (variant_id, row["plain_variant_id"]))
        assert row["cie_mean"] == pytest.approx((preserving != reference).mean())
        assert row["plain_cie_mean"] == pytest.approx((plain != reference).mean())
        assert row["cie_ratio"] == pytest.approx((plain != reference).sum() / (preserving != reference).sum())
        assert row["top1_change"] == pytest.approx((preserving == labels).mean() - (plain == labels).mean())
        for figure in ("cie_ratio", "cie_u_ratio", "top1_change", "worst_class_difference"):
            assert row[f"{figure}_low"] <= row[figure] <= row[f"{figure}_high"], figure
        of_class = [(preserving == labels)[:, labels == c].mean() - (reference == labels)[:, labels == c].mean()
                    for c in range(10)]  # fmt: skip
        assert row["worst_class_change"] == pytest.approx(min(of_class))
        assert row["worst_class"] == swept.class_names[int(np.argmin(of_class))]


def test_the_summarys_figures_agree(analysis):
    summary = analysis.summary.set_index("variant_id")
    for row in analysis.preservation.to_dict("records"):
        for column in ("cie_mean", "cie_u_mean"):
            assert row[column] == pytest.approx(summary.loc[row["variant_id"], column])
            assert row[f"plain_{column}"] == pytest.approx(summary.loc[row["plain_variant_id"], column])


def test_the_table_is_the_same_again_and_reads_back(analysis, swept):
    assert load_analysis(swept).preservation.equals(analysis.preservation)
    assert analyze(open_results(swept.storage)).preservation.equals(analysis.preservation)


@dataclasses.dataclass(frozen=True)
class Lacking:
    """A source without some members, by variant and seed."""

    source: object
    absent: frozenset

    def __getattr__(self, name):
        return getattr(self.source, name)

    def population(self, evaluation_set, variant_id, columns):
        found = self.source.population(evaluation_set, variant_id, columns)
        kept = [place for place, seed in enumerate(found.seeds) if (variant_id, seed) not in self.absent]
        if not kept:
            return None
        arrays = {name: values[kept] for name, values in found.arrays.items()}
        return dataclasses.replace(found, seeds=tuple(found.seeds[place] for place in kept), arrays=arrays)


def test_only_seeds_that_all_three_have_are_compared(swept):
    absent = {("dense", 0), (POST, 1), ("magnitude_pt-0.80", 0), ("magnitude_pt-0.80+static_int8", 0)}
    table = analyze(Lacking(swept, frozenset(absent))).preservation.set_index("variant_id")
    assert dict(table["num_members"]) == {SCRATCH: 1, f"{POST}+static_int8": 1}
    reference, plain, preserving = (predictions(swept, name)[0][1] for name in ("dense", PLAIN[SCRATCH], SCRATCH))
    assert table.loc[SCRATCH, "cie_ratio"] == pytest.approx(
        (plain != reference).sum() / (preserving != reference).sum()
    )
    assert np.isnan(table.loc[SCRATCH, "cie_ratio_low"])


def test_a_sweep_without_such_losses_has_no_rows(tmp_path):
    assert analyze(sweep_here(tmp_path, "training.epochs=1", "population.num_members=1")).preservation.empty


def test_corrupted_images_have_no_row(swept):
    infos = {info.variant_id: info for info in swept.variants}
    both = [load_subject(swept, "test", infos[variant_id]) for variant_id in ("dense", POST)]
    assert len(preservation_table(compare(*both))) == 1
    corrupted = [dataclasses.replace(subject, evaluation_set="corruption/fog/3") for subject in both]
    assert preservation_table(compare(*corrupted)).empty


def test_of_attributes_each_is_a_class_and_an_example_has_all_of_them(tmp_path):
    folder = make_celeba(tmp_path / "celeba", num_train=120, num_validation=20, num_test=40)
    losses = "[{terms: [cross_entropy, logit_pairing, distillation]}]"
    results = sweep_here(
        tmp_path,
        f"data={{kind: celeba, path: {folder}, attributes: [Large, Bright, Marked]}}",
        f"variants=[{{pruning: {{kind: magnitude, sparsities: [0.9], scopes: [global]}}, losses: {losses}}}]",
    )
    (row,) = analyze(results).preservation.to_dict("records")
    store = PredictionStore(results.storage)
    populations = [
        store.read_population("clean", "test", name, [0, 1], ("logits",))
        for name in ("dense", row["plain_variant_id"], row["variant_id"])
    ]
    reference, plain, preserving = (found.arrays["logits"] > 0 for found in populations)
    labels = populations[0].labels
    assert row["cie_mean"] == pytest.approx((preserving != reference).mean())
    change = (preserving == labels).mean(axis=(0, 1)) - (reference == labels).mean(axis=(0, 1))
    assert (row["worst_class"], row["worst_class_change"]) == (
        results.class_names[int(change.argmin())],
        pytest.approx(change.min()),
    )
    assert isinstance(row["loss"], str) and row["loss"] == "ce_lp_kd4"
    assert not np.isnan(row["top1_change_low"])
    assert stats.compare_pairs(
        reference.reshape(2, -1).astype(int), plain.reshape(2, -1).astype(int), labels.ravel().astype(int)
    ).mean_cie == pytest.approx(row["plain_cie_mean"])
