"""What the page, its figure and the terminal say of label-preserving losses."""

from __future__ import annotations

import io
import math
import re

import pandas as pd
from rich.console import Console

from pie_ray.console import preservation_table
from pie_ray.report import figures
from pie_ray.report.preservation import preservation_rows, preservation_section

from .everything import preservation_row
from .test_sections import text_of

SUMMARY = [{"variant_id": "dense", "null_cie_mean": 0.0789}]


def table(**changes: object) -> pd.DataFrame:
    return pd.DataFrame([{"evaluation_set": "test", "variant_id": "mine"} | preservation_row(**changes)])


def test_each_figure_stands_with_its_interval() -> None:
    text = text_of(preservation_section(table(), SUMMARY, ""))
    assert (
        "mine 6.00 % → 4.00 % 1.50 1.10 to 2.00 1.25 0.90 to 1.60 +1.25 −1.00 to +3.50 "
        "−9.0 nine → −5.0 seven +4.00 −2.00 to +10.00 3.21 → 0.00 ∞ 0.00 to ∞"
    ) in text


def test_what_is_beyond_chance_is_bold_and_what_is_not_is_said() -> None:
    html = preservation_section(table(), SUMMARY, "")
    cells = re.findall(r"<td><b>(.*?)</b></td>", html)
    assert cells == ["1.50 <small>1.10 to 2.00</small>"]
    assert "No difference" not in text_of(html)
    for low, high, is_found in ((0.9, 2.0, False), (1.0, 2.0, False), (0.2, 0.8, True)):
        text = text_of(preservation_section(table(cie_u_ratio_low=low, cie_u_ratio_high=high), SUMMARY, ""))
        assert ("No difference in CIE-U was found for mine." in text) == (not is_found)


def test_networks_that_never_saw_a_reference_are_named() -> None:
    apart = text_of(preservation_section(table(plain_is_paired=False), SUMMARY, ""))
    assert "Members of magnitude-0.95 never saw a reference" in apart
    assert "what another seed alone changes, 7.89 % of the labels between two references" in apart
    assert "never saw" not in text_of(preservation_section(table(), SUMMARY, ""))


def test_the_papers_figures_are_told_as_the_papers() -> None:
    text = text_of(preservation_section(table(), SUMMARY, ""))
    assert "The paper's abstract, as quoted elsewhere, tells of up to 4.1 times fewer CIEs" in text


def test_one_member_has_no_intervals() -> None:
    ends = {name: math.nan for name in preservation_row() if name.endswith(("_low", "_high"))}
    alone = table(**ends)
    text = text_of(preservation_section(alone, SUMMARY, ""))
    assert " nan" not in text and "1.50 1.25 +1.25" in text and "was found for mine" in text
    assert figures.preservation_panel(alone).svg.startswith("<svg")


def test_without_such_losses_there_is_no_section_and_no_figure() -> None:
    for nothing in (None, pd.DataFrame()):
        assert preservation_section(nothing, SUMMARY, "") == ""
        assert preservation_table(preservation_rows(nothing)) is None


def test_the_figure_has_a_name_a_variant_and_a_line_at_one() -> None:
    rows = [{"evaluation_set": "test", "variant_id": name} | preservation_row() for name in ("first", "second")]
    panel = figures.preservation_panel(pd.DataFrame(rows))
    assert "first" in panel.svg and "second" in panel.svg
    assert "above 1 it keeps more" in panel.unit
    infinite = {f"cie_ratio{end}": math.inf for end in ("", "_low", "_high")}
    assert figures.preservation(table(**infinite)).startswith(b"\x89PNG")


def test_the_terminal_marks_what_is_beyond_chance() -> None:
    out = io.StringIO()
    rows = pd.concat([table(), table(variant_id="magnitude-0.90+ce_lp_kd4-softadapt", cie_u_ratio_low=0.8)])
    Console(file=out, width=80, color_system=None).print(preservation_table(preservation_rows(rows)))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "mine 6.0→4.0 1.50 1.10 to 2.00 * +1.25" in lines
    assert "magnitude-0.90+ce_lp_kd4-softadapt 6.0→4.0 1.50 0.80 to 2.00 +1.25" in lines
    assert all(len(line) <= 80 for line in out.getvalue().splitlines())
