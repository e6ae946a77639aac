"""The sentence at the top is right for whatever study it is about."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pie_ray.report.headline import Verdict, findings, headline, reasons, tiles, verdict

from .everything import summary_row

DENSE = summary_row("dense", 0.0)
HARMFUL, HARMLESS = summary_row("magnitude-0.90", 0.05), summary_row("static_int8", 0.0)
UNKNOWN = dict.fromkeys(("half_pie_fraction", "half_pie_std", "null_pie_fraction", "null_pie_std"), np.nan)


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", "", html).split())


def test_the_variant_that_forgets_most_is_named_with_what_it_costs() -> None:
    assert plain(headline([DENSE, HARMLESS, HARMFUL])) == (
        "magnitude-0.90 forgets most: −5.0 points of top-1 (90.0 → 85.0 %; 95 % interval −6.0 to −4.0), and another "
        "most frequent answer on 240 of 4,000 examples (6.0 %), which is more than chance."
    )


def test_what_is_beyond_chance_and_what_costs_nothing_is_told_apart() -> None:
    moved = [{"variant_id": "magnitude-0.90", "significant": True, "discovered": index < 2} for index in range(10)]
    told = [plain(text) for text in findings([DENSE, HARMFUL, HARMLESS], moved)]
    assert told == [
        "Of magnitude-0.90, halves of the two populations differ on 6.5 % of the answers, two halves of the "
        "uncompressed one, where nothing was compressed, on 4.0 %; single examples cannot be told from chance with 6 "
        "members; 2 of 10 classes moved apart from the rest.",
        "No cost is measurable with 6 members of static_int8.",
    ]


def test_no_significant_example_is_a_finding_where_one_could_have_been_found() -> None:
    (told, *_) = findings([DENSE, HARMFUL | {"smallest_p_value": 1e-6}], [])
    assert "0 examples changed significantly" in plain(told)


def test_a_single_variant_without_a_cost_is_not_said_to_forget() -> None:
    assert plain(headline([DENSE, HARMLESS])) == (
        "static_int8 costs ±0.0 points of top-1 (90.0 → 90.0 %; 95 % interval −1.0 to +1.0), and another most frequent "
        "answer on 40 of 4,000 examples (1.0 %), no more than another training does."
    )


def test_no_pies_are_told_as_such() -> None:
    row = HARMLESS | {"num_pies": 0, "pie_fraction": 0.0}
    assert "the most frequent answer is as before on all 4,000 examples, no more" in plain(headline([DENSE, row]))


def test_data_of_several_attributes_ask_questions() -> None:
    text = plain(headline([DENSE, HARMFUL | {"num_answers": 160_000}]))
    assert "of accuracy (90.0" in text and "240 of 160,000 questions about 4,000 examples" in text


def test_single_networks_leave_chance_open() -> None:
    row = HARMFUL | UNKNOWN | {"num_members": 1, "top1_change_low": np.nan, "top1_change_high": np.nan}
    text = plain(headline([DENSE, row]))
    assert text.endswith("(6.0 %); whether that is chance cannot be told.") and "interval" not in text
    assert plain(findings([DENSE, row], [])[-1]) == (
        "What of magnitude-0.90 is chance cannot be told: there are too few members."
    )
    assert not any("nan" in text for text in findings([DENSE, row], []))


def test_a_study_that_has_only_begun_says_what_is_there() -> None:
    assert "nothing to compare" in headline([HARMFUL])
    assert "over 6 uncompressed networks; no compressed variant" in plain(headline([DENSE]))
    assert findings([DENSE], []) == [] and findings([], []) == []
    assert [value for value, _ in tiles([])] == ["0", "–", "–", "–", "0 of 0"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"top1_change_high": -0.001}, ["accuracy"]),
        ({"top1_change_low": 0.001}, []),  # a gain is no cost
        ({"half_pie_fraction": 0.0461}, ["PIEs"]),
        ({"half_pie_fraction": 0.0459}, []),
        ({"half_pie_fraction": 0.9, "num_members": 4}, []),  # two halves of four hardly have a spread
        ({"num_significant": 3}, ["single examples"]),
    ],
)
def test_a_cost_is_one_that_chance_would_not_make(changes: dict[str, float], expected: list[str]) -> None:
    row = HARMLESS | changes
    assert reasons(row) == expected
    assert verdict(row) is (Verdict.BEYOND if expected else Verdict.WITHIN)


def test_results_without_intervals_are_judged_by_the_rest() -> None:
    older = {name: value for name, value in HARMFUL.items() if not name.startswith("top1_change")}
    assert reasons(older) == ["PIEs"]
    assert "−5.0 points of top-1 (90.0 → 85.0 %), and" in plain(headline([DENSE, older]))


def test_names_are_escaped() -> None:
    evil = summary_row("<script>alert(1)</script>", 0.05)
    for text in (headline([DENSE, evil]), *findings([DENSE, evil], []), *findings([DENSE, evil | UNKNOWN], [])):
        assert "<script" not in text


def test_tiles_count_the_variants_that_cost_something() -> None:
    values = [value for value, _ in tiles([DENSE, HARMFUL, HARMLESS])]
    assert values == ["18", "4,000", "90.0 %", "6.0 %", "1 of 2"]
