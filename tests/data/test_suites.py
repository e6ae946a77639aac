"""A study's suites: which evaluation sets there are."""

from __future__ import annotations

import pytest

from pie_ray.config import CorruptionSuite, DigitsData, NaturalSuite
from pie_ray.data import load_splits, open_suites, suite_fingerprint

FOG = CorruptionSuite(kind="corruptions", corruptions=("fog",), severities=(1, 3), num_examples=20)
OTHER_DIGITS = NaturalSuite(kind="natural", data=DigitsData(kind="digits", num_test=30))


@pytest.fixture(scope="module")
def splits():
    return load_splits(DigitsData(kind="digits", num_train=50, num_test=40))


def test_every_study_has_its_test_images_first(splits):
    suites = open_suites({"fog": FOG, "own": OTHER_DIGITS}, splits)
    assert {suite: [images.name for images in sets] for suite, sets in suites.items()} == {
        "clean": ["test"],
        "fog": ["corruption/fog/1", "corruption/fog/3"],
        "own": ["natural/own"],
    }
    (test,) = suites["clean"]
    assert test.is_in_memory and len(test) == 40
    assert (test.read(3, 5) == splits.test.images[3:5].numpy()).all()
    assert not any(images.is_in_memory for suite in ("fog", "own") for images in suites[suite])


def test_two_suites_with_one_set_are_refused(splits):
    from pie_ray.errors import DataError

    with pytest.raises(DataError) as raised:
        open_suites({"fog": FOG, "again": FOG}, splits)
    assert str(raised.value) == (
        "evaluation.suites: fog and again both have the evaluation set corruption/fog/1; leave it out of one of them"
    )


def test_a_suite_s_fingerprint_stands_for_all_of_its_images(splits):
    def fingerprint(config):
        return suite_fingerprint(open_suites({"fog": config}, splits)["fog"])

    assert fingerprint(FOG) == fingerprint(FOG)
    of_severity = ({"severities": (1, 2)}, {"severities": (1,)})
    changes = ({"seed": 1}, {"num_examples": 21}, {"corruptions": ("snow",)}, *of_severity)
    others = {fingerprint(FOG.model_copy(update=change)) for change in changes}
    assert len(others | {fingerprint(FOG)}) == len(changes) + 1
