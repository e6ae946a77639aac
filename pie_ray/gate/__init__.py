"""The gate: may a compressed network ship? Result tables against a policy's limits.

findings = check(load_tables(Storage("results/digits")), parse_policy("limits: {max_top1_drop: 0.01}"))
print(passes(findings))
"""

from __future__ import annotations

from .check import check
from .junit import junit_xml
from .limits import LIMITS
from .markdown import markdown_summary
from .outcome import Finding, by_message, passes, sentence
from .policy import Policy, load_policy, parse_policy

__all__ = [
    "LIMITS",
    "Finding",
    "Policy",
    "by_message",
    "check",
    "junit_xml",
    "load_policy",
    "markdown_summary",
    "parse_policy",
    "passes",
    "sentence",
]
