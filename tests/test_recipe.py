"""A recipe is read strictly, and every mistake in it is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pie_ray.errors import RecipeError
from pie_ray.identity import make_plan
from pie_ray.recipe import dump_recipe, embedded_recipe, load_recipe, parse_recipe, with_suites

ALL_EXAMPLES = sorted(Path(__file__).parent.parent.joinpath("examples").glob("*.yaml"))
EXAMPLES = [path for path in ALL_EXAMPLES if path.stem != "policy"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_validates_and_plans(path):
    recipe = load_recipe(str(path))
    assert recipe.name == path.stem
    assert make_plan(recipe).variants[0].variant_id == "dense"


def test_the_embedded_recipe_is_the_digits_example():
    assert embedded_recipe() == next(path for path in EXAMPLES if path.stem == "digits").read_text()
    assert load_recipe(None).data.kind == "digits"


def test_a_dumped_recipe_reads_back_equal(tiny_text):
    recipe = parse_recipe(tiny_text)
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_overrides_are_yaml_and_reach_into_lists(tiny_text):
    recipe = parse_recipe(
        tiny_text,
        [
            "training.learning_rate=1e-3",
            "variants.0.pruning.sparsities=[0.25, 0.75]",
            "execution.tracking={kind: none}",
            "evaluation.store_logits=true",
        ],
    )
    assert recipe.training.learning_rate == 0.001
    assert recipe.variants[0].pruning.sparsities == (0.25, 0.75)
    assert recipe.evaluation.store_logits is True


BROKEN = {
    # override -> what the message must say
    "data.kind=cifar": "data.kind: found 'cifar'; accepted: 'digits', 'fashion_mnist', 'parquet'",
    "data={num_train: 5}": "data.kind: missing; accepted: 'digits'",
    "data={kind: parquet}": "data.path: missing",
    "data.image_size=4": "data.image_size: found 4; accepted: greater than or equal to 8",
    "model={kind: wide_resnet, depth: 20, width: 2}": "model: depth must be 6n + 4 (10, 16, 22, 28, 34, 40), found 20",
    "model={kind: custom, factory: nocolon}": "model.factory: found 'nocolon'; accepted: text that matches",
    "model.widht=8": "model.widht: unknown key; did you mean 'width'? accepted: kind, width",
    "training.epochs=0": "training.epochs: found 0; accepted: greater than 0",
    "training.epochs=2.5": "training.epochs: found 2.5; accepted: a valid integer",
    "training.batch_size='64'": "training.batch_size: found '64'; accepted: a valid integer",
    "training.learning_rate=-1": "training.learning_rate: found -1",
    "training.learning_rate=.nan": "training.learning_rate: found nan",
    "training.momentum=0": "training: nesterov needs momentum > 0",
    "training.precision=float64": "training.precision: found 'float64'; accepted: 'auto', 'float32' or 'bfloat16'",
    "training={epochs: 2, num_processes: 2, pack: 4}": "pack must be 1 or auto where num_processes is above 1, found 4",
    "training={epochs: 2, num_processes: 3}": "batch_size must be a multiple of num_processes (3), found 128",
    "training.schedule={kind: step, milestones: [3, 2]}": "schedule.milestones must increase and stay below epochs (2)",
    "training.schedule={kind: cosine, warmup_epochs: 9}": "schedule.warmup_epochs must be below epochs (2), found 9",
    "population={}": "population.num_members: missing",
    "population.num_members=0": "population.num_members: found 0; accepted: greater than or equal to 1",
    "population.base_seed=-1": "population.base_seed: found -1",
    "variants=[]": "variants: found []; accepted: a list of at least 1 item",
    "variants.0={}": "variants.0: needs pruning, quantization or both",
    "variants.0.pruning.sparsities=[1.0]": "variants.0.pruning.sparsities.0: found 1.0; accepted: less than 1",
    "variants.0.pruning.sparsities=[]": "variants.0.pruning.sparsities: found []; accepted: a list of at least 1 item",
    "variants.0.pruning.scopes=[network]": "variants.0.pruning.scopes.0: found 'network'; accepted: 'layer'",
    "variants.0.pruning.schedule={begin: 0.9}": "schedule: begin must be below end, found begin 0.9 and end 0.75",
    "variants.1.quantization=[int4]": "variants.1.quantization.0: found 'int4'; accepted: 'float16', 'bfloat16'",
    "execution.gpus_per_member=1.5": "execution: gpus_per_member above 1 must be whole, found 1.5",
    "execution.tracking={}": "execution.tracking.kind: missing; accepted: 'mlflow', 'none'",
    "evaluation.suites.clean={kind: corruptions}": "evaluation.suites: clean is the name of a suite that every study",
    "evaluation.suites.a/b={kind: corruptions}": "evaluation.suites.a/b",
    "evaluation.suites.c={}": "evaluation.suites.c.kind: missing; accepted: 'corruptions', 'cifar10_c'",
    "evaluation.suites.c={kind: rain}": "evaluation.suites.c.kind: found 'rain'; accepted: 'corruptions', 'cifar10_c'",
    "evaluation.suites.c={kind: corruptions, severities: [6]}": "evaluation.suites.c.severities.0: found 6",
    "evaluation.suites.c={kind: corruptions, severities: [1, 1]}": "evaluation.suites.c.severities: each once, found 1",
    "evaluation.suites.c={kind: corruptions, corruptions: [rain]}": "c.corruptions: found rain; accepted are gauss",
    "evaluation.suites.c={kind: corruptions, severity: 1}": "c.severity: unknown key; did you mean 'severities'?",
    "evaluation.suites.n={kind: natural, data: {kind: parquet}}": "evaluation.suites.n.data.path: missing",
    "evaluation.suites.n={kind: imagenet_a}": "evaluation.suites.n.path: missing",
    "name=a/b": "name: found 'a/b'",
    "sede=1": "sede: unknown key; accepted: name, data",
}


COMPRESSION = [
    # what is no compression, or a mix of what does not go together
    ("variants.0.pruning.kind=lottery", "variants.0.pruning.kind: found 'lottery'; accepted: 'magnitude', 'random'"),
    (
        "variants.0.pruning={kind: n_m, patterns: ['4:4']}",
        "found 4:4, which removes nothing; accepted is N:M with N below M, such as 2:4",
    ),
    (
        "variants.0.pruning={kind: n_m, patterns: [half]}",
        "variants.0.pruning.patterns.0: found 'half'; accepted: text that",
    ),
    (
        "variants.0.pruning={kind: n_m, patterns: []}",
        "variants.0.pruning.patterns: found []; accepted: a list of at least",
    ),
    ("variants.0.pruning={kind: n_m, patterns: ['2:4', '2:4']}", "variants.0.pruning.patterns: each once, found 2:4"),
    ("variants.0.pruning={kind: one_shot}", "variants.0.pruning.sparsities: missing"),
    ("variants.0.pruning={kind: one_shot, sparsities: [0.5], fine_tuning: {}}", "pruning.fine_tuning.epochs: missing"),
    (
        "variants.0.pruning={kind: rigl, sparsities: [0.5], drop_fraction: 1}",
        "pruning.drop_fraction: found 1; accepted: less",
    ),
    (
        "variants.0.pruning={kind: rigl, sparsities: [0.5], fine_tuning: {epochs: 1}}",
        "pruning.fine_tuning: unknown key",
    ),
    (
        "variants.0.pruning={kind: rewinding, sparsities: [0.5], num_rounds: 0}",
        "pruning.num_rounds: found 0; accepted: gr",
    ),
    (
        "variants.0.pruning={kind: rewinding, sparsities: [0.5], rewind_epoch: 2}",
        "variants.0.pruning.rewind_epoch must be below training.epochs (2), found 2",
    ),
    ("variants.0.preset=hooker", "variants.0: preset hooker is a whole protocol, found pruning beside it"),
    (
        "variants.1={preset: gmp_ri, quantization: [float16]}",
        "preset gmp_ri is a whole protocol, found quantization beside",
    ),
    ("variants.0={preset: hoker}", "variants.0.preset: found 'hoker'; accepted: 'hooker', 'gmp_ri' or 'gmp_pt'"),
    ("variants.0.sparsities=[0.5]", "variants.0: sparsities are a preset's; those of `pruning` stand below it"),
    (
        "variants.1.losses=[{terms: [distillation]}]",
        "variants.1: losses need training, and post-training quantization has",
    ),
    (
        "variants.0={pruning: {kind: one_shot, sparsities: [0.5]}, losses: [{terms: [distillation]}]}",
        "losses need training, and one_shot without fine_tuning has none: give fine_tuning or quantization_aware",
    ),
    ("variants.0.losses=[{terms: [cross_entropy]}]", "cross_entropy alone is the plain loss"),
    ("variants.0.losses=[{terms: []}]", "variants.0.losses.0.terms: found []; accepted: a list of at least 1 item"),
    (
        "variants.0.losses=[{terms: [distillation, distillation]}]",
        "variants.0.losses.0.terms: each once, found distillation",
    ),
    (
        "variants.0.losses=[{terms: [distillation], temperature: 0}]",
        "variants.0.losses.0.temperature: found 0; accepted: gr",
    ),
    (
        "variants.0.losses=[{terms: [distillation], weighting: {kind: softadapt}}]",
        "weighting softadapt weighs terms against each other, found one term",
    ),
    (
        "variants.0.losses=[{terms: [cross_entropy, distillation], weighting: {kind: fixed, weights: [1]}}]",
        "weighting.weights: found 1, expected 2",
    ),
    ("variants.0.quantization_aware={epochs: 1}", "quantization_aware needs integer schemes, found no quantization"),
    (
        "variants.1={quantization: [float16, static_int8], quantization_aware: {epochs: 1}}",
        "quantization_aware needs integer schemes, found float16",
    ),
]


@pytest.mark.parametrize(("override", "message"), [*BROKEN.items(), *COMPRESSION], ids=lambda text: text[:60])
def test_a_mistake_is_told_with_its_path_what_was_found_and_what_is_accepted(tiny_text, override, message):
    with pytest.raises(RecipeError) as caught:
        parse_recipe(tiny_text, [override])
    assert message in str(caught.value)
    assert "1 mistake\n" in str(caught.value)


@pytest.mark.parametrize(
    ("other", "variant_id"),
    [
        ("pruning: {kind: magnitude, sparsities: [0.5], schedule: {end: 0.9}}", "magnitude-0.50"),
        ("pruning: {kind: one_shot, sparsities: [0.5], fine_tuning: {epochs: 2}}", "one_shot_ft-0.50"),
        ("quantization: [static_int8], quantization_aware: {epochs: 2}", "qat_static_int8"),
        ("preset: hooker", "magnitude-0.50"),
    ],
)
def test_one_variant_described_twice_is_refused_and_a_repeated_one_is_not(tiny_text, other, variant_id):
    first = (
        "{pruning: {kind: one_shot, sparsities: [0.5], fine_tuning: {epochs: 1}}}, "
        "{quantization: [static_int8], quantization_aware: {epochs: 1}}, "
        "{pruning: {kind: magnitude, sparsities: [0.5]}}"
    )
    once = make_plan(parse_recipe(tiny_text, [f"variants=[{first}]"]))
    assert make_plan(parse_recipe(tiny_text, [f"variants=[{first}, {first}]"])) == once
    with pytest.raises(RecipeError, match=rf"variants.3: {variant_id} is described twice with different settings"):
        make_plan(parse_recipe(tiny_text, [f"variants=[{first}, {{{other}}}]"]))


def test_all_mistakes_are_told_at_once(tiny_text):
    with pytest.raises(RecipeError, match=r"3 mistakes") as caught:
        parse_recipe(tiny_text, ["training.epochs=0", "model.widht=8", "population.num_members=x"])
    assert all(path in str(caught.value) for path in ("training.epochs", "model.widht", "population.num_members"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "line 1, column 6: not valid YAML"),
        ("- 1\n", "found a list, expected a mapping"),
        ("", "found nothing, expected a mapping"),
        ("name: a\nname: b\n", "line 1, column 1: not valid YAML: the key 'name' stands twice"),
        ("name: !!python/object:os.system {}\n", "not valid YAML"),
    ],
)
def test_text_that_is_no_recipe(text, message):
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, source="my.yaml")
    assert str(caught.value).startswith("my.yaml") and message in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("variants.9.quantization=[float16]", "'9' is no index of a list of 2"),
        ("name.first=x", "name is text, which has no keys"),
    ],
)
def test_an_override_that_cannot_be_applied(tiny_text, override, message):
    with pytest.raises(RecipeError, match="--set") as caught:
        parse_recipe(tiny_text, [override])
    assert message in str(caught.value)


def test_each_process_computes_on_one_gpu(tiny_text):
    parse_recipe(tiny_text, ["training.num_processes=2", "execution.gpus_per_member=1"])
    for gpus in ("0.5", "2"):
        with pytest.raises(RecipeError, match=f"gpus_per_member must be 1 or 0 .* found {gpus}"):
            parse_recipe(tiny_text, ["training.num_processes=2", f"execution.gpus_per_member={gpus}"])


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*absent.yaml: No such file"):
        load_recipe(str(tmp_path / "absent.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_recipe(str(tmp_path / "binary.yaml"))


def test_the_recipe_is_frozen(tiny_recipe):
    with pytest.raises(ValueError, match="frozen"):
        tiny_recipe.training.epochs = 3


def test_dumped_defaults_are_written_out(tiny_recipe):
    assert yaml.safe_load(dump_recipe(tiny_recipe))["training"]["momentum"] == 0.9


SUITES = "fog: {kind: corruptions, corruptions: [fog]}\nown: {kind: natural, data: {kind: digits}}\n"


@pytest.mark.parametrize(
    "text",
    [
        SUITES,
        "suites:\n  " + SUITES.replace("\n", "\n  "),
        "name: whole\nevaluation:\n  batch_size: 7\n  suites:\n    " + SUITES.replace("\n", "\n    "),
    ],
    ids=["by name", "under suites", "a recipe"],
)
def test_suites_of_a_file_come_beside_the_recipe_s_own(tiny_text, tmp_path, text):
    (tmp_path / "suites.yaml").write_text(text)
    own = tiny_text + "evaluation:\n  suites:\n    fog: {kind: corruptions}\n    frost: {kind: corruptions}\n"
    recipe = with_suites(own, str(tmp_path / "suites.yaml"), ["evaluation.suites.frost.seed=3"])
    assert list(recipe.evaluation.suites) == ["fog", "frost", "own"]
    assert recipe.evaluation.suites["fog"].corruptions == ("fog",)
    assert recipe.evaluation.suites["frost"].seed == 3
    assert (recipe.name, recipe.evaluation.batch_size) == ("tiny", 500)


def test_a_suite_may_be_called_suites(tiny_text, tmp_path):
    (tmp_path / "suites.yaml").write_text("suites: {kind: corruptions}\n")
    assert list(with_suites(tiny_text, str(tmp_path / "suites.yaml"), []).evaluation.suites) == ["suites"]


def test_without_a_file_the_recipe_stays_as_it_is(tiny_text):
    assert with_suites(tiny_text, None, []) == parse_recipe(tiny_text)


@pytest.mark.parametrize(
    ("text", "message"),
    [("- fog", "a list, expected suites by name"), ("", "nothing, expected suites by name"), ("a: [", "YAML")],
)
def test_a_file_without_suites(tiny_text, tmp_path, text, message):
    (tmp_path / "suites.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        with_suites(tiny_text, str(tmp_path / "suites.yaml"), [])


def test_further_suites_change_no_member(tiny_text):
    plain = parse_recipe(tiny_text)
    assert make_plan(parse_recipe(tiny_text, ["evaluation.suites.c={kind: corruptions}"])) == make_plan(plain)
