from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pie_ray.errors import StoreError
from pie_ray.store import ParquetSink, PredictionStore, Storage, paths, prediction_batch


def test_members_come_first(storage, write_member):
    write_member(0, [0, 1, 2], example_ids=[5, 6, 7], labels=[0, 1, 1])
    write_member(1, [2, 1, 2], example_ids=[5, 6, 7], labels=[0, 1, 1])
    population = PredictionStore(storage).read_population("clean", "test", "dense", [1, 0])

    assert (population.variant_id, population.evaluation_set) == ("dense", "test")
    assert population.seeds == (1, 0)
    assert population.example_ids.tolist() == [5, 6, 7]
    assert population.labels.tolist() == [0, 1, 1]
    assert list(population.arrays) == ["prediction"]
    assert population.arrays["prediction"].tolist() == [[2, 1, 2], [0, 1, 2]]
    assert population.arrays["prediction"].dtype == np.uint16
    assert population.missing_seeds == ()


def test_columns_that_are_asked_for(storage, write_member):
    write_member(0, [0, 1], store_logits=True)
    population = PredictionStore(storage).read_population("clean", "test", "dense", [0], ("label_rank", "logits"))
    assert population.arrays["label_rank"].tolist() == [[0, 1]]
    assert population.arrays["logits"].tolist() == [[[1, 0, 0], [0, 1, 0]]]


def test_one_evaluation_set_of_several(storage, write_member):
    write_member(0, [0, 1], evaluation_sets=("fog", "blur"))
    assert PredictionStore(storage).read_population("clean", "fog", "dense", [0]).arrays["prediction"].shape == (1, 2)


def test_missing_seeds_are_left_out_and_listed(storage, write_member):
    write_member(1, [2, 2])
    population = PredictionStore(storage).read_population("clean", "test", "dense", range(3))
    assert population.seeds == (1,)
    assert population.missing_seeds == (0, 2)
    assert population.arrays["prediction"].tolist() == [[2, 2]]


def test_a_population_may_be_empty(storage):
    population = PredictionStore(storage).read_population("clean", "test", "dense", [0], ("prediction", "confidence"))
    assert population.num_members == 0
    assert population.missing_seeds == (0,)
    assert {name: (values.shape, values.dtype.name) for name, values in population.arrays.items()} == {
        "prediction": ((0, 0), "uint16"),
        "confidence": ((0, 0), "float32"),
    }


def test_the_order_in_which_members_were_written_does_not_matter(storage, write_member):
    write_member(0, [0, 1, 2], example_ids=[5, 6, 7])
    write_member(1, [2, 0, 1], example_ids=[7, 5, 6])
    population = PredictionStore(storage).read_population("clean", "test", "dense", [0, 1])
    assert population.arrays["prediction"].tolist() == [[0, 1, 2], [0, 1, 2]]


FLAGS = [[True, False, True], [False, False, True]]


def test_attributes_learned_jointly(storage, write_attributes):
    write_attributes(0, FLAGS, [[1, -2, 3], [-4, 5, 6]], example_ids=[5, 7])
    write_attributes(1, FLAGS[::-1], [[0, 0, 0], [1, 2, 3]], example_ids=[7, 5])
    population = PredictionStore(storage).read_population("clean", "test", "dense", [1, 0, 2], ("logits", "example_id"))
    assert population.seeds == (1, 0) and population.missing_seeds == (2,)
    assert population.labels.dtype == np.bool_ and population.labels.tolist() == FLAGS
    assert population.arrays["logits"].dtype == np.float32
    assert population.arrays["logits"].tolist() == [[[1, 2, 3], [0, 0, 0]], [[1, -2, 3], [-4, 5, 6]]]


def test_one_evaluation_set_of_several_with_attributes(storage, write_attributes):
    write_attributes(0, FLAGS, [[1, -2, 3], [-4, 5, 6]], evaluation_sets=("fog", "blur"))
    population = PredictionStore(storage).read_population("clean", "fog", "dense", [0], ("logits",))
    assert population.arrays["logits"].shape == (1, 2, 3) and population.labels.tolist() == FLAGS


# ------------------------------------------------------------------------------------------------- several sets at once

SETS = ("fog", "blur", "snow")


def assert_same(population, other):
    for name in ("variant_id", "evaluation_set", "seeds", "missing_seeds"):
        assert getattr(population, name) == getattr(other, name)
    np.testing.assert_array_equal(population.example_ids, other.example_ids)
    np.testing.assert_array_equal(population.labels, other.labels)
    assert population.arrays.keys() == other.arrays.keys()
    for name, values in population.arrays.items():
        assert values.dtype == other.arrays[name].dtype
        np.testing.assert_array_equal(values, other.arrays[name])


def write_sets(storage, spec, sizes, shift=0):
    """One dense member on sets of different examples: predictions count up, from `shift` on."""
    with ParquetSink(storage).open(spec, "clean", sum(sizes.values())) as suite:
        for name, num_rows in sizes.items():
            labels = np.arange(num_rows) % 3
            logits = np.eye(3, dtype=np.float32)[(labels + shift + num_rows) % 3]
            suite.write(prediction_batch(name, 10 * np.arange(num_rows), labels, logits, store_logits=True))
        suite.commit()


def test_several_sets_are_each_what_they_are_alone(storage, make_spec):
    for seed in (0, 2):
        write_sets(storage, make_spec(seed), {"fog": 4, "blur": 7, "snow": 1}, shift=seed)
    store, columns = PredictionStore(storage), ("prediction", "logits", "example_id")
    for wanted in (("snow", "fog"), ("blur",), SETS):
        found = store.read_populations("clean", wanted, "dense", range(3), columns)
        assert tuple(found) == wanted
        for name in wanted:
            assert_same(found[name], store.read_population("clean", name, "dense", range(3), columns))
            assert found[name].seeds == (0, 2) and found[name].missing_seeds == (1,)
            np.testing.assert_array_equal(found[name].arrays["example_id"][1], found[name].example_ids)


def test_several_sets_with_attributes(storage, write_attributes):
    write_attributes(0, FLAGS, [[1, -2, 3], [-4, 5, 6]], evaluation_sets=SETS)
    found = PredictionStore(storage).read_populations("clean", SETS, "dense", [0], ("logits",))
    for name in SETS:
        assert found[name].labels.tolist() == FLAGS
        assert found[name].arrays["logits"].tolist() == [[[1, -2, 3], [-4, 5, 6]]]


def test_each_file_is_opened_once_however_many_sets(folder, make_spec, monkeypatch):
    for seed in range(3):
        write_sets(folder, make_spec(seed), dict.fromkeys(SETS, 5))
    opened = []
    read_file = Storage.read_file
    monkeypatch.setattr(
        Storage, "read_file", lambda self, path, read: opened.append(path) or read_file(self, path, read)
    )
    found = PredictionStore(folder).read_populations("clean", SETS, "dense", range(3))
    # And the first one once more, for the ids and labels of the one list of examples that all sets have.
    assert sorted(opened) == sorted([paths.predictions("clean", "dense", seed) for seed in (0, 0, 1, 2)])
    assert found["fog"].example_ids is found["snow"].example_ids and found["fog"].labels is found["blur"].labels


def test_several_sets_of_an_empty_population(storage):
    found = PredictionStore(storage).read_populations("clean", SETS, "dense", [0, 1])
    assert {name: (each.num_members, each.missing_seeds) for name, each in found.items()} == dict.fromkeys(
        SETS, (0, (0, 1))
    )


# -------------------------------------------------------------------------------------------------------- refusals


def test_mixed_members_with_attributes_are_refused(storage, write_attributes):
    write_attributes(0, FLAGS, [[0, 0, 0]] * 2)
    write_attributes(1, [FLAGS[0], [False, False, False]], [[0, 0, 0]] * 2)
    message = "example 1 has the attributes 2 in the first, has the attributes none in the second"
    with pytest.raises(StoreError, match=message):
        PredictionStore(storage).read_population("clean", "test", "dense", range(2), ("logits",))


def test_columns_that_attributes_have_none_of(storage, write_attributes):
    write_attributes(0, FLAGS, [[0, 0, 0]] * 2)
    message = "dense/0.parquet in .* holds no prediction, margin: of attributes that are learned jointly the logits are"
    with pytest.raises(StoreError, match=message):
        PredictionStore(storage).read_population("clean", "test", "dense", [0], ("prediction", "logits", "margin"))


@pytest.mark.parametrize(
    ("ids", "labels", "difference"),
    [
        ([5, 7], [0, 0], "example 6 has label 0 in the first, is absent in the second"),
        ([4, 5, 6], [0, 0, 0], "example 4 is absent in the first, has label 0 in the second"),
        ([5, 6], [0, 1], "example 6 has label 0 in the first, has label 1 in the second"),
    ],
)
def test_mixed_members_are_refused(storage, write_member, ids, labels, difference):
    write_member(0, [0, 0], example_ids=[5, 6], labels=[0, 0])
    write_member(2, [0] * len(ids), example_ids=ids, labels=labels)
    message = (
        f"predictions/clean/dense/0.parquet and predictions/clean/dense/2.parquet in {storage} "
        f"were made on different examples: {difference}"
    )
    with pytest.raises(StoreError) as raised:
        PredictionStore(storage).read_population("clean", "test", "dense", range(3))
    assert str(raised.value) == message


def test_a_mixture_in_one_of_several_sets_is_refused(storage, make_spec):
    write_sets(storage, make_spec(0), {"fog": 4, "blur": 3, "snow": 2})
    write_sets(storage, make_spec(1), {"fog": 4, "blur": 2, "snow": 2})
    store = PredictionStore(storage)
    assert store.read_populations("clean", ("fog", "snow"), "dense", range(2))["snow"].num_members == 2
    message = (
        "dense/0.parquet and .*dense/1.parquet in .*: example 20 has label 2 in the first, is absent in the second"
    )
    with pytest.raises(StoreError, match=message):
        store.read_populations("clean", SETS, "dense", range(2))


def test_one_absent_set_of_several_is_named(storage, write_member):
    write_member(0, [0], evaluation_sets=("fog", "blur"))
    with pytest.raises(StoreError, match="holds no evaluation set snow, only blur, fog"):
        PredictionStore(storage).read_populations("clean", SETS, "dense", [0])


def test_another_members_file_is_refused_where_ids_are_given(storage, write_member):
    write_member(1, [0])
    message = "dense/1.parquet in .* is of member 0000000000000001, the recipe's is ffff"
    with pytest.raises(StoreError, match=message):
        PredictionStore(storage).read_population("clean", "test", "dense", [1], member_ids={1: "ffff"})


def test_an_absent_evaluation_set_is_named(storage, write_member):
    write_member(0, [0], evaluation_sets=("fog", "blur"))
    with pytest.raises(StoreError, match="holds no evaluation set snow, only blur, fog"):
        PredictionStore(storage).read_population("clean", "snow", "dense", [0])


def test_logits_that_were_not_stored(storage, write_member):
    write_member(0, [0])
    with pytest.raises(StoreError, match=r"holds no logits: they are stored where evaluation\.store_logits is true"):
        PredictionStore(storage).read_population("clean", "test", "dense", [0], ("logits",))


def damage_tail(data: bytes) -> bytes:
    return data[:-20]


def damage_page(data: bytes) -> bytes:
    """Flip a bit in the last byte of the first column."""
    column = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(0)
    last = column.dictionary_page_offset + column.total_compressed_size - 1
    return data[:last] + bytes([data[last] ^ 1]) + data[last + 1 :]


def forget_version(data: bytes) -> bytes:
    return data.replace(b"schema_version", b"schema_xersion")


def raise_version(data: bytes) -> bytes:
    return data.replace(b"schema_version\x18\x012", b"schema_version\x18\x019")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_tail, "magic bytes not found"),
        (damage_page, "CRC checksum"),
        (forget_version, "schema_version"),
        (raise_version, "its schema version is 9, this pie_ray reads 2"),
        (lambda data: b"", "size is 0 bytes"),
    ],
)
def test_a_damaged_file_is_one_message(storage, write_member, damage, reason):
    write_member(0, [0, 1, 2] * 30)
    path = paths.predictions("clean", "dense", 0)
    damaged = damage(storage.read_bytes(path))
    assert damaged != storage.read_bytes(path)
    storage.write_bytes(path, damaged)

    columns = ("example_id", "label", "prediction", "confidence", "label_probability", "label_rank", "evaluation_set")
    with pytest.raises(StoreError, match=f"dense/0.parquet in .* cannot be read: .*{reason}.*; delete the file"):
        PredictionStore(storage).read_population("clean", "test", "dense", [0], columns)
