"""Adaptive populations: the rule, the rounds of a sweep without Ray, what is left when one is cut off."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pie_ray import adaptive, stats
from pie_ray.adaptive import Kin, Rule, Verdict
from pie_ray.analysis import analyze, decide, kin_of, open_results, sizes_of
from pie_ray.analysis import populations as populations_module
from pie_ray.identity import MemberSpec, Plan, make_plan
from pie_ray.live.status import look
from pie_ray.member import run_member
from pie_ray.recipe import parse_recipe
from pie_ray.rounds import run_rounds
from pie_ray.store import ParquetSink, paths, read_population, read_record
from pie_ray.study import prepare
from pie_ray.workplace import Workplace

RULE = Rule(num_members=20, target=0.6, interval=0.2, fewest=8, step=4, most=40)

# ------------------------------------------------------------------------------------------------------ judging


def members(rng: np.random.Generator, gaps: np.ndarray, num_members: int) -> np.ndarray:
    """Labels [members, examples]: 1 where a gap and a member's noise come to more than 0."""
    return (gaps + rng.standard_normal((num_members, gaps.size)) > 0).astype(int)


def judged(movement: float, num_members: int, rule: Rule = RULE) -> Verdict:
    rng = np.random.default_rng(1)
    gaps = rng.normal(0, 3, 3000)
    moved = gaps + rng.laplace(0, movement / np.sqrt(2), gaps.size) if movement else gaps
    stability = stats.pie_stability(
        members(rng, gaps, num_members),
        members(rng, moved, num_members),
        num_classes=2,
        rng=np.random.default_rng(2),
    )
    return adaptive.judge(stability, num_members, rule)


def test_a_variant_of_many_sure_pies_is_stable_with_few_members():
    verdict = judged(movement=6, num_members=16)
    assert verdict.because == "stable"
    assert verdict.low >= RULE.target


def test_a_variant_that_moved_nothing_is_never_stable_and_gets_no_more_than_its_share():
    assert all(judged(0, number).because != "stable" for number in (8, 12, 16))
    assert judged(0, RULE.num_members).because in ("no gain", "out of reach")
    assert judged(0, 16, replace(RULE, interval=0.9)).because == "no gain"


def test_members_without_pies_are_enough():
    same = np.zeros((8, 50), int)
    stability = stats.pie_stability(same, same, num_classes=2, rng=np.random.default_rng(0))
    assert adaptive.judge(stability, 8, RULE).because == "no PIEs"


def test_four_members_ask_for_more():
    verdict = judged(6, 4)
    assert verdict.because is None and np.isnan(verdict.jaccard)


def test_the_most_members_are_an_end():
    rule = replace(RULE, target=0.99, most=12, num_members=12, interval=0.01)
    assert judged(0.5, 12, rule).because in ("most", "out of reach")


# ------------------------------------------------------------------------------------------------------- growing

KIN = (
    Kin("dense"),
    Kin("half"),
    Kin("most"),
    Kin("tuned", "dense"),
    Kin("int8", "dense", trains=False),
    Kin("half+int8", "half", trains=False),
    Kin("tuned+qat", "tuned"),
)


def asking(lacking: dict[str, int | None]) -> dict[str, Verdict]:
    return {
        name: Verdict(8, 0.3, 0.2, 0.4, None if number is None else 8 + number, None)
        for name, number in lacking.items()
    }


names = st.sampled_from([each.variant_id for each in KIN[1:]])


@given(st.lists(st.dictionaries(names, st.none() | st.integers(1, 50)), max_size=12))
def test_no_round_breaks_the_bounds(rounds):
    rule = Rule(num_members=10, target=0.6, interval=0.2, fewest=4, step=3, most=17)
    sizes = adaptive.first_sizes(KIN, rule)
    heads = list(adaptive.heads(KIN))
    for lacking in rounds:
        grown, reasons = adaptive.next_sizes(sizes, asking(lacking), KIN, rule)
        assert all(0 <= grown[name] - sizes[name] <= rule.step for name in sizes)
        assert all(grown[name] == sizes[name] for name in reasons), "who grew is judged again"
        assert max(grown.values()) <= rule.most
        assert sum(grown.values()) <= rule.num_members * len(KIN)
        assert sum(grown[head] for head in heads) <= rule.num_members * len(heads)
        assert grown["dense"] == max(grown.values())
        assert grown["int8"] == grown["dense"] and grown["half+int8"] == grown["half"]
        assert grown["tuned"] >= grown["tuned+qat"]
        assert set(reasons) <= set(lacking) and set(reasons.values()) <= {"budget", "most"}
        if grown == sizes:
            assert set(reasons) == set(lacking), "whoever got nothing is told why"
        sizes = grown


def test_those_that_lack_the_fewest_go_first():
    rule = Rule(num_members=10, target=0.6, interval=0.2, fewest=8, step=4, most=20)
    kin = (Kin("dense"), Kin("far"), Kin("near"))
    sizes, reasons = adaptive.next_sizes(adaptive.first_sizes(kin, rule), asking({"far": None, "near": 2}), kin, rule)
    assert sizes == {"dense": 11, "near": 11, "far": 8}
    assert reasons == {"far": "budget"}


def test_a_converted_variant_that_asks_makes_its_family_grow():
    sizes, _ = adaptive.next_sizes(adaptive.first_sizes(KIN, RULE), asking({"half+int8": 5}), KIN, RULE)
    assert sizes == {"dense": 12, "half": 12, "most": 8, "tuned": 8, "int8": 12, "half+int8": 12, "tuned+qat": 8}


# ----------------------------------------------------------------------------------------------- a sweep in rounds

ADAPTIVE = """
name: adaptive
data: {kind: digits, num_train: 100, num_test: 60}
model: {kind: small_resnet, width: 4}
training: {epochs: 1, batch_size: 50, precision: float32}
population: {num_members: 6, adaptive: {fewest: 4, step: 1, most: 8}}
variants:
  - pruning: {kind: magnitude, sparsities: [0.5, 0.7, 0.9]}
  - quantization: [static_int8]
execution: {tracking: {kind: none}, measure_latency: false}
"""
ENDED = {"dense": 7, "magnitude-0.50": 4, "magnitude-0.70": 4, "magnitude-0.90": 7, "static_int8": 7}
"""One more of the last pruning would be one more of dense and of int8, and so 32 in all: 6 for each of five is 30."""


@dataclass
class Outcome:
    """As a sweep on a cluster returns it."""

    num_done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    unreachable: tuple[MemberSpec, ...] = ()
    interrupted: bool = False


class Here:
    """Completes members in this process; `failing` by variant and seed, and stops after so many."""

    def __init__(self, folder, *, failing: Sequence[tuple[str, int]] = (), at_most: int | None = None) -> None:
        self.recipe = parse_recipe(ADAPTIVE, [f"execution.storage={folder}"])
        study = prepare(self.recipe)
        self.storage = study.storage
        self.workplace = Workplace(study.recipe, study.splits, study.storage, ParquetSink(study.storage))
        self.failing, self.left, self.made = set(failing), at_most, []

    def __call__(self, plan: Plan, missing: Sequence[MemberSpec]) -> Outcome:
        outcome = Outcome()
        for spec in missing:
            if self.left == 0:
                outcome.interrupted = True
                return outcome
            if (spec.variant_id, spec.seed) in self.failing:
                outcome.failed[spec.member_id] = "it diverged"
                continue
            run_member(spec, self.workplace)
            self.made.append((spec.variant_id, spec.seed))
            self.left = None if self.left is None else self.left - 1
        return outcome

    def sweep(self) -> tuple[Plan, Outcome, list[Plan]]:
        plans: list[Plan] = []
        console = Console(quiet=True)
        plan, outcome = run_rounds(
            self,
            open_results(self.storage),
            console,
            lambda grown, done: plans.append(grown),  # type: ignore[arg-type]
        )
        return plan, outcome, plans  # type: ignore[return-value]


@pytest.fixture
def one_is_stable(monkeypatch):
    """The milder prunings are stable at once, conversion moves nothing, the harder pruning asks for ever."""
    because = {"magnitude-0.50": "stable", "magnitude-0.70": "stable", "static_int8": "no PIEs"}
    told = []

    def judge(stability, num_members, rule):
        name = told.pop(0)
        return Verdict(num_members, 0.5, 0.4, 0.6, None, because.get(name))

    real = populations_module._judge

    def judge_each(results, evaluation_set, variant_ids, rule):
        told[:] = variant_ids
        return real(results, evaluation_set, variant_ids, rule)

    monkeypatch.setattr(populations_module, "_judge", judge_each)
    monkeypatch.setattr(populations_module.adaptive, "judge", judge)


def sizes_at(storage) -> dict[str, int]:
    record = read_population(storage)
    assert record is not None
    return sizes_of(record)


def test_what_one_variant_does_not_need_another_gets(tmp_path, one_is_stable):
    here = Here(tmp_path)
    assert not open_results(here.storage).is_complete
    plan, outcome, plans = here.sweep()
    assert not outcome.failed
    assert sizes_at(here.storage) == ENDED
    assert [len(each.population("magnitude-0.90")) for each in plans] == [5, 6, 7]
    assert len(here.made) == len(set(here.made)) == sum(ENDED.values()) == len(plan.members)
    results = open_results(here.storage)
    assert results.is_complete and results.sizes is not None
    assert {size.variant_id: size.because for size in results.sizes.variants} == {
        "dense": None,
        "magnitude-0.50": "stable",
        "magnitude-0.70": "stable",
        "magnitude-0.90": "budget",
        "static_int8": "no PIEs",
    }
    assert any("magnitude-0.50 4 (stable)" in note for note in results.notes)
    assert look(here.storage).state == "complete"
    summary = analyze(results).summary.set_index("variant_id")
    assert summary["num_members"].to_dict() == ENDED
    # Each is held against a floor of as many members as it has.
    assert summary[["half_pie_fraction", "null_pie_fraction"]].drop("dense").notna().all(axis=None)
    assert summary.loc["magnitude-0.90", "null_pie_fraction"] == summary.loc["dense", "null_pie_fraction"]


@pytest.mark.parametrize("num_before", [20, 22])
def test_a_sweep_that_was_cut_off_ends_as_one_that_was_not(tmp_path, one_is_stable, num_before):
    first = Here(tmp_path, at_most=num_before)
    _, outcome, _ = first.sweep()
    assert outcome.interrupted
    assert look(first.storage).state != "complete"
    second = Here(tmp_path)
    second.sweep()
    assert sizes_at(second.storage) == ENDED
    assert not set(first.made) & set(second.made)
    assert len(first.made) + len(second.made) == sum(ENDED.values())


def test_sizes_that_were_lost_are_decided_alike_and_nothing_is_made_again(tmp_path, one_is_stable):
    Here(tmp_path).sweep()
    again = Here(tmp_path)
    again.storage.delete(paths.POPULATION)
    assert sizes_of(open_results(again.storage).sizes) == dict.fromkeys(ENDED, 4)
    again.sweep()
    assert sizes_at(again.storage) == ENDED
    assert again.made == []


def test_a_failing_member_stops_its_family_alone(tmp_path, one_is_stable):
    here = Here(tmp_path, failing=[("magnitude-0.90", 2)])
    _, outcome, plans = here.sweep()
    assert list(outcome.failed.values()) == ["it diverged"]
    assert not plans and sizes_at(here.storage) == dict.fromkeys(ENDED, 4)
    assert not open_results(here.storage).is_complete
    mended = Here(tmp_path)
    mended.sweep()
    assert sizes_at(mended.storage) == ENDED


def test_decisions_are_of_the_stored_predictions_alone(tmp_path):
    here = Here(tmp_path)
    here(make_plan(here.recipe), open_results(here.storage).missing_members)
    results = open_results(here.storage)
    assert decide(results) == decide(results) == decide(open_results(here.storage))


def test_other_settings_decide_anew(tmp_path, one_is_stable):
    here = Here(tmp_path)
    here.sweep()
    changed = parse_recipe(ADAPTIVE, [f"execution.storage={tmp_path}", "population.adaptive.target=0.6"])
    prepare(changed)
    results = open_results(here.storage)
    assert sizes_of(results.sizes) == dict.fromkeys(ENDED, 4)
    assert not results.is_complete


def test_a_fixed_population_has_no_sizes(tiny_recipe):
    study = prepare(tiny_recipe)
    results = open_results(study.storage)
    assert results.sizes is None and results.plan == study.plan
    assert {each.trains for each in kin_of(study.plan)} == {True, False}


def test_a_sweep_tells_its_rounds_and_watches_its_growth(tmp_path, one_is_stable, monkeypatch):
    """The stage as the command calls it, with members completed here in place of a cluster."""
    from pie_ray import stages
    from pie_ray.cluster import capacity, local
    from pie_ray.cluster import sweep as cluster_sweep

    here = Here(tmp_path / "here")
    seen = []

    def run_sweep(recipe, plan, storage, missing, observers):
        observers.planned(plan, missing)
        here.workplace = replace(here.workplace, storage=storage, sink=ParquetSink(storage))
        for spec in missing:
            observers.started(spec)
            run_member(spec, here.workplace)
            observers.done(spec, read_record(storage, spec))
        progress = observers.observers[0].progress
        seen.append((progress.num_done, progress.num_members, progress.num_members_at_most))
        return Outcome(num_done=len(missing))

    monkeypatch.setattr(cluster_sweep, "run_sweep", run_sweep)
    monkeypatch.setattr(local, "ray_session", lambda *_, **__: nullcontext(True))
    monkeypatch.setattr(capacity, "check_fits", lambda *_, **__: None)
    recipe = parse_recipe(ADAPTIVE, [f"execution.storage={tmp_path}"])
    console = Console(file=io.StringIO(), width=200)
    storage = stages.sweep(recipe, console)
    told = " ".join(console.file.getvalue().split())
    assert seen == [(20, 20, 30), (23, 23, 30), (26, 26, 30), (29, 29, 30)]
    assert "4 seeds x 5 variants first, then 1 at a time" in told and "30 in all at most" in told
    assert "Round 2: 3 more members; dense to 5, magnitude-0.90 to 5, static_int8 to 5." in told
    assert "stable with 4 members: magnitude-0.50 (Jaccard 0.50, 0.40 to 0.60)" in told
    assert "20 of 23 members are complete; 3 to do." in told
    status = look(storage)
    assert (status.state, status.progress.num_members, status.progress.num_members_at_most) == ("complete", 29, None)
    assert len(seen) == 4
    stages.sweep(recipe, console)
    assert len(seen) == 4, "a complete sweep is left alone"
    assert "All 29 members are complete" in " ".join(console.file.getvalue().split())
