"""Storages to test on, a sweep's plan, and members with predictions written down by hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import fs

from pie_ray.config import Recipe
from pie_ray.identity import MemberSpec, Plan, Variant, make_plan
from pie_ray.store import ParquetSink, Storage, prediction_batch


class ObjectStore(fs.FileSystemHandler):
    """An object store in memory that publishes as S3 does: whatever was written so far, whenever a stream closes."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.num_writes = 0
        self.fail_write = False

    def get_type_name(self) -> str:
        return "object store"

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [fs.FileInfo(path, fs.FileType.File if path in self.objects else fs.FileType.NotFound) for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        return self.get_file_info([path for path in self.objects if path.startswith(f"{selector.base_dir}/")])

    def delete_file(self, path: str) -> None:
        if self.objects.pop(path, None) is None:
            raise FileNotFoundError(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        if path not in self.objects:
            raise FileNotFoundError(path)
        return pa.BufferReader(self.objects[path])

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return pa.PythonFile(_Upload(self, path), mode="w")

    def normalize_path(self, path: str) -> str:
        return path

    def _not_needed(self, *arguments: Any) -> Any:
        raise NotImplementedError

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _not_needed
    move = copy_file = open_input_stream = open_append_stream = _not_needed


class _Upload(io.BytesIO):
    def __init__(self, store: ObjectStore, path: str) -> None:
        super().__init__()
        self.store, self.path = store, path

    def write(self, data: Any) -> int:
        self.store.num_writes += 1
        if self.store.fail_write:
            raise OSError("the network is down")
        return super().write(data)

    def close(self) -> None:
        if not self.closed and not self.store.fail_write:
            self.store.objects[self.path] = self.getvalue()
        super().close()


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """What every `s3://` address leads to in this test."""
    handler = ObjectStore()

    def open_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
        if "://" not in uri:
            return fs.LocalFileSystem(), uri
        return fs.PyFileSystem(handler), uri.removeprefix("s3://").partition("?")[0]

    monkeypatch.setattr("pie_ray.store.storage._open_filesystem", open_filesystem)
    return handler


@pytest.fixture(params=["local folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, object_store: ObjectStore) -> Storage:
    return Storage(tmp_path / "results" if request.param == "local folder" else "s3://bucket/results")


@pytest.fixture
def folder(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "results")


@pytest.fixture
def make_sweep() -> Callable[..., Plan]:
    """A plan of the dense reference and `static_int8`, two members each unless told."""

    def make(num_members: int = 2, epochs: int = 4, **training: Any) -> Plan:
        recipe = Recipe.model_validate(
            {
                "name": "demo",
                "data": {"kind": "digits"},
                "model": {"kind": "small_resnet"},
                "training": {"epochs": epochs, **training},
                "population": {"num_members": num_members},
                "variants": ({"quantization": ("static_int8",)},),
            }
        )
        return make_plan(recipe)

    return make


@pytest.fixture
def make_spec() -> Callable[..., MemberSpec]:
    def make(seed: int = 0, member_id: str | None = None) -> MemberSpec:
        return MemberSpec(member_id or f"{seed:016x}", Variant(), seed, parent_id=None)

    return make


@pytest.fixture
def write_member(storage: Storage, make_spec: Callable[..., MemberSpec]) -> Callable[..., None]:
    """Write one dense member's predictions: `example_ids`, `labels` and `predictions` of three classes by set."""

    def write(
        seed: int,
        predictions: list[int],
        *,
        example_ids: list[int] | None = None,
        labels: list[int] | None = None,
        evaluation_sets: tuple[str, ...] = ("test",),
        store_logits: bool = False,
    ) -> None:
        num_rows = len(predictions)
        ids = np.array(range(num_rows) if example_ids is None else example_ids)
        truth = np.array([0] * num_rows if labels is None else labels)
        logits = np.eye(3, dtype=np.float32)[predictions]
        with ParquetSink(storage).open(make_spec(seed), "clean", num_rows * len(evaluation_sets)) as suite:
            for name in evaluation_sets:
                suite.write(prediction_batch(name, ids, truth, logits, store_logits=store_logits))
            suite.commit()

    return write
