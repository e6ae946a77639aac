"""Names, values and descriptions as MLflow has them."""

from __future__ import annotations

import pytest

from pie_ray.progress import ClusterUse, Failure, SweepProgress
from pie_ray.tracked import _COSTS, _FIGURES
from pie_ray.tracking import TrackedVariant
from pie_ray.tracking.connection import sqlite_file
from pie_ray.tracking.fields import curves, member_metrics, metric_name, progress_metrics, variant_params
from pie_ray.tracking.notes import MEANINGS, progress_text, sweep_note, variant_note
from tests.tracking.logged import make_record, make_sweep


def test_names_fit_mlflow() -> None:
    assert metric_name("magnitude-0.90+static_int8") == "magnitude-0.90__static_int8"
    assert metric_name("corruption/fog/3") == "corruption/fog/3"
    assert metric_name("größe%") == "größe_"


def test_many_evaluation_sets_become_the_mean_of_each_suite() -> None:
    top1 = {f"corruption/{number}": number / 100 for number in range(41)} | {"test": 0.9}
    metrics = member_metrics(make_record(0, top1=top1, train_seconds=None))
    assert {name: value for name, value in metrics.items() if name.startswith("top1")} == {
        "top1.corruption": pytest.approx(0.2),
        "top1.test": 0.9,
    }
    assert "train_seconds" not in metrics


def test_a_sweep_that_has_ended_has_no_time_left_and_uses_nothing() -> None:
    running = SweepProgress(
        state="running", started_at="", updated_at="", num_members=4, num_done=3, num_running=1, num_failed=0,
        seconds_left=90.0, cluster=ClusterUse(num_nodes=1, cpus=4, cpus_used=2),
    )  # fmt: skip
    ended = running.model_copy(update={"state": "stopped", "cluster": None})
    names = ("progress/seconds_left", "progress/cpus_used")
    assert [progress_metrics(running)[name] for name in names] == [90, 2]
    assert [progress_metrics(ended)[name] for name in names] == [0, 0]


def test_each_way_to_prune_has_a_curve_that_begins_at_what_is_not_pruned() -> None:
    variants = [
        TrackedVariant("dense", 2),
        TrackedVariant("static_int8", 2, quantization="static_int8"),
        TrackedVariant("magnitude-0.50", 2, "magnitude", 0.5),
        TrackedVariant("magnitude-0.995", 2, "magnitude", 0.995),
        TrackedVariant("magnitude_global-0.50", 2, "magnitude_global", 0.5),
        TrackedVariant("magnitude-0.50+static_int8", 2, "magnitude", 0.5, "static_int8"),
        TrackedVariant("magnitude-0.70", 2, "magnitude", 0.7),
    ]
    figures = {
        variant.variant_id: {"top1": place / 10, "num_members": 2.0, "num_pies": 1.0}
        for place, variant in enumerate(variants)
    }
    # a population that is not complete yet
    figures["magnitude-0.70"]["num_members"] = 1.0
    assert curves(variants, figures) == {
        "by_sparsity/magnitude/top1": {0: 0.0, 50: 0.2, 100: 0.3},
        "by_sparsity/magnitude_global/top1": {0: 0.0, 50: 0.4},
        "by_sparsity/magnitude__static_int8/top1": {0: 0.1, 50: 0.5},
    }


def test_curves_keep_losses_apart_and_begin_with_the_same_quantization() -> None:
    variants = [
        TrackedVariant("dense", 1),
        TrackedVariant("static_int8", 1, quantization="static_int8"),
        TrackedVariant("qat_static_int8", 1, quantization="static_int8", is_quantization_aware=True),
        TrackedVariant("magnitude-0.50", 1, "magnitude", 0.5),
        TrackedVariant("magnitude-0.50+kd4", 1, "magnitude", 0.5, loss="kd4"),
        TrackedVariant("magnitude-0.50+kd4+static_int8", 1, "magnitude", 0.5, "static_int8", loss="kd4"),
        TrackedVariant(
            "magnitude-0.50+qat_static_int8", 1, "magnitude", 0.5, "static_int8", is_quantization_aware=True
        ),
    ]
    figures = {variant.variant_id: {"num_members": 1.0, "top1": float(row)} for row, variant in enumerate(variants)}
    assert curves(variants, figures) == {
        "by_sparsity/magnitude/top1": {0: 0.0, 50: 3.0},
        "by_sparsity/magnitude__kd4/top1": {0: 0.0, 50: 4.0},
        "by_sparsity/magnitude__kd4__static_int8/top1": {0: 1.0, 50: 5.0},
        "by_sparsity/magnitude__qat_static_int8/top1": {0: 2.0, 50: 6.0},
    }


def test_a_variant_s_note_and_parameters_say_what_was_done() -> None:
    variant = TrackedVariant(
        "structured_ft-0.50+kd4+qat_static_int8", 2, "structured_ft", 0.5, "static_int8",
        loss="kd4", is_quantization_aware=True,
    )  # fmt: skip
    assert variant_note(make_sweep(), variant, {}) == (
        f"`{variant.variant_id}` of the sweep **{make_sweep().name}**: networks of which 50 % of the channels were "
        "pruned (`structured_ft`), trained on with the rounding of their quantization, with the label-preserving loss "
        "`kd4`, converted to `static_int8`. 2 members."
    )
    assert variant_params(variant) == {
        "variant_id": variant.variant_id,
        "pruning": "structured_ft",
        "sparsity": "0.5",
        "quantization": "static_int8",
        "loss": "kd4",
        "quantization_aware": "true",
    }
    assert set(variant_params(TrackedVariant("dense", 2))) == {"variant_id", "pruning", "sparsity", "quantization"}


def test_every_figure_that_is_logged_has_a_meaning() -> None:
    further = {"top1_change", "worst_class_change", "cie_u_ratio", "corrupted_top1", "mce", "relative_mce"}
    of_costs = {*_COSTS, "latency_ms", "speedup"}
    assert set(_FIGURES.values()) | of_costs | further == set(MEANINGS)


def test_what_a_program_said_is_no_markdown() -> None:
    reason = "`<img src=x onerror=alert(1)>` [link](javascript:alert(1))\nTraceback"
    failure = Failure(variant_id="dense", seed=0, reason=reason, at="", is_final=False)
    progress = SweepProgress(
        state="running", started_at="", updated_at="", num_members=2, failures=(failure,), note="it `waits`"
    )
    lines = progress_text(progress).splitlines()
    assert lines[0] == "**Running.** 0 of 2 members"
    assert "`it 'waits'`" in lines
    assert lines[-1] == "- dense seed 0: `'<img src=x onerror=alert(1)>' [link](javascript:alert(1))`"


def test_a_sweep_without_analysis_has_no_table() -> None:
    note = sweep_note(make_sweep(), "**Running.**", {}, {"dense": {}}, {"variants": "#v", "report": "#r"})
    assert (
        note.startswith("[Variants as a table](#v) · [Report](#r)\n\n**Running.**\n\n- Model metrics")
        and "|---|" not in note
    )


def test_the_file_of_an_sqlite_store() -> None:
    assert str(sqlite_file("sqlite:////data/mlflow.db?timeout=5")) == "/data/mlflow.db"
    assert sqlite_file("http://127.0.0.1:5000") is None and sqlite_file("postgresql://host/db") is None
