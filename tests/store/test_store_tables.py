from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pie_ray.errors import StoreError
from pie_ray.store import paths, read_table, write_table

COLUMNS = {"variant_id": ["dense", "magnitude-0.90"], "top1_mean": np.array([0.9, np.nan]), "num_pies": [0, 3]}


@pytest.mark.parametrize("make", [dict, pa.table, pd.DataFrame])
def test_a_table_comes_back(storage, make):
    write_table(storage, "summary", make(COLUMNS))
    assert storage.list_files() == ["analysis/summary.parquet"]

    table = read_table(storage, "summary")
    assert table.column_names == ["variant_id", "top1_mean", "num_pies"]
    assert table["variant_id"].to_pylist() == ["dense", "magnitude-0.90"]
    assert np.array_equal(table["top1_mean"].to_numpy(), [0.9, np.nan], equal_nan=True)
    assert table["num_pies"].to_pylist() == [0, 3]


def test_the_rows_of_a_frame_are_kept_without_their_index(storage):
    frame = pd.DataFrame(COLUMNS)
    write_table(storage, "summary", frame[frame["num_pies"] > 0])
    assert read_table(storage, "summary").column_names == list(COLUMNS)


def test_a_table_may_have_no_rows(storage):
    write_table(storage, "pies", {"example_id": np.empty(0, np.int64)})
    assert read_table(storage, "pies").schema.field("example_id").type == pa.int64()
    assert read_table(storage, "pies").num_rows == 0


def test_an_absent_table_says_what_writes_it(storage):
    with pytest.raises(StoreError, match=r"analysis/pies\.parquet is not in .*: `pie-ray analyze` writes it"):
        read_table(storage, "pies")


def test_a_damaged_table_is_one_message(storage):
    write_table(storage, "pies", COLUMNS)
    storage.write_bytes(paths.table("pies"), storage.read_bytes(paths.table("pies"))[:100])
    with pytest.raises(StoreError, match=r"analysis/pies\.parquet in .* cannot be read"):
        read_table(storage, "pies")
