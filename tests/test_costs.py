"""What a variant costs: counted by hand on small networks, then of a real sweep, whose latencies are measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
import torchvision
from rich.console import Console
from torch import nn

from pie_ray import stages
from pie_ray.analysis import Results, analyze, load_tables, open_results
from pie_ray.analysis.costs import cost_table
from pie_ray.cli import main
from pie_ray.compress.multiply_adds import multiply_adds
from pie_ray.latency import is_measured, measure_latency, members_to_measure
from pie_ray.records import MemberRecord
from pie_ray.store import compressed_size, paths, read_latency, write_latency
from pie_ray.tracked import logged_metrics

from .swept import sweep_here

VARIANTS = "variants=[{pruning: {kind: magnitude, sparsities: [0.9]}}, {quantization: [static_int8]}]"
MORE_VARIANTS = VARIANTS.replace("[0.9]", "[0.5, 0.9]")
QUICK = {"batch_sizes": (1, 8), "seconds": 5.0}


# ------------------------------------------------------------------------------------------------- multiply-adds


def convolution_and_head() -> nn.Module:
    """On 6 x 6 images of 2 channels: 4 x 4 places of 3 outputs x 2 x 3 x 3 weights, then 48 x 5."""
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))


def test_multiply_adds_are_those_of_the_shapes() -> None:
    assert multiply_adds(convolution_and_head(), (2, 6, 6)) == (16 * 54 + 240,) * 2


def test_those_with_a_zero_weight_are_told_apart_layer_by_layer() -> None:
    network = convolution_and_head()
    with torch.no_grad():
        network[0].weight.view(-1)[:27] = 0
        network[4].weight.view(-1)[:60] = 0
    assert multiply_adds(network, (2, 6, 6)) == (16 * 54 + 240, 16 * 27 + 180)


def test_channels_that_are_gone_are_not_counted() -> None:
    small = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(32, 5))
    assert multiply_adds(small, (2, 6, 6)) == (16 * 36 + 160,) * 2


def test_a_network_that_is_one_layer_is_counted_as_often_as_it_is_used() -> None:
    class Twice(nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images.flatten(1))

    used = Twice(12, 12)
    assert multiply_adds(used, (3, 2, 2)) == (144, 144)
    assert multiply_adds(nn.Sequential(used, used), (3, 2, 2)) == (288, 288)
    nn.init.zeros_(used.weight)
    assert multiply_adds(used, (3, 2, 2)) == (144, 0) and not used._forward_hooks


def test_a_known_network_has_the_published_number() -> None:
    """ResNet-18 on 224 px: 1.81 billion, as torchvision's documentation has it."""
    total, nonzero = multiply_adds(torchvision.models.resnet18(), (3, 224, 224))
    assert total == 1_814_073_344
    # Random weights may be exactly zero, one in tens of millions.
    assert nonzero == pytest.approx(total, rel=1e-5)


# --------------------------------------------------------------------------------------------------- a real sweep


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return sweep_here(tmp_path_factory.mktemp("costs"), VARIANTS)


@pytest.fixture(scope="module")
def measured(swept: Results) -> Results:
    write_latency(swept.storage, measure_latency(swept, **QUICK))
    return swept


def costs_of(results: Results) -> pd.DataFrame:
    return results.costs().set_index("variant_id")


def test_bytes_are_those_of_the_stored_checkpoint(swept: Results) -> None:
    for record in swept.records:
        data = swept.storage.read_bytes(paths.checkpoint(record.variant_id, record.seed))
        assert (record.checkpoint_bytes, record.compressed_bytes) == (len(data), compressed_size(data))


def test_zeros_are_stored_and_compress_away_and_integers_are_small(swept: Results) -> None:
    costs = costs_of(swept)
    assert costs["relative_checkpoint_bytes"]["magnitude-0.90"] == pytest.approx(1, abs=0.01)
    assert costs["relative_compressed_bytes"]["magnitude-0.90"] < 0.5
    assert costs["relative_checkpoint_bytes"]["static_int8"] < 0.6
    assert (costs["num_members"] == 2).all() and costs["num_parameters"].nunique() == 1


def test_pruning_leaves_the_work_and_takes_its_sense(swept: Results) -> None:
    costs = costs_of(swept)
    assert costs["multiply_adds"].nunique() == 1
    assert costs["relative_multiply_adds_nonzero"]["magnitude-0.90"] < 0.2
    # Quantized members were counted before they became integers.
    assert costs["multiply_adds_nonzero"]["static_int8"] == costs["multiply_adds"]["dense"]


def test_a_restored_member_has_the_figures_that_its_checkpoint_knows(tmp_path) -> None:
    first = sweep_here(tmp_path, "population.num_members=1")
    for record in first.records:
        first.storage.delete(paths.member(record.variant_id, record.seed))
    again = sweep_here(tmp_path, "population.num_members=1")
    for name in ("checkpoint_bytes", "compressed_bytes", "multiply_adds", "multiply_adds_nonzero"):
        before, after = ([getattr(record, name) for record in results.records] for results in (first, again))
        assert after == before


def test_structured_pruning_shrinks_the_work(tmp_path) -> None:
    results = sweep_here(
        tmp_path, "variants=[{pruning: {kind: structured, sparsities: [0.5]}}]", "population.num_members=1"
    )
    work = results.costs()["relative_multiply_adds"]
    assert work[0] == 1 and work[1] < 0.8


def test_latencies_are_of_one_member_a_variant_beside_the_reference(measured: Results) -> None:
    record = read_latency(measured.storage)
    assert record is not None and (record.device, record.num_threads) == ("cpu", 1) and record.processor
    found = {(latency.variant_id, latency.batch_size): latency for latency in record.latencies}
    assert set(found) == {(name, size) for name in ("dense", "magnitude-0.90", "static_int8") for size in (1, 8)}
    chosen = {spec.variant_id: spec.member_id for spec in members_to_measure(measured)}
    for (variant_id, size), latency in found.items():
        assert latency.member_id == chosen[variant_id] and latency.num_rounds >= 1
        assert latency.median_ms > 0 and latency.reference_ms == found["dense", size].median_ms
        if latency.num_rounds > 1:
            assert latency.low_ms <= latency.median_ms <= latency.high_ms
    assert found["dense", 1].speedup == 1 and found["static_int8", 1].arithmetic == measured.records[-1].arithmetic


def test_a_reference_in_bfloat16_has_the_float32_one_beside_it(measured: Results) -> None:
    evaluation = measured.recipe.evaluation.model_copy(update={"precision": "bfloat16"})
    results = replace(measured, recipe=measured.recipe.model_copy(update={"evaluation": evaluation}))
    latencies = {latency.variant_id: latency for latency in measure_latency(results, **QUICK).latencies}
    assert set(latencies) == {"dense", "magnitude-0.90", "static_int8"}
    assert latencies["dense"].reference_ms != latencies["dense"].median_ms


def test_the_table_has_a_batch_size_in_its_columns_and_nothing_where_nothing_was_measured(measured: Results) -> None:
    record = read_latency(measured.storage)
    without = record.model_copy(update={"latencies": tuple(x for x in record.latencies if x.variant_id == "dense")})
    costs = cost_table(["dense", "static_int8"], measured.records, without).set_index("variant_id")
    assert costs["speedup_batch_8"]["dense"] == 1 and costs["num_threads"]["dense"] == 1
    assert math.isnan(costs["latency_ms_batch_8"]["static_int8"]) and "magnitude-0.90" not in costs.index


def test_members_that_are_older_or_without_checkpoints_have_no_figures(measured: Results) -> None:
    old = MemberRecord.model_validate(
        measured.records[0].model_dump(exclude={"compressed_bytes", "multiply_adds", "multiply_adds_nonzero"})
    )
    costs = cost_table(["dense"], [old, *measured.records[1:]], None)
    assert costs["compressed_bytes"].isna().all() and costs["checkpoint_bytes"].notna().all()
    unstored = [record.model_copy(update={"checkpoint_bytes": 0}) for record in measured.records]
    assert cost_table(["dense"], unstored, None).empty


def test_the_analysis_has_the_table_and_a_tracker_its_figures(measured: Results) -> None:
    analysis = analyze(measured)
    assert load_tables(measured.storage)["costs"].equals(analysis.costs)
    logged = logged_metrics(analysis)
    for variant_id, row in costs_of(measured).iterrows():
        shown = {name: logged[str(variant_id)][name] for name in ("multiply_adds", "latency_ms", "speedup")}
        expected = {"latency_ms": "latency_ms_batch_1", "speedup": "speedup_batch_1"}
        assert shown == {name: pytest.approx(row[expected.get(name, name)], abs=1e-5) for name in shown}


def test_results_older_than_the_table_are_read_without_it(measured: Results) -> None:
    analyze(measured)
    measured.storage.delete(paths.table("costs"))
    assert load_tables(measured.storage)["costs"].empty


# ------------------------------------------------------------------------------------------- measuring when, and again


def test_a_variant_that_joins_has_all_measured_again(tmp_path, capsys) -> None:
    results = sweep_here(tmp_path, VARIANTS, "population.num_members=1")
    assert not is_measured(results)
    folder = str(tmp_path / "results" / "tiny")
    assert main(["cost", folder, "--batch", "2"]) == 0
    told = capsys.readouterr().out
    assert (
        "Measured the latency of 3 variants on 1 thread" in told and "ms at 2" in told and "pie-ray report" not in told
    )
    assert is_measured(open_results(results.storage))
    first = read_latency(results.storage)

    grown = sweep_here(tmp_path, MORE_VARIANTS, "population.num_members=1")
    assert not is_measured(grown)
    analyze(grown)
    assert main(["cost", folder, "--batch", "2", "--batch", "3"]) == 0
    assert f"`pie-ray report {folder}` draws it" in capsys.readouterr().out
    again = read_latency(results.storage)
    before, after = ({latency.variant_id for latency in record.latencies} for record in (first, again))
    assert after == before | {"magnitude-0.50"}
    stored = load_tables(grown.storage)["costs"]
    assert stored["speedup_batch_2"].notna().all() and stored["speedup_batch_3"].notna().all()


def test_the_threads_are_those_asked_for_and_then_what_they_were(measured: Results) -> None:
    assert measure_latency(measured, batch_sizes=(1,), num_threads=2, seconds=0.1).num_threads == 2
    assert torch.get_num_threads() == 1


def test_a_batch_that_would_take_too_long_is_left_out_and_said_to_be(measured: Results, capsys) -> None:
    found = measure_latency(measured, batch_sizes=(1, 100_000), seconds=0.5)
    assert {latency.batch_size for latency in found.latencies} == {1}
    stages.measure_costs(measured, Console(width=200), batch_sizes=(1, 100_000), seconds=0.5)
    assert "without batches of 100,000" in capsys.readouterr().out


def test_a_sweep_measures_at_its_end_once_and_never_fails_for_it(tmp_path, capsys) -> None:
    results = sweep_here(tmp_path, VARIANTS, "population.num_members=1", "execution.measure_latency=true")
    console = Console(width=200)
    # Complete already, so that no Ray is needed.
    assert stages.sweep(results.recipe, console).uri == results.storage.uri
    assert "Measured the latency of 3 variants" in capsys.readouterr().out
    first = read_latency(results.storage)
    stages.sweep(results.recipe, console)
    assert "Measured" not in capsys.readouterr().out and read_latency(results.storage) == first
    results.storage.delete(paths.LATENCY)
    results.storage.write_bytes(paths.checkpoint("static_int8", 0), b"damaged")
    stages.sweep(results.recipe, console)
    assert "Latencies were not measured: checkpoints/static_int8/0.safetensors" in capsys.readouterr().out
    assert read_latency(results.storage) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--batch", "0"), "--batch: found 0; accepted is a number of images, 1 or more"),
        (("--threads", "0"), "--threads: found 0; accepted is a number of threads, 1 or more"),
        (("--seconds", "nan"), "--seconds: found nan; accepted is a number above 0"),
    ],
)
def test_mistaken_options_are_one_error(options: tuple[str, ...], message: str, capsys) -> None:
    assert main(["cost", "nowhere", *options]) == 2
    assert message in capsys.readouterr().err


def test_without_a_checkpoint_of_the_reference_nothing_is_measured(tmp_path, capsys) -> None:
    results = sweep_here(tmp_path, "variants=[{quantization: [float16]}]", "population.num_members=1")
    results.storage.delete(paths.checkpoint("dense", 0))
    assert main(["cost", str(tmp_path / "results" / "tiny")]) == 2
    assert "no member of the dense reference has a checkpoint" in capsys.readouterr().err
