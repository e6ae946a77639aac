"""The findings as JUnit XML, which every CI service reads: a suite a variant, a case a limit."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from .outcome import Finding
from .words import one_line

_NAME = "pie-ray gate"


def junit_xml(findings: Sequence[Finding]) -> bytes:
    """A file whose failures are those of the gate; what is reported only, and what was not measured, is skipped."""
    root = ElementTree.Element("testsuites", _counts(findings) | {"name": _NAME})
    for variant_id in dict.fromkeys(finding.variant_id for finding in findings):
        mine = [finding for finding in findings if finding.variant_id == variant_id]
        suite = ElementTree.SubElement(root, "testsuite", _counts(mine) | {"name": one_line(variant_id)})
        suite.set("skipped", str(sum(_is_skipped(finding) for finding in mine)))
        for finding in mine:
            _add_case(suite, finding)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _counts(findings: Sequence[Finding]) -> dict[str, str]:
    num_failures = sum(finding.fails for finding in findings)
    return {"tests": str(len(findings)), "failures": str(num_failures), "errors": "0", "time": "0"}


def _add_case(suite: ElementTree.Element, finding: Finding) -> None:
    # Some services show no suite, and some take what is left of a class name's last dot for a package.
    about = {"classname": "pie_ray.gate", "name": f"{finding.limit}[{one_line(finding.variant_id)}]", "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", about)
    message = one_line(finding.message)
    if finding.fails:
        failure = ElementTree.SubElement(case, "failure", {"message": message, "type": finding.verdict})
        failure.text = message
    elif _is_skipped(finding):
        ElementTree.SubElement(case, "skipped", {"message": f"{finding.verdict_text}: {message}"})
    else:
        ElementTree.SubElement(case, "system-out").text = message


def _is_skipped(finding: Finding) -> bool:
    return finding.verdict != "passed" and not finding.fails
