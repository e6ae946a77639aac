"""Do compressed members look where their references look? The table `attribution`, of stored similarities of maps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import stats
from ..errors import StoreError
from ..store import MapSimilarities
from .source import PopulationSource, VariantInfo


@dataclass(frozen=True, eq=False)
class _Explained:
    """A variant's similarities to the reference, member by member."""

    variant: VariantInfo
    members: Mapping[int, MapSimilarities]
    """By the reference member's seed."""

    @property
    def first(self) -> MapSimilarities:
        return next(iter(self.members.values()))

    def similarity(self, method: str, name: str, seeds: list[int] | None = None) -> np.ndarray:
        """[members, examples], of these seeds or all."""
        members = self.members.values() if seeds is None else [self.members[seed] for seed in seeds]
        return np.stack([member.similarities[method][name] for member in members])


def attribution_table(source: PopulationSource, pies: pd.DataFrame) -> pd.DataFrame:
    """A row a variant, method and similarity; the reference's are of its members against each other.

    Empty where no maps were compared. Raises StoreError where they are of different settings.
    """
    explained = {}
    for variant in source.variants:
        members = source.map_similarities(variant.variant_id)
        if members:
            explained[variant.variant_id] = _Explained(variant, members)
    _check_settings(source, explained)
    return pd.DataFrame(
        [
            _row(source, mine, explained, pies, method, name)
            for mine in explained.values()
            for method, similarities in mine.first.similarities.items()
            for name in similarities
        ]
    )


def _check_settings(source: PopulationSource, explained: Mapping[str, _Explained]) -> None:
    settings = {member.settings for mine in explained.values() for member in mine.members.values()}
    if len(settings) > 1:
        raise StoreError(
            f"attributions in {source.storage} are of different settings ({'; '.join(sorted(settings))}): "
            "`pie-ray attribute` makes them alike, or delete the folder"
        )


def _row(
    source: PopulationSource,
    mine: _Explained,
    explained: Mapping[str, _Explained],
    pies: pd.DataFrame,
    method: str,
    name: str,
) -> dict[str, Any]:
    variant_id, first = mine.variant.variant_id, mine.first
    similarity = mine.similarity(method, name)
    mean = stats.mean_similarity(similarity, rng=_rng(source, variant_id, method, name))
    is_pie = _is_pie(pies, first.evaluation_set, variant_id, first.example_ids)
    return {
        "evaluation_set": first.evaluation_set,
        "variant_id": variant_id,
        "method": method,
        "similarity": name,
        "is_float_of_rounded": any(member.is_float_of_rounded for member in mine.members.values()),
        "num_members": len(similarity),
        "num_examples": similarity.shape[1],
        "num_positions": first.num_positions[method],
        "num_undefined": int(np.isnan(similarity).sum()),
        "mean": float(mean.value),
        "low": float(mean.low),
        "high": float(mean.high),
        "num_pies": int(is_pie.sum()),
        "mean_on_pies": _mean(similarity[:, is_pie]),
        "mean_on_rest": _mean(similarity[:, ~is_pie]),
        **_against_plain(source, mine, explained, method, name),
    }


def _against_plain(
    source: PopulationSource, mine: _Explained, explained: Mapping[str, _Explained], method: str, name: str
) -> dict[str, Any]:
    """The columns of a variant with a loss: the same variant of the plain one, over the seeds of both."""
    plain = explained.get(mine.variant.plain_id or "")
    seeds = [] if plain is None else [seed for seed in mine.members if seed in plain.members]
    columns = {"loss": mine.variant.loss, "plain_id": mine.variant.plain_id, "num_seeds": len(seeds)}
    figures = ("plain_mean", "dissimilarity_ratio", "dissimilarity_ratio_low", "dissimilarity_ratio_high")
    if plain is None or not seeds:
        return columns | dict.fromkeys(figures, np.nan)
    before, after = (one.similarity(method, name, seeds) for one in (plain, mine))
    ratio = stats.dissimilarity_ratio(before, after, rng=_rng(source, mine.variant.variant_id, method, name))
    values = (_mean(before), float(ratio.value), float(ratio.low), float(ratio.high))
    return columns | dict(zip(figures, values, strict=True))


def _is_pie(pies: pd.DataFrame, evaluation_set: str, variant_id: str, example_ids: np.ndarray) -> np.ndarray:
    """Booleans [examples]."""
    if pies.empty:
        return np.zeros(len(example_ids), bool)
    mine = pies[(pies["evaluation_set"] == evaluation_set) & (pies["variant_id"] == variant_id) & pies["is_pie"]]
    return np.isin(example_ids, mine["example_id"].to_numpy())


def _mean(values: np.ndarray) -> float:
    return float("nan") if np.isnan(values).all() else float(np.nanmean(values))


def _rng(source: PopulationSource, *names: str) -> np.random.Generator:
    """Random numbers that are the same whenever and wherever these maps are compared."""
    text = " ".join((source.seed_text, "attribution", *names))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))
