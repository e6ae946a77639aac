"""What the gate found: a verdict for each limit and variant, and what follows from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Literal

from .limits import LIMITS
from .policy import JudgeBy, NotMeasured
from .words import decimals_between, figure

Verdict = Literal["passed", "violated", "not measured"]


@dataclass(frozen=True)
class Finding:
    """One limit held against one variant."""

    limit: str
    variant_id: str
    verdict: Verdict
    allowed: float
    told: str
    """What was measured, or why nothing was and what to do, in words."""
    found: float = nan
    """The estimate that belongs to what was judged; NaN where it is not measured."""
    low: float = nan
    """95 % interval of `found`; NaN where there is none."""
    high: float = nan
    judged_by: JudgeBy = "estimate"
    """What was held against the limit; `estimate` as well where a bound was asked for and the limit has none."""
    is_required: bool = True
    """Whether the variant must pass; the others are reported only."""
    not_measured: NotMeasured = "fail"
    """What the policy makes of a limit that is not measured."""
    examples: tuple[str, ...] = ()
    """Keys of the most forgotten examples, of limits on PIEs."""

    @property
    def fails(self) -> bool:
        """Whether the gate fails for this."""
        unanswered = self.verdict == "not measured" and self.not_measured == "fail"
        return self.is_required and (self.verdict == "violated" or unanswered)

    @property
    def is_ignored(self) -> bool:
        return self.verdict == "not measured" and self.not_measured == "ignore"

    @property
    def is_minimum(self) -> bool:
        return self.limit.startswith("min_")

    @property
    def judged(self) -> float:
        """The figure that was held against the limit."""
        return self.found if self.judged_by == "estimate" else self.high

    @property
    def found_text(self) -> str:
        """The figure that was judged, with its unit; `≤ 1.20 %` for the upper end of an interval."""
        if self.verdict == "not measured":
            return "–"
        return f"{'≤ ' if self.judged_by == 'bound' else ''}{self._text(self.judged)}"

    @property
    def allowed_text(self) -> str:
        return f"{'≥' if self.is_minimum else '≤'} {self._text(self.allowed)}"

    @property
    def interval_text(self) -> str:
        """`0.12 to 1.40 %`; empty without an interval."""
        return "" if isnan(self.low) else f"{self._text(self.low).removesuffix(' %')} to {self._text(self.high)}"

    def _text(self, value: float) -> str:
        """With as many decimals as it takes to see what is violated."""
        unit = LIMITS[self.limit].unit
        is_close = self.verdict == "violated"
        return figure(value, unit, decimals_between(self.judged, self.allowed, unit) if is_close else 2)

    @property
    def message(self) -> str:
        """The whole finding in a line."""
        if self.verdict == "not measured":
            return self.told
        end = "95 % interval up to" if self.judged_by == "bound" else "found"
        found = f"{end} {self._text(self.judged)}"
        most = f"; most forgotten: {', '.join(self.examples)}" if self.examples and self.verdict == "violated" else ""
        return f"{self.told}; {found}, allowed {self.allowed_text}{most}"

    @property
    def verdict_text(self) -> str:
        """The verdict, and why it does not decide where it does not."""
        if self.verdict == "passed" or self.fails:
            return self.verdict
        return f"{self.verdict} ({self.not_measured if self.is_required else 'reported only'})"


def passes(findings: Sequence[Finding]) -> bool:
    """Whether what must pass has passed."""
    return not any(finding.fails for finding in findings)


def by_message(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings that say the same, as do all about what nobody measured, together."""
    together: dict[str, list[Finding]] = {}
    for finding in findings:
        together.setdefault(finding.message, []).append(finding)
    return list(together.values())


def sentence(findings: Sequence[Finding]) -> str:
    """`Gate failed: 2 limits violated, 1 not measured, of 24 on 3 variants.`"""
    failing = [finding for finding in findings if finding.fails]
    num_violated = sum(finding.verdict == "violated" for finding in failing)
    reasons = [(num_violated, "violated"), (len(failing) - num_violated, "not measured")]
    found = ", ".join(f"{count} {verdict}" for count, verdict in reasons if count)
    num_required = sum(finding.is_required for finding in findings)
    variants = len({finding.variant_id for finding in findings if finding.is_required})
    of = f"{num_required} limits on {variants} variant{'s' * (variants != 1)} that must pass"
    if not failing:
        num_warned = sum(finding.is_required and finding.verdict != "passed" for finding in findings)
        return f"Gate passed: {of}{f', {num_warned} of them not measured' if num_warned else ''}."
    return f"Gate failed: {found}, of {of}."
