"""A policy is read strictly, and every mistake in it is told at once."""

from __future__ import annotations

import pytest

from pie_ray.errors import PolicyError
from pie_ray.gate import load_policy, parse_policy
from pie_ray.gate.policy import ClassLimit, CountLimit, FractionLimit


def test_a_limit_is_a_number_or_that_number_with_options():
    text = """
limits: {max_top1_drop: 1e-2, max_worst_class_drop: {limit: 0.05, classes: significant, judge_by: bound}}
variants: {"magnitude-*": {max_checkpoint_bytes: 500_000}}
"""
    policy = parse_policy(text)
    assert policy.limits.max_top1_drop == FractionLimit(limit=0.01)
    assert policy.limits.max_worst_class_drop == ClassLimit(limit=0.05, classes="significant", judge_by="bound")
    assert policy.limits.max_missing_members == CountLimit(limit=0)
    assert policy.variants["magnitude-*"].max_checkpoint_bytes == CountLimit(limit=500_000)
    assert (policy.must_pass, policy.judge_by, policy.not_measured) == (("*",), "estimate", "fail")


MISTAKES = """
limits:
  max_top1_drop: 1
  max_mce: x
  max_cie: -0.1
  max_worst_class_drop: {limt: 0.05}
  max_worst_group_drop: {limit: 0.05, rate: accuracy}
  max_top5_drop: 0.1
variants:
  magnitude-*: {max_significant_pies: 2.5, max_top1_drop: {limit: 0.1, judge: bound}}
judge_by: upper
must_pass: []
"""


def test_every_mistake_is_told_at_once():
    with pytest.raises(PolicyError) as error:
        parse_policy(MISTAKES, source="policy.yaml")
    first, *lines = str(error.value).splitlines()
    assert first == "policy.yaml: 11 mistakes"
    for expected in (
        "judge_by: found 'upper'; accepted: 'estimate' or 'bound'",
        "limits.max_cie: found -0.1; accepted: greater than or equal to 0",
        "limits.max_mce: found 'x'; accepted: a valid number",
        "limits.max_top1_drop: found 1; accepted is a fraction above -1 and below 1: 1 % is 0.01",
        "limits.max_top5_drop: unknown key; did you mean 'max_top1_drop'? accepted: max_significant_pies, ",
        "limits.max_worst_class_drop.limit: missing",
        "limits.max_worst_class_drop.limt: unknown key; did you mean 'limit'? accepted: limit, judge_by, not_",
        "limits.max_worst_group_drop.rate: found 'accuracy'; accepted: 'error', 'false_positive' or 'false_negative'",
        "must_pass: found []; accepted: a list of at least 1 item",
        "variants.magnitude-*.max_significant_pies: found 2.5; accepted: a valid integer",
        "variants.magnitude-*.max_top1_drop.judge: unknown key; did you mean 'judge_by'? accepted: limit, judge_by, ",
    ):
        assert any(line.strip().startswith(expected) for line in lines), (expected, lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits: {}", "found no limits; accepted are one or more of max_significant_pies, "),
        ("limits: {max_missing_members: null}", "found no limits"),
        ("{}", "limits: missing"),
        ("- max_cie", "found a list, expected a mapping with the keys limits, variants, must_pass, "),
        ("", "found nothing, expected a mapping"),
        ("limits: {max_cie: 0.1, max_cie: 0.2}", "line 1, column 9: not valid YAML: the key 'max_cie' stands twice"),
        ("limits: {max_cie: yes}", "limits.max_cie: found True; accepted: a valid number"),
        ("limits: {max_cie: [0.1]}", "limits.max_cie: found [0.1]; accepted: a valid number"),
        ("limits: {max_cie: .nan}", "limits.max_cie: "),
    ],
)
def test_what_is_no_policy_is_refused(text, message):
    with pytest.raises(PolicyError) as error:
        parse_policy(text)
    assert message in str(error.value)


def test_a_policy_that_is_not_there(tmp_path):
    with pytest.raises(
        PolicyError, match=r"cannot read the policy .*: No such file or directory; expected a YAML file"
    ):
        load_policy(str(tmp_path / "policy.yaml"))
