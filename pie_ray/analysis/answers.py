"""What every population answers on a few examples, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .. import stats
from ..errors import InputError
from ..store import Population, schema
from .source import PopulationSource


def answers_of(source: PopulationSource, evaluation_set: str, example_ids: npt.ArrayLike) -> pd.DataFrame:
    """Mode and agreement of the reference and of every variant on each of `example_ids`, integers [examples].

    A row a variant and example, the reference's first, examples in the order given; of multi-label data, a row a
    variant, example and attribute. Columns: example_id, (attribute,) variant_id, mode, agreement. Variants without
    members on the evaluation set are left out.

    Raises InputError for an id that the evaluation set does not have.
    """
    wanted = np.asarray(example_ids, np.int64)
    tables = [
        _answers(source, population, wanted)
        for variant in source.variants
        if (population := source.population(evaluation_set, variant.variant_id, _columns(source))) is not None
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_names(source))


def _names(source: PopulationSource) -> list[str]:
    attribute = ["attribute"] if source.is_multilabel else []
    return ["example_id", *attribute, "variant_id", "mode", "agreement"]


def _columns(source: PopulationSource) -> tuple[str, ...]:
    return (schema.LOGITS,) if source.is_multilabel else (schema.PREDICTION,)


def _answers(source: PopulationSource, population: Population, wanted: npt.NDArray[np.int64]) -> pd.DataFrame:
    """One population's answers on the examples wanted."""
    places = _places(population, wanted)
    columns: dict[str, Any]
    if source.is_multilabel:
        attributes = np.asarray(source.class_names, object)
        columns = {"example_id": np.repeat(wanted, len(attributes)), "attribute": np.tile(attributes, len(wanted))}
        predictions = stats.predict_attributes(population.arrays[schema.LOGITS]).astype(np.uint8)
        predictions, num_classes = predictions.reshape(population.num_members, -1), 2
    else:
        columns = {"example_id": wanted}
        predictions, num_classes = population.arrays[schema.PREDICTION], len(source.class_names)
    vote = stats.modal_vote(predictions, num_classes=num_classes, tie=source.evaluation.tie)
    by_example = [values.reshape(len(population.example_ids), -1)[places] for values in (vote.labels, vote.agreement)]
    columns |= {"variant_id": population.variant_id, "mode": by_example[0].ravel(), "agreement": by_example[1].ravel()}
    return pd.DataFrame(columns)


def _places(population: Population, wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Where the examples stand on the population's axis of examples, whose ids ascend."""
    ids = population.example_ids
    places = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    unknown = wanted[ids[places] != wanted] if len(ids) else wanted
    if len(unknown):
        raise InputError(
            f"example_ids: found {unknown[0]}, which {population.variant_id} has no prediction for on "
            f"{population.evaluation_set}; accepted are {_range(ids)}"
        )
    return places


def _range(ids: npt.NDArray[np.int64]) -> str:
    return f"its {len(ids):,} ids from {ids[0]} to {ids[-1]}" if len(ids) else "none, as it has no examples"
