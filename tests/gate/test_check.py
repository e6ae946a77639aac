"""Every limit, passed, violated and not measured; what a policy decides; what the intervals are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t, ttest_ind, ttest_rel

from pie_ray import stats
from pie_ray.errors import PolicyError
from pie_ray.gate import LIMITS, Policy, check, parse_policy, passes, sentence
from pie_ray.gate.policy import Limits

from .small_tables import SETS, TOP1, of, small_tables


def policy_of(limit, value, **options):
    return Policy.model_validate(
        {"limits": {limit: {"limit": value, **options} if options else value, "max_missing_members": None}}
    )


def judge(limit, value, variant_id="pruned", tables=None, **options):
    """The one finding of one limit on one variant."""
    missing = options.pop("num_planned", {})
    limits = {"max_missing_members": value} if limit == "max_missing_members" else None
    policy = Policy.model_validate({"limits": limits}) if limits else policy_of(limit, value, **options)
    found = check(tables or small_tables(), policy, variants=[variant_id], num_planned=missing)
    assert len(found) == 1
    return found[0]


# Of the pruned variant: a value that it respects, one that it violates, what the message must tell, and tables without
# what is measured, with the reason.
def without(table, *columns, value=np.nan):
    def change(tables):
        tables[table] = tables[table].assign(**dict.fromkeys(columns, value)) if columns else pd.DataFrame()
        return tables

    return change


def one_member(tables):
    tables["summary"]["num_members"] = 1
    return tables


CASES = {
    "max_significant_pies": (6, 5, "6 PIEs significant", one_member, "can never be significant"),
    "max_significant_fraction": (0.06, 0.05, "most forgotten: a.png, b.png, c.png, d.png", one_member, "too few"),
    "max_pies_beyond_noise": (
        0.04, 0.03, "PIEs between halves 6.00 %, noise floor 2.00 %", without("summary", "half_pie_fraction"),
        "the noise floor takes two members or more",
    ),
    "max_cie": (0.09, 0.08, "between two trainings of the reference 3.00 %", without("pairs"), "with an equal seed"),
    "max_cie_u": (0.045, 0.04, "where the reference was right, mean of 4 pairs", without("pairs"), "an equal seed"),
    "max_top1_drop": (0.04, 0.03, "top-1 91.00 % → 87.00 %", without("accuracy"), "`pie-ray analyze` again"),
    "max_worst_class_drop": (0.50, 0.49, "class fox: recall 90.00 % → 40.00 %", without("classes"), "are no classes"),
    "max_worst_group_drop": (0.60, 0.59, "group tiny: error 0.00 % → 60.00 %", without("groups"), "are no groups"),
    "max_group_gap_increase": (
        0.04, 0.03, "gap between groups 2.00 % → 6.00 %, the worst is y", without("gaps"), "there are no groups",
    ),
    "max_worst_attribute_drop": (
        0.06, 0.05, "attribute smiling: accuracy 90.00 % → 84.00 %", without("attributes"), "one label an example",
    ),
    "max_ece_increase": (
        0.03, 0.02, "calibration error 2.00 % → 5.00 %", without("summary", "ece_mean"), "have no `confidence`",
    ),
    "max_corrupted_top1_drop": (
        0.04, 0.03, "mean top-1 over 2 corrupted sets 71.00 % → 67.00 %", without("robustness"), "no corrupted sets",
    ),
    "max_natural_top1_drop": (
        0.04, 0.03, "natural/phone: top-1 71.00 % → 67.00 %", without("robustness"), "there are no natural sets",
    ),
    "max_excess_drop": (0.03, 0.02, "mean over 2 sets", without("robustness"), "add a suite and `pie-ray evaluate`"),
    "max_worst_set_excess_drop": (
        0.05, 0.04, "corruption/fog/3: top-1 lost", without("robustness", "excess_drop"), "there is no clean set",
    ),
    "max_mce": (
        1.1, 1.05, "mean error over 2 corrupted sets 30.00 % → 33.00 %", without("corruption_errors", "mce"),
        "the reference makes no errors",
    ),
    "max_checkpoint_bytes": (4000, 3999, "4,000 B, allowed ≤ 3,999 B", without("summary", "checkpoint_bytes_mean"),
                             "no checkpoints of ours"),
    "max_size_ratio": (1, 0.5, "4 kB → 4 kB", without("summary", "checkpoint_bytes_mean"), "no checkpoints of ours"),
    "max_compressed_ratio": (0.3, 0.29, "after zstd 4 kB → 1.2 kB", without("costs"), "no compressed size"),
    "max_latency_ratio": (1.03, 1.0, "1 image in 8.00 → 8.16 ms on 1 thread", without("costs", "speedup_batch_1"),
                          "`pie-ray cost RESULTS --batch 1` measures it"),
    "min_sparsity": (0.9, 0.91, "found 90.00 %", without("summary", "achieved_sparsity_mean"), "no checkpoints"),
    "min_members": (4, 5, "4 members, 4 of the reference", without("summary", "num_members"), "has no `num_members`"),
    "max_missing_members": (0, 0, "2 members of the variant and 0 of the reference", None, ""),
}  # fmt: skip


def test_every_limit_of_a_policy_has_a_measure_and_a_case():
    assert set(Limits.model_fields) == set(LIMITS) == set(CASES)
    assert all(field.description for field in Limits.model_fields.values())


def test_lower_limits_have_no_interval_so_that_a_bound_is_an_upper_end():
    assert not any(kind.interval for name, kind in LIMITS.items() if name.startswith("min_"))


@pytest.mark.parametrize("limit", CASES)
def test_a_limit_that_is_respected_passes(limit):
    finding = judge(limit, CASES[limit][0])
    assert (finding.verdict, finding.fails) == ("passed", False)


@pytest.mark.parametrize("limit", CASES)
def test_a_limit_that_is_violated_fails_and_says_by_what(limit):
    planned = {"dense": 4, "pruned": 6, "int8": 4} if limit == "max_missing_members" else {}
    finding = judge(limit, CASES[limit][1], num_planned=planned)
    assert (finding.verdict, finding.fails) == ("violated", True)
    assert CASES[limit][2] in finding.message


@pytest.mark.parametrize("limit", [limit for limit, case in CASES.items() if case[3] is not None])
def test_what_is_not_measured_fails_with_the_reason_unless_the_policy_says_otherwise(limit):
    tables = CASES[limit][3](small_tables())
    value = 0 if limit == "max_significant_pies" else 1e-3 if limit == "max_significant_fraction" else CASES[limit][0]
    if limit.startswith("max_significant"):
        tables["summary"]["num_significant_pies"] = 0.0
    found = {what: judge(limit, value, tables=tables, not_measured=what) for what in ("fail", "warn", "ignore")}
    assert {what: (each.verdict, each.fails) for what, each in found.items()} == {
        "fail": ("not measured", True),
        "warn": ("not measured", False),
        "ignore": ("not measured", False),
    }
    assert CASES[limit][4] in found["fail"].message


@pytest.mark.parametrize("limit", [limit for limit in CASES if limit != "max_missing_members"])
def test_a_variant_without_members_passes_nothing(limit):
    findings = check(small_tables(), policy_of(limit, CASES[limit][0]), num_planned={"dense": 4, "planned": 4})
    assert [each.verdict for each in findings if each.variant_id == "planned"] == ["not measured"]


def test_a_bound_takes_two_members():
    tables = small_tables()
    tables["accuracy"] = tables["accuracy"].query("seed == 0")
    assert judge("max_top1_drop", 0.05, tables=tables).verdict == "passed"
    finding = judge("max_top1_drop", 0.05, tables=tables, judge_by="bound")
    assert finding.verdict == "not measured" and "an interval takes two members or more" in finding.message


# ------------------------------------------------------------------------------------------------- whole outcomes

POLICY = """
must_pass: [int8]
limits:
  max_significant_pies: 0
  max_top1_drop: {limit: 0.02, judge_by: bound}
  max_worst_class_drop: {limit: 0.05, min_examples: 30}
  max_size_ratio: 0.5
  max_natural_top1_drop: {limit: 0.01, not_measured: warn}
variants:
  "p*": {max_size_ratio: null, max_significant_pies: 3}
"""


def test_a_whole_outcome():
    tables = small_tables()
    tables["robustness"] = tables["robustness"].query("kind == 'corruption'")
    findings = check(tables, parse_policy(POLICY))
    told = [
        (each.limit, each.variant_id, each.found_text, each.interval_text, each.allowed_text, each.verdict_text)
        for each in findings
    ]
    assert told == [
        ("max_significant_pies", "pruned", "6", "", "≤ 3", "violated (reported only)"),
        ("max_top1_drop", "pruned", "≤ 6.00 %", "2.00 to 6.00 %", "≤ 2.00 %", "violated (reported only)"),
        ("max_worst_class_drop", "pruned", "10.00 %", "7.00 to 13.00 %", "≤ 5.00 %", "violated (reported only)"),
        ("max_natural_top1_drop", "pruned", "–", "", "≤ 1.00 %", "not measured (reported only)"),
        ("max_missing_members", "pruned", "0", "", "≤ 0", "passed"),
        ("max_significant_pies", "int8", "–", "", "≤ 0", "not measured"),
        ("max_top1_drop", "int8", "≤ 1.05 %", "−0.55 to 1.05 %", "≤ 2.00 %", "passed"),
        ("max_worst_class_drop", "int8", "1.00 %", "0.00 to 2.00 %", "≤ 5.00 %", "passed"),
        ("max_natural_top1_drop", "int8", "–", "", "≤ 1.00 %", "not measured (warn)"),
        ("max_size_ratio", "int8", "0.300", "", "≤ 0.500", "passed"),
        ("max_missing_members", "int8", "0", "", "≤ 0", "passed"),
    ]
    assert not passes(findings)
    assert sentence(findings) == "Gate failed: 1 not measured, of 6 limits on 1 variant that must pass."
    messages = {(each.limit, each.variant_id): each.message for each in findings}
    assert messages["max_significant_pies", "pruned"] == (
        "6 PIEs significant at q ≤ .05, of 8 testable examples; found 6, allowed ≤ 3; "
        "most forgotten: a.png, b.png, c.png, d.png, e.png"
    )
    assert messages["max_significant_pies", "int8"] == (
        "too few members: with 4 pairs of members the smallest p is 0.12, so the test can never be significant; "
        "6 members a variant could, or judge `max_pies_beyond_noise`"
    )
    assert messages["max_top1_drop", "int8"] == (
        "top-1 91.00 % → 90.75 %; 95 % interval up to 1.05 %, allowed ≤ 2.00 %"
    )


def test_a_passed_gate_says_what_it_did_not_measure():
    policy = parse_policy("limits: {max_worst_group_drop: 0.2, max_top1_drop: 0.05}\nnot_measured: warn")
    tables = small_tables() | {"groups": pd.DataFrame()}
    findings = check(tables, policy, variants=["pruned"])
    assert passes(findings)
    assert sentence(findings) == "Gate passed: 3 limits on 1 variant that must pass, 1 of them not measured."


# --------------------------------------------------------------------------------------------------------- options


def test_small_classes_are_left_out_and_only_those_that_moved_may_be_judged():
    assert judge("max_worst_class_drop", 0.1).message.startswith("class fox")
    assert "1 of fewer than 30 examples not judged" in judge("max_worst_class_drop", 0.1, min_examples=30).message
    assert "class cat" in judge("max_worst_class_drop", 0.1, classes="significant", min_examples=30).message
    untouched = judge("max_worst_class_drop", 0.0, classes="discovered", min_examples=30)
    assert untouched.verdict == "passed"
    assert untouched.told.startswith("no class moved apart from the rest significantly; 1 of fewer than 30")
    assert "no class has 60 examples" in judge("max_worst_class_drop", 0.1, min_examples=60).message


def test_the_class_that_is_judged_is_the_one_of_the_worst_bound():
    by_bound = judge("max_worst_class_drop", 0.1, judge_by="bound", min_examples=30)
    assert by_bound.message.startswith("class dog")
    assert (by_bound.found, by_bound.high) == (pytest.approx(0.08), pytest.approx(0.14))


def test_one_member_cannot_say_which_classes_moved():
    finding = judge("max_worst_class_drop", 0.5, tables=one_member(small_tables()), classes="significant")
    assert finding.verdict == "not measured" and "tested with two members or more" in finding.message


def test_groups_of_another_rate():
    assert "false-positive rate 8.00 % → 18.00 %; 1 of fewer than 30 examples not judged" in (
        judge("max_worst_group_drop", 0.05, rate="false_positive", min_examples=30).message
    )
    missing = judge("max_worst_group_drop", 0.05, rate="false_negative")
    assert missing.verdict == "not measured" and "--positive-class" in missing.message


def test_groups_of_several_attributes_name_the_attribute():
    tables = small_tables()
    tables["groups"]["attribute"] = "smiling"
    assert judge("max_worst_group_drop", 0.05, tables=tables).told.startswith("smiling, group tiny: error")


def test_a_corrupted_set_that_a_variant_lacks_is_not_averaged_away():
    tables = small_tables()
    lacking = (tables["robustness"]["variant_id"] == "pruned") & (tables["robustness"]["evaluation_set"] == SETS[1])
    tables["robustness"] = tables["robustness"][~lacking]
    finding = judge("max_excess_drop", 0.5, tables=tables)
    assert finding.verdict == "not measured" and f"the first is {SETS[1]}" in finding.message


def test_missing_members_are_those_of_the_plan_on_the_emptiest_set():
    tables = small_tables()
    tables["robustness"].loc[tables["robustness"]["variant_id"] == "pruned", "num_members"] = 3
    assert judge("max_missing_members", 0, tables=tables).told.startswith("1 members of the variant and 0 of the ref")
    planned = {"dense": 5, "pruned": 5, "int8": 4}
    assert judge("max_missing_members", 0, tables=tables, num_planned=planned).found == 3


def test_without_a_plan_a_set_that_a_variant_was_never_on_is_no_loss():
    tables = small_tables()
    tables["robustness"] = tables["robustness"].query("variant_id != 'int8'")
    assert judge("max_missing_members", 0, "int8", tables).verdict == "passed"
    assert judge("max_missing_members", 0, "int8", tables, num_planned={"int8": 4, "dense": 4}).found == 4


def test_later_patterns_win_and_null_lifts_a_limit():
    text = """
limits: {max_cie: 0.1, max_top1_drop: 0.1}
variants: {"*": {max_cie: 0.2}, "int?": {max_cie: 0.3, max_top1_drop: null}}
"""
    policy = parse_policy(text)
    limits = {name: {key: each.limit for key, each in policy.limits_of(name).items()} for name in ("pruned", "int8")}
    assert limits == {
        "pruned": {"max_cie": 0.2, "max_top1_drop": 0.1, "max_missing_members": 0},
        "int8": {"max_cie": 0.3, "max_missing_members": 0},
    }


@pytest.mark.parametrize(
    ("text", "variants", "message"),
    [
        ("must_pass: [int4]", (), "must_pass: 'int4' fits none of the variants: pruned, int8"),
        (
            "variants: {fp16: {max_cie: 0.1}, fp8: {max_cie: 0.1}}",
            (),
            "'fp16' fits none of the variants: pruned, int8\n",
        ),
        ("evaluation_set: val", (), "evaluation_set: found 'val'; accepted are the sets of these results: test"),
        ("must_pass: [int8]", ["pruned"], "none of pruned must pass by the policy, so the gate could not fail"),
        ("", ["prunde"], "--variant: found prunde; accepted are pruned, int8"),
    ],
)
def test_what_the_results_have_not_is_refused(text, variants, message):
    with pytest.raises(PolicyError) as error:
        check(small_tables(), parse_policy(f"limits: {{max_cie: 0.2}}\n{text}"), variants=variants)
    assert message in str(error.value)


def test_results_without_a_compressed_variant_are_refused():
    tables = {"summary": small_tables()["summary"].query("variant_id == 'dense'")}
    with pytest.raises(PolicyError, match="nothing to judge"):
        check(tables, policy_of("max_cie", 0.1))


# ------------------------------------------------------------------------------------------------------ statistics


def test_top1_has_welchs_interval_and_derived_variants_the_paired_one():
    dense, pruned, int8 = (np.array(TOP1[name]) for name in ("dense", "pruned", "int8"))
    welch = ttest_ind(dense, pruned, equal_var=False).confidence_interval()
    paired = ttest_rel(dense, int8).confidence_interval()
    for limit in ("max_top1_drop", "max_corrupted_top1_drop", "max_natural_top1_drop"):
        for variant_id, expected in (("pruned", welch), ("int8", paired)):
            finding = judge(limit, 0.1, variant_id)
            np.testing.assert_allclose((finding.low, finding.high), (expected.low, expected.high))


def test_pairs_are_those_of_equal_seed():
    tables = small_tables()
    lost = (tables["accuracy"]["variant_id"] == "int8") & (tables["accuracy"]["seed"] == 1)
    tables["accuracy"] = tables["accuracy"][~lost]
    dense, int8 = (np.delete(TOP1[name], 1) for name in ("dense", "int8"))
    finding = judge("max_top1_drop", 0.1, "int8", tables)
    assert finding.found == pytest.approx((dense - int8).mean())
    np.testing.assert_allclose((finding.low, finding.high), ttest_rel(dense, int8).confidence_interval())


def test_pairs_that_all_lose_the_same_have_that_as_interval():
    tables = small_tables()
    is_int8 = tables["accuracy"]["variant_id"] == "int8"
    tables["accuracy"].loc[is_int8, "top1"] = (
        tables["accuracy"].query("variant_id == 'dense'")["top1"].to_numpy() - 0.01
    )
    finding = judge("max_top1_drop", 0.01, "int8", tables, judge_by="bound")
    assert (finding.verdict, finding.interval_text) == ("passed", "1.00 to 1.00 %")


def test_calibration_has_welchs_interval():
    rng = np.random.default_rng(0)
    before, after = rng.normal(0.02, 0.004, 5), rng.normal(0.05, 0.02, 8)
    tables = small_tables()
    summary = tables["summary"].set_index("variant_id")
    summary.loc["dense", ["ece_mean", "ece_std", "num_members"]] = before.mean(), before.std(ddof=1), 5
    summary.loc["pruned", ["ece_mean", "ece_std", "num_members"]] = after.mean(), after.std(ddof=1), 8
    tables["summary"] = summary.reset_index()
    expected = ttest_ind(after, before, equal_var=False).confidence_interval()
    finding = judge("max_ece_increase", 0.1, tables=tables)
    np.testing.assert_allclose((finding.low, finding.high), (expected.low, expected.high))


def test_a_classs_interval_is_welchs_of_its_recall_itself():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 40)
    before = np.where(rng.random((6, 80)) < 0.9, labels, 1 - labels)
    after = np.where(rng.random((5, 80)) < np.where(labels == 0, 0.6, 0.85), labels, 1 - labels)
    impact = stats.class_impact(before, after, labels, num_classes=2)
    columns = ("num_examples", "reference_recall", "variant_recall", "change", "normalised_change", "low", "high")
    table = {name: getattr(impact, name) for name in columns} | {"class_name": ["cat", "dog"]}
    tables = small_tables() | {"classes": pd.DataFrame(of("pruned", **table))}
    recalls = [(predicted == labels)[:, labels == 0].mean(axis=1) for predicted in (before, after)]
    expected = ttest_ind(*recalls, equal_var=False).confidence_interval()
    finding = judge("max_worst_class_drop", 0.1, tables=tables)
    assert finding.message.startswith("class cat")
    np.testing.assert_allclose((finding.low, finding.high), (expected.low, expected.high))


def test_cie_has_students_interval():
    half_width = t.ppf(0.975, 3) * np.std([0.08, 0.10, 0.08, 0.10], ddof=1) / 2
    finding = judge("max_cie", 0.1)
    np.testing.assert_allclose((finding.low, finding.high), (0.09 - half_width, 0.09 + half_width))


def test_the_interval_of_a_mean_excess_drop_is_no_narrower_than_over_members():
    rng = np.random.default_rng(2)
    before, after = (rng.normal(0.1, 0.02, (6, 12)) + rng.normal(0, 0.01, (6, 1)) for _ in range(2))
    by_set = stats.excess_drop(before, after)
    over_members = stats.excess_drop(before.mean(axis=1), after.mean(axis=1))
    rows = [
        of(name, f"corruption/fog/{i}", kind="corruption", num_members=6, reference_drop=0.1, drop=0.1,
           excess_drop=by_set.excess[i], excess_low=by_set.low[i], excess_high=by_set.high[i])
        for i in range(12) for name in ("dense", "pruned")
    ]  # fmt: skip
    finding = judge("max_excess_drop", 0.1, tables=small_tables() | {"robustness": pd.DataFrame(rows)})
    assert finding.found == pytest.approx(float(over_members.excess))
    assert finding.low < over_members.low < over_members.high < finding.high


@settings(max_examples=60)
@given(
    num_members=st.integers(1, 12),
    num_testable=st.integers(0, 300),
    allowed=st.integers(0, 30),
    is_paired=st.booleans(),
)
def test_nothing_found_passes_only_where_a_violation_would_have_been_found(
    num_members, num_testable, allowed, is_paired
):
    """The examples there are are given the p-values of the smallest violation, and the test is applied to them."""
    tables = small_tables()
    variant_id = "int8" if is_paired else "pruned"
    row = tables["summary"]["variant_id"] == variant_id
    tables["summary"].loc[row, ["num_testable", "num_significant_pies"]] = num_testable, 0
    tables["summary"]["num_members"] = num_members
    tables["pairs"] = pd.DataFrame([of("int8", cie_fraction=0.0, cie_u_fraction=0.0)] * num_members)
    smallest = stats.smallest_p_value(num_members, num_members, is_paired=is_paired)
    p_value = np.ones(max(num_testable, allowed + 1))
    p_value[: allowed + 1] = smallest
    is_found = (stats.benjamini_hochberg(p_value) <= 0.05).any()
    finding = judge("max_significant_pies", allowed, variant_id, tables)
    assert finding.verdict == ("passed" if is_found else "not measured")
    if not is_found:
        assert "too few members" in finding.message


LOOSER = st.floats(0, 0.999, exclude_max=True)


@settings(max_examples=80)
@given(
    limit=st.sampled_from(sorted(LIMITS)),
    values=st.tuples(LOOSER, LOOSER).map(sorted),
    variant_id=st.sampled_from(["pruned", "int8"]),
    judge_by=st.sampled_from(["estimate", "bound"]),
    num_testable=st.integers(0, 60),
)
def test_loosening_a_limit_never_turns_a_pass_into_a_failure(limit, values, variant_id, judge_by, num_testable):
    tables = small_tables()
    tables["summary"]["num_testable"] = float(num_testable)
    whole = {"max_significant_pies": 12, "max_checkpoint_bytes": 8000, "min_members": 8, "max_missing_members": 5}
    if limit in whole:
        values = [int(value * whole[limit]) for value in values]
    if limit in ("max_mce", "max_size_ratio", "max_compressed_ratio", "max_latency_ratio"):
        values = [value * 2 + 0.01 for value in values]
    tighter, looser = reversed(values) if limit.startswith("min_") else values
    policies = [Policy.model_validate({"limits": {limit: value}, "judge_by": judge_by}) for value in (tighter, looser)]
    planned = {"dense": 5, "pruned": 6, "int8": 4}
    verdicts = [
        next(each.verdict for each in check(tables, policy, variants=[variant_id], num_planned=planned)
             if each.limit == limit)
        for policy in policies
    ]  # fmt: skip
    assert verdicts[0] != "passed" or verdicts[1] == "passed"


def test_rounding_does_not_violate():
    tables = small_tables()
    is_pruned = tables["accuracy"]["variant_id"] == "pruned"
    tables["accuracy"].loc[is_pruned, "top1"] = (
        tables["accuracy"].query("variant_id == 'dense'")["top1"].to_numpy() - 0.01
    )
    assert judge("max_top1_drop", 0.01, tables=tables).found != 0.01
    assert judge("max_top1_drop", 0.01, tables=tables).verdict == "passed"
    assert judge("max_top1_drop", 0.00999, tables=tables).message.endswith("found 1.000 %, allowed ≤ 0.999 %")
