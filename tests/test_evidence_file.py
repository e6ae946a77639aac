from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pie_ray.analysis.evidence_file import Evidence, read_evidence
from pie_ray.analysis.source import ExampleFacts
from pie_ray.errors import InputError

pytestmark = pytest.mark.filterwarnings("error")

SUFFIXES = ("parquet", "csv", "csv.gz")
NAN = np.nan


def facts(*example_ids: int, keys: tuple[str, ...] = ()) -> ExampleFacts:
    ids = np.array(example_ids)
    return ExampleFacts(ids, np.zeros(len(ids), np.uint16), keys or tuple(f"test[{number}]" for number in ids), {})


TEST = {"test": facts(2, 3, 5, 8)}


def write(path: Path, columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(columns)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)
    return path


def read(path: Path, examples: dict[str, ExampleFacts] = TEST, **settings: Any) -> Evidence:
    return read_evidence(str(path), examples=examples, **settings)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_measures_are_set_beside_their_examples(suffix: str, tmp_path: Path) -> None:
    columns = {
        "example_id": [8, 2, 5, 3],
        "disagreement": [0.75, 0.25, NAN, 0.5],
        "num_votes": pd.array([10, None, 30, 40], "Int64"),
        "is_wrong": [True, False, False, True],
    }
    found = read(write(tmp_path / f"known.{suffix}", columns))
    assert (found.num_rows, found.num_matched, found.notes) == (4, 4, ())
    assert list(found.values) == ["test"]
    values = found.values["test"]
    assert list(values) == ["disagreement", "num_votes", "is_wrong"]
    np.testing.assert_array_equal(values["disagreement"], [0.25, 0.5, NAN, 0.75])
    np.testing.assert_array_equal(values["num_votes"], [NAN, 40, 30, 10])
    np.testing.assert_array_equal(values["is_wrong"], [0, 1, 0, 1])
    assert {array.dtype for array in values.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_booleans_with_unknown_values(suffix: str, tmp_path: Path) -> None:
    columns = {"example_id": [2, 3, 5], "is_wrong": pd.array([True, None, False], "boolean")}
    found = read(write(tmp_path / f"known.{suffix}", columns))
    np.testing.assert_array_equal(found.values["test"]["is_wrong"], [1, NAN, 0, NAN])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["key", "example_id"])
def test_texts_are_keys(name: str, suffix: str, tmp_path: Path) -> None:
    columns = {name: ["test[5]", "test[2]", "other.png"], "blur": [5.0, 2.0, 7.0]}
    found = read(write(tmp_path / f"known.{suffix}", columns))
    np.testing.assert_array_equal(found.values["test"]["blur"], [2, NAN, 5, NAN])
    assert (found.num_rows, found.num_matched) == (3, 2)
    assert found.notes == ("1 of 3 rows are of no example that was predicted.",)


def test_a_row_may_tell_of_several_examples_of_one_key(tmp_path: Path) -> None:
    examples = {"test": facts(0, 1, 2, keys=("a", "b", "a"))}
    found = read(write(tmp_path / "known.csv", {"key": ["a", "c"], "blur": [0.5, 1.5]}), examples)
    np.testing.assert_array_equal(found.values["test"]["blur"], [0.5, NAN, 0.5])
    assert (found.num_rows, found.num_matched) == (2, 1)


def test_numbers_in_a_column_of_keys_are_keys(tmp_path: Path) -> None:
    examples = {"test": facts(0, 1, 2, keys=("7", "8", "0"))}
    by_key = read(write(tmp_path / "key.csv", {"key": [0, 8], "blur": [0.5, 1.5]}), examples)
    np.testing.assert_array_equal(by_key.values["test"]["blur"], [NAN, 1.5, 0.5])
    by_id = read(write(tmp_path / "id.csv", {"example_id": [0, 8], "blur": [0.5, 1.5]}), examples)
    np.testing.assert_array_equal(by_id.values["test"]["blur"], [0.5, NAN, NAN])


def test_our_own_table_of_examples_with_a_measure_beside_it(tmp_path: Path) -> None:
    columns = {"example_id": [2, 3], "label": [1, 0], "key": ["a", "b"], "blur": [0.5, 1.5]}
    found = read(write(tmp_path / "known.parquet", columns))
    assert list(found.values["test"]) == ["blur"]
    np.testing.assert_array_equal(found.values["test"]["blur"], [0.5, 1.5, NAN, NAN])
    assert found.notes == ()


def test_columns_go_by_the_users_names(tmp_path: Path) -> None:
    columns = {"image": [5, 3], "split": ["test", "fog"], "blur": [5.0, 3.0]}
    examples = TEST | {"fog": facts(3, 5)}
    path = write(tmp_path / "known.csv", columns)
    found = read(path, examples, columns={"example_id": "image", "evaluation_set": "split"})
    np.testing.assert_array_equal(found.values["test"]["blur"], [NAN, NAN, 5, NAN])
    np.testing.assert_array_equal(found.values["fog"]["blur"], [3, NAN])


def test_each_evaluation_set_has_its_own_rows(tmp_path: Path) -> None:
    columns = {
        "evaluation_set": ["fog", "test", "fog", "absent", "test"],
        "example_id": [3, 3, 5, 3, 100],
        "blur": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
    found = read(write(tmp_path / "known.csv", columns), TEST | {"fog": facts(5, 3), "natural": facts(3)})
    assert set(found.values) == {"test", "fog"}
    np.testing.assert_array_equal(found.values["fog"]["blur"], [3, 1])
    np.testing.assert_array_equal(found.values["test"]["blur"], [NAN, 2, NAN, NAN])
    assert (found.num_rows, found.num_matched) == (5, 3)
    assert found.notes == ("2 of 5 rows are of no example that was predicted.",)


def test_rows_without_an_evaluation_set_are_of_test_or_the_only_one(tmp_path: Path) -> None:
    path = write(tmp_path / "known.csv", {"example_id": [3], "blur": [1.0]})
    assert set(read(path, TEST | {"fog": facts(3)}).values) == {"test"}
    assert set(read(path, {"clean": facts(3)}).values) == {"clean"}
    with pytest.raises(
        InputError,
        match=r"known.csv: found no column evaluation_set; needed is one, as there are the evaluation sets clean, fog",
    ):
        read(path, {"clean": facts(3), "fog": facts(3)})


def test_columns_of_no_numbers_are_left_out(tmp_path: Path) -> None:
    columns = {"example_id": [2, 3], "quality": ["low", "high"], "note": [None, None], "blur": [0.5, 1.5]}
    found = read(write(tmp_path / "known.csv", columns))
    assert list(found.values["test"]) == ["blur"]
    assert found.notes == (
        "Columns left out, being neither numbers nor booleans: quality.",
        "Columns left out, having no value for an example that was predicted: note.",
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_measure_is_told_of_sets_where_it_is_known(suffix: str, tmp_path: Path) -> None:
    columns = {
        "evaluation_set": ["test", "test", "fog"],
        "example_id": [2, 100, 3],
        "votes": [NAN, NAN, 7.0],
        "blur": [0.5, 1.5, NAN],
        "glare": [NAN, 1.5, NAN],
        "haze": [NAN, NAN, NAN],
    }
    found = read(write(tmp_path / f"known.{suffix}", columns), TEST | {"fog": facts(3)})
    assert {name: list(values) for name, values in found.values.items()} == {"test": ["blur"], "fog": ["votes"]}
    assert found.notes == (
        "1 of 3 rows are of no example that was predicted.",
        "Columns left out, having no value for an example that was predicted: glare, haze.",
    )


def test_all_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    write(tmp_path / "known" / "a.csv", {"example_id": [2], "blur": [1]})
    write(tmp_path / "known" / "b.parquet", {"example_id": [3], "blur": [0.5]})
    (tmp_path / "known" / "readme.md").touch()
    found = read(tmp_path / "known")
    np.testing.assert_array_equal(found.values["test"]["blur"], [1, 0.5, NAN, NAN])
    assert found.notes == ("Files of another suffix were not read: readme.md.",)


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["test", "fog", "absent"]), st.integers(0, 9)),
        st.one_of(st.none(), st.floats(-9, 9, width=16)),
        min_size=1,
    ),
    st.randoms(use_true_random=False),
    st.sampled_from(SUFFIXES),
)
def test_every_row_finds_its_example_whatever_the_order(known: dict[Any, Any], random: Any, suffix: str) -> None:
    examples = {"test": facts(0, 1, 4, 9), "fog": facts(1, 2, 9)}
    items = list(known.items())
    random.shuffle(items)
    columns = {
        "evaluation_set": [name for (name, _), _ in items],
        "example_id": [number for (_, number), _ in items],
        "blur": np.array([NAN if value is None else value for _, value in items]),
        "certain": [1.0] * len(items),
    }
    matched = {key for key in known if key[0] in examples and key[1] in examples[key[0]].example_ids}
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / f"known.{suffix}", columns)
        if not matched:
            with pytest.raises(InputError, match=r"found"):
                read(path, examples)
            return
        found = read(path, examples)
    assert (found.num_rows, found.num_matched) == (len(known), len(matched))
    assert set(found.values) == {name for name, _ in matched}
    for name, values in found.values.items():
        expected = [known.get((name, number)) for number in examples[name].example_ids.tolist()]
        is_known = any(value is not None for value in expected)
        assert list(values) == ["blur", "certain"][1 - is_known :]
        if is_known:
            np.testing.assert_array_equal(values["blur"], np.array(expected, np.float64))
        is_told = [(name, number) in known for number in examples[name].example_ids.tolist()]
        np.testing.assert_array_equal(values["certain"], np.where(is_told, 1, NAN))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"image": [2], "blur": [0.5]},
            "known.csv: found no column example_id or key, only image, blur; needed is one",
        ),
        ({"example_id": [2]}, "known.csv: found no measure, only example_id; needed are numbers or booleans"),
        ({"example_id": [2], "a": ["b"], "label": [1]}, "found no measure, only example_id, a, label; needed are numb"),
        (
            {"example_id": [2, None], "blur": [0.5, 1]},
            "known.csv, row 1: found example_id without a value; accepted are",
        ),
        (
            {"example_id": [2, 2.5], "blur": [0.5, 1]},
            "known.csv, row 1: found example_id 2.5; accepted are integers or",
        ),
        ({"key": ["a", ""], "blur": [0.5, 1]}, "known.csv, row 1: found key without a value"),
        ({"key": ["a"], "evaluation_set": [""], "blur": [1]}, "known.csv, row 0: found evaluation_set without a value"),
        (
            {"example_id": [2, 3], "blur": [0.5, np.inf]},
            "known.csv, row 1: found blur inf; accepted are finite numbers",
        ),
        (
            {"example_id": [2, 3, 3, 5, 2, 3], "blur": [0.5] * 6},
            r"row 2: found example_id 3 again, first in .*known.csv, row 1 \(3 such rows\); accepted is one row",
        ),
        (
            {"key": ["b", "a", "a"], "blur": [0.5] * 3},
            r"known.csv, row 2: found key a again, first in .*known.csv, row 1 \(1 such rows\); accepted is one row",
        ),
        (
            {"example_id": [100, 200], "blur": [0.5, 1]},
            r"found example_id 100, 200 ..., none of them an example's; accepted are example ids such as 2, 3, 5 or "
            r"keys such as test\[2\], test\[3\], test\[5\] \(evaluation set test\)",
        ),
        (
            {"key": ["a.png"], "blur": [1]},
            "found key a.png ..., none of them an example's; accepted are example ids such as 2",
        ),
        (
            {"example_id": [2], "evaluation_set": ["tset"], "blur": [1]},
            "found evaluation sets tset; accepted are those that were predicted: test",
        ),
    ],
)
def test_mistakes(columns: dict[str, list[Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "known.csv", columns))


def test_one_example_may_stand_on_several_sets(tmp_path: Path) -> None:
    columns = {"example_id": [2, 2], "evaluation_set": ["test", "fog"], "blur": [1, 2]}
    assert read(write(tmp_path / "known.csv", columns)).num_matched == 1


def test_names_of_columns_that_are_none_of_ours(tmp_path: Path) -> None:
    path = write(tmp_path / "known.csv", {"example_id": [2], "blur": [1]})
    with pytest.raises(InputError, match=r"--column: found the name id; accepted are example_id, key, evaluation_set"):
        read(path, columns={"id": "example_id"})
    with pytest.raises(InputError, match=r"found no column key \(name\), only example_id, blur"):
        read(path, columns={"key": "name"})


def test_a_folder_of_one_measure_in_two_types(tmp_path: Path) -> None:
    write(tmp_path / "known" / "a.csv", {"example_id": [2], "blur": [1]})
    write(tmp_path / "known" / "b.csv", {"example_id": [3], "blur": ["much"]})
    with pytest.raises(InputError, match=r"known/b.csv: found text in column blur, where .*known/a.csv has integers"):
        read(tmp_path / "known")


def test_no_file_is_told_as_for_predictions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"known.csv: found no such file or folder"):
        read(tmp_path / "known.csv")


@pytest.mark.parametrize("kind", [pa.uint8(), pa.float16(), pa.float32(), pa.decimal128(9, 2)], ids=str)
def test_numbers_of_any_type(kind: pa.DataType, tmp_path: Path) -> None:
    blur = pa.array([1, None, 3], pa.float64()).cast(kind)
    pq.write_table(pa.table({"example_id": [2, 3, 5], "blur": blur}), tmp_path / "known.parquet")
    np.testing.assert_array_equal(read(tmp_path / "known.parquet").values["test"]["blur"], [1, NAN, 3, NAN])


def test_reads_without_torch_ray_and_mlflow(tmp_path: Path) -> None:
    path = write(tmp_path / "known.csv", {"example_id": [1], "blur": [0.5]})
    script = f"""
import sys
for name in ("torch", "ray", "mlflow"):
    sys.modules[name] = None
import numpy as np
from pie_ray.analysis.evidence_file import read_evidence
from pie_ray.analysis.source import ExampleFacts
facts = ExampleFacts(np.arange(2), np.zeros(2, int), ("a", "b"), {{}})
print(read_evidence({str(path)!r}, examples={{"test": facts}}).values["test"]["blur"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[nan 0.5]\n"), done.stderr
