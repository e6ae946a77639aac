from __future__ import annotations

import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import entropy

from pie_ray.errors import PieRayError, StoreError
from pie_ray.store import MemorySink, ParquetSink, paths, prediction_batch, schema

IDS = np.array([10, 11, 12])
LABELS = np.array([0, 0, 2])
LOGITS = np.array([[2, 1, 0], [0, 1, 0], [1, 1, 1]], np.float32)


def read(storage, path: str) -> pq.ParquetFile:
    return pq.ParquetFile(pa.BufferReader(storage.read_bytes(path)))


# ---------------------------------------------------------------------------------------------- prediction_batch


def test_what_is_stored_of_a_prediction():
    e = float(np.e)
    batch = prediction_batch("test", IDS, LABELS, LOGITS).to_pydict()
    assert batch == {
        "evaluation_set": ["test", "test", "test"],
        "example_id": [10, 11, 12],
        "label": [0, 0, 2],
        "prediction": [0, 1, 0],
        "confidence": pytest.approx([e**2 / (e**2 + e + 1), e / (e + 2), 1 / 3], rel=1e-6),
        "label_probability": pytest.approx([e**2 / (e**2 + e + 1), 1 / (e + 2), 1 / 3], rel=1e-6),
        "label_rank": [0, 1, 2],
        "margin": pytest.approx([(e**2 - e) / (e**2 + e + 1), (1 - e) / (e + 2), 0], rel=1e-6),
        "entropy": pytest.approx([entropy(np.exp(row)) for row in LOGITS], rel=1e-6),
    }


def test_a_label_rank_of_zero_is_a_correct_prediction():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 7, 500), rng.integers(0, 3, (500, 7)).astype(np.float32)
    batch = prediction_batch("test", np.arange(500), labels, logits)
    rank, prediction = batch["label_rank"].to_numpy(), batch["prediction"].to_numpy()

    assert np.array_equal(rank == 0, prediction == labels)
    # Top-k is "the label is among the first k of a stable ordering", whatever the ties.
    ordering = np.argsort(-logits, axis=1, kind="stable")
    assert np.array_equal(rank, np.argmax(ordering == labels[:, None], axis=1))


def test_logits_of_any_size_give_probabilities():
    batch = prediction_batch("test", IDS[:2], LABELS[:2], np.array([[3e4, -3e4], [-1e30, 1e30]], np.float32))
    assert batch["confidence"].to_pylist() == [1.0, 1.0]
    assert batch["label_probability"].to_pylist() == [1.0, 0.0]


def test_logits_are_stored_where_asked():
    batch = prediction_batch("test", IDS, LABELS, LOGITS, store_logits=True)
    assert batch.schema == schema.predictions_schema(3)
    assert batch["logits"].to_pylist() == LOGITS.tolist()


def test_a_logit_that_is_not_finite_is_refused():
    logits = LOGITS.copy()
    logits[1, 2] = np.nan
    message = r"fog: the logit of example 11, class 2 is nan \(1 of 3 examples in the batch are affected\)"
    with pytest.raises(PieRayError, match=message):
        prediction_batch("fog", IDS, LABELS, logits)


FLAGS = np.array([[True, False], [False, False], [True, True]])
FLAG_LOGITS = np.array([[2, 1], [-3, 0.5], [0, 4]], np.float32)


@pytest.mark.parametrize("store_logits", [False, True])
def test_what_is_stored_of_attributes(store_logits):
    batch = prediction_batch("test", IDS, FLAGS, FLAG_LOGITS, store_logits=store_logits)
    assert batch.schema == schema.attribute_predictions_schema(2)
    assert batch.to_pydict() == {
        "evaluation_set": ["test", "test", "test"],
        "example_id": [10, 11, 12],
        "label": FLAGS.tolist(),
        "logits": FLAG_LOGITS.tolist(),
    }


def test_one_attribute_is_no_class():
    batch = prediction_batch("test", IDS, FLAGS[:, :1], FLAG_LOGITS[:, :1])
    assert batch["label"].to_pylist() == [[True], [False], [True]]


def test_labels_that_are_neither_classes_nor_flags_are_refused():
    with pytest.raises(AssertionError):
        prediction_batch("test", IDS, FLAGS.astype(np.int64), FLAG_LOGITS)
    with pytest.raises(AssertionError):
        prediction_batch("test", IDS, FLAGS[:, :1], FLAG_LOGITS)


def test_an_attributes_logit_that_is_not_finite_is_refused():
    logits = FLAG_LOGITS.copy()
    logits[2] = np.inf
    with pytest.raises(PieRayError, match=r"test: the logit of example 12, attribute 0 is inf \(1 of 3 examples"):
        prediction_batch("test", IDS, FLAGS, logits)


# ----------------------------------------------------------------------------------------------------- collecting


def test_nothing_is_on_storage_before_commit(storage, make_spec):
    with ParquetSink(storage).open(make_spec(4), "clean", num_rows=3) as suite:
        suite.write(prediction_batch("test", IDS, LABELS, LOGITS))
        assert storage.list_files() == []
        suite.commit()
        assert storage.list_files() == ["predictions/clean/dense/4.parquet"]


def test_a_block_that_is_left_without_commit_keeps_nothing(storage, make_spec):
    with pytest.raises(RuntimeError), ParquetSink(storage).open(make_spec(), "clean", num_rows=3) as suite:
        suite.write(prediction_batch("test", IDS, LABELS, LOGITS))
        raise RuntimeError
    assert storage.list_files() == []


def test_serialisation_that_fails_keeps_nothing(storage, make_spec, monkeypatch):
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    with pytest.raises(RuntimeError), ParquetSink(storage).open(make_spec(), "clean", num_rows=3) as suite:
        suite.write(prediction_batch("test", IDS, LABELS, LOGITS))
        suite.commit()
    assert storage.list_files() == []


def test_rows_are_kept_in_one_order_however_they_come(make_spec):
    tables = []
    for order in ([0, 1, 2], [2, 0, 1]):
        sink = MemorySink()
        with sink.open(make_spec(), "corruptions", num_rows=6) as suite:
            for name in ("fog", "blur"):
                suite.write(prediction_batch(name, IDS[order], LABELS[order], LOGITS[order], store_logits=True))
            suite.commit()
        tables.append(sink.tables["0000000000000000", "corruptions"].to_pylist())

    assert tables[0] == tables[1]
    assert [(row["evaluation_set"], row["example_id"], row["prediction"]) for row in tables[0]] == [
        ("blur", 10, 0),
        ("blur", 11, 1),
        ("blur", 12, 0),
        ("fog", 10, 0),
        ("fog", 11, 1),
        ("fog", 12, 0),
    ]


def test_attributes_are_kept_in_one_order_however_they_come(make_spec):
    tables = []
    for order in ([0, 1, 2], [2, 0, 1]):
        sink = MemorySink()
        with sink.open(make_spec(), "clean", num_rows=3) as suite:
            for row in order:
                suite.write(prediction_batch("test", IDS[[row]], FLAGS[[row]], FLAG_LOGITS[[row]]))
            suite.commit()
        tables.append(sink.tables["0000000000000000", "clean"].to_pylist())
    assert tables[0] == tables[1]
    assert [row["label"] for row in tables[0]] == FLAGS.tolist()


def test_a_batch_of_attributes_survives_the_way_to_a_writer():
    batch = pickle.loads(pickle.dumps(prediction_batch("test", IDS, FLAGS, FLAG_LOGITS)))
    joined = pa.concat_batches([batch.slice(0, 1), batch.slice(1)])
    assert joined["label"].to_pylist() == FLAGS.tolist()
    assert joined["logits"].to_pylist() == FLAG_LOGITS.tolist()


def test_a_batch_of_several_evaluation_sets_is_taken_apart(make_spec):
    fog, blur = (prediction_batch(name, IDS, LABELS, LOGITS) for name in ("fog", "blur"))
    sink = MemorySink()
    with sink.open(make_spec(), "corruptions", num_rows=6) as suite:
        suite.write(pa.concat_batches([fog, blur]))
        suite.commit()
    (table,) = sink.tables.values()
    assert table["evaluation_set"].to_pylist() == ["blur"] * 3 + ["fog"] * 3


def test_doubled_rows_are_refused(storage, make_spec):
    with ParquetSink(storage).open(make_spec(), "clean", num_rows=5) as suite:
        suite.write(prediction_batch("test", IDS, LABELS, LOGITS))
        suite.write(prediction_batch("test", IDS[1:], LABELS[1:], LOGITS[1:]))
        message = (
            r"predictions of member 0{16} \(dense, seed 0\) on suite clean: "
            "2 rows are doubled, the first is example 11 of test"
        )
        with pytest.raises(StoreError, match=message):
            suite.commit()
    assert storage.list_files() == []


def test_one_example_may_be_in_two_evaluation_sets(make_spec):
    with MemorySink().open(make_spec(), "corruptions", num_rows=6) as suite:
        for name in ("fog", "blur"):
            suite.write(prediction_batch(name, IDS, LABELS, LOGITS))
        suite.commit()


def test_a_wrong_number_of_rows_is_refused(storage, make_spec):
    with ParquetSink(storage).open(make_spec(), "clean", num_rows=4) as suite:
        suite.write(prediction_batch("test", IDS, LABELS, LOGITS))
        with pytest.raises(StoreError, match="on suite clean: expected 4 rows, found 3"):
            suite.commit()
    assert storage.list_files() == []


def test_a_collector_is_done_after_commit(make_spec):
    batch = prediction_batch("test", IDS, LABELS, LOGITS)
    with MemorySink().open(make_spec(), "clean", num_rows=3) as suite:
        suite.write(batch)
        suite.commit()
        with pytest.raises(AssertionError):
            suite.commit()
        with pytest.raises(AssertionError):
            suite.write(batch)


# -------------------------------------------------------------------------------------------------------- the file


def test_a_file_says_whose_it_is(storage, write_member):
    write_member(3, [0, 1], evaluation_sets=("fog", "blur"))
    metadata = read(storage, paths.predictions("clean", "dense", 3)).metadata.metadata
    texts = {key.decode(): value.decode() for key, value in metadata.items() if key != b"ARROW:schema"}
    sets = json.loads(texts.pop("evaluation_sets"))

    assert texts == {
        "schema_version": "2",
        "member_id": "0000000000000003",
        "variant_id": "dense",
        "seed": "3",
        "suite": "clean",
        "num_rows": "4",
    }
    assert [(part["name"], part["num_rows"]) for part in sets] == [("blur", 2), ("fog", 2)]


def test_each_evaluation_set_is_a_row_group(storage, write_member):
    write_member(0, [0, 1], evaluation_sets=("fog", "blur"))
    file = read(storage, paths.predictions("clean", "dense", 0))
    assert [file.read_row_group(index)["evaluation_set"].to_pylist() for index in range(file.num_row_groups)] == [
        ["blur", "blur"],
        ["fog", "fog"],
    ]


def test_columns_are_typed_and_encoded(storage, write_member):
    write_member(0, [0, 1, 2], store_logits=True)
    file = read(storage, paths.predictions("clean", "dense", 0))
    assert file.schema_arrow.remove_metadata() == schema.predictions_schema(3)

    group = file.metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert {column.path_in_schema: column.encodings[-1] for column in columns} == {
        "evaluation_set": "RLE_DICTIONARY",
        "example_id": "DELTA_BINARY_PACKED",
        "label": "RLE_DICTIONARY",
        "prediction": "RLE_DICTIONARY",
        "confidence": "BYTE_STREAM_SPLIT",
        "label_probability": "BYTE_STREAM_SPLIT",
        "label_rank": "RLE_DICTIONARY",
        "margin": "BYTE_STREAM_SPLIT",
        "entropy": "BYTE_STREAM_SPLIT",
        "logits.list.element": "BYTE_STREAM_SPLIT",
    }


def test_columns_of_attributes_are_typed_and_encoded(storage, write_attributes):
    write_attributes(0, FLAGS.tolist(), FLAG_LOGITS.tolist())
    file = read(storage, paths.predictions("clean", "dense", 0))
    assert file.schema_arrow.remove_metadata() == schema.attribute_predictions_schema(2)
    group = file.metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    assert {column.path_in_schema: (column.physical_type, column.encodings[-1]) for column in columns} == {
        "evaluation_set": ("BYTE_ARRAY", "RLE_DICTIONARY"),
        "example_id": ("INT64", "DELTA_BINARY_PACKED"),
        "label.list.element": ("BOOLEAN", "PLAIN"),
        "logits.list.element": ("FLOAT", "BYTE_STREAM_SPLIT"),
    }


def test_a_prediction_of_forty_attributes_takes_under_four_bytes_each(storage, make_spec):
    rng = np.random.default_rng(0)
    labels = rng.random((5_000, 40)) < 0.3
    logits = (np.where(labels, 2, -2) + rng.normal(size=labels.shape)).astype(np.float32)
    with ParquetSink(storage).open(make_spec(), "clean", num_rows=5_000) as suite:
        suite.write(prediction_batch("test", np.arange(5_000), labels, logits))
        suite.commit()
    assert len(storage.read_bytes(paths.predictions("clean", "dense", 0))) / labels.size < 4


def test_a_row_takes_under_fourteen_bytes(storage, make_spec):
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 10, 50_000), rng.normal(size=(50_000, 10)).astype(np.float32)
    logits[np.arange(50_000), labels] += 4
    with ParquetSink(storage).open(make_spec(), "clean", num_rows=50_000) as suite:
        suite.write(prediction_batch("test", np.arange(50_000), labels, logits))
        suite.commit()
    assert len(storage.read_bytes(paths.predictions("clean", "dense", 0))) / 50_000 < 14
