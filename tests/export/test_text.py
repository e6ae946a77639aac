"""The same rows in every format, whatever the names in them."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

import pie_ray
from pie_ray.export import by_example, choose, csv_bytes, json_bytes, json_lines, named_pies
from pie_ray.store import frame_bytes

from .conftest import CLASSES


@pytest.fixture(scope="module")
def rows(hostile):
    results = pie_ray.load_results(hostile)
    groups = results.examples().set_index("example_id")[["variant_id", "=site"]]
    return choose(named_pies(results.pies, {"test": groups}, results.class_names))


@pytest.mark.parametrize("form", [by_example, lambda rows: rows], ids=["example", "variant"])
def test_every_format_has_the_same_rows(rows, form):
    table = form(rows)
    lines = [json.loads(line, parse_constant=pytest.fail) for line in json_lines(table).splitlines()]
    parquet = pd.read_parquet(io.BytesIO(frame_bytes(table)))
    from_csv = pd.read_csv(io.BytesIO(csv_bytes(table)))
    assert len(lines) == len(parquet) == len(from_csv) == len(table) > 0
    assert [list(line) for line in lines] == [list(table)] * len(table)
    assert list(parquet) == list(table)
    for name in table:
        expected = [None if isinstance(value, float) and np.isnan(value) else value for value in table[name].tolist()]
        assert [line[name] for line in lines] == expected
        stored = [list(value) if isinstance(value, np.ndarray) else value for value in parquet[name].tolist()]
        assert [None if value != value else value for value in stored] == expected
    for name in ("example_id", "label", "taxicab", "q_value", "is_significant"):
        np.testing.assert_array_equal(from_csv[name], table[name])


def test_names_of_all_kinds_survive(rows):
    names = {json.loads(line)["label_name"] for line in json_lines(rows).splitlines()}
    assert names == {"'q'", "+plus", "<script>alert(1)<"}
    told = pd.DataFrame({"label_name": CLASSES})
    read = list(csv.reader(io.StringIO(csv_bytes(told).decode(), newline="")))
    assert [cell.removeprefix("'") for (cell,) in read[1:]] == [name.removeprefix("'") for name in CLASSES]
    assert [json.loads(line)["label_name"] for line in json_lines(told).splitlines()] == list(CLASSES)


def test_a_spreadsheet_finds_no_formula():
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "a=b", "x-1", ""]
    table = pd.DataFrame({"=name": texts, "number": -1.5, "list": [["=1", "b"]] * len(texts)})
    header, *cells = csv.reader(io.StringIO(csv_bytes(table).decode(), newline=""))
    assert header == ["'=name", "number", "list"]
    assert [cell[0] for cell in cells] == [*(f"'{text}" for text in texts[:7]), "a=b", "x-1", ""]
    assert cells[0][1:] == ["-1.5", "'=1; b"]


def test_what_is_no_number_is_null():
    table = pd.DataFrame({"value": [0.5, np.nan, np.inf], "flag": [True, False, True]})
    lines = [json.loads(line) for line in json_lines(table).splitlines()]
    assert lines == [{"value": 0.5, "flag": True}, {"value": None, "flag": False}, {"value": None, "flag": True}]
    assert csv_bytes(table).decode().splitlines()[2] == ",False"
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes(float("nan"))
