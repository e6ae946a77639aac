"""Which PIEs are listed, in which order, and what a row says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pie_ray.errors import InputError
from pie_ray.export import by_example, check_names, choose, named_pies

NAMES = ("cat", "dog", "fox")


def table(*rows):
    """Rows of the result table: variant, example, label, mode before and after, taxicab, is it a PIE, q-value."""
    columns = ["variant_id", "example_id", "label", "reference_mode", "variant_mode", "taxicab", "is_pie", "q_value"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(
        evaluation_set="test",
        key=[f"{example}.png" for example in frame["example_id"]],
        reference_agreement=0.75,
        variant_agreement=np.linspace(0.5, 1, len(frame)),
        p_value=0.5,
        is_significant=frame["q_value"] <= 0.05,
    )


PIES = table(
    ("small", 7, 0, 0, 1, 8.0, True, 0.01),
    ("small", 3, 1, 1, 2, 2.0, True, np.nan),
    ("small", 9, 2, 2, 2, 1.0, False, 0.02),
    ("tiny", 3, 1, 1, 0, 4.0, True, 0.3),
    ("tiny", 5, 2, 2, 0, 9.0, True, 0.01),
)


def named(pies=PIES, groups=None):
    return named_pies(pies, {} if groups is None else {"test": groups}, NAMES)


def test_only_pies_are_listed_with_the_names_of_their_classes():
    rows = named()
    assert list(zip(rows["variant_id"], rows["example_id"], strict=True)) == [
        ("small", 7), ("small", 3), ("tiny", 3), ("tiny", 5),
    ]  # fmt: skip
    assert rows["label_name"].tolist() == ["cat", "dog", "dog", "fox"]
    assert rows["variant_mode_name"].tolist() == ["dog", "fox", "cat", "cat"]


def test_a_class_without_a_name_has_its_number():
    assert named_pies(PIES, {}, ("cat",))["label_name"].tolist() == ["cat", "class 1", "class 1", "class 2"]


def test_what_most_variants_forget_comes_first_then_what_moved_most():
    rows = choose(named())
    assert rows["example_id"].tolist() == [3, 3, 5, 7]
    assert rows["variant_id"].tolist() == ["small", "tiny", "tiny", "small"]


def test_a_row_an_example_says_who_forgets_it():
    examples = by_example(choose(named()))
    first = examples.iloc[0]
    assert examples["example_id"].tolist() == [3, 5, 7]
    assert (first["num_variants"], first["variant_ids"]) == (2, ["small", "tiny"])
    assert first["variant_mode_names"] == ["fox", "cat"]
    assert first["variant_agreements"] == pytest.approx([0.625, 0.875])
    assert (first["taxicab"], first["q_value"], first["is_significant"]) == (4, 0.3, False)
    assert examples["is_significant"].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"variants": ["tiny"]}, [5, 3]),
        ({"classes": ["dog"]}, [3, 3]),
        ({"classes": ["2", "cat"]}, [5, 7]),
        ({"only_significant": True}, [5, 7]),
        ({"limit": 1}, [3, 3]),
        ({"evaluation_sets": ["other"]}, []),
        ({"variants": ["small"], "classes": ["dog"], "limit": 9}, [3]),
    ],
)
def test_options_choose(options, expected):
    assert choose(named(), **options)["example_id"].tolist() == expected


def test_groups_are_columns_and_give_way_to_ours():
    groups = pd.DataFrame({"site": ["A", "B"], "label": [1, 2]}, index=[3, 7])
    rows = choose(named(groups=groups))
    assert rows["site"].tolist()[:2] == ["A", "A"] and pd.isna(rows["site"].iloc[2])
    assert rows["group_label"].tolist()[3] == 2 and rows["label"].tolist() == [1, 1, 2, 0]
    assert by_example(rows)["site"].tolist()[2] == "B"


@pytest.mark.parametrize("pies", [pd.DataFrame(), PIES.iloc[:0], PIES[~PIES["is_pie"]]], ids=["bare", "none", "moved"])
def test_no_pies_are_an_empty_list_with_all_columns(pies):
    rows = choose(named(pies), limit=5)
    assert len(rows) == 0 and len(by_example(rows)) == 0
    assert list(by_example(rows)) == list(by_example(choose(named())))


def test_attributes_tell_answers_of_one_example_apart():
    pies = PIES.assign(attribute=["Male", "Male", "Male", "Young", "Male"])
    rows = choose(named_pies(pies, {}, ["no", "yes"]))
    assert len(by_example(rows)) == 4
    assert choose(rows, classes=["Young"])["example_id"].tolist() == [3]


def test_an_unknown_name_is_told_with_those_there_are():
    check_names("--variant", ["small"], ["small", "tiny"])
    with pytest.raises(InputError, match=r"--variant: found 'big'; accepted are small, tiny$"):
        check_names("--variant", ["small", "big"], ["small", "tiny"])
    with pytest.raises(InputError, match=r"accepted are 0, 1.* and 80 more$"):
        check_names("--class", ["x"], [str(index) for index in range(100)])
