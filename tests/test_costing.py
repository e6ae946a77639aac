"""`pie-ray plan RECIPE`: what a study costs in advance."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pie_ray.cli import main
from pie_ray.cluster_file import parse_prices, read_cluster
from pie_ray.costing import Costs, NodeOffer, VariantCost, estimate, placements, training_epochs, wall_seconds
from pie_ray.errors import InputError
from pie_ray.identity import make_plan
from pie_ray.planned import plans_of
from pie_ray.recipe import parse_recipe
from tests.conftest import TINY
from tests.swept import sweep_here

ROOT = Path(__file__).parent.parent
AWS = str(ROOT / "cluster.yaml")


def plan_of(*overrides: str):
    return make_plan(parse_recipe(TINY, overrides))


def costs_of(plan, trained: float = 10.0, derived: float = 1.0) -> Costs:
    by_variant = {
        variant.variant_id: VariantCost(trained if variant.trains else derived, 0.0, 100.0) for variant in plan.variants
    }
    return Costs(by_variant, {"clean": 50.0}, 5.0, "made up")


# ------------------------------------------------------------------------------------------------------ arithmetic


@pytest.mark.parametrize(("num_slots", "seconds"), [(1, 42), (2, 21), (4, 11), (100, 11)])
def test_members_go_as_many_at_a_time_as_there_is_room_for_and_children_after_parents(num_slots, seconds):
    """Two seeds of: dense 10 s, pruned 10 s, converted from dense 1 s."""
    plan = plan_of()
    assert wall_seconds(plan.members, costs_of(plan), num_slots) == seconds


def test_files_and_bytes_are_counted():
    plan = plan_of()
    found = estimate(plan, costs_of(plan))
    assert (found.num_trained, found.num_derived) == (4, 2)
    assert [(each.what, each.num_files, each.num_bytes) for each in found.stored] == [
        ("checkpoints", 6, 600),
        ("predictions: clean", 6, 300),
        ("records", 6, 30),
    ]


@pytest.mark.parametrize(
    ("asked", "slots"),
    [
        ({"CPU": 1}, 16),
        ({"CPU": 3}, 5),
        ({"CPU": 1, "GPU": 0.25}, 8),
        ({"CPU": 1, "GPU": 1 / 3}, 6),
        ({"CPU": 1, "TPU": 1}, 0),
        ({"CPU": 32}, 0),
    ],
)
def test_members_on_a_node(asked, slots):
    assert NodeOffer("node", {"CPU": 16, "GPU": 2}, 1).num_slots(asked) == slots


def test_a_study_on_one_two_four_and_the_most_nodes():
    plan = plan_of("population.num_members=16")
    node, head = NodeOffer("cpu", {"CPU": 4}, 6, dollars_per_hour=2), NodeOffer("head", {}, 0, dollars_per_hour=1)
    ways = placements(plan, costs_of(plan, 3600, 0), node, {"CPU": 1.0}, head)
    assert [(way.num_nodes, way.num_slots) for way in ways] == [(1, 4), (2, 8), (4, 16), (6, 24)]
    assert [way.wall_seconds / 3600 for way in ways] == [8, 4, 2, 2]
    assert [way.dollars for way in ways] == [24, 20, 18, 26]
    assert placements(plan, costs_of(plan), node, {"GPU": 1.0}, head) == []
    teams = placements(plan, costs_of(plan), node, {"CPU": 1.0}, head, num_processes=8)
    assert [(way.num_nodes, way.num_slots) for way in teams] == [(2, 1), (4, 2), (6, 3)]
    unpriced = NodeOffer("cpu", {"CPU": 4}, 1)
    assert placements(plan, costs_of(plan), unpriced, {"CPU": 1.0}, head)[0].dollars is None


def test_epochs_of_every_way_to_train():
    text = """[
      {pruning: {kind: rigl, sparsities: [0.5]}},
      {pruning: {kind: rewinding, sparsities: [0.5], num_rounds: 2, rewind_epoch: 1}},
      {pruning: {kind: one_shot, sparsities: [0.5]}},
      {pruning: {kind: one_shot, sparsities: [0.6], fine_tuning: {epochs: 7}}},
      {quantization: [static_int8], quantization_aware: {epochs: 3}}]"""
    recipe = parse_recipe(TINY, [f"variants={text}", "training.epochs=5"])
    found = {v.variant_id: training_epochs(v, recipe.training) for v in make_plan(recipe).variants}
    assert sorted(found.values()) == [0, 3, 5, 5, 7, 13]


def test_an_adaptive_population_has_a_least_and_a_most():
    recipe = parse_recipe(TINY, ["population={num_members: 12, adaptive: {fewest: 8}}"])
    least, most = plans_of(recipe, make_plan(recipe))
    assert (len(least.members), len(most.members)) == (3 * 8, 3 * 12)


# ------------------------------------------------------------------------------------------------- cluster files


def test_the_nodes_of_our_cluster():
    cluster = read_cluster(AWS, {"cpu": 0.7})
    assert (cluster.head.name, cluster.head.limit) == ("head", 0)
    assert [(node.name, node.limit, node.dollars_per_hour) for node in cluster.workers] == [
        ("cpu", 8, 0.7),
        ("gpu", 4, None),
    ]


def labelled(tmp_path, price: str) -> str:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    config["available_node_types"]["cpu"]["labels"] = {"dollars-per-hour": price}
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_a_price_may_stand_in_the_file_and_the_command_comes_first(tmp_path):
    from ray.autoscaler._private.util import prepare_config, validate_config

    path = labelled(tmp_path, "0.25")
    validate_config(prepare_config(yaml.safe_load(Path(path).read_text())))
    assert read_cluster(path, {}).workers[0].dollars_per_hour == 0.25
    assert read_cluster(path, {"cpu": 1.0}).workers[0].dollars_per_hour == 1.0
    with pytest.raises(InputError, match=r"cpu\.labels\.dollars-per-hour: found 'cheap'"):
        read_cluster(labelled(tmp_path, "cheap"), {})


@pytest.mark.parametrize("text", ["cpu", "cpu=", "=1", "cpu=-1", "cpu=inf", "cpu=nan", "cpu=1$"])
def test_a_price_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="--price: found"):
        parse_prices([text])


HEAD = "head_node_type: a\navailable_node_types:\n  a: {resources: {CPU: 1}}"


def test_a_file_without_a_limit_has_rays_own(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(HEAD + "\n  b: {resources: {CPU: 4}, labels: [odd]}\n  c: {resources: {CPU: 4}, max_workers: 1}")
    assert [(node.name, node.limit) for node in read_cluster(str(path), {}).workers] == [("b", 2), ("c", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "found list"),
        ("a: [", "not valid YAML"),
        ("cluster_name: x", "found no available_node_types"),
        ("head_node_type: a\navailable_node_types: {a: {node_config: {}}}", r"a\.resources: found none"),
        ("head_node_type: [a]\navailable_node_types: {a: {resources: {}}}", "found no available_node_types"),
        ("max_workers: null\n" + HEAD, r"max_workers: found None; accepted is a whole number"),
        (HEAD + "\n  b: {resources: {CPU: four}}", r"b\.resources\.CPU: found 'four'; accepted is a number"),
        (HEAD + "\n  b: {resources: {CPU: 1}, min_workers: -1}", r"b\.min_workers: found -1"),
        (HEAD + "\n  b: {resources: {CPU: 1}, labels: {dollars-per-hour: [1]}}", r"dollars-per-hour: found \[1\]"),
        (HEAD + "\n  b: {resources: {CPU: 1}, labels: {dollars-per-hour: '-3'}}", r"dollars-per-hour: found '-3'"),
    ],
)
def test_what_is_no_cluster_is_refused(tmp_path, text, message):
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_cluster(str(path), {})


# ---------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def tiny_file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


def test_a_study_is_measured_and_told(tiny_file, capsys):
    prices = ["--price", "cpu=0.5", "--price", "head=0.1"]
    assert main(["plan", tiny_file, "--seconds", "0.1", "--cluster", AWS, *prices]) == 0
    out = capsys.readouterr().out
    assert "6; 4 trained, 2 derived" in out and "measured here" in out
    assert re.search(r"8 × cpu\s+128 ", out) and "left out 4 × gpu" in out
    assert re.search(r"checkpoints\s+6 ", out) and "predictions: clean" in out


def test_a_study_may_be_like_another(tmp_path, tiny_file, capsys):
    results = sweep_here(tmp_path)
    assert main(["plan", tiny_file, "--like", str(tmp_path / "results/tiny"), "--set", "training.epochs=20"]) == 0
    out = capsys.readouterr().out
    assert "taken from 6 members" in out and "1 × this machine" in out
    told = sum(record.checkpoint_bytes for record in results.records if record.variant_id == "dense") / 2
    assert f"{told / 1000:.0f}"[:2] in out
    assert main(["plan", tiny_file, "--like", str(tmp_path / "results/tiny"), "--set", "model.width=8"]) == 2
    assert "differs in model" in capsys.readouterr().err


def test_a_member_that_fits_no_node_is_told(tiny_file, capsys):
    options = ["--set", "execution.gpus_per_member=2", "--cluster", AWS, "--seconds", "0.1"]
    assert main(["plan", tiny_file, *options]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "left out 8 × cpu" in out and "left out 4 × gpu" in out and "a member asks for 1 CPU and 2 GPU" in out


def test_a_team_that_no_nodes_have_room_for_is_told(tiny_file, capsys):
    options = ["--set", "execution.gpus_per_member=1", "--set", "training={epochs: 1, num_processes: 8}"]
    assert main(["plan", tiny_file, *options, "--cluster", AWS, "--seconds", "0.1"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "left out 4 × gpu" in out and "a member asks for 8 times 1 CPU and 1 GPU" in out


def test_a_team_is_measured_by_its_share_of_the_batch(monkeypatch):
    from pie_ray import probing
    from pie_ray.training import Batches

    sizes = set()
    epoch = Batches.epoch
    monkeypatch.setattr(
        Batches, "epoch", lambda batches, *step: (sizes.add(len(b[1])) or b for b in epoch(batches, *step))
    )
    recipe = parse_recipe(TINY, ["training.num_processes=2", "training.batch_size=50"])
    probing.probe(recipe, make_plan(recipe), 0.1)
    assert sizes == {25}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml"], "cannot read the recipe nowhere.yaml"),
        (["--cluster", "nowhere.yaml"], "cannot read the cluster's file nowhere.yaml"),
        (["--price", "cpu=1"], "--price: found without --cluster"),
        (["--cluster", AWS, "--price", "tpu=1"], "--price: found node type tpu; accepted are those of"),
        (["--like", "nowhere"], "nowhere"),
        (["--like", "nowhere", "--seconds", "3"], "--seconds: found with --like"),
        (["--seconds", "0"], "--seconds: found 0"),
        (["--target-jaccard", "0.9"], "--target-jaccard: found with the embedded recipe"),
        (["results/digits", "--seconds", "3"], "--seconds: found with results/digits"),
        (["results/digits", "--cluster", AWS], "--cluster: found with results/digits"),
    ],
)
def test_mistakes_are_told(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
