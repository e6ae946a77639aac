"""Answers side by side agree with the table of PIEs and with a mode counted by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pie_ray.analysis import open_predictions
from pie_ray.analysis.answers import answers_of
from pie_ray.config import Evaluation
from pie_ray.errors import InputError
from pie_ray.store import Population, Storage

MEMBERS = {"dense": 4, "small": 2, "tiny": 3}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"variant": variant, "member": member, "example_id": example, "label": example % 3}
        for variant, num_members in MEMBERS.items()
        for member in range(num_members)
        for example in range(0, 90, 3)
    ]
    return pd.DataFrame(rows).assign(prediction=rng.integers(0, 3, len(rows)))


def source_of(frame: pd.DataFrame, folder: Path, tie: str = "largest"):
    frame.to_csv(folder / "predictions.csv", index=False)
    return open_predictions(
        folder / "predictions.csv", storage=Storage(str(folder / "results")), evaluation=Evaluation(tie=tie)
    )


@pytest.mark.parametrize("tie", ["largest", "smallest"])
def test_modes_and_agreement_are_those_counted_by_hand(frame, tmp_path, tie):
    answers = answers_of(source_of(frame, tmp_path, tie), "test", [33, 0, 87])
    assert list(answers.columns) == ["example_id", "variant_id", "mode", "agreement"]
    expected = []
    for variant in MEMBERS:
        for example in (33, 0, 87):
            votes = Counter(frame.query("variant == @variant and example_id == @example")["prediction"].tolist())
            most = max(votes.values())
            choose = max if tie == "largest" else min
            mode = choose(label for label, num_votes in votes.items() if num_votes == most)
            expected.append((example, variant, mode, most / MEMBERS[variant]))
    assert list(answers.itertuples(index=False, name=None)) == expected


def test_no_examples_have_no_rows(frame, tmp_path):
    answers = answers_of(source_of(frame, tmp_path), "test", [])
    assert list(answers.columns) == ["example_id", "variant_id", "mode", "agreement"] and answers.empty


@pytest.mark.parametrize("example_id", [1, -1, 100])
def test_an_unknown_example_is_named(frame, tmp_path, example_id):
    message = f"found {example_id}, which dense has no prediction for on test; accepted are its 30 ids from 0 to 87"
    with pytest.raises(InputError, match=message):
        answers_of(source_of(frame, tmp_path), "test", [0, example_id])


class Attributes:
    """A source of two populations that answer three attributes of four examples."""

    is_multilabel = True
    class_names = ("Big", "Red", "Old")
    evaluation = Evaluation()

    def __init__(self, source) -> None:
        self.variants = tuple(replace(source.variants[0], variant_id=name) for name in ("dense", "small", "absent"))

    def population(self, evaluation_set: str, variant_id: str, columns: tuple[str, ...]) -> Population | None:
        if variant_id == "absent":
            return None
        logits = np.full((3, 4, 3), -1.0)
        logits[:2, 1, 2] = 1.0
        if variant_id == "small":
            logits[:, 3, 0] = 1.0
        ids = np.array([2, 3, 5, 8])
        return Population(variant_id, evaluation_set, (0, 1, 2), ids, np.zeros((4, 3), bool), {"logits": logits}, ())


def test_of_several_attributes_each_is_answered(frame, tmp_path):
    answers = answers_of(Attributes(source_of(frame, tmp_path)), "test", [3, 8])
    assert list(answers.columns) == ["example_id", "attribute", "variant_id", "mode", "agreement"]
    assert list(answers["attribute"]) == ["Big", "Red", "Old"] * 4
    assert list(answers["example_id"]) == [3, 3, 3, 8, 8, 8] * 2
    assert list(answers["variant_id"]) == ["dense"] * 6 + ["small"] * 6
    assert list(answers["mode"]) == [0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0]
    assert answers["agreement"].to_numpy() == pytest.approx([1, 1, 2 / 3, 1, 1, 1] * 2)
