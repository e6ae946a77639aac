from __future__ import annotations

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pie_ray.config import DigitsData
from pie_ray.data import load_splits
from pie_ray.errors import DataError

pytestmark = pytest.mark.filterwarnings("error")


def test_every_digit_is_in_one_split() -> None:
    splits = load_splits(DigitsData(kind="digits"))
    assert (len(splits.train), len(splits.test)) == (1000, 797)
    ids = np.concatenate([splits.train.example_ids, splits.test.example_ids])
    np.testing.assert_array_equal(np.sort(ids), np.arange(1797))
    assert splits.train.class_names == tuple("0123456789")


def test_ids_and_keys_are_rows_of_scikit_learns_set() -> None:
    test = load_splits(DigitsData(kind="digits")).test
    digits = load_digits()
    np.testing.assert_array_equal(test.labels, digits.target[test.example_ids])
    np.testing.assert_array_equal(test.images[:, 0], np.round(digits.images[test.example_ids] * 255 / 16))
    assert test.keys[5] == f"digits[{test.example_ids[5]}]"


def test_classes_are_divided_in_proportion() -> None:
    splits = load_splits(DigitsData(kind="digits"))
    in_all = np.bincount(load_digits().target)
    in_train = np.bincount(splits.train.labels)
    assert np.abs(in_train - in_all * 1000 / 1797).max() < 1


def test_the_division_is_pinned_because_member_ids_stand_for_it() -> None:
    splits = load_splits(DigitsData(kind="digits"))
    assert hashlib.sha256(splits.train.example_ids.astype("<i8").tobytes()).hexdigest()[:16] == "202e8979f6bd7586"
    assert splits.fingerprint == "cfdd5305902ccbe4"


def test_subsets_keep_ids_and_order_and_nest() -> None:
    whole = load_splits(DigitsData(kind="digits")).test
    some = load_splits(DigitsData(kind="digits", num_test=100)).test
    few = load_splits(DigitsData(kind="digits", num_test=10)).test
    assert len(some) == 100 and set(few.example_ids) < set(some.example_ids) < set(whole.example_ids)
    assert (np.diff(some.example_ids) > 0).all()
    positions = np.searchsorted(whole.example_ids, some.example_ids)
    assert (whole.images[positions] == some.images).all() and (whole.labels[positions] == some.labels).all()
    assert tuple(whole.keys[position] for position in positions) == some.keys


def test_asking_for_more_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match=r"data.num_train is 1001, but the train split of digits has 1000 examples"):
        load_splits(DigitsData(kind="digits", num_train=1001))
    with pytest.raises(DataError, match=r"data.num_test is 798, but the test split of digits has 797 examples"):
        load_splits(DigitsData(kind="digits", num_test=798))


def test_image_size_enlarges() -> None:
    splits = load_splits(DigitsData(kind="digits", image_size=16, num_train=10, num_test=5))
    assert tuple(splits.train.images.shape) == (10, 1, 16, 16)
