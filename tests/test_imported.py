from __future__ import annotations

import decimal
import gzip
import hashlib
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import pie_ray
from pie_ray.analysis import user_files
from pie_ray.analysis.imported import ImportedPredictions, open_predictions
from pie_ray.config import Evaluation, VariantGrid
from pie_ray.errors import InputError
from pie_ray.store import Storage
from pie_ray.variants import PRUNING_KINDS, Variant, expand, loss_id

pytestmark = pytest.mark.filterwarnings("error")

ALL = ("prediction", "confidence", "label_probability", "label_rank", "margin", "entropy", "logits")
SUFFIXES = ("parquet", "csv", "csv.gz")


def make_frame(
    members: dict[str, int] | None = None, example_ids: tuple[int, ...] = (11, 3, 7, 40, 5), seed: int = 0, **more: Any
) -> pd.DataFrame:
    """Predictions of three classes, rows shuffled."""
    rng = np.random.default_rng(seed)
    labels = {example: example % 3 for example in example_ids}
    rows = [
        {"variant": variant, "member": member, "example_id": example, "label": labels[example]}
        for variant, num_members in (members or {"dense": 3, "magnitude-0.50": 2}).items()
        for member in range(num_members)
        for example in example_ids
    ]
    frame = pd.DataFrame(rows).sample(frac=1, random_state=seed, ignore_index=True)
    frame["prediction"] = rng.integers(0, 3, len(frame))
    return frame.assign(**more)


def write(path: Path, frame: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False, row_group_size=max(7, len(frame) // 20))
    else:
        frame.to_csv(path, index=False)
    return path


def load(path: Path, **settings: Any) -> ImportedPredictions:
    return open_predictions(str(path), storage=Storage(path.parent / "results"), **settings)


def arrays_of(
    source: ImportedPredictions, variant_id: str = "dense", evaluation_set: str = "test"
) -> dict[str, np.ndarray]:
    population = source.population(evaluation_set, variant_id, ALL)
    assert population is not None
    return population.arrays


def pivot(frame: pd.DataFrame, variant: str, column: str = "prediction") -> np.ndarray:
    """[members, examples], by pandas."""
    own = frame[frame["variant"] == variant]
    return own.pivot(index="member", columns="example_id", values=column).to_numpy()


def assert_same(first: ImportedPredictions, second: ImportedPredictions) -> None:
    """All that an analysis takes from them."""
    for name in ("seed_text", "class_names", "variants", "evaluation_sets", "missing"):
        assert getattr(first, name) == getattr(second, name)
    for evaluation_set in first.evaluation_sets:
        facts, other = first.examples(evaluation_set), second.examples(evaluation_set)
        np.testing.assert_array_equal(facts.example_ids, other.example_ids)
        np.testing.assert_array_equal(facts.labels, other.labels)
        assert facts.keys == other.keys
        assert facts.groups.keys() == other.groups.keys()
        for name, values in facts.groups.items():
            np.testing.assert_array_equal(values, other.groups[name])
        for variant in first.variants:
            one, two = (source.population(evaluation_set, variant.variant_id, ALL) for source in (first, second))
            if one is None or two is None:
                assert one is two
                continue
            assert one.seeds == two.seeds
            assert one.arrays.keys() == two.arrays.keys()
            for name, values in one.arrays.items():
                np.testing.assert_array_equal(values, two.arrays[name])


# ------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reads_populations_member_axis_first(suffix: str, tmp_path: Path) -> None:
    frame = make_frame(confidence=np.linspace(0, 1, 25), label_probability=np.linspace(1, 0, 25))
    source = load(write(tmp_path / f"mine.{suffix}", frame))
    assert [variant.variant_id for variant in source.variants] == ["dense", "magnitude-0.50"]
    assert source.evaluation_sets == ("test",)
    assert source.class_names == ("0", "1", "2")
    assert not source.is_multilabel
    assert (source.missing, source.notes, source.title) == ((), (), "mine")
    for variant, seeds in (("dense", (0, 1, 2)), ("magnitude-0.50", (0, 1))):
        population = source.population("test", variant, ALL)
        assert population is not None
        assert (population.variant_id, population.evaluation_set) == (variant, "test")
        assert (population.seeds, population.missing_seeds) == (seeds, ())
        np.testing.assert_array_equal(population.example_ids, [3, 5, 7, 11, 40])
        np.testing.assert_array_equal(population.labels, [0, 2, 1, 2, 1])
        assert set(population.arrays) == {"prediction", "confidence", "label_probability"}
        np.testing.assert_array_equal(population.arrays["prediction"], pivot(frame, variant))
        for name in ("confidence", "label_probability"):
            np.testing.assert_array_equal(population.arrays[name], pivot(frame, variant, name).astype(np.float32))
        types = [array.dtype for array in (population.example_ids, population.labels, *population.arrays.values())]
        assert types == [np.int64, np.uint16, np.uint16, np.float32, np.float32]
    facts = source.examples("test")
    np.testing.assert_array_equal(facts.example_ids, [3, 5, 7, 11, 40])
    np.testing.assert_array_equal(facts.labels, [0, 2, 1, 2, 1])
    assert facts.keys == ("3", "5", "7", "11", "40")
    assert facts.groups == {}


def test_only_columns_that_are_asked_for_are_given(tmp_path: Path) -> None:
    source = load(write(tmp_path / "mine.csv", make_frame(confidence=0.5)))
    population = source.population("test", "dense", ("confidence", "margin"))
    assert population is not None
    assert set(population.arrays) == {"confidence"}
    assert source.population("test", "absent", ALL) is None


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False), st.sampled_from(SUFFIXES), st.integers(1, 4))
def test_neither_the_order_of_rows_nor_the_kind_and_number_of_files_changes_anything(
    random: Any, suffix: str, num_files: int
) -> None:
    frame = make_frame({"dense": 3, "static_int8": 2, "own": 1}, seed=1, confidence=np.arange(30) / 30)
    frame["evaluation_set"] = np.where(frame["example_id"] > 6, "test", "fog")
    frame["camera"] = np.where(frame["example_id"] > 4, "old", "new")
    frame = frame[(frame["variant"] != "own") | (frame["evaluation_set"] == "test")]
    order = list(range(len(frame)))
    random.shuffle(order)
    with TemporaryDirectory() as folder:
        first = load(write(Path(folder) / "first.parquet", frame))
        for index, rows in enumerate(np.array_split(order, num_files)):
            write(Path(folder) / "second" / f"{index}.{suffix}", frame.iloc[rows])
        assert_same(first, load(Path(folder) / "second"))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 24), st.sampled_from(["prediction", "example", "label", "variant"]))
def test_any_other_prediction_draws_other_random_numbers(row: int, changed: str) -> None:
    frame = make_frame()
    other = frame.copy()
    if changed == "prediction":
        other.loc[row, "prediction"] = (other.loc[row, "prediction"] + 1) % 3
    if changed == "example":
        other["example_id"] += row + 1
    if changed == "label":
        of_example = other["example_id"] == frame.loc[row, "example_id"]
        other.loc[of_example, "label"] = (other.loc[of_example, "label"] + 1) % 3
    if changed == "variant":
        other["variant"] = other["variant"].replace({"magnitude-0.50": "magnitude-0.60"})
    with TemporaryDirectory() as folder:
        first, second = (load(write(Path(folder) / f"{name}.csv", data)) for name, data in (("a", frame), ("b", other)))
    assert first.seed_text != second.seed_text


def test_confidence_and_groups_change_no_random_number(tmp_path: Path) -> None:
    frame = make_frame()
    more = frame.assign(confidence=0.5, camera="old")
    assert load(write(tmp_path / "a.csv", frame)).seed_text == load(write(tmp_path / "b.csv", more)).seed_text


def test_names_in_the_place_of_numbers(tmp_path: Path) -> None:
    frame = make_frame()
    names = {0: "cat", 1: "ant", 2: "bee"}
    named = frame.assign(
        member=frame["member"].map({0: "seed-b", 1: "seed-c", 2: "seed-a"}),
        example_id=frame["example_id"].map("image-{:03d}.png".format),
        label=frame["label"].map(names),
        prediction=frame["prediction"].map(names).replace({"ant": "dog"}),
    )
    source = load(write(tmp_path / "mine.csv", named))
    assert source.class_names == ("ant", "bee", "cat", "dog")
    dense, pruned = (source.population("test", variant, ALL) for variant in ("dense", "magnitude-0.50"))
    assert dense is not None and pruned is not None
    assert (dense.seeds, pruned.seeds) == ((0, 1, 2), (1, 2))
    number = {0: 2, 1: 3, 2: 1}
    expected = np.vectorize(number.get)(pivot(frame, "dense"))[[2, 0, 1]]
    np.testing.assert_array_equal(dense.arrays["prediction"], expected)
    np.testing.assert_array_equal(dense.labels, [2, 1, 0, 1, 0])
    np.testing.assert_array_equal(dense.example_ids, range(5))
    assert source.examples("test").keys == tuple(f"image-{example:03d}.png" for example in (3, 5, 7, 11, 40))
    assert source.notes == ("Members are numbered 0 to 2 in the order of their names: seed-a, seed-b, seed-c.",)


def test_a_text_names_the_same_example_on_every_evaluation_set(tmp_path: Path) -> None:
    parts = [
        make_frame(example_ids=(1, 2, 4), evaluation_set="test"),
        make_frame(example_ids=(2, 3), evaluation_set="fog", seed=1),
    ]
    frame = pd.concat(parts)
    source = load(write(tmp_path / "mine.csv", frame.assign(example_id=frame["example_id"].map("e{}".format))))
    assert source.evaluation_sets == ("test", "fog")
    np.testing.assert_array_equal(source.examples("test").example_ids, [0, 1, 3])
    np.testing.assert_array_equal(source.examples("fog").example_ids, [1, 2])
    np.testing.assert_array_equal(arrays_of(source, "dense", "fog")["prediction"], pivot(parts[1], "dense"))


def test_columns_go_by_the_users_names(tmp_path: Path) -> None:
    frame = make_frame(confidence=0.5)
    names = {"variant": "network", "member": "fold", "example_id": "image", "label": "truth", "confidence": "p"}
    theirs = frame.rename(columns=names).assign(label=7)
    source = load(write(tmp_path / "mine.parquet", theirs), columns=names)
    np.testing.assert_array_equal(arrays_of(source)["prediction"], pivot(frame, "dense"))
    np.testing.assert_array_equal(arrays_of(source)["confidence"], np.full((3, 5), 0.5))
    assert source.notes == ("Columns left out, being replaced by the columns named for them: label.",)


def test_evaluation_sets_have_their_own_examples(tmp_path: Path) -> None:
    parts = {
        name: make_frame(example_ids=ids, seed=len(ids), evaluation_set=name)
        for name, ids in (("test", (1, 2)), ("corruption/fog/3", (2, 5, 9)), ("a", (7, 8, 9, 10)))
    }
    source = load(write(tmp_path / "mine.csv", pd.concat(parts.values())))
    assert source.evaluation_sets == ("test", "a", "corruption/fog/3")
    for name, frame in parts.items():
        for variant in ("dense", "magnitude-0.50"):
            np.testing.assert_array_equal(arrays_of(source, variant, name)["prediction"], pivot(frame, variant))
        np.testing.assert_array_equal(source.examples(name).example_ids, sorted(set(frame["example_id"])))
        np.testing.assert_array_equal(source.examples(name).labels, np.sort(frame["example_id"].unique()) % 3)


def test_what_a_set_lacks_is_told(tmp_path: Path) -> None:
    everywhere = make_frame({"dense": 2, "own": 3}, evaluation_set="test")
    fog = make_frame({"dense": 2, "own": 2}, evaluation_set="fog")
    natural = make_frame({"dense": 1}, evaluation_set="natural")
    orphan = make_frame({"own": 3}, evaluation_set="orphan")
    source = load(write(tmp_path / "mine.csv", pd.concat([everywhere, fog, natural, orphan])))
    assert source.evaluation_sets == ("test", "fog", "natural")
    assert source.missing == ("dense member 1 on natural", "own member 2 on fog")
    assert source.notes == (
        "Evaluation sets without predictions of the reference were left out: orphan.",
        "own has no predictions on natural.",
    )
    assert source.population("natural", "own", ALL) is None
    assert arrays_of(source, "own", "test")["prediction"].shape == (3, 5)


def test_the_reference_goes_by_any_name(tmp_path: Path) -> None:
    frame = make_frame({"fp32": 3, "static_int8": 3, "mine": 2})
    path = write(tmp_path / "mine.csv", frame)
    source = load(path, reference="fp32", paired=["static_int8"], title="Ours", evaluation=Evaluation(tie="smallest"))
    assert [variant.variant_id for variant in source.variants] == ["dense", "mine", "static_int8"]
    assert [variant.is_reference for variant in source.variants] == [True, False, False]
    assert [variant.is_paired for variant in source.variants] == [False, False, True]
    np.testing.assert_array_equal(arrays_of(source, "dense")["prediction"], pivot(frame, "fp32"))
    assert source.title == "Ours"
    assert source.evaluation.tie == "smallest"
    assert source.storage.uri == str(tmp_path / "results")


OWN_GRIDS = """
- pruning: {kind: magnitude, sparsities: [0.5, 0.995], scopes: [layer, global]}
  quantization: [float16, bfloat16, dynamic_int8, static_int8, weight_int8, weight_int4]
- pruning: {kind: random, sparsities: [0.5], fine_tuning: {epochs: 1}}
  losses: [{terms: [logit_pairing]}, {terms: [distillation], temperature: 2.5}]
- pruning: {kind: one_shot, sparsities: [0.5], scopes: [layer, global], fine_tuning: {epochs: 1}}
- pruning: {kind: n_m, patterns: ["2:4", "1:16"]}
  quantization: [static_int8]
- pruning: {kind: structured, sparsities: [0.25], fine_tuning: {epochs: 1}}
  losses: [{terms: [cross_entropy, distillation], weighting: {kind: softadapt}}]
  quantization: [weight_int4]
  quantization_aware: {epochs: 1}
- pruning: {kind: rigl, sparsities: [0.95], scopes: [global]}
  losses:
    - {terms: [cross_entropy, logit_pairing, distillation], weighting: {kind: fixed, weights: [1, 0.5, 1.0e-7]}}
    - {terms: [cross_entropy, logit_pairing], weighting: {kind: learned}}
- pruning: {kind: rewinding, sparsities: [0.9]}
- losses: [{terms: [distillation], temperature: 1000000}]
  quantization: [static_int8]
  quantization_aware: {epochs: 1}
- {preset: gmp_pt}
"""


def own_variants() -> list[Variant]:
    return expand([VariantGrid.model_validate_json(json.dumps(grid)) for grid in yaml.safe_load(OWN_GRIDS)])


def test_names_of_our_own_variants_are_understood(tmp_path: Path) -> None:
    own = {variant.variant_id: variant for variant in own_variants()}
    assert {variant.pruning.kind for variant in own.values() if variant.pruning} == set(PRUNING_KINDS)
    strange = (
        "magnitude-0.5",
        "magnitude-0.50static_int8",
        "static_int8+magnitude-0.50",
        "lottery-0.50",
        "int8",
        "kd4",
    )
    source = load(write(tmp_path / "mine.csv", make_frame(dict.fromkeys((*own, *strange), 1))))
    found = {variant.variant_id: variant for variant in source.variants}
    assert set(found) == {*own, *strange}
    for name, variant in own.items():
        assert (found[name].sparsity, found[name].quantization) == (variant.sparsity, variant.quantization)
        assert found[name].loss == (None if variant.loss is None else loss_id(variant.loss))
        assert found[name].plain_id == (None if variant.plain is None else variant.plain.variant_id)
    for name in strange:
        assert np.isnan(found[name].sparsity)
        assert found[name].quantization is None


def test_nothing_is_claimed_of_networks_that_are_not_ours(tmp_path: Path) -> None:
    source = load(write(tmp_path / "mine.csv", make_frame()))
    facts = source.member_facts("dense")
    assert facts["arithmetic"] is None
    assert np.isnan([facts["achieved_sparsity_mean"], facts["checkpoint_bytes_mean"]]).all()
    assert source.validation("dense", ALL) is None
    with pytest.raises(InputError, match=r"found no training examples"):
        source.training_labels()


def test_a_population_may_have_no_confidence(tmp_path: Path) -> None:
    frame = make_frame()
    frame["confidence"] = np.where(frame["variant"] == "dense", 0.25, np.nan)
    for suffix in SUFFIXES:
        source = load(write(tmp_path / f"mine.{suffix}", frame))
        np.testing.assert_array_equal(arrays_of(source)["confidence"], np.full((3, 5), 0.25))
        assert set(arrays_of(source, "magnitude-0.50")) == {"prediction"}
        assert source.notes == ("Some populations have no confidence.",)


def test_rounding_beyond_one_is_no_mistake(tmp_path: Path) -> None:
    frame = make_frame(confidence=np.nextafter(np.float32(1), np.float32(2)), label_probability=-1e-8)
    arrays = arrays_of(load(write(tmp_path / "mine.parquet", frame)))
    np.testing.assert_array_equal(arrays["confidence"], np.ones((3, 5)))
    np.testing.assert_array_equal(arrays["label_probability"], np.zeros((3, 5)))


def test_where_the_figures_come_from(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", make_frame())
    assert load(path).provenance == {
        "predictions": "mine.csv",
        "rows": "25",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        "pie_ray": pie_ray.__version__,
    }
    folder = tmp_path / "many"
    for index in range(14):
        write(folder / f"part-{index:02d}.csv", make_frame({"dense" if index == 0 else f"own-{index}": 1}))
    source = load(folder)
    names = ", ".join(f"part-{index:02d}.csv" for index in range(12))
    assert source.provenance["predictions"] == f"{names} and 2 more"
    assert source.provenance["rows"] == "70"
    assert source.title == "many"


def test_a_source_travels_to_other_processes(tmp_path: Path) -> None:
    source = load(write(tmp_path / "mine.csv", make_frame(confidence=0.5, camera="old")))
    other = pickle.loads(pickle.dumps(source))
    assert_same(source, other)
    assert (other.provenance, other.title, other.storage.uri) == (source.provenance, source.title, source.storage.uri)
    with pytest.raises(ValueError, match=r"read-only"):
        arrays_of(other)["prediction"][0, 0] = 1


def test_reads_without_torch_ray_and_mlflow(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", make_frame())
    script = f"""
import sys
for name in ("torch", "ray", "mlflow"):
    sys.modules[name] = None
from pie_ray.analysis.imported import open_predictions
from pie_ray.store import Storage
print(open_predictions({str(path)!r}, storage=Storage({str(tmp_path)!r})).population("test", "dense", ()).num_members)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


# ------------------------------------------------------------------------------------------------------- groups


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_that_describe_the_examples_become_groups(suffix: str, tmp_path: Path) -> None:
    frame = make_frame(example_ids=tuple(range(60)))
    example = frame["example_id"]
    frame = frame.assign(
        old=example % 2 == 0,
        age=example % 50,
        country=np.where(example % 2, "fr", "de"),
        shade=example.map(lambda number: None if number == 4 else "dark"),
        era=example.map(lambda number: None if number == 4 else number % 2).astype("Int64"),
        day="2020-01-01",
        path=example.map("{}.png".format),
        fold=example % 51,
        contrast=example / 60,
        epoch=frame["member"] % 2,
        nothing=pd.Series([None] * len(frame), dtype="float64"),
    )
    source = load(write(tmp_path / f"mine.{suffix}", frame))
    groups = source.examples("test").groups
    numbers = np.arange(60)
    expected = {
        "old": numbers % 2 == 0,
        "age": numbers % 50,
        "country": np.where(numbers % 2, "fr", "de"),
        "shade": np.where(numbers == 4, "null", "dark"),
        "era": np.where(numbers == 4, "null", (numbers % 2).astype(str)),
        "day": np.full(60, "2020-01-01"),
    }
    assert list(groups) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(groups[name], values)
        assert groups[name].dtype.kind == values.dtype.kind
    assert source.notes == (
        "Columns left out, being of more than 50 values: path, fold.",
        "Columns left out, being neither integers, booleans nor text: contrast, nothing.",
        "Columns left out, being of different values for one example: epoch.",
    )


def test_a_group_of_too_many_values_is_noticed_across_row_groups(tmp_path: Path) -> None:
    frame = make_frame(example_ids=tuple(range(51))).sort_values("example_id")
    frame["fold"] = frame["example_id"]
    path = tmp_path / "mine.parquet"
    frame.to_parquet(path, index=False, row_group_size=20)
    assert load(path).notes == ("Columns left out, being of more than 50 values: fold.",)


def test_groups_of_each_evaluation_set_are_its_own(tmp_path: Path) -> None:
    parts = [
        make_frame(example_ids=(1, 2), evaluation_set="test", camera="old"),
        make_frame(example_ids=(1, 3), evaluation_set="fog", camera="new"),
    ]
    source = load(write(tmp_path / "mine.csv", pd.concat(parts)))
    assert source.examples("test").groups["camera"].tolist() == ["old", "old"]
    assert source.examples("fog").groups["camera"].tolist() == ["new", "new"]


def test_lists_are_left_out_unread(tmp_path: Path) -> None:
    frame = make_frame()
    frame["logits"] = [[0.5, 1.0, 2.0]] * len(frame)
    source = load(write(tmp_path / "mine.parquet", frame))
    assert source.notes == ("Columns left out, being neither integers, booleans nor text: logits.",)


# -------------------------------------------------------------------------------------------------------- types


def retyped(frame: pd.DataFrame, **columns: pa.DataType) -> pa.Table:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for name, kind in columns.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    return table


@pytest.mark.parametrize(
    "kind",
    [pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.decimal128(38, 0), pa.dictionary(pa.int8(), pa.int64())],
    ids=str,
)
def test_whole_numbers_of_any_type(kind: pa.DataType, tmp_path: Path) -> None:
    frame = make_frame()
    table = retyped(frame)
    for name in ("member", "example_id", "label", "prediction"):
        if pa.types.is_dictionary(kind):
            column = table[name].dictionary_encode().cast(kind)
        elif pa.types.is_decimal(kind):
            column = pa.chunked_array([pa.array([decimal.Decimal(value) for value in table[name].to_pylist()], kind)])
        else:
            column = table[name].cast(kind)
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, tmp_path / "mine.parquet")
    assert_same(load(tmp_path / "mine.parquet"), load(write(tmp_path / "plain.csv", frame)))


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int16(), pa.string())], ids=str)
def test_text_of_any_type(kind: pa.DataType, tmp_path: Path) -> None:
    frame = make_frame()
    frame = frame.assign(label=frame["label"].map("c{}".format), prediction=frame["prediction"].map("c{}".format))
    pq.write_table(retyped(frame, variant=kind, label=kind, prediction=kind), tmp_path / "mine.parquet")
    assert_same(load(tmp_path / "mine.parquet"), load(write(tmp_path / "plain.csv", frame)))


def test_categories_that_no_row_has_are_not_there(tmp_path: Path) -> None:
    frame = make_frame()
    frame["variant"] = pd.Categorical(frame["variant"], categories=["absent", "magnitude-0.50", "dense"])
    frame["label"] = pd.Categorical(frame["label"].map("c{}".format), categories=["c9", "c2", "c1", "c0"])
    frame["prediction"] = frame["prediction"].map("c{}".format)
    source = load(write(tmp_path / "mine.parquet", frame))
    assert [variant.variant_id for variant in source.variants] == ["dense", "magnitude-0.50"]
    assert source.class_names == ("c0", "c1", "c2")
    np.testing.assert_array_equal(source.examples("test").labels, [0, 2, 1, 2, 1])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_booleans_are_the_classes_false_and_true(suffix: str, tmp_path: Path) -> None:
    frame = make_frame()
    frame = frame.assign(label=frame["label"] == 0, prediction=frame["prediction"] == 0)
    source = load(write(tmp_path / f"mine.{suffix}", frame))
    assert source.class_names == ("false", "true")
    np.testing.assert_array_equal(source.examples("test").labels, [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(arrays_of(source)["prediction"], pivot(frame, "dense"))


def test_names_that_look_like_something_else_stay_names(tmp_path: Path) -> None:
    names = {0: "NA", 1: "null", 2: "cat"}
    days = {3: "2020-01-01", 5: "2020-01-02", 7: "2020-01-03", 11: "2020-02-01 10:00", 40: "12:30"}
    frame = make_frame()
    frame = frame.assign(
        label=frame["label"].map(names),
        prediction=frame["prediction"].map(names),
        example_id=frame["example_id"].map(days),
    )
    source = load(write(tmp_path / "mine.csv", frame))
    assert source.class_names == ("NA", "cat", "null")
    assert source.examples("test").keys == tuple(sorted(days.values()))


@pytest.mark.parametrize("names", [{11: "eleven"}, {11: "11.0"}, {3: "", 5: ""}])
def test_a_later_value_of_another_type_decides(
    names: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow takes the types of a CSV file from its first block."""
    frame = make_frame(example_ids=tuple(range(60))).sort_values("example_id")
    frame["tag"] = frame["example_id"].map(lambda number: names.get(number, str(number % 7)))
    path = write(tmp_path / "mine.csv", frame)
    whole = load(path)
    monkeypatch.setattr(user_files, "_CSV_BLOCK_BYTES", 200)
    assert_same(load(path), whole)
    if names.get(11) == "11.0":
        assert whole.notes == ("Columns left out, being neither integers, booleans nor text: tag.",)
    else:
        expected = [names.get(number, str(number % 7)) or "null" for number in range(60)]
        np.testing.assert_array_equal(whole.examples("test").groups["tag"], expected)


@pytest.mark.parametrize("block", [90, 400, 1 << 24])
def test_a_csv_file_reads_the_same_in_blocks_of_any_size(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = make_frame(example_ids=tuple(range(40)), camera="old")
    frame["label"] = frame["label"].map("class {}".format)
    frame["prediction"] = frame["prediction"].map("class {}".format)
    expected = load(write(tmp_path / "mine.parquet", frame))
    monkeypatch.setattr(user_files, "_CSV_BLOCK_BYTES", block)
    assert_same(load(write(tmp_path / "mine.csv", frame)), expected)


def test_csv_as_other_systems_write_it(tmp_path: Path) -> None:
    frame = make_frame(camera="caméra, vieille")
    expected = load(write(tmp_path / "plain.parquet", frame))
    text = frame.to_csv(index=False, lineterminator="\r\n", quoting=1)
    (tmp_path / "windows.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert_same(load(tmp_path / "windows.csv"), expected)


# -------------------------------------------------------------------------------------------------------- files


def test_all_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    frame = make_frame({"dense": 3, "own": 2})
    folder = tmp_path / "mine"
    dense = frame[frame["variant"] == "dense"]
    write(folder / "dense.csv", dense[dense["member"] == 0])
    write(folder / "dense.csv.gz", dense[dense["member"] == 1])
    write(folder / "more" / "dense.parquet", dense[dense["member"] == 2][frame.columns[::-1]])
    write(folder / "own.parquet", frame[frame["variant"] == "own"])
    for name in ("_SUCCESS", ".dense.csv.crc", "_delta_log/0.parquet", "readme.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no predictions")
    source = load(folder)
    assert_same(source, load(write(tmp_path / "one.csv", frame)))
    assert source.provenance["predictions"] == "dense.csv, dense.csv.gz, more/dense.parquet, own.parquet"
    assert source.notes == ("Files of another suffix were not read: readme.md.",)


def test_a_column_without_values_in_one_file_takes_the_other_files_type(tmp_path: Path) -> None:
    frame = make_frame(confidence=0.5, camera="old")
    is_dense = frame["variant"] == "dense"
    write(tmp_path / "mine" / "a.csv", frame[~is_dense].assign(confidence=None, camera=None))
    write(tmp_path / "mine" / "b.csv", frame[is_dense].assign(confidence=1))
    write(tmp_path / "mine" / "c.csv", frame[is_dense].assign(member=frame["member"] + 3))
    source = load(tmp_path / "mine")
    np.testing.assert_array_equal(arrays_of(source)["confidence"], np.repeat([[1.0], [0.5]], 3, axis=0).repeat(5, 1))
    assert "confidence" not in arrays_of(source, "magnitude-0.50")
    assert source.notes[0] == "Columns left out, being of different values for one example: camera."


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, r"absent.csv: found no such file or folder \(seen from .*\); accepted is a file .parquet"),
        ("mine.feather", b"ARROW1", r"mine.feather: found a file of another suffix; accepted is a file .parquet, .csv"),
        ("mine.csv", b"", r"mine.csv cannot be read: Empty CSV file; accepted is UTF-8 text with a header"),
        ("mine.csv", b"variant,member\n", r"mine.csv: found no rows; accepted is at least one"),
        ("mine.csv", b"a,b\n1,2\n1\n", r"mine.csv cannot be read: .*Expected 2 columns, got 1"),
        ("mine.csv", b"a,b\n1,2\n1,2,3\n", r"mine.csv cannot be read: .*Expected 2 columns, got 3.*as many values"),
        ("mine.csv", b"a,b\ncaf\xe9,2\n", r"mine.csv: found text in column a that is not UTF-8; accepted is UTF-8"),
        ("mine.csv", b"a,caf\xe9\n1,2\n", r"mine.csv cannot be read: .*utf-8.*accepted is UTF-8"),
        ("mine.csv", b"a,b,a\n1,2,3\n", r"mine.csv: found more than one column called a; accepted is one of each name"),
        ("mine.csv.gz", b"a,b\n1,2\n", r"mine.csv.gz cannot be read: "),
        ("mine.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 99, mtime=0)[:-20], r"mine.csv.gz cannot be read: "),
        ("mine.parquet", b"PAR1 no PAR1", r"mine.parquet cannot be read: .*; accepted is a whole Parquet file"),
        ("mine/readme.md", b"", r"mine: found readme.md; accepted is a file .parquet, .csv or .csv.gz, or a folder"),
        ("mine/.csv", b"", r"mine: found an empty folder; accepted is"),
    ],
)
def test_files_that_are_no_tables(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / name.split("/")[0])


def test_damage_within_a_parquet_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.parquet", make_frame(example_ids=tuple(range(500))))
    whole = path.read_bytes()
    path.write_bytes(whole[:400] + bytes(len(whole) // 2) + whole[400 + len(whole) // 2 :])
    with pytest.raises(InputError, match=r"mine.parquet cannot be read: .*; accepted is a whole Parquet file"):
        load(path)


def test_a_flipped_bit_is_noticed_where_the_file_has_checksums(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    table = retyped(make_frame().assign(prediction=0))
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    chunk = pq.read_metadata(path).row_group(0).column(table.column_names.index("prediction"))
    content = bytearray(path.read_bytes())
    last_value = chunk.data_page_offset + chunk.total_compressed_size - 8
    assert content[last_value : last_value + 8] == bytes(8)
    content[last_value] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"mine.parquet cannot be read: .*(CRC|checksum).*"):
        load(path)


def test_files_of_a_folder_have_the_same_columns(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(folder / "a.csv", make_frame({"dense": 1}))
    write(folder / "b.csv", make_frame({"own": 1}, confidence=0.5))
    with pytest.raises(
        InputError, match=rf"{folder}/a.csv: found no column confidence, which another file of {folder}"
    ):
        load(folder)
    write(folder / "b.csv", make_frame({"own": 1}).drop(columns="label"))
    with pytest.raises(InputError, match=rf"{folder}/b.csv: found no column label, which another file of {folder} has"):
        load(folder)
    write(folder / "b.csv", make_frame({"own": 1}).assign(label="cat"))
    with pytest.raises(
        InputError, match=rf"{folder}/b.csv: found text in column label, where {folder}/a.csv has integers; accepted"
    ):
        load(folder)


# ----------------------------------------------------------------------------------------------------- mistakes


def put(column: str, row: int, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].tolist()
        values[row] = value
        return frame.assign(**{column: values})

    return change


WRONG_VALUES: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (put("prediction", 4, 0.5), "row 4: found prediction 0.5; accepted are class numbers from 0 or class names"),
    (put("label", 6, 1.25), "row 6: found label 1.25; accepted are class numbers from 0 or class names"),
    (put("label", 3, -1), "row 3: found label -1; accepted are class numbers 0 to 65535"),
    (put("prediction", 3, 65536), "row 3: found prediction 65536; accepted are class numbers 0 to 65535"),
    (put("prediction", 8, np.nan), "row 8: found prediction without a value; accepted are class numbers"),
    (put("label", 0, np.nan), "row 0: found label without a value"),
    (put("member", 2, np.nan), "row 2: found member without a value; accepted are integers or text"),
    (put("example_id", 24, np.nan), "row 24: found example_id without a value; accepted are integers or text"),
    (put("variant", 1, None), "row 1: found variant without a value"),
    (put("variant", 1, ""), "row 1: found variant without a value"),
    (put("evaluation_set", 5, None), "row 5: found evaluation_set without a value"),
    (put("example_id", 1, 2.5), "row 1: found example_id 2.5; accepted are integers or text"),
    (put("example_id", 1, 1e300), r"row 1: found example_id 1e\+300; accepted are integers or text"),
    (put("member", 1, np.inf), "row 1: found member inf; accepted are integers or text"),
    (put("confidence", 7, 1.5), "row 7: found confidence 1.5; accepted are fractions from 0 to 1"),
    (put("confidence", 7, -0.1), "row 7: found confidence -0.1; accepted are fractions from 0 to 1"),
    (put("label_probability", 7, 97.0), "row 7: found label_probability 97; accepted are fractions from 0 to 1"),
    (put("confidence", 7, np.inf), "row 7: found confidence inf; accepted are finite numbers"),
    (
        put("confidence", 9, np.nan),
        "row 9: found confidence without a value, where other predictions of the same variant and evaluation set have",
    ),
]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("change", "message"), WRONG_VALUES, ids=[message[:40] for _, message in WRONG_VALUES])
def test_a_wrong_value_is_named_by_its_row(
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str, suffix: str, tmp_path: Path
) -> None:
    frame = make_frame(confidence=0.5, label_probability=0.5, evaluation_set="test")
    assert load(write(tmp_path / f"right.{suffix}", frame)).notes == ()
    with pytest.raises(InputError, match=f"mine.{suffix}, {message}"):
        load(write(tmp_path / f"mine.{suffix}", change(frame)))


def test_a_wrong_value_is_named_by_its_file(tmp_path: Path) -> None:
    frame = make_frame()
    write(tmp_path / "mine" / "a.csv", frame[:10])
    write(tmp_path / "mine" / "b.csv", put("prediction", 14, -3)(frame)[10:])
    with pytest.raises(InputError, match=r"mine/b.csv, row 4: found prediction -3; accepted are class numbers"):
        load(tmp_path / "mine")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("label", pa.array([0.25] * 25), "row 0: found label 0.25; accepted are class numbers from 0 or class names"),
        ("label", pa.array([[1]] * 25), "found label of a type that is no value; accepted are class numbers"),
        ("label", pa.array([0] * 25, pa.timestamp("s")), "found label of a type that is no value"),
        ("label", pa.array([b"cat"] * 25), "found label of a type that is no value"),
        ("label", pa.nulls(25), "row 0: found label without a value"),
        ("label", pa.array(["cat"] * 25), "found label of text and prediction of numbers; accepted are class numbers"),
        ("prediction", pa.array([True] * 25), "found label of numbers and prediction of text; accepted are class num"),
        ("example_id", pa.array([2**63] * 25, pa.uint64()), "column example_id of uint64 cannot be read"),
        ("confidence", pa.array(["high"] * 25), "found confidence of text; accepted are numbers"),
        ("confidence", pa.array([[0.5]] * 25), "found confidence of other; accepted are numbers"),
    ],
)
def test_a_column_of_another_type(column: str, values: pa.Array, message: str, tmp_path: Path) -> None:
    table = retyped(make_frame(confidence=0.5))
    table = table.set_column(table.column_names.index(column), column, values)
    pq.write_table(table, tmp_path / "mine.parquet")
    with pytest.raises(InputError, match=f"mine.parquet.*{message}"):
        load(tmp_path / "mine.parquet")


def test_more_class_names_than_16_bits_hold(tmp_path: Path) -> None:
    frame = make_frame({"dense": 1}, example_ids=tuple(range(2**16)))
    names = frame["example_id"].map("c{}".format)
    assert len(load(write(tmp_path / "mine.parquet", frame.assign(label=names, prediction=names))).class_names) == 2**16
    with pytest.raises(InputError, match=r"mine.parquet: found 65537 class names; accepted are up to 65536"):
        load(write(tmp_path / "mine.parquet", frame.assign(label=names, prediction="one more")))


def test_missing_columns_are_told_with_those_found(tmp_path: Path) -> None:
    frame = make_frame().rename(columns={"label": "target", "member": "seed"})
    with pytest.raises(
        InputError,
        match=r"mine.csv: found no column member, label, only variant, seed, example_id, target, prediction; needed "
        r"are variant, member, example_id, label, prediction, where --column NAME=THEIRS tells",
    ):
        load(write(tmp_path / "mine.csv", frame))
    with pytest.raises(InputError, match=r"found no column label \(truth\), only variant"):
        load(tmp_path / "mine.csv", columns={"member": "seed", "label": "truth"})
    with pytest.raises(InputError, match=r"found no column confidence \(p\), only variant"):
        load(tmp_path / "mine.csv", columns={"member": "seed", "label": "target", "confidence": "p"})


def test_semicolons_are_hinted_at(tmp_path: Path) -> None:
    make_frame().to_csv(tmp_path / "mine.csv", index=False, sep=";")
    with pytest.raises(InputError, match=r"only variant;member;.*; a CSV file's columns are separated by commas"):
        load(tmp_path / "mine.csv")


def test_names_of_columns_that_are_none_of_ours(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", make_frame())
    with pytest.raises(
        InputError, match=r"--column: found the name seed; accepted are variant, member, example_id, lab"
    ):
        load(path, columns={"seed": "member"})
    with pytest.raises(
        InputError, match=r"--column: found prediction taken twice; accepted is one name of ours a column"
    ):
        load(path, columns={"label": "prediction"})


def test_a_mistake_in_a_renamed_column_tells_both_names(tmp_path: Path) -> None:
    frame = put("label", 2, -1)(make_frame()).rename(columns={"label": "target"})
    with pytest.raises(InputError, match=r"row 2: found label \(target\) -1; accepted"):
        load(write(tmp_path / "mine.csv", frame), columns={"label": "target"})


def test_doubled_rows_are_counted(tmp_path: Path) -> None:
    frame = make_frame()
    doubled = pd.concat([frame, frame.iloc[[9, 9, 4]].assign(prediction=0)])
    variant, member, example = frame.loc[4, ["variant", "member", "example_id"]]
    message = (
        f"mine.csv: found 3 more predictions of a member for an example that it has one of; the first is {variant} "
        f"member {member}, example {example}, evaluation set test ({tmp_path}/mine.csv, row 4), again in "
        f"{tmp_path}/mine.csv, row 27; accepted is one row for each variant, member, example and evaluation set"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        load(write(tmp_path / "mine.csv", doubled))


def test_doubled_rows_are_told_where_as_many_others_are_absent(tmp_path: Path) -> None:
    frame = make_frame()
    own = frame[(frame["variant"] == "dense") & (frame["member"] == 1)]
    swapped = pd.concat([frame.drop(index=own.index[0]), own.iloc[[1]]])
    with pytest.raises(InputError, match=r"found 1 more predictions of a member for an example .* dense member 1"):
        load(write(tmp_path / "mine.csv", swapped))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_absent_predictions_are_named(suffix: str, tmp_path: Path) -> None:
    frame = make_frame({"dense": 2, "own": 3})
    absent = (frame["variant"] == "own") & (frame["member"] == 1) & frame["example_id"].isin([7, 11])
    message = (
        f"mine.{suffix}: found no prediction of own member 1 for example 7 of evaluation set test, which (dense|own) "
        "member [02] has; 2 predictions are absent in all; accepted are members with the same examples"
    )
    with pytest.raises(InputError, match=message):
        load(write(tmp_path / f"mine.{suffix}", frame[~absent]))


def test_members_with_examples_of_their_own_are_refused(tmp_path: Path) -> None:
    frame = make_frame({"dense": 2}, example_ids=tuple(range(100)))
    frame["example_id"] += 1000 * frame["member"]
    frame["label"] = 0
    with pytest.raises(
        InputError,
        match=r"found no prediction of dense member 0 for example 1000 of evaluation set test, which dense member 1 "
        "has; 200 predictions are absent in all",
    ):
        load(write(tmp_path / "mine.csv", frame))


def test_labels_that_disagree_are_named(tmp_path: Path) -> None:
    frame = make_frame({"dense": 1, "own": 1}, example_ids=(3, 5)).sort_values(["variant", "example_id"])
    frame["label"] = ["cat", "cat", "cat", "dog"]
    frame["prediction"] = "cat"
    message = (
        f"mine.csv: found label cat at dense member 0, example 5, evaluation set test ({tmp_path}/mine.csv, row 1), "
        f"and label dog at own member 0, example 5, evaluation set test ({tmp_path}/mine.csv, row 3); accepted is one"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        load(write(tmp_path / "mine.csv", frame))


def test_an_example_may_have_another_label_on_another_set(tmp_path: Path) -> None:
    parts = [make_frame(evaluation_set="a"), make_frame(evaluation_set="b").assign(label=2)]
    source = load(write(tmp_path / "mine.csv", pd.concat(parts)))
    np.testing.assert_array_equal(source.examples("a").labels, [0, 2, 1, 2, 1])
    np.testing.assert_array_equal(source.examples("b").labels, [2, 2, 2, 2, 2])


def test_variants_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", make_frame({"fp32": 2, "int8": 2, "other": 1}))
    there = "accepted are the variants there are: fp32, int8, other"
    with pytest.raises(
        InputError, match=f"--reference: found 'dense', which .*mine.csv has no predictions of; {there}"
    ):
        load(path)
    with pytest.raises(InputError, match=f"--paired: found int4; {there}, without the reference fp32"):
        load(path, reference="fp32", paired=["int8", "int4"])
    with pytest.raises(InputError, match=f"--paired: found fp32; {there}, without the reference fp32"):
        load(path, reference="fp32", paired=["fp32"])


def test_another_variant_cannot_be_called_dense(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", make_frame({"fp32": 2, "dense": 2}))
    with pytest.raises(InputError, match=r"--reference: found 'fp32', and .*mine.csv has another variant called dense"):
        load(path, reference="fp32")


def test_a_paired_variant_shares_members_with_the_reference(tmp_path: Path) -> None:
    frame = make_frame({"dense": 3, "int8": 2})
    frame["member"] += 2 * (frame["variant"] == "int8")
    source = load(write(tmp_path / "mine.csv", frame), paired=["int8"])
    assert source.variants[1].is_paired
    frame["member"] += 1 * (frame["variant"] == "int8")
    with pytest.raises(
        InputError, match=r"--paired: found int8, none of whose members the reference has on .* set test"
    ):
        load(write(tmp_path / "mine.csv", frame), paired=["int8"])
