"""Stores to log to: an sqlite file, and a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pie_ray.tracking.view import MlflowView
from tests.cluster.mlflow_server import mlflow_server
from tests.tracking.logged import make_sweep


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty sqlite store: copied, because making one takes two seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowView(f"sqlite:///{path}", "other").open(make_sweep(name="other", variants=()))
    return path.read_bytes()


@pytest.fixture
def sqlite_uri(tmp_path: Path, migrated: bytes) -> str:
    (tmp_path / "mlflow.db").write_bytes(migrated)
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as found:
        yield found.uri
