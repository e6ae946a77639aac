"""The only spelling of columns, and how each is encoded.

Bytes a row of 50,000 predictions (13.9): evaluation set, example id and label rank .1 together, label .4, prediction .4
(dictionary, 10 classes), confidence, label probability, margin and entropy 3.2 each; logits 4 a class where stored.

Attributes that are learned jointly are stored as their labels and logits, a list of each an example; what else there
is to say of them depends on thresholds that are chosen later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

VERSION = 2
"""Of the columns' meaning; a file of another version is refused."""

EVALUATION_SET = "evaluation_set"
EXAMPLE_ID = "example_id"
LABEL = "label"
PREDICTION = "prediction"
CONFIDENCE = "confidence"
LABEL_PROBABILITY = "label_probability"
LABEL_RANK = "label_rank"
"""Number of classes scored above the label, ties broken as the prediction's: 0 is top-1 correct, < 5 top-5 correct."""
MARGIN = "margin"
"""Probability of the label minus the largest of another class, in [-1, 1]: above 0 where the prediction is right."""
ENTROPY = "entropy"
"""Of the predicted distribution, in nats."""
LOGITS = "logits"
KEY = "key"

MAX_CLASSES = 2**16
"""Labels, predictions and ranks are 16 bit."""

PREDICTIONS = pa.schema(
    [
        (EVALUATION_SET, pa.dictionary(pa.int32(), pa.string())),
        (EXAMPLE_ID, pa.int64()),
        (LABEL, pa.uint16()),
        (PREDICTION, pa.uint16()),
        (CONFIDENCE, pa.float32()),
        (LABEL_PROBABILITY, pa.float32()),
        (LABEL_RANK, pa.uint16()),
        (MARGIN, pa.float32()),
        (ENTROPY, pa.float32()),
    ]
)

EXAMPLES = pa.schema([(EXAMPLE_ID, pa.int64()), (LABEL, pa.uint16()), (KEY, pa.string())])

_WRITER: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}

PREDICTIONS_WRITER: dict[str, Any] = {
    **_WRITER,
    "use_dictionary": [EVALUATION_SET, LABEL, PREDICTION, LABEL_RANK],
    "column_encoding": {
        EXAMPLE_ID: "DELTA_BINARY_PACKED",
        CONFIDENCE: "BYTE_STREAM_SPLIT",
        LABEL_PROBABILITY: "BYTE_STREAM_SPLIT",
        MARGIN: "BYTE_STREAM_SPLIT",
        ENTROPY: "BYTE_STREAM_SPLIT",
    },
}

TABLE_WRITER: dict[str, Any] = _WRITER


def predictions_schema(num_logits: int | None = None) -> pa.Schema:
    """`PREDICTIONS`, with a last column of `num_logits` floats where logits are stored."""
    if num_logits is None:
        return PREDICTIONS
    return PREDICTIONS.append(pa.field(LOGITS, pa.list_(pa.float32(), num_logits)))


def attribute_predictions_schema(num_attributes: int) -> pa.Schema:
    """Evaluation set, example id, and `num_attributes` labels and logits an example."""
    return pa.schema(
        [
            PREDICTIONS.field(EVALUATION_SET),
            PREDICTIONS.field(EXAMPLE_ID),
            (LABEL, _flags(num_attributes)),
            (LOGITS, pa.list_(pa.float32(), num_attributes)),
        ]
    )


def _flags(num_attributes: int) -> pa.DataType:
    return pa.list_(pa.bool_(), num_attributes)


def numpy_type(column: str) -> np.dtype[Any]:
    """Of the arrays that a column of `PREDICTIONS`, or of logits, is read into."""
    return np.dtype(np.float32 if column == LOGITS else PREDICTIONS.field(column).type.to_pandas_dtype())


def constant(value: str, num_rows: int) -> pa.DictionaryArray:
    """A dictionary column of one value."""
    return pa.DictionaryArray.from_arrays(np.zeros(num_rows, np.int32), [value])


def predictions_writer(schema: pa.Schema) -> dict[str, Any]:
    """Options of the Parquet writer for `predictions_schema(...)` and `attribute_predictions_schema(...)`."""
    if LOGITS not in schema.names:
        return PREDICTIONS_WRITER
    encoding = {**PREDICTIONS_WRITER["column_encoding"], f"{LOGITS}.list.element": "BYTE_STREAM_SPLIT"}
    return {**PREDICTIONS_WRITER, "column_encoding": encoding}


def examples_schema(groups: Mapping[str, pa.DataType], num_attributes: int | None = None) -> pa.Schema:
    """`EXAMPLES`, its label a list of `num_attributes` flags where that is given, then one column a group."""
    schema = EXAMPLES
    if num_attributes is not None:
        schema = schema.set(schema.get_field_index(LABEL), pa.field(LABEL, _flags(num_attributes)))
    for name, kind in groups.items():
        schema = schema.append(pa.field(name, kind))
    return schema


def examples_writer(groups: Iterable[str]) -> dict[str, Any]:
    """Options of the Parquet writer for `examples_schema(...)`."""
    return {
        **_WRITER,
        "use_dictionary": [LABEL, *groups],
        "column_encoding": {EXAMPLE_ID: "DELTA_BINARY_PACKED", KEY: "DELTA_BYTE_ARRAY"},
    }
