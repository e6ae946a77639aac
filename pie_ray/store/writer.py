"""Predictions on their way in: batches of one member on one suite, published whole.

    with PredictionCollector(spec, "clean", num_rows=10_000, publish=...) as collector:
        collector.write(prediction_batch("test", example_ids, labels, logits))
        collector.commit()

Legend: `examples` is the examples of one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, final

import numpy as np
import pyarrow as pa

from ..errors import PieRayError, StoreError
from ..identity import MemberSpec
from . import schema
from .lists import to_lists


def prediction_batch(
    evaluation_set: str,
    example_ids: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray,
    *,
    store_logits: bool = False,
) -> pa.RecordBatch:
    """What is stored of one batch, from integers [examples] and floats [examples, outputs].

    `labels` is integers [examples], or bool [examples, outputs] for attributes learned jointly, whose logits are always
    stored. Of tied logits the smallest class is the prediction. Raises PieRayError where a logit is not finite.
    """
    assert example_ids.shape == labels.shape[:1] == logits.shape[:1], (example_ids.shape, labels.shape, logits.shape)
    _check_finite(evaluation_set, example_ids, logits, "class" if labels.ndim == 1 else "attribute")
    num_outputs = logits.shape[1]
    if labels.ndim == 2:
        fields, columns = schema.attribute_predictions_schema(num_outputs), _attribute_columns(labels, logits)
    else:
        fields, columns = schema.predictions_schema(num_outputs if store_logits else None), _columns(labels, logits)
    columns[schema.EVALUATION_SET] = schema.constant(evaluation_set, len(example_ids))
    columns[schema.EXAMPLE_ID] = example_ids.astype(np.int64)
    if schema.LOGITS in fields.names:
        columns[schema.LOGITS] = to_lists(logits.astype(np.float32))
    return pa.record_batch([columns[name] for name in fields.names], schema=fields)


def _columns(labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    num_examples, num_classes = logits.shape
    assert num_classes <= schema.MAX_CLASSES, num_classes
    assert num_examples == 0 or 0 <= labels.min() <= labels.max() < num_classes, "a label that is no class"
    return {schema.LABEL: labels.astype(np.uint16), **_score(labels, logits)}


def _attribute_columns(labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    assert labels.dtype == np.bool_ and labels.shape == logits.shape, (labels.dtype, labels.shape, logits.shape)
    return {schema.LABEL: to_lists(labels)}


def _check_finite(evaluation_set: str, example_ids: np.ndarray, logits: np.ndarray, output: str) -> None:
    finite = np.isfinite(logits)
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    raise PieRayError(
        f"{evaluation_set}: the logit of example {example_ids[row]}, {output} {column} is {logits[row, column]} "
        f"({(~finite.all(axis=1)).sum()} of {len(logits)} examples in the batch are affected)"
    )


def _score(labels: np.ndarray, logits: np.ndarray) -> dict[str, np.ndarray]:
    """What `schema` says of the prediction and of the label; each [examples]."""
    rows = np.arange(len(labels))
    predictions = logits.argmax(axis=1)
    of_label = logits[rows, labels][:, None]
    above = logits > of_label
    above |= (logits == of_label) & (np.arange(logits.shape[1]) < labels[:, None])
    shifted = logits.astype(np.float64) - logits[rows, predictions][:, None]
    weights = np.exp(shifted)
    totals = weights.sum(axis=1)
    others = weights.copy()
    others[rows, labels] = 0
    return {
        schema.PREDICTION: predictions.astype(np.uint16),
        schema.CONFIDENCE: (1 / totals).astype(np.float32),
        schema.LABEL_PROBABILITY: (weights[rows, labels] / totals).astype(np.float32),
        schema.LABEL_RANK: above.sum(axis=1).astype(np.uint16),
        schema.MARGIN: ((weights[rows, labels] - others.max(axis=1)) / totals).astype(np.float32),
        schema.ENTROPY: (np.log(totals) - (weights * shifted).sum(axis=1) / totals).astype(np.float32),
    }


@final
class PredictionCollector:
    """Collects the batches of one member on one suite and hands them on once, whole and in canonical order.

    `commit` sorts the rows by evaluation set and example id, checks them, and calls `publish` with one table; before
    it, and where the `with` block is left without it, nothing is kept. Raises StoreError where rows are doubled or
    not `num_rows`.
    """

    def __init__(self, spec: MemberSpec, suite: str, num_rows: int, publish: Callable[[pa.Table], None]) -> None:
        assert num_rows > 0, num_rows
        self._name = f"predictions of member {spec.member_id} ({spec.variant_id}, seed {spec.seed}) on suite {suite}"
        self._num_rows = num_rows
        self._publish = publish
        self._batches: list[pa.RecordBatch] = []
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a `prediction_batch`; batches may come in any order."""
        assert self._is_open, "written to after commit"
        assert not self._batches or batch.schema.equals(self._batches[0].schema), batch.schema
        self._batches.append(batch)

    def commit(self) -> None:
        assert self._is_open, "committed twice"
        num_rows = sum(batch.num_rows for batch in self._batches)
        if num_rows != self._num_rows:
            raise StoreError(f"{self._name}: expected {self._num_rows} rows, found {num_rows}")
        self._publish(self._sorted())
        self._close()

    def _close(self) -> None:
        self._is_open = False
        self._batches = []

    def _sorted(self) -> pa.Table:
        table = pa.Table.from_batches(self._batches).unify_dictionaries().combine_chunks()
        sets, example_ids = _sort_keys(table)
        order = np.lexsort((example_ids, sets))
        sets, example_ids = sets[order], example_ids[order]
        doubled = np.flatnonzero((sets[1:] == sets[:-1]) & (example_ids[1:] == example_ids[:-1]))
        if len(doubled):
            row = int(order[doubled[0]])
            where = f"example {example_ids[doubled[0]]} of {table[schema.EVALUATION_SET][row].as_py()}"
            raise StoreError(f"{self._name}: {len(doubled)} rows are doubled, the first is {where}")
        return table if np.array_equal(order, np.arange(len(order))) else table.take(order)


def _sort_keys(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Each row's evaluation set, as its rank among the sorted names, and its example id."""
    column = table[schema.EVALUATION_SET].chunk(0)
    ranks = np.argsort(np.argsort(column.dictionary.to_pylist()))
    return ranks[column.indices.to_numpy()], table[schema.EXAMPLE_ID].to_numpy()
