"""Small data sets in every layout, made of scikit-learn's digits: real images, a few of them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from sklearn.datasets import load_digits

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="session")
def pixels() -> Pixels:
    """uint8 [1797, 8, 8]."""
    return (load_digits().images * 15).astype(np.uint8)


@pytest.fixture(scope="session")
def labels() -> npt.NDArray[np.int64]:
    return load_digits().target.astype(np.int64)


def _encode(pixels: Pixels) -> bytes:
    """A PNG file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def encode() -> Callable[[Pixels], bytes]:
    return _encode


@pytest.fixture
def write_parquet(pixels: Pixels, labels: npt.NDArray[np.int64]) -> Callable[..., Path]:
    """Write digits `rows` as one Parquet file; `columns` replaces or, by None, removes columns."""

    def write(
        path: Path,
        rows: Sequence[int] = range(20),
        columns: dict[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
        row_group_size: int = 7,
    ) -> Path:
        data: dict[str, Any] = {
            "image": [{"bytes": _encode(pixels[row]), "path": None} for row in rows],
            "label": labels[list(rows)],
        } | (columns or {})
        image_type = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        arrays = {
            name: pyarrow.array(values, image_type) if name == "image" and isinstance(values[0], dict) else values
            for name, values in data.items()
            if values is not None
        }
        table = pyarrow.table(arrays)
        if class_names is not None:
            features = {"label": {"_type": "ClassLabel", "names": list(class_names)}}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, path, row_group_size=row_group_size)
        return path

    return write


@pytest.fixture
def parquet_folder(tmp_path: Path, write_parquet: Callable[..., Path]) -> Path:
    """Digits 0 to 19 to train, 20 to 29 to test."""
    write_parquet(tmp_path / "train-00000-of-00001.parquet")
    write_parquet(tmp_path / "test-00000-of-00001.parquet", rows=range(20, 30))
    return tmp_path


@pytest.fixture
def image_folder(tmp_path: Path, pixels: Pixels, labels: npt.NDArray[np.int64]) -> Path:
    """Digits 0 to 39 under `train/<label>/<row>.png`, 40 to 59 under `test`."""
    for split, rows in (("train", range(40)), ("test", range(40, 60))):
        for row in rows:
            path = tmp_path / "digits" / split / f"class{labels[row]}" / f"{row:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_encode(pixels[row]))
    return tmp_path / "digits"


def _write_idx(path: Path, values: Pixels) -> Path:
    """An IDX file of unsigned bytes, gzipped where the name ends in .gz."""
    header = np.array([0x800 + values.ndim, *values.shape], dtype=">u4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = header + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def write_idx() -> Callable[[Path, Pixels], Path]:
    return _write_idx


@pytest.fixture
def write_idx_files(pixels: Pixels, labels: npt.NDArray[np.int64]) -> Callable[..., Path]:
    """Fashion-MNIST's four files with digits in them: rows 0 to 29 to train, 30 to 39 to test."""

    def write(folder: Path, suffix: str = "") -> Path:
        for prefix, rows in (("train", slice(0, 30)), ("t10k", slice(30, 40))):
            _write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", pixels[rows])
            _write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", labels[rows].astype(np.uint8))
        return folder

    return write
