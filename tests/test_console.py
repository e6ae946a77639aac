"""What stands in the terminal: bars where there is one, lines where there is none."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager

import pandas as pd
import pytest
from rich.console import Console

from pie_ray.analysis import Analysis
from pie_ray.console import ConsoleObserver, natural_table, print_tables, robustness_table, summary_table
from pie_ray.identity import make_plan
from pie_ray.live.keeper import ProgressKeeper
from pie_ray.progress import Observers
from pie_ray.records import MemberRecord
from pie_ray.report.robustness import by_variant, natural_rows

from .report.corrupted import robustness_tables


@pytest.fixture
def plan(tiny_recipe):
    return make_plan(tiny_recipe)


def record(spec):
    return MemberRecord(
        member_id=spec.member_id,
        variant_id=spec.variant_id,
        seed=spec.seed,
        num_parameters=1,
        num_prunable=1,
        num_nonzero=1,
        achieved_sparsity=0.0,
        checkpoint_bytes=1,
        top1={"test": 0.875},
    )


def shown(plan, *, terminal, events):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    with watching(console, plan, ()) as observer:
        observer.planned(plan, plan.members)
        events(observer)
    return out.getvalue()


@contextmanager
def watching(console, plan, done):
    keeper = ProgressKeeper(plan, done)
    with ConsoleObserver(console, keeper) as observer:
        yield Observers(keeper, observer)


def complete_all(plan):
    def events(observer):
        for spec in plan.members:
            observer.started(spec)
            observer.done(spec, record(spec))

    return events


def test_plain_lines_end_with_the_last_member(plan):
    lines = shown(plan, terminal=False, events=complete_all(plan)).splitlines()
    assert re.fullmatch(r"\[1/6\] dense seed 0: top-1 0.8750, 0 s; about 0 s left", lines[0])
    assert lines[-1] == "[6/6] static_int8 seed 1: top-1 0.8750, 0 s; done"
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_shows_a_bar_a_variant_and_one_for_all(plan):
    text = shown(plan, terminal=True, events=complete_all(plan))
    last = text[text.rindex("dense") :]
    for name in ("dense", "magnitude-0.50", "static_int8"):
        assert re.search(rf"{re.escape(name)} +━+ 2/2", last)
    assert re.search(r"all members +━+ 6/6", last)


def test_failures_and_retries_are_told_with_their_reason(plan):
    def events(observer):
        first, second = plan.members[:2]
        observer.started(first)
        observer.retried(first, "its worker process or node died")
        observer.failed(second, "NonFiniteLossError: [nan]")

    text = shown(plan, terminal=False, events=events)
    assert "tried again: dense seed 0: its worker process or node died" in text
    assert "failed: dense seed 1: NonFiniteLossError: [nan]" in text


def test_members_that_were_complete_before_are_counted(plan):
    out = io.StringIO()
    done = [spec.member_id for spec in plan.members[:4]]
    with watching(Console(file=out, width=100), plan, done) as observer:
        observer.planned(plan, plan.members[4:])
        observer.started(plan.members[4])
        observer.done(plan.members[4], record(plan.members[4]))
    assert "4 of 6 members are complete; 2 to do." in out.getvalue()
    assert "[5/6]" in out.getvalue()


def test_the_table_fits_a_terminal_of_80_columns():
    row = {
        "evaluation_set": "test",
        "top1_mean": 0.9188,
        "top1_std": 0.0105,
        "reference_top1_mean": 0.9312,
        "null_pie_fraction": 0.0405,
        "half_pie_fraction": 0.1466,
        "num_pies": 1234,
        "num_significant": 567,
        "pie_fraction": 0.1234,
        "reference_top1_on_pies": 0.609,
        "top1_on_pies": float("nan"),
        "reference_top1_without_pies": 0.941,
        "top1_without_pies": 0.94,
    }
    summary = pd.DataFrame([row | {"variant_id": name} for name in ("dense", "magnitude-0.90", "dynamic_int8")])
    out = io.StringIO()
    Console(file=out, width=80).print(summary_table(summary, "test"))
    lines = out.getvalue().splitlines()
    rows = {line.split()[0]: line.split() for line in lines if "91.88" in line}
    assert rows["magnitude-0.90"] == [
        "magnitude-0.90", "91.88", "±1.05", "-1.24", "1,234", "14.66", "4.05", "567", "–", "94.1→94.0",
    ]  # fmt: skip
    assert rows["dense"] == ["dense", "91.88", "±1.05", "4.05"]
    assert all(len(line.rstrip()) <= 80 for line in lines)


COSTS = {"dense": 0.0, "magnitude-0.90": 0.03, "magnitude-0.90+static_int8": 0.034}


def printed(table):
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_table_of_robustness_fits_a_terminal_of_80_columns():
    tables = robustness_tables(COSTS)
    robustness, errors = tables["robustness"], tables["corruption_errors"]
    lines = printed(robustness_table(by_variant(robustness, errors)))
    assert lines[0] == "Under 15 common corruptions (mean over 75 sets, in %)"
    assert all(len(line) <= 80 for line in lines)
    rows = {line.split()[0]: line.split()[1:] for line in lines if re.match(r" \S+ +\d+\.\d\d ", line)}
    assert list(rows) == list(COSTS)
    for variant_id, cells in rows.items():
        chosen = robustness["variant_id"] == variant_id
        mine = robustness[chosen & (robustness["kind"] == "corruption") & (robustness["family"] != "extra")]
        mean = 100 * mine.mean(numeric_only=True)
        mce = errors[(errors["variant_id"] == variant_id) & (errors["level"] == "common")]["mce"].iloc[0]
        expected = [f"{mean['top1_mean']:.2f}", f"{mean['drop']:.2f}", f"{mean['excess_drop']:+.2f}", f"{mce:.3f}"]
        if variant_id == "dense":
            assert cells == expected[:2] + expected[3:]
            continue
        num_more = (mine["is_significant"] & (mine["excess_drop"] > 0)).sum()
        breaks = [
            f"{mean[f'reference_break_{where}']:.1f}→{mean[f'break_{where}']:.1f}"
            for where in ("on_clean_pies", "elsewhere")
        ]
        assert cells == [*expected, str(num_more), *breaks]


def test_each_natural_set_has_a_line_with_the_variant_that_loses_most():
    robustness = robustness_tables(COSTS, {})["robustness"]
    lines = printed(natural_table(natural_rows(robustness)))
    assert all(len(line) <= 80 for line in lines)
    for name in ("imagenet_a", "imagenet_r"):
        mine = robustness[robustness["evaluation_set"] == f"natural/{name}"]
        worst = mine.loc[mine["change"].idxmin()]
        [line] = [line.split() for line in lines if name in line]
        assert line == [
            name, f"{100 * worst['reference_top1_mean']:.2f}", worst["variant_id"], f"{100 * worst['top1_mean']:.2f}",
            f"{100 * worst['change']:+.1f}", f"{100 * worst['clean_change']:+.1f}",
        ]  # fmt: skip


def test_natural_sets_of_the_reference_alone_have_a_line_too():
    robustness = robustness_tables({"dense": 0.0}, {}, natural={"natural/[odd]": 0.25})["robustness"]
    [line] = [line for line in printed(natural_table(natural_rows(robustness))) if "[odd]" in line]
    assert line.split()[2:] == ["–"] * 4


def test_robustness_is_printed_where_there_are_rows():
    titles = ("Under 15 common corruptions", "On natural sets")
    for tables, expected in ((robustness_tables(COSTS), True), ({}, False)):
        out = io.StringIO()
        print_tables(Console(file=out, width=80), Analysis(pd.DataFrame({"evaluation_set": []}), **tables))
        assert [title in out.getvalue() for title in titles] == [expected] * 2


def test_without_a_test_no_number_of_sets_is_told():
    tables = robustness_tables(COSTS, num_members=1)
    lines = printed(robustness_table(by_variant(tables["robustness"], tables["corruption_errors"])))
    [line] = [line for line in lines if line.startswith(" magnitude-0.90 ")]
    assert line.split()[5] == "–"
