"""`pie-ray gate` as a person and a CI service run it, and what its documentation says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from pie_ray.analysis import analyze, open_results
from pie_ray.cli import main
from pie_ray.gate import LIMITS, load_policy, parse_policy
from pie_ray.gate.policy import Limits, Policy
from tests.test_analysis import complete, random_predictions, study  # noqa: F401
from tests.test_analysis_commands import WITHOUT, predictions_table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gate.md").read_text()
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)]

STRICT = "limits: {max_significant_pies: 3, max_worst_group_drop: 0.1, max_cie: 0.5}"
LENIENT = "limits: {max_significant_pies: 30, max_cie: 0.5, min_members: 10}"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """`analyze --predictions`: the pruned variant is wrong on the first 20 examples, which are site A's."""
    folder = tmp_path_factory.mktemp("gate")
    predictions_table().rename(columns={"argmax": "prediction"}).to_parquet(folder / "own.parquet")
    command = ["analyze", "--predictions", str(folder / "own.parquet"), "--reference", "fp32", "--paired", "int8"]
    assert main([*command, "--output", str(folder / "results")]) == 0
    return folder / "results"


@pytest.fixture
def gate(results, tmp_path, monkeypatch, capsys):
    """Run the gate with a policy's text; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(policy, *options, folder=results):
        (tmp_path / "policy.yaml").write_text(policy)
        code = main(["gate", str(folder), "--policy", "policy.yaml", *options])
        return code, *capsys.readouterr()

    return run


def test_a_policy_that_is_respected_passes(gate):
    code, out, err = gate(LENIENT)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "Gate passed: 8 limits on 2 variants that must pass."
    assert "violated" not in out and max(map(len, out.splitlines())) <= 80
    rows = [line.split() for line in out.splitlines() if line.split()[:1] == ["max_significant_pies"]]
    assert sorted(rows) == [["max_significant_pies", found, "≤", "30", "passed"] for found in ("0", "21")]


def test_a_violated_limit_exits_with_1_and_names_group_and_examples(gate):
    code, out, err = gate(STRICT, "--variant", "prun*")
    text = " ".join(out.split())
    assert (code, err) == (1, "")
    assert "max_worst_group_drop on pruned: group site=A: error 0.00 % → 100.00 %; found 100.00 %" in text
    assert re.search(r"most forgotten: (1?\d, ){4}1?\d max_worst_group", text)
    assert "Gate failed: 2 violated, of 4 limits on 1 variant that must pass." in text
    assert "int8" not in text


def test_reports_for_a_ci_service(gate, tmp_path):
    (tmp_path / "summary.md").write_text("# Of another step\n")
    code, _, _ = gate(STRICT, "--junit", "new/folder/gate.xml", "--summary", "summary.md")
    assert code == 1
    root = ElementTree.fromstring((tmp_path / "new" / "folder" / "gate.xml").read_bytes())
    assert (root.get("tests"), root.get("failures")) == ("8", "2")
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("# Of another step\n## Gate: results\n\n**Gate failed: 2 violated, of 8 limits")


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("limits: {max_cie: 5, max_csi: 1}", (), "policy.yaml: 2 mistakes\n  limits.max_cie: found 5; accepted"),
        ("limits: {max_cie: .5}\nmust_pass: [int4]", (), "must_pass: 'int4' fits none of the variants: "),
        (LENIENT, ("--variant", "int4"), "--variant: found int4; accepted are "),
        (LENIENT, ("--junit", "policy.yaml/gate.xml"), "--junit: cannot write policy.yaml/gate.xml: "),
    ],
)
def test_a_mistake_is_one_message_and_exits_with_2(gate, policy, options, message):
    code, _, err = gate(policy, *options)
    assert code == 2
    assert err.startswith("error: ") and message in err


def test_results_that_are_not_there(gate, tmp_path):
    code, out, err = gate(LENIENT, folder=tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert "`pie-ray analyze` writes it" in err


def test_no_torch_ray_or_mlflow_is_needed(results, tmp_path):
    (tmp_path / "policy.yaml").write_text(LENIENT)
    arguments = ["gate", str(results), "--policy", str(tmp_path / "policy.yaml")]
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({WITHOUT!r})); "
        f"from pie_ray.cli import main; sys.exit(main({arguments!r}))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_members_that_a_sweep_lacks_fail_unless_they_are_allowed(study, gate):  # noqa: F811
    predictions = random_predictions(study)
    for lost in (("dense", 3), ("static_int8", 1), ("static_int8", 3)):
        del predictions[lost]
    complete(study, predictions)
    analyze(open_results(study.storage))
    folder = study.storage.uri.removeprefix("file://")
    code, out, _ = gate("limits: {max_cie: .999}", folder=folder)
    text = " ".join(out.split())
    assert code == 1
    assert "max_missing_members on static_int8: 2 members of the variant and 1 of the reference are not in the" in text
    assert "found 3, allowed ≤ 0" in text
    assert gate("limits: {max_cie: .999, max_missing_members: 3}", folder=folder)[0] == 0


# ----------------------------------------------------------------------------------------------- the documentation


def test_the_example_policy_is_a_policy_and_shows_what_it_leaves_out():
    path = ROOT / "examples" / "policy.yaml"
    policy = load_policy(str(path))
    assert policy.must_pass == ("*int8",)
    shown = parse_policy(re.sub(r"^  # (max_|min_)", r"  \1", path.read_text(), flags=re.MULTILINE))
    assert len(shown.limits.model_fields_set) > len(policy.limits.model_fields_set)


def test_the_pages_policy_is_a_policy():
    [found] = [block for block in BLOCKS if "limits" in block]
    assert parse_policy(yaml.safe_dump(found)).limits.max_worst_class_drop.min_examples == 50


def test_the_page_tells_of_every_key_and_limit():
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*?) \|$", PAGE, flags=re.MULTILINE))
    assert set(rows) >= set(Limits.model_fields)
    assert {name for name in LIMITS if rows[name].startswith("none")} == {
        name for name, kind in LIMITS.items() if not kind.interval
    }
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)) == {*Limits.model_fields, *Policy.model_fields}


def test_the_pages_workflows_run_the_gate():
    [github] = [block for block in BLOCKS if "jobs" in block]
    steps = github["jobs"]["gate"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert any("pie-ray gate" in text and "--summary" in text and "--junit gate.xml" in text for text in commands)
    [upload] = [step for step in steps if step.get("uses", "").startswith("actions/upload-artifact@")]
    assert "gate.xml" in upload["with"]["path"] and upload["if"] == "${{ !cancelled() }}"
    [gitlab] = [block for block in BLOCKS if "script" in block.get("gate", {})]
    assert gitlab["gate"]["artifacts"] == {"when": "always", "reports": {"junit": "gate.xml"}}
