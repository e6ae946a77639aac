"""The public functions' checks: each returns the array ready for use, or raises InputError naming the argument."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import BoolArray, IntArray

Tie = Literal["largest", "smallest"]


def check_predictions(name: str, value: ArrayLike, *, num_classes: int | None = None) -> IntArray:
    """Integer labels [members, examples], at least one of each; in [0, num_classes) where that is given."""
    return _in_range(name, _integers(name, _member_array(name, value)), num_classes)


def check_labels(value: ArrayLike, *, num_examples: int, num_classes: int | None = None) -> IntArray:
    """Integer labels [examples]; in [0, num_classes) where that is given."""
    labels = _integers("labels", _example_array("labels", value, num_examples))
    return _in_range("labels", labels, num_classes)


def check_populations(
    reference: ArrayLike, variant: ArrayLike, *, num_classes: int | None = None
) -> tuple[IntArray, IntArray]:
    """Predictions of two populations on the same examples; the numbers of members may differ."""
    checked_reference = check_predictions("reference", reference, num_classes=num_classes)
    checked_variant = check_predictions("variant", variant, num_classes=num_classes)
    found, expected = checked_variant.shape[1], checked_reference.shape[1]
    if found != expected:
        raise InputError(
            f"variant: found {found} examples where reference has {expected}; "
            "accepted are the same examples in the same order"
        )
    return checked_reference, checked_variant


def check_correct(value: ArrayLike) -> BoolArray:
    """Booleans [members, examples], at least one of each."""
    return _booleans("correct", _member_array("correct", value))


def check_mask(name: str, value: ArrayLike, *, num_examples: int) -> BoolArray:
    """Booleans [examples]."""
    return _booleans(name, _example_array(name, value, num_examples))


def check_count(name: str, value: object) -> int:
    """An integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise InputError(f"{name}: found {value!r}; accepted is an integer of at least 1")
    return int(value)


def check_tie(value: object) -> None:
    """One of the two tie rules."""
    if not isinstance(value, str) or value not in get_args(Tie):
        raise InputError(f"tie: found {value!r}; accepted are " + ", ".join(map(repr, get_args(Tie))))


def check_alpha(value: object) -> float:
    """A significance level, strictly between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, float | np.floating) or not 0 < value < 1:
        raise InputError(f"alpha: found {value!r}; accepted is a fraction above 0 and below 1")
    return float(value)


def check_rng(value: object) -> None:
    """A numpy Generator, not a seed."""
    if not isinstance(value, np.random.Generator):
        raise InputError(
            f"rng: found {type(value).__name__}; accepted is a numpy Generator, such as numpy.random.default_rng(0)"
        )


def _array(name: str, value: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name}: found rows of different lengths; accepted is a full array") from error


def _member_array(name: str, value: ArrayLike) -> NDArray[Any]:
    array = _array(name, value)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name}: found shape {array.shape}; accepted is [members, examples], at least one of each")
    return array


def _example_array(name: str, value: ArrayLike, num_examples: int) -> NDArray[Any]:
    array = _array(name, value)
    if array.shape != (num_examples,):
        raise InputError(f"{name}: found shape {array.shape}; accepted is ({num_examples},), one value an example")
    return array


def _integers(name: str, array: NDArray[Any]) -> IntArray:
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name}: found dtype {array.dtype}; accepted are integer class labels")
    # numpy turns sums of uint64 and int64 to floats, which cannot index.
    return array.astype(np.int64) if array.dtype == np.uint64 else array


def _booleans(name: str, array: NDArray[Any]) -> BoolArray:
    if array.dtype != np.bool_:
        raise InputError(f"{name}: found dtype {array.dtype}; accepted are booleans")
    return array


def _in_range(name: str, array: IntArray, num_classes: int | None) -> IntArray:
    if num_classes is None or (array.min() >= 0 and array.max() < num_classes):
        return array
    place = tuple(np.argwhere((array < 0) | (array >= num_classes))[0].tolist())
    where = f"example {place[0]}" if len(place) == 1 else f"member {place[0]}, example {place[1]}"
    raise InputError(
        f"{name}: found label {array[place]} at {where}; "
        f"accepted are 0 to {num_classes - 1} (num_classes={num_classes})"
    )
