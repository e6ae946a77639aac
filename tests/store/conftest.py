"""Storages to test on, a sweep's plan, and members with predictions written down by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from pie_ray.config import Recipe
from pie_ray.identity import MemberSpec, Plan, make_plan
from pie_ray.store import ParquetSink, Storage, prediction_batch
from pie_ray.variants import Variant
from tests.s3 import S3Server, s3_server


@pytest.fixture(scope="session")
def s3_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_session: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A store that works when a test begins, reached with the credentials of the environment."""
    for name, value in s3_session.environment.items():
        monkeypatch.setenv(name, value)
    s3_session.requests.clear()
    yield s3_session
    s3_session.fail(None)


@pytest.fixture
def object_storage(s3: S3Server) -> Storage:
    """An empty folder of the S3 server's."""
    return Storage(s3.uri(f"{uuid4().hex}/results"))


@pytest.fixture(params=["local folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local folder":
        return Storage(tmp_path / "results")
    return request.getfixturevalue("object_storage")


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
        name = member_id or f"{seed:016x}"
        return MemberSpec(name, Variant(), seed, parent_id=None, reference_id=name)

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


@pytest.fixture
def write_attributes(storage: Storage, make_spec: Callable[..., MemberSpec]) -> Callable[..., None]:
    """Write one dense member's predictions of attributes: `labels` and `logits` are [examples, attributes]."""

    def write(
        seed: int,
        labels: list[list[bool]],
        logits: list[list[float]],
        *,
        example_ids: list[int] | None = None,
        evaluation_sets: tuple[str, ...] = ("test",),
    ) -> None:
        ids = np.array(range(len(labels)) if example_ids is None else example_ids)
        with ParquetSink(storage).open(make_spec(seed), "clean", len(ids) * len(evaluation_sets)) as suite:
            for name in evaluation_sets:
                suite.write(prediction_batch(name, ids, np.array(labels), np.array(logits)))
            suite.commit()

    return write
