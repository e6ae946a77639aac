"""The variants of a sweep as a table, kept as one of MLflow's saved views: chosen columns, the most PIEs first.

MLflow keeps views in tags of the experiment, as JSON (read from 3.17's page); other versions do without.
"""

from __future__ import annotations

import json
from typing import Any

from .entries import Entries
from .pages import FOR_TRAINING

_TAG = "mlflow.sharedViewState."
_COLUMNS = (
    *(f"params.`{name}`" for name in ("sparsity", "quantization")),
    *(
        f"metrics.`{name}`"
        for name in ("num_pies", "pie_fraction", "num_significant", "top1", "top1_change", "worst_class_change")
    ),
)


def save_view(entries: Entries, parent: Any, name: str) -> None:
    """Keep the view; MLflow lists it under Views."""
    state = {
        "searchFilter": f"tags.mlflow.parentRunId = '{parent.info.run_id}'",
        "orderByKey": "metrics.`num_pies`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(_COLUMNS),
    }
    # always the same time, so that the same view is the same tag
    view = {"name": f"{name}: variants", "createdAt": parent.info.start_time, "state": json.dumps(state)}
    entries.client.set_experiment_tag(entries.experiment_id, _TAG + _key(parent), json.dumps(view))


def view_address(entries: Entries, parent: Any) -> str:
    """Where the view is shown, as a link within MLflow."""
    query = f"{FOR_TRAINING}&viewStateShareKey={_key(parent)}"
    return f"#/experiments/{entries.experiment_id}/runs?{query}"


def _key(parent: Any) -> str:
    return f"pie_ray-{parent.info.run_id}"
