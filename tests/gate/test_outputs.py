"""What CI services read: JUnit XML and Markdown, whatever the names in the data."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from pie_ray.gate import check, junit_xml, markdown_summary, parse_policy

from .small_tables import small_tables

POLICY = """
must_pass: [pruned]
limits: {max_worst_class_drop: {limit: 0.05, min_examples: 40}, max_significant_pies: 3, max_top1_drop: 0.05}
variants: {int8: {max_cie: {limit: 0.001, not_measured: ignore}}}
"""
EVIL = ("<script>alert(1)</script>", "a|b\n| c |", "`x` **y** _z_ [l](http://h) ![i](http://h)", "\x00\x1b[31m]]>&amp;")


def findings(tables=None, text=POLICY, **options):
    return check(tables or small_tables(), parse_policy(text), **options)


def test_junit_has_a_suite_a_variant_and_a_case_a_limit():
    root = ElementTree.fromstring(junit_xml(findings()))
    assert root.tag == "testsuites"
    assert root.attrib == {"tests": "9", "failures": "2", "errors": "0", "time": "0", "name": "pie-ray gate"}
    counts = [(each.get("name"), each.get("tests"), each.get("failures"), each.get("skipped")) for each in root]
    assert counts == [("pruned", "4", "2", "0"), ("int8", "5", "0", "2")]
    outcome = {case.get("name"): (case[0].tag, case[0].get("type")) for suite in root for case in suite}
    assert outcome == {
        "max_significant_pies[pruned]": ("failure", "violated"),
        "max_top1_drop[pruned]": ("system-out", None),
        "max_worst_class_drop[pruned]": ("failure", "violated"),
        "max_missing_members[pruned]": ("system-out", None),
        "max_significant_pies[int8]": ("skipped", None),
        "max_cie[int8]": ("skipped", None),
        "max_top1_drop[int8]": ("system-out", None),
        "max_worst_class_drop[int8]": ("system-out", None),
        "max_missing_members[int8]": ("system-out", None),
    }
    failure = root[0][0][0]
    assert failure.text == failure.get("message")
    assert failure.text.startswith("6 PIEs significant at q ≤ .05, of 8 testable examples; found 6, allowed ≤ 3")
    skipped = {case.get("name"): case[0].get("message") for case in root[1] if case[0].tag == "skipped"}
    assert skipped["max_cie[int8]"].startswith("violated (reported only): predictions that differ")
    assert skipped["max_significant_pies[int8]"].startswith("not measured (reported only): too few members")


def test_what_is_not_measured_and_ignored_is_skipped():
    text = "limits: {max_worst_group_drop: 0.1, max_top1_drop: 0.1}\nnot_measured: ignore"
    tables = small_tables() | {"groups": small_tables()["groups"].iloc[:0]}
    found = findings(tables, text)
    root = ElementTree.fromstring(junit_xml(found))
    assert root.get("failures") == "0" and [suite.get("skipped") for suite in root] == ["1", "1"]
    assert root[0][1][0].get("message").startswith("not measured (ignore): there are no groups")
    assert "there are no groups" not in markdown_summary(found, "x")


def test_the_summary():
    text = markdown_summary(findings(), "digits")
    assert text.splitlines()[:8] == [
        "## Gate: digits",
        "",
        "**Gate failed: 2 violated, of 4 limits on 1 variant that must pass.**",
        "",
        "### What failed",
        "",
        "- **violated:** `max_significant_pies` on pruned: 6 PIEs significant at q ≤ .05, of 8 testable examples; "
        "found 6, allowed ≤ 3; most forgotten: a.png, b.png, c.png, d.png, e.png",
        "- **violated:** `max_worst_class_drop` on pruned: class cat: recall 90.00 % → 80.00 %; 1 of fewer than 40 "
        "examples not judged; found 10.00 %, allowed ≤ 5.00 %",
    ]
    assert "| `max_worst_class_drop` | pruned | 10.00 % | 7.00 to 13.00 % | ≤ 5.00 % | **violated** |" in text
    assert "<details><summary>All 9 findings</summary>\n\n|" in text


def test_a_passed_gates_table_is_open():
    text = markdown_summary(findings(text="limits: {max_top1_drop: 0.1}"), "digits")
    assert "**Gate passed: 4 limits on 2 variants that must pass.**" in text
    assert "<details open>" in text and "What failed" not in text


def with_names(name):
    tables = small_tables()
    for table, column in (("classes", "class_name"), ("pies", "key")):
        tables[table][column] = name
    for table in tables.values():
        table["variant_id"] = table["variant_id"].replace("pruned", name)
    return tables


@pytest.mark.parametrize("name", EVIL)
def test_names_from_data_are_text_everywhere(name):
    # One more variant is planned and not there, which its messages name.
    text, planned = "limits: {max_worst_class_drop: 0.05, max_significant_pies: 3}", {name: 4, f"no {name}": 4}
    found = findings(with_names(name), text, num_planned=planned)
    shown = "".join(character if character.isprintable() else " " for character in name)
    root = ElementTree.fromstring(junit_xml(found))
    assert root[0].get("name") == shown
    assert f"class {shown}: recall" in root[0][1][0].text
    assert f"no member of no {shown} is in" in root[1][0][0].text
    html = MarkdownIt("commonmark").enable("table").render(markdown_summary(found, name))
    page = ElementTree.fromstring(f"<div>{html}</div>")
    tags = {element.tag for element in page.iter()}
    assert not tags & {"script", "a", "img", "em", "h1"}
    texts = [" ".join("".join(element.itertext()).split()) for element in page.iter("li")]
    assert any(f"class {' '.join(shown.split())}: recall" in text for text in texts)
    assert any(f"most forgotten: {', '.join([' '.join(shown.split())] * 5)}" in text for text in texts)
    assert {len(row) for row in page.iter("tr")} == {6}
    assert " ".join(shown.split()) in {" ".join("".join(row[1].itertext()).split()) for row in page.iter("tr")}
