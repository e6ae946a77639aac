"""A variant's best member as one of MLflow's logged models: loaded again with mlflow.pyfunc, without pickle."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from ..errors import PieRayError
from .background import RejectedError
from .contract import NetworkFiles, TrackedNetwork
from .entries import Entries

_MEMBER = "pie_ray.member_id"


def log_network(entries: Entries, variant: Any, network: TrackedNetwork) -> None:
    """Log it as an output of its variant's entry, unless it is there; one that is the best no more goes.

    Raises RejectedError where its files cannot be read.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    client = entries.client
    found = client.search_logged_models(
        [entries.experiment_id], filter_string=f"source_run_id = '{variant.info.run_id}'", max_results=50
    )
    earlier = [model for model in found if _MEMBER in model.tags]
    if any(model.tags[_MEMBER] == network.member_id and model.status == LoggedModelStatus.READY for model in earlier):
        return
    with tempfile.TemporaryDirectory(prefix="pie_ray-") as folder:
        try:
            packed = _pack(network.files(), Path(folder))
        except PieRayError as error:
            raise RejectedError(f"{network.variant_id}: {error}") from error
        model = client.create_logged_model(
            entries.experiment_id,
            # MLflow takes neither dots nor slashes here
            name=re.sub(r"[^\w+-]", "_", f"{network.variant_id}-seed-{network.seed}"),
            source_run_id=variant.info.run_id,
            tags={_MEMBER: network.member_id, "pie_ray.variant_id": network.variant_id},
            params={"seed": str(network.seed), "top1": f"{network.top1:.6g}"},
        )
        client.log_model_artifacts(model.model_id, str(packed))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(variant.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    for old in earlier:
        client.delete_logged_model(old.model_id)


def _pack(network: NetworkFiles, folder: Path) -> Path:
    """MLflow's folder of a model, with the network's files in it."""
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    data = folder / "network"
    data.mkdir()
    for name, content in network.files.items():
        (data / name).write_bytes(content)
    # without names, so that the network is given the array itself
    images = TensorSpec(network.example.dtype, (-1, *network.example.shape[1:]))
    logits = TensorSpec(np.dtype("float32"), (-1, network.num_outputs))
    packed = folder / "model"
    mlflow.pyfunc.save_model(
        str(packed),
        loader_module=network.loader_module,
        data_path=str(data),
        signature=ModelSignature(Schema([images]), Schema([logits])),
        input_example=network.example,
        pip_requirements=list(network.requirements),
    )
    return packed
