from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pie_ray.errors import StoreError
from pie_ray.store import paths, read_examples, write_examples


def test_examples_come_back_by_ascending_id(storage):
    groups = {"Male": np.array([True, False, True]), "site": np.array(["a", "b", "a"]), "age": np.array([3, 1, 2])}
    write_examples(
        storage,
        "natural/cifar10.1",
        example_ids=np.array([30, 10, 20]),
        labels=np.array([2, 0, 1]),
        keys=("c.png", "a.png", "b.png"),
        groups=groups,
        class_names=("cat", "dog", "frog"),
    )
    examples = read_examples(storage, "natural/cifar10.1")

    assert examples.evaluation_set == "natural/cifar10.1"
    assert examples.example_ids.tolist() == [10, 20, 30]
    assert examples.labels.tolist() == [0, 1, 2]
    assert examples.keys == ("a.png", "b.png", "c.png")
    assert {name: values.tolist() for name, values in examples.groups.items()} == {
        "Male": [False, True, True],
        "site": ["b", "a", "a"],
        "age": [1, 2, 3],
    }
    assert examples.groups["Male"].dtype == bool
    assert examples.class_names == ("cat", "dog", "frog")


def test_columns_that_people_rely_on(storage):
    write_examples(storage, "test", np.arange(2), np.arange(2), ["0", "1"], {"Male": np.array([True, False])}, "ab")
    file = pq.ParquetFile(pa.BufferReader(storage.read_bytes(paths.examples("test"))))
    assert {field.name: str(field.type) for field in file.schema_arrow} == {
        "example_id": "int64",
        "label": "uint16",
        "key": "string",
        "Male": "bool",
    }


def test_attributes_come_back_with_their_names(storage):
    labels = np.array([[True, False], [False, False], [True, True]])
    groups = {"Male": np.array([True, False, True])}
    write_examples(storage, "train", np.array([7, 3, 5]), labels, ["c", "a", "b"], groups, ["Young", "Smiling"])
    examples = read_examples(storage, "train")
    assert examples.class_names == ("Young", "Smiling")
    assert examples.example_ids.tolist() == [3, 5, 7]
    assert examples.labels.dtype == np.bool_
    assert examples.labels.tolist() == [[False, False], [True, True], [True, False]]
    assert examples.groups["Male"].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("ids", "group", "message"),
    [
        ([1, 1], "Male", "evaluation set test: example id 1 is doubled"),
        ([1, 2], "label", "evaluation set test: no group can be called label"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(storage, ids, group, message):
    with pytest.raises(StoreError, match=message):
        write_examples(storage, "test", np.array(ids), np.zeros(2), ["a", "b"], {group: np.zeros(2)}, ["cat"])
    assert storage.list_files() == []


def test_an_absent_file_is_named(storage):
    with pytest.raises(StoreError, match=r"examples/test\.parquet is not in .*: the sweep writes it"):
        read_examples(storage, "test")


@pytest.mark.parametrize("data", [b"", b"PAR1 and no more", b"x" * 1000])
def test_a_damaged_file_is_one_message(storage, data):
    storage.write_bytes(paths.examples("test"), data)
    with pytest.raises(StoreError, match=r"examples/test\.parquet in .* cannot be read"):
        read_examples(storage, "test")


def test_another_parquet_file_is_one_message(storage):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1]}), sink)
    storage.write_bytes(paths.examples("test"), sink.getvalue())
    with pytest.raises(StoreError, match=r"examples/test\.parquet in .* cannot be read"):
        read_examples(storage, "test")
