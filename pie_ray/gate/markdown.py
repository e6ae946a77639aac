"""The findings as GitHub-flavoured Markdown, for a job's summary."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .outcome import Finding, by_message, sentence
from .words import one_line

_HEAD = "| limit | variant | found | 95 % interval | allowed | verdict |\n|---|---|--:|--:|--:|---|"


def markdown_summary(findings: Sequence[Finding], title: str) -> str:
    """The outcome in a sentence, what failed in full, and every finding in a table; ends with a line break."""
    parts = [f"## Gate: {_escaped(title)}", f"**{sentence(findings)}**"]
    failing = [finding for finding in findings if finding.fails]
    others = [each for each in findings if not (each.verdict == "passed" or each.fails or each.is_ignored)]
    for heading, some in (("What failed", failing), ("Reported, without deciding", others)):
        if some:
            violated_first = sorted(some, key=lambda finding: finding.verdict, reverse=True)
            parts += [f"### {heading}", "\n".join(map(_line, by_message(violated_first)))]
    table = "\n".join([_HEAD, *map(_row, findings)])
    # Open where there is nothing else to read.
    opened = "" if failing else " open"
    parts.append(f"<details{opened}><summary>All {len(findings)} findings</summary>\n\n{table}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _line(same: Sequence[Finding]) -> str:
    limits = ", ".join(dict.fromkeys(f"`{finding.limit}`" for finding in same))
    variants = ", ".join(dict.fromkeys(_escaped(finding.variant_id) for finding in same))
    return f"- **{same[0].verdict_text}:** {limits} on {variants}: {_escaped(same[0].message)}"


def _row(finding: Finding) -> str:
    verdict = f"**{finding.verdict_text}**" if finding.fails else finding.verdict_text
    cells = (
        f"`{finding.limit}`",
        _escaped(finding.variant_id),
        finding.found_text,
        finding.interval_text,
        finding.allowed_text,
        verdict,
    )
    return f"| {' | '.join(cells)} |"


_MARKUP = re.compile(r"[\\`*_\[\]|~$@]|:(?=\S)|#(?=\w)|(?<=www)\.", re.IGNORECASE)
"""What begins markup in the middle of a line: emphasis, code, links, cells, formulas, mentions, emoji, references."""


def _escaped(text: str) -> str:
    """Text that means itself, in a line or a table's cell."""
    shielded = _MARKUP.sub(lambda found: f"\\{found[0]}", one_line(text).replace("&", "&amp;"))
    return shielded.replace("<", "&lt;").replace(">", "&gt;")
