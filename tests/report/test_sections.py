"""Each section says what its table says, and is left out where the table says nothing."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from pie_ray.report import chance, classes, figures, foretelling, fragility, groups, multilabel

from .everything import every_table, foretelling_row, fragile

NAMES = {"evaluation_set": "test", "variant_id": "magnitude-0.90"}


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def summary(**changes: object) -> list[dict[str, object]]:
    row: dict[str, object] = NAMES | {
        "num_members": 10,
        "num_examples": 1000,
        "num_answers": 1000,
        "num_pies": 80,
        "half_pie_fraction": 0.09,
        "null_pie_fraction": 0.04,
        "num_significant": 55,
        "num_significant_pies": 44,
        "num_testable": 300,
        "smallest_p_value": 1.08e-5,
        "is_paired": False,
        "cie_mean": 0.1234,
        "cie_std": 0.01,
        "cie_u_mean": 0.0567,
        "cie_u_std": np.nan,
        "null_cie_mean": 0.0789,
    }
    return [row | {"variant_id": "dense"}, row | changes]


def test_pies_stand_beside_what_chance_would_make() -> None:
    text = text_of(chance.significance_section(summary()))
    assert "magnitude-0.90 80 90 40 55 44 300 1e−05 permutation" in text
    assert "train more members" not in text


def test_too_few_members_to_name_an_example_is_said() -> None:
    text = text_of(chance.significance_section(summary(num_members=5, smallest_p_value=0.0079)))
    assert "With 5 members a variant no p is below 0.0079" in text
    paired = text_of(chance.significance_section(summary(smallest_p_value=1.0, is_paired=True)))
    assert "no p is below" not in paired and "sign flips in pairs" in paired


def test_flips_stand_beside_those_of_two_trainings() -> None:
    pairs = pd.DataFrame([NAMES | {"num_only_variant_right": n, "q_value": q} for n, q in ((10, 0.01), (11, 0.2))])
    text = text_of(chance.flip_section(summary(), pairs))
    assert "magnitude-0.90 12.34 % ± 1.00 5.67 % 7.89 % 10.5 1 of 2 by seed" in text


def test_scores_come_best_first() -> None:
    row = NAMES | {"average_precision": 0.3, "recall_at_1_percent": 0.1, "recall_at_5_percent": 0.4}
    scores = pd.DataFrame(
        [row | {"score": "vote_entropy", "auroc": 0.8}, row | {"score": "mutual_information", "auroc": 0.9}]
    )
    text = text_of(foretelling.foretelling_section(scores, ""))
    assert text.index("mutual information across members 0.900") < text.index("entropy of the votes 0.800")


def test_classes_are_counted_by_both_rules() -> None:
    table = pd.DataFrame(
        {
            **NAMES,
            "class_name": ["cat", "dog", "<bird>"],
            "p_value": [0.01, 0.04, 0.5],
            "significant": [True, True, False],
            "discovered": [True, False, False],
            "normalised_change": [0.01, 0.02, -0.05],
            "low": -0.07,
            "high": -0.03,
        }
    )
    html = classes.class_summary(table)
    assert "magnitude-0.90 2 of 3 0.15 1 &lt;bird&gt; −5.0 −7.0 to −3.0" in text_of(html)


def group_rows(num: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            **NAMES,
            "group": [f"g{index}" for index in range(num)],
            "rate": "false_positive",
            "num_examples": 100,
            "is_small": [index == 0 for index in range(num)],
            "reference": 0.1,
            "variant": 0.15,
            "change": np.arange(num) / 100,
            "low": 0.0,
            "high": 0.1,
            "normalised_change": 0.5,
            "num_pies": 7,
        }
    )


def test_groups_come_by_their_change_and_small_ones_are_left_out() -> None:
    text = text_of(groups.group_section(group_rows(30), pd.DataFrame(), summary()))
    assert "g29 magnitude-0.90 FPR 100 10.0 % 15.0 % +29.0 ±0.0 to +10.0 +50 % 7" in text
    assert "The 24 largest of 29 changes." in text and " g0 " not in text
    assert "intervals are too short" not in text
    assert "intervals are too short" in text_of(
        groups.group_section(group_rows(3), pd.DataFrame(), summary(num_members=5))
    )


def test_groups_of_several_attributes_name_the_attribute() -> None:
    gaps = pd.DataFrame(
        [
            NAMES
            | {
                "attribute": "Smiling", "reference_worst": "g1", "variant_worst": "g2", "reference_gap": 0.1,
                "variant_gap": 0.2, "change": 0.1, "low": 0.0, "high": 0.2,
            }
        ]
    )  # fmt: skip
    text = text_of(groups.group_section(group_rows(2).assign(attribute="Smiling"), gaps, summary()))
    assert "g1 magnitude-0.90 Smiling FPR" in text
    assert "magnitude-0.90 Smiling g1 +10.0 g2 +20.0 +10.0 ±0.0 to +20.0" in text


def test_evidence_is_told_of_pies_and_the_rest() -> None:
    row = NAMES | {
        "evidence": "label error", "mean_on_pies": 0.41, "mean_on_rest": 0.02, "auroc": 0.7, "p_value": 1e-4,
        "num_pies": 9,
    }  # fmt: skip
    text = text_of(groups.evidence_section(pd.DataFrame([row])))
    assert "magnitude-0.90 label error 0.41 0.02 0.7 1e−04 9" in text


@pytest.mark.parametrize(
    "make",
    [
        lambda empty: chance.significance_section([]),
        lambda empty: chance.flip_section([], empty),
        lambda empty: chance.stability_section(empty, ""),
        lambda empty: foretelling.foretelling_section(empty, ""),
        classes.class_summary,
        groups.evidence_section,
        lambda empty: groups.group_section(empty, empty, []),
        multilabel.attribute_section,
        lambda empty: multilabel.amplification_section(empty, empty),
        multilabel.countermeasure_section,
    ],
)
def test_a_section_without_rows_is_left_out(make) -> None:
    assert make(pd.DataFrame()) == ""


def test_stability_is_drawn_with_a_line_a_variant() -> None:
    sizes = pd.DataFrame(
        [
            {
                "evaluation_set": "test",
                "variant_id": name,
                "num_members": size,
                "jaccard_mean": mean,
                "jaccard_std": 0.1,
            }
            for name, mean in (("magnitude-0.90", 0.5), ("static_int8", np.nan), ("magnitude-0.50", 0.3))
            for size in (2, 3, 4)
        ]
    )
    svg = figures.stability_panel(sizes).svg
    assert "magnitude-0.90" in svg and "magnitude-0.50" in svg and "static_int8" not in svg
    assert figures.stability(sizes).startswith(b"\x89PNG")


def scores_of(*names: str) -> pd.DataFrame:
    return pd.DataFrame([NAMES | foretelling_row(name) for name in names])


def test_scores_that_are_minus_a_probability_are_told_as_the_probability() -> None:
    text = text_of(foretelling.foretelling_section(scores_of("vote_entropy", "unconfidence"), ""))
    assert "entropy of the votes 0.680 0.300 20 % 20 % 20 % 0.70 0.60 to 0.80 0.20 0.10 to 0.30" in text
    assert "low mean confidence 0.680 0.300 20 % 20 % 20 % 0.50 0.40 to 0.60 0.20 0.10 to 0.30" in text


def test_the_uncertainty_drawn_needs_no_label_and_ranks_best() -> None:
    table = scores_of("vote_entropy", "unlikely_label", "entropy")
    panel = figures.uncertainty_panel(table)
    assert panel is not None and panel.title == "Entropy of the mean prediction" and "magnitude-0.90" in panel.svg
    assert figures.uncertainty(table).startswith(b"\x89PNG")
    assert figures.uncertainty_panel(table.drop(columns="median_on_pies")) is None
    assert figures.uncertainty_panel(table[table["score"] == "unlikely_label"]) is None


def test_examples_that_corruption_moves_are_told_once_with_their_worst_variant() -> None:
    rows = [
        NAMES | fragile(7, 4),
        NAMES | {"variant_id": "int8"} | fragile(7, 1, is_clean_pie=False),
        NAMES | fragile(8, 3, is_clean_pie=True, break_fraction=np.nan, reference_break_fraction=np.nan,
                        first_break=np.nan),
        NAMES | fragile(9, 2, key="<b>", label=44),
    ]  # fmt: skip
    html = fragility.fragility_block(pd.DataFrame(rows), ["cat", "dog"])
    text = text_of(html)
    assert "magnitude-0.90 3 2 3 1" in text and "int8 1 0 0 0" in text
    assert "images/7.png dog 4 of 4 magnitude-0.90 2 yes 25 % → 75 % – → 1" in text
    assert "images/8.png dog 3 of 4 magnitude-0.90 1 yes – –" in text
    assert "&lt;b&gt; class 44 2 of 4" in text and text.count("images/7.png") == 1
    assert fragility.fragility_block(None, []) == "" == fragility.fragility_block(pd.DataFrame(), [])


def class_table(num_classes: int) -> pd.DataFrame:
    tables = every_table(["magnitude-0.50", "magnitude-0.90"], num_classes, "class {:03}")
    return tables["classes"]


def test_classes_come_hardest_hit_first_and_carry_stars() -> None:
    table = class_table(20)
    drawn = text_of(figures.class_impact_panels(table)["magnitude-0.90"].svg)
    mine = table[table["variant_id"] == "magnitude-0.90"].sort_values("normalised_change")
    places = [drawn.index(name) for name in mine["class_name"]]
    assert places == sorted(places)
    assert drawn.count("**") == mine["discovered"].sum() > 0
    assert drawn.replace("**", "").count("*") == (mine["significant"] & ~mine["discovered"]).sum() > 0


def test_every_one_of_a_thousand_classes_is_in_the_table() -> None:
    table = class_table(1000)
    html = classes.class_section(table, {"magnitude-0.90": "<figure></figure>"})
    lines = re.findall(r'<tr><th scope="row">(class \d+)</th>', html)
    lowest = table.groupby("class_name")["normalised_change"].min().sort_values()
    assert "Every class of every variant (1,000)" in html and lines == list(lowest.index)


def test_groups_whose_interval_leaves_out_zero_are_bold() -> None:
    rows = group_rows(3).assign(low=[-0.1, -0.1, 0.01])
    html = groups.group_section(rows, pd.DataFrame(), summary())
    assert "<b>+2.0 <small>+1.0 to +10.0</small></b>" in html and "<td>+1.0 <small>−10.0" in html
