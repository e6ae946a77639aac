"""A sweep's images as MLflow's datasets: shown on its page, and a filter over the list of sweeps."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..redaction import without_secrets
from .contract import TrackedDataset

_CONTEXT = "mlflow.data.context"


def dataset_inputs(datasets: Iterable[TrackedDataset]) -> list[Any]:
    """For `MlflowClient.log_inputs`, which takes the same ones any number of times."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                name=dataset.name,
                digest=dataset.digest[:36],
                source_type="local",
                source=json.dumps({"uri": without_secrets(dataset.source)}),
                schema=_schema(dataset),
                profile=json.dumps(_profile(dataset)),
            ),
            [InputTag(_CONTEXT, dataset.context)],
        )
        for dataset in datasets
    ]


def _profile(dataset: TrackedDataset) -> dict[str, int]:
    profile = {"num_rows": dataset.num_examples, "num_classes": dataset.num_classes}
    return {name: value for name, value in profile.items() if value is not None}


def _schema(dataset: TrackedDataset) -> str | None:
    """As columns: of tensors MLflow shows nothing."""
    if not dataset.image_shape:
        return None
    shape = " × ".join(map(str, dataset.image_shape))
    columns = [{"name": f"image (uint8, {shape})", "type": "binary"}, {"name": "label", "type": "long"}]
    return json.dumps({"mlflow_colspec": [{**column, "required": True} for column in columns]})
