"""What a tracker is told of a results folder: the sweep, its variants and images, its figures, its best members."""

from __future__ import annotations

import os
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .analysis import Analysis, Results
from .config import CLEAN
from .recipe import dump_recipe
from .report.costs import batch_sizes, rows_without_sets
from .tracking import NetworkFiles, SweepInfo, TrackedDataset, TrackedNetwork, TrackedVariant
from .variants import REFERENCE_ID, Variant, loss_id

if TYPE_CHECKING:
    from .data import Splits
    from .records import MemberRecord

_FIGURES = {
    "top1_mean": "top1",
    "num_pies": "num_pies",
    "pie_fraction": "pie_fraction",
    "half_pie_fraction": "half_pie_fraction",
    "null_pie_fraction": "noise_floor",
    "num_significant": "num_significant",
    "cie_mean": "cie",
    "cie_u_mean": "cie_u",
    "ece_mean": "ece",
    "top1_on_pies": "top1_on_pies",
    "top1_without_pies": "top1_without_pies",
    "num_members": "num_members",
    "checkpoint_bytes_mean": "checkpoint_bytes",
    "achieved_sparsity_mean": "achieved_sparsity",
}
"""Of `summary`, the handful that a tracker shows of a variant."""
_COSTS = ("compressed_bytes", "multiply_adds")
"""Of `costs`, as they are called there; and the latency of the smallest batch."""
_OF_ALL = ("top1", "half_pie_fraction", "noise_floor", "ece", "num_members", "checkpoint_bytes", "achieved_sparsity")
"""Those that mean something of the reference."""


def default_store(results: Results) -> str:
    """The store of a recipe that names none: an sqlite file beside the sweeps, in the working folder where those are
    on object storage."""
    folder = os.path.dirname(results.storage.uri) if results.storage.is_local else os.getcwd()
    return f"sqlite:///{folder}/mlflow.db"


def sweep_info(results: Results) -> SweepInfo:
    recipe = results.recipe
    return SweepInfo(
        name=recipe.name,
        sweep_id=results.plan.sweep_id,
        params=_flatten(recipe.model_dump(mode="json", exclude={"execution"})),
        tags={
            "pie_ray.version": results.manifest.versions.get("pie_ray", ""),
            "pie_ray.data": recipe.data.kind,
            "pie_ray.model": recipe.model.kind,
            "pie_ray.results": results.storage.uri,
        },
        recipe_text=dump_recipe(recipe),
        num_members=len(results.plan.members),
        results=results.storage.uri,
        variants=tuple(_tracked_variant(results, variant) for variant in results.plan.variants),
        datasets=_datasets(results),
    )


def _tracked_variant(results: Results, variant: Variant) -> TrackedVariant:
    arithmetics = {record.arithmetic for record in results.records if record.variant_id == variant.variant_id}
    return TrackedVariant(
        variant_id=variant.variant_id,
        num_members=len(results.plan.population(variant.variant_id)),
        pruning=None if variant.pruning is None else variant.pruning.method,
        sparsity=variant.sparsity,
        quantization=variant.quantization,
        loss=None if variant.loss is None else loss_id(variant.loss),
        is_quantization_aware=variant.quantization_aware is not None,
        arithmetic="+".join(sorted(arithmetics)) or None,
    )


def _datasets(results: Results) -> tuple[TrackedDataset, ...]:
    """The training images, and those of each suite."""
    data, manifest = results.recipe.data, results.manifest
    source = getattr(data, "path", None) or getattr(data, "name", None) or data.kind
    name = str(source).rstrip("/").rpartition("/")[2].partition("?")[0]
    shared: dict[str, Any] = {"num_classes": manifest.num_classes, "image_shape": manifest.image_shape}
    datasets = [
        TrackedDataset(
            f"{name}/train", manifest.fingerprint, "train", str(source), num_examples=manifest.num_train, **shared
        )
    ]
    for suite, sets in manifest.suites.items():
        config = results.recipe.evaluation.suites.get(suite)
        datasets.append(
            TrackedDataset(
                name=f"{name}/{'test' if suite == CLEAN else suite}",
                digest=manifest.suite_fingerprints.get(suite, manifest.fingerprint),
                context="test",
                source=str(getattr(config, "path", None) or source),
                num_examples=sum(sets.values()),
                **shared,
            )
        )
    return tuple(datasets)


# ----------------------------------------------------------------------------------------------------------- figures


def logged_metrics(analysis: Analysis) -> dict[str, dict[str, float]]:
    """What a tracker shows of each variant: on the first evaluation set, and over the common corruptions."""
    summary = analysis.summary
    first = summary["evaluation_set"].iloc[0]
    found = {
        row["variant_id"]: {name: row[column] for column, name in _FIGURES.items() if column in row}
        | {"top1_change": row["top1_mean"] - row["reference_top1_mean"]}
        for row in summary[summary["evaluation_set"] == first].to_dict("records")
    }
    for variant_id, change in _worst_class_changes(analysis.classes, first).items():
        found[variant_id]["worst_class_change"] = change
    for variant_id, ratio in _cie_u_ratios(analysis.preservation, first).items():
        found[variant_id]["cie_u_ratio"] = ratio
    if REFERENCE_ID in found:
        reference = found[REFERENCE_ID]
        # its own halves, so that a curve by sparsity begins at the noise floor
        reference["half_pie_fraction"] = reference["noise_floor"]
        found[REFERENCE_ID] = {name: reference[name] for name in _OF_ALL if name in reference}
    for variant_id, figures in _cost_figures(analysis.costs).items():
        found.setdefault(variant_id, {}).update(figures)
    for row in _over_corruptions(analysis.corruption_errors).to_dict("records"):
        figures = {"corrupted_top1": 1 - row["error_mean"], "mce": row["mce"], "relative_mce": row["relative_mce"]}
        found.setdefault(row["variant_id"], {}).update(figures)
    return {
        # MLflow shows every digit that there is
        variant_id: {name: round(float(value), 6) for name, value in figures.items() if not np.isnan(value)}
        for variant_id, figures in found.items()
    }


def _worst_class_changes(classes: pd.DataFrame, evaluation_set: str) -> dict[str, float]:
    """By variant, the change of recall of the class that loses most."""
    if classes.empty:
        return {}
    of_set = classes[classes["evaluation_set"] == evaluation_set]
    return {
        str(variant_id): float(change) for variant_id, change in of_set.groupby("variant_id")["change"].min().items()
    }


def _cie_u_ratios(preservation: pd.DataFrame, evaluation_set: str) -> dict[str, float]:
    """By variant of a label-preserving loss; a tracker is told no infinite ones."""
    if preservation.empty:
        return {}
    of_set = preservation[preservation["evaluation_set"] == evaluation_set]
    ratios = of_set.set_index("variant_id")["cie_u_ratio"]
    return {str(variant_id): ratio for variant_id, ratio in ratios.items() if np.isfinite(ratio)}


def _cost_figures(costs: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By variant."""
    rows = rows_without_sets(costs)
    sizes = batch_sizes(rows)
    columns = {name: name for name in _COSTS}
    if sizes:
        columns |= {f"latency_ms_batch_{sizes[0]}": "latency_ms", f"speedup_batch_{sizes[0]}": "speedup"}
    return {row["variant_id"]: {name: row[column] for column, name in columns.items()} for row in rows}


def _over_corruptions(errors: pd.DataFrame) -> pd.DataFrame:
    """A row a variant: over the 15 that mCE is defined over, or over whatever corruptions there are."""
    if errors.empty:
        return errors
    level = "common" if (errors["level"] == "common").any() else "all"
    return errors[errors["level"] == level]


def table_artifacts(analysis: Analysis) -> dict[str, bytes]:
    """The tables that have rows, as CSV, which MLflow shows as tables.

    Without the lists of sets that an example is a PIE in: they are for programs, and make the file many times larger.
    """
    return {
        f"tables/{name}.csv": table.drop(columns="pie_sets", errors="ignore").to_csv(index=False).encode()
        for name, table in analysis.tables.items()
        if len(table)
    }


# ---------------------------------------------------------------------------------------------------------- networks


def best_networks(results: Results) -> list[TrackedNetwork]:
    """Of each variant the member that is right most often on the test images, the first seed among equals."""
    test = next(iter(results.manifest.suites[CLEAN]))
    best: dict[str, MemberRecord] = {}
    for record in results.records:
        known = best.setdefault(record.variant_id, record)
        if (record.top1[test], -record.seed) > (known.top1[test], -known.seed):
            best[record.variant_id] = record
    load_splits = cache(partial(_load_splits, results))
    return [
        TrackedNetwork(
            variant_id=record.variant_id,
            member_id=record.member_id,
            seed=record.seed,
            top1=record.top1[test],
            files=partial(_network_files, results, record, load_splits),
        )
        for record in best.values()
    ]


def _load_splits(results: Results) -> Splits:
    from .data import load_splits

    return load_splits(results.recipe.data, results.recipe.execution.cache)


def _network_files(results: Results, record: MemberRecord, load_splits: Any) -> NetworkFiles:
    from .packaged import network_files

    return network_files(results.storage, results.recipe, record, load_splits())


def _flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """`training.epochs` -> `4`, for every leaf of a recipe."""
    if isinstance(value, dict):
        items = [(f"{prefix}.{key}" if prefix else str(key), part) for key, part in value.items()]
        return {name: text for key, part in items for name, text in _flatten(part, key).items()}
    return {prefix: str(value)}
