from __future__ import annotations

import numpy as np
import pytest

from pie_ray.errors import StorageError
from pie_ray.store import paths, stored_top1

IDS, LABELS = np.array([0, 1, 2, 3]), np.array([0, 1, 2, 1])


@pytest.fixture
def written(storage, write_member, make_spec):
    """One member, right on three of four examples of two sets."""
    write_member(5, [0, 1, 2, 2], labels=LABELS.tolist(), evaluation_sets=("test", "fog"))
    return storage


def examples(ids=IDS, labels=LABELS, names=("test", "fog")):
    return dict.fromkeys(names, (ids, labels))


def test_what_a_member_got_right_is_read_from_its_file(written, make_spec):
    assert stored_top1(written, make_spec(5), "clean", examples()) == {"fog": 0.75, "test": 0.75}


def test_the_order_of_the_examples_does_not_matter(written, make_spec):
    turned = examples(IDS[::-1], LABELS[::-1])
    assert stored_top1(written, make_spec(5), "clean", turned) == {"fog": 0.75, "test": 0.75}


@pytest.mark.parametrize(
    "other",
    [
        examples(ids=IDS + 1),
        examples(labels=LABELS[::-1]),
        examples(IDS[:3], LABELS[:3]),
        examples(names=("test",)),
        examples(names=("test", "fog", "snow")),
    ],
    ids=["ids", "labels", "fewer", "a set less", "a set more"],
)
def test_predictions_on_other_examples_do_not_count(written, make_spec, other):
    assert stored_top1(written, make_spec(5), "clean", other) is None


def test_nor_do_those_of_another_member_or_none(written, make_spec):
    assert stored_top1(written, make_spec(5, member_id="0" * 16), "clean", examples()) is None
    assert stored_top1(written, make_spec(6), "clean", examples()) is None
    assert stored_top1(written, make_spec(5), "corruptions", examples()) is None


@pytest.mark.parametrize("keep", [0, 50, -10])
def test_nor_do_damaged_ones(written, make_spec, keep):
    path = paths.predictions("clean", "dense", 5)
    written.write_bytes(path, written.read_bytes(path)[:keep])
    assert stored_top1(written, make_spec(5), "clean", examples()) is None


def test_of_attributes_it_is_the_share_of_right_answers(storage, write_attributes, make_spec):
    labels = [[True, False], [False, False]]
    write_attributes(5, labels, [[1.0, 1.0], [-1.0, -0.1]])
    known = {"test": (np.arange(2), np.array(labels))}
    assert stored_top1(storage, make_spec(5), "clean", known) == {"test": 0.75}
    assert stored_top1(storage, make_spec(5), "clean", {"test": (np.arange(2), ~np.array(labels))}) is None


def test_a_storage_that_fails_is_no_missing_file(written, make_spec, monkeypatch):
    def fail(*_):
        raise StorageError("the disk is on fire")

    monkeypatch.setattr(type(written), "read_file", fail)
    with pytest.raises(StorageError, match="on fire"):
        stored_top1(written, make_spec(5), "clean", examples())
