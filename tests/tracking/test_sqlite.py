"""A sweep in the default store, an sqlite file: how it reads, and that logging again completes and never doubles."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pie_ray.progress import ClusterUse, Failure, SweepProgress
from pie_ray.tracking import MlflowTracker, TrackedVariant, TrackingOutcome
from pie_ray.tracking.view import MlflowView
from tests.tracking.logged import ARTIFACTS, BOTH, PRUNED, RECORDS, Logged, log_all, make_record, make_sweep


def test_a_sweep_is_a_parent_with_variants_and_their_members(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sqlite_uri = f"sqlite:///{tmp_path}/mlflow.db"
    outcome = log_all(MlflowTracker(sqlite_uri, "pie_ray"))
    printed = capfd.readouterr()
    assert outcome == TrackingOutcome(
        ok=True,
        num_logged=4,
        num_pending=0,
        message="MLflow has all 4 members of digits.",
        ui_hint="pie-ray ui results/digits",
    )
    assert printed.out == "" and printed.err == ""

    logged = Logged(sqlite_uri)
    parent = logged.parent
    assert parent.info.run_name == "digits" and parent.info.status == "FINISHED"
    assert parent.data.params == {"training.epochs": "3", "population.num_members": "2"}
    assert parent.data.tags["pie_ray.status"] == "complete" and parent.data.tags["pie_ray.version"] == "0"
    assert logged.artifacts() == {"recipe.yaml", "figures", "report"}
    assert logged.artifacts("report") == {"report/index.html"}
    assert list((tmp_path / "mlflow-artifacts").rglob("recipe.yaml"))

    assert [run.info.run_name for run in logged.variants] == ["dense", PRUNED]
    dense, pruned = logged.variants
    assert {run.data.tags["mlflow.parentRunId"] for run in (dense, pruned)} == {parent.info.run_id}
    assert pruned.info.status == "FINISHED"
    assert dense.data.params["arithmetic"] == "native"
    assert pruned.data.params == {
        "variant_id": PRUNED,
        "pruning": "magnitude",
        "sparsity": "0.9",
        "quantization": "none",
    }
    assert pruned.data.metrics == {
        "top1": 0.91,
        "top1_change": -0.04,
        "num_pies": 12,
        "pie_fraction": 0.12,
        "num_members": 2,
    }
    # MLflow shows the latest first
    assert dense.info.start_time > pruned.info.start_time

    assert [run.info.run_name for run in logged.members] == [
        "dense/seed-0",
        "dense/seed-1",
        "magnitude-0.90/seed-0",
        "magnitude-0.90/seed-1",
    ]
    member = logged.members[1]
    assert member.info.status == "FINISHED" and member.data.tags["mlflow.parentRunId"] == dense.info.run_id
    assert member.data.tags["pie_ray.member_id"] == "dense-1"
    assert member.data.params == {
        "variant_id": "dense",
        "sparsity": "0",
        "quantization": "none",
        "seed": "1",
        "arithmetic": "native",
        "precision": "float32",
        "device": "cpu",
    }
    assert member.data.metrics == {
        "top1.test": 0.91,
        "num_evaluation_sets": 1.0,
        "achieved_sparsity": 0.0,
        "num_parameters": 1000.0,
        "num_nonzero": 1000.0,
        "checkpoint_bytes": 4000.0,
        "train_seconds": 5.0,
        "evaluate_seconds": 1.0,
        "train_loss": 0.25,
    }
    assert 6000 <= member.info.end_time - member.info.start_time < 16000


def test_the_parent_has_curves_by_sparsity_and_datasets(sqlite_uri: str) -> None:
    log_all(MlflowTracker(sqlite_uri, "pie_ray"))
    logged = Logged(sqlite_uri)
    assert set(logged.parent.data.metrics) == {"by_sparsity/magnitude/top1", "by_sparsity/magnitude/pie_fraction"}
    assert sorted(logged.history(logged.parent, "by_sparsity/magnitude/top1")) == [(0, 0.95), (90, 0.91)]
    train, test = sorted(logged.parent.inputs.dataset_inputs, key=lambda found: found.dataset.name, reverse=True)
    assert (train.dataset.name, train.tags[0].value) == ("digits/train", "train")
    assert (test.dataset.name, test.tags[0].value, test.dataset.digest) == ("digits/test", "test", "feed")
    assert json.loads(test.dataset.profile) == {"num_rows": 797, "num_classes": 10}
    assert "1 × 8 × 8" in json.loads(test.dataset.schema)["mlflow_colspec"][0]["name"]


def test_descriptions_say_what_a_person_needs(sqlite_uri: str) -> None:
    log_all(MlflowTracker(sqlite_uri, "pie_ray"))
    logged = Logged(sqlite_uri)
    assert logged.note.splitlines()[2] == "**Complete.** 4 of 4 members."
    assert f"| {PRUNED} | 91.0 % | −4.0 | 12 | 12.0 % |" in logged.note
    assert f"`{PRUNED}` changes most" in logged.note and "`results/digits`" in logged.note
    note = logged.variants[1].data.tags["mlflow.note.content"]
    assert "90 % of the weights were pruned" in note and "`num_pies`: " in note and "`mce`" not in note


def test_the_variants_are_a_saved_view(sqlite_uri: str) -> None:
    log_all(MlflowTracker(sqlite_uri, "pie_ray"))
    logged = Logged(sqlite_uri)
    key = f"pie_ray-{logged.parent.info.run_id}"
    view = json.loads(logged.experiment.tags[f"mlflow.sharedViewState.{key}"])
    state = json.loads(view["state"])
    assert view["name"] == "digits: variants" and f"viewStateShareKey={key}" in logged.note
    assert state["orderByKey"] == "metrics.`num_pies`" and not state["orderByAsc"]
    found = logged.client.search_runs([logged.experiment.experiment_id], state["searchFilter"])
    assert {run.info.run_name for run in found} == {"dense", PRUNED}


# ------------------------------------------------------------------------------------------------ logging once more


def test_logging_everything_again_doubles_nothing(sqlite_uri: str) -> None:
    log_all(MlflowTracker(sqlite_uri, "again"), RECORDS[:2])
    assert Logged(sqlite_uri, "again").variants[1].info.status == "KILLED"
    outcome = log_all(MlflowTracker(sqlite_uri, "again"))
    assert outcome.ok and outcome.num_logged == 4
    once = Logged(sqlite_uri, "again")
    log_all(MlflowTracker(sqlite_uri, "again"))
    logged = Logged(sqlite_uri, "again")
    assert (len(logged.variants), len(logged.members)) == (2, 4) and logged.nothing_doubled()
    assert logged.variants[1].info.status == "FINISHED"
    assert logged.parent.info.end_time == once.parent.info.end_time


def test_members_that_an_earlier_version_logged_move_to_their_variants(sqlite_uri: str) -> None:
    """It put them right below the parent, without variants."""
    log_all(MlflowTracker(sqlite_uri, "old"))
    old = Logged(sqlite_uri, "old")
    for run in old.variants:
        old.client.delete_run(run.info.run_id)
    for run in old.members:
        old.client.set_tag(run.info.run_id, "mlflow.parentRunId", old.parent.info.run_id)
        for name in ("role", "sweep", "sweep_run_id", "variant_id"):
            old.client.delete_tag(run.info.run_id, f"pie_ray.{name}")
    assert log_all(MlflowTracker(sqlite_uri, "old")).ok
    logged = Logged(sqlite_uri, "old")
    assert [run.info.run_id for run in logged.members] == [run.info.run_id for run in old.members]
    assert [run.info.run_name for run in logged.variants] == ["dense", PRUNED] and logged.nothing_doubled()
    ids = [run.info.run_id for run in logged.variants]
    assert [run.data.tags["mlflow.parentRunId"] for run in logged.members] == [ids[0], ids[0], ids[1], ids[1]]
    assert [run.info.status for run in logged.variants] == ["FINISHED", "FINISHED"]


def test_a_member_that_was_evaluated_further_is_logged_again(sqlite_uri: str) -> None:
    log_all(MlflowTracker(sqlite_uri, "further"), RECORDS[:1])
    further = {"test": 0.9, "corruption/fog/1": 0.5}
    outcome = log_all(MlflowTracker(sqlite_uri, "further"), [RECORDS[0].model_copy(update={"top1": further})])
    assert outcome.ok
    (member,) = Logged(sqlite_uri, "further").members
    assert member.data.metrics["top1.corruption/fog/1"] == 0.5
    assert member.data.metrics["num_evaluation_sets"] == 2


def test_changed_figures_and_recipe_are_shown(sqlite_uri: str) -> None:
    log_all(MlflowTracker(sqlite_uri, "changed"))
    tracker = MlflowTracker(sqlite_uri, "changed")
    tracker.start(make_sweep(params={"population.num_members": "5", "training.epochs": "3", "new": "x" * 9000}))
    tracker.log_analysis({"dense": {"top1": 0.5, "unmeasured": float("nan")}}, {})
    assert tracker.finish("incomplete", "1 member failed.").ok
    logged = Logged(sqlite_uri, "changed")
    dense = logged.variants[0]
    assert dense.data.metrics["top1"] == 0.5 and "unmeasured" not in dense.data.metrics
    assert logged.parent.info.status == "KILLED" and logged.parent.data.tags["pie_ray.status"] == "incomplete"
    assert len(logged.parent.data.params["new"]) == 500
    assert "`population.num_members`: 2 → 5" in logged.note and "training.epochs" not in logged.note
    assert "50.0 %" in logged.note and "91.0 %" in logged.note


def test_many_params_and_variants_exceed_no_limit(sqlite_uri: str) -> None:
    variants = tuple(TrackedVariant(f"magnitude-0.{n:02}", 1, "magnitude", n / 100) for n in range(10, 50))
    tracker = MlflowTracker(sqlite_uri, "many")
    tracker.start(make_sweep(params={f"p{number}": str(number) for number in range(230)}, variants=variants))
    figures = {"top1": 0.5, "top1_change": -0.1, "num_pies": 7.0, "pie_fraction": 0.1, "num_members": 1.0}
    tracker.log_analysis({variant.variant_id: figures for variant in variants}, {})
    assert tracker.finish("complete", "").ok
    logged = Logged(sqlite_uri, "many")
    assert len(logged.parent.data.params) == 230 and len(logged.variants) == 40
    assert len(logged.parent.data.metrics) == 2
    assert "and 10 more" in logged.note and "results/digits" in logged.note


@pytest.mark.parametrize("killed_after", ["create_run", "log_batch"])
def test_a_member_left_half_way_is_repaired(
    sqlite_uri: str, killed_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    view = MlflowView(sqlite_uri, "half")
    view.open(make_sweep())
    next_call = {"create_run": "log_batch", "log_batch": "set_terminated"}[killed_after]
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, next_call, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            view.add_member(RECORDS[0])
    assert Logged(sqlite_uri, "half").members[0].info.status == "RUNNING"

    assert log_all(MlflowTracker(sqlite_uri, "half"), RECORDS[:1]).ok
    logged = Logged(sqlite_uri, "half")
    (member,) = logged.members
    assert member.info.status == "FINISHED" and member.data.metrics["train_loss"] == 0.25
    assert member.data.params["device"] == "cpu" and logged.nothing_doubled()


# -------------------------------------------------------------------------------------------------------- progress


def test_progress_is_shown_while_it_runs_and_failures_stay(sqlite_uri: str) -> None:
    failure = Failure(variant_id=PRUNED, seed=1, reason="<b>out of memory</b>", at="2026-01-01", is_final=True)
    progress = SweepProgress(
        state="running", started_at="", updated_at="", num_members=4, num_done=3, num_running=1, num_failed=1,
        failures=(failure,), members_per_hour=120.0, seconds_left=90.0,
        cluster=ClusterUse(num_nodes=1, cpus=4, cpus_used=2),
    )  # fmt: skip
    view = MlflowView(sqlite_uri, "running")
    view.open(make_sweep())
    view.add_progress(progress)
    logged = Logged(sqlite_uri, "running")
    assert logged.note.splitlines()[2] == (
        "**Running.** 3 of 4 members, 1 under way, 1 failed; 120 an hour, about 1 min 30 s left; "
        "2 of 4 processors in use"
    )
    assert "`<b>out of memory</b>`" in logged.note
    assert logged.parent.data.metrics["progress/num_done"] == 3
    assert logged.history(logged.parent, "progress/cpus_used") == [(3, 2)]

    view.close("incomplete", "3 of 4 members")
    note = Logged(sqlite_uri, "running").note
    assert note.splitlines()[2] == "**Incomplete.** 3 of 4 members" and "given up" in note


def test_of_progress_that_waits_only_the_latest_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    started = threading.Event()
    monkeypatch.setattr(MlflowView, "open", lambda self, sweep: started.wait(5))
    monkeypatch.setattr(MlflowView, "add_progress", lambda self, progress: shown.append(progress.num_done))
    monkeypatch.setattr(MlflowView, "close", lambda self, *_: None)
    tracker = MlflowTracker("http://127.0.0.1:9", "x")
    tracker.start(make_sweep())
    for num_done in range(5):
        tracker.log_progress(
            SweepProgress(state="running", started_at="", updated_at="", num_members=9, num_done=num_done)
        )
    started.set()
    assert tracker.finish("complete", "").ok
    assert shown == [4]


# --------------------------------------------------------------------------------------------------------- trouble


def test_a_deleted_experiment_is_named(sqlite_uri: str) -> None:
    log_all(MlflowTracker(sqlite_uri, "gone"), [])
    logged = Logged(sqlite_uri, "gone")
    logged.client.delete_experiment(logged.experiment.experiment_id)
    outcome = log_all(MlflowTracker(sqlite_uri, "gone"))
    assert not outcome.ok and "mlflow experiments restore -x" in outcome.message


def test_a_refused_member_does_not_hold_up_the_others(sqlite_uri: str) -> None:
    refused = make_record(7, top1={"a//b": 0.5})
    outcome = log_all(MlflowTracker(sqlite_uri, "refused"), [refused, *RECORDS])
    assert (outcome.ok, outcome.num_logged, outcome.num_pending) == (False, 4, 1)
    assert "refuses member dense-7" in outcome.message and "pie-ray track results/digits" in outcome.message


def test_variants_that_have_grown_are_incomplete_until_all_members_are_there(sqlite_uri: str) -> None:
    tracker = MlflowTracker(sqlite_uri, "pie_ray")
    tracker.start(make_sweep())
    for record in RECORDS:
        tracker.log_member(record)
    dense, pruned = make_sweep().variants
    tracker.start(make_sweep(variants=(replace(dense, num_members=3), pruned), num_members=5))
    outcome = tracker.finish("incomplete", "4 of 5 members")
    assert outcome.ok, outcome.message
    logged = Logged(sqlite_uri)
    assert [run.info.status for run in logged.variants] == ["KILLED", "FINISHED"]
    assert len(logged.members) == 4 and logged.nothing_doubled()


def test_variants_without_members_are_shown_as_incomplete(sqlite_uri: str) -> None:
    tracker = MlflowTracker(sqlite_uri, "begun")
    tracker.start(make_sweep(variants=(TrackedVariant(BOTH, 2, "magnitude", 0.9, "static_int8"),)))
    tracker.log_analysis({}, ARTIFACTS)
    assert tracker.finish("incomplete", "0 of 2 members").ok
    (variant,) = Logged(sqlite_uri, "begun").variants
    assert variant.info.status == "KILLED" and variant.data.params["quantization"] == "static_int8"
