"""The public functions' checks: each returns the array ready for use, or raises InputError naming the argument."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arrays import BoolArray, IntArray

Tie = Literal["largest", "smallest"]
PermutationMethod = Literal["auto", "exact", "monte_carlo"]


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
    check_same_examples(checked_reference.shape[1], checked_variant.shape[1])
    return checked_reference, checked_variant


def check_same_examples(num_reference: int, num_variant: int) -> None:
    """That two populations have equally many examples."""
    if num_variant != num_reference:
        raise InputError(
            f"variant: found {num_variant} examples where reference has {num_reference}; "
            "accepted are the same examples in the same order"
        )


def check_population_mapping(
    name: str,
    value: object,
    *,
    num_classes: int | None = None,
    num_examples: int | None = None,
    at_least: int = 0,
) -> dict[str, IntArray]:
    """Predictions of populations by name, all on the same examples; the numbers of members may differ."""
    if not isinstance(value, Mapping):
        raise InputError(f"{name}: found {type(value).__name__}; accepted are populations by name")
    if len(value) < at_least:
        raise InputError(f"{name}: found {len(value)}; accepted are at least {at_least} populations")
    checked: dict[str, IntArray] = {}
    for key, population in value.items():
        checked[key] = check_predictions(f"{name}[{key!r}]", population, num_classes=num_classes)
        found = checked[key].shape[1]
        num_examples = found if num_examples is None else num_examples
        if found != num_examples:
            raise InputError(
                f"{name}[{key!r}]: found {found} examples where the others have {num_examples}; "
                "accepted are the same examples in the same order"
            )
    return checked


def check_values(name: str, value: ArrayLike) -> NDArray[Any]:
    """Finite numbers [members, examples], at least one of each."""
    return _finite(name, _member_array(name, value))


def check_probabilities(name: str, value: ArrayLike) -> NDArray[Any]:
    """Numbers in [0, 1], [members, examples], at least one of each."""
    array = check_values(name, value)
    if array.min() < 0 or array.max() > 1:
        raise InputError(
            f"{name}: found values from {array.min():g} to {array.max():g}; accepted are probabilities from 0 to 1"
        )
    return array


def check_scores(name: str, value: ArrayLike) -> NDArray[Any]:
    """Numbers [examples], at least one, infinite ones among them, but no NaN."""
    array = _numbers(name, _array(name, value))
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"{name}: found shape {array.shape}; accepted is [examples], at least one")
    if np.isnan(array).any():
        raise InputError(f"{name}: found NaN at example {int(np.isnan(array).argmax())}; accepted are numbers")
    return array


def check_fraction(name: str, value: object) -> float:
    """A number above 0 and at most 1."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not 0 < value <= 1:
        raise InputError(f"{name}: found {value!r}; accepted is a fraction above 0 and at most 1")
    return float(value)


def check_correct(value: ArrayLike) -> BoolArray:
    """Booleans [members, examples], at least one of each."""
    return _booleans("correct", _member_array("correct", value))


def check_mask(name: str, value: ArrayLike, *, num_examples: int) -> BoolArray:
    """Booleans [examples]."""
    return _booleans(name, _example_array(name, value, num_examples))


def check_binary(name: str, value: ArrayLike) -> BoolArray:
    """Booleans [members, examples], at least one of each."""
    return _booleans(name, _member_array(name, value))


def check_attributes(name: str, value: ArrayLike) -> BoolArray:
    """Booleans [members, examples, attributes], at least one of each."""
    return _booleans(name, _attribute_array(name, value))


def check_logits(name: str, value: ArrayLike) -> NDArray[np.floating[Any]]:
    """Floats [members, examples, attributes], at least one of each, none of them NaN; their precision is kept."""
    array = _attribute_array(name, value)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{name}: found dtype {array.dtype}; accepted are floating-point logits")
    if any(np.isnan(member).any() for member in array):
        raise InputError(f"{name}: found NaN; accepted are numbers")
    return array


def check_class_logits(name: str, value: ArrayLike) -> NDArray[np.floating[Any]]:
    """Finite floats [members, examples, classes], at least one of each; their precision is kept."""
    array = _array(name, value)
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(
            f"{name}: found shape {array.shape}; accepted is [members, examples, classes], at least one of each"
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{name}: found dtype {array.dtype}; accepted are floating-point logits")
    if not all(np.isfinite(member).all() for member in array):
        raise InputError(f"{name}: found infinite ones or NaN; accepted are finite numbers")
    return array


def check_table(name: str, value: ArrayLike, *, num_examples: int, num_columns: int | None = None) -> BoolArray:
    """Booleans [examples, columns], with as many columns as `num_columns` where that is given."""
    array = _array(name, value)
    if (
        array.ndim != 2
        or len(array) != num_examples
        or array.shape[1] == 0
        or num_columns not in (None, array.shape[1])
    ):
        columns = "at least one" if num_columns is None else num_columns
        raise InputError(f"{name}: found shape {array.shape}; accepted is ({num_examples} examples, {columns})")
    return _booleans(name, array)


def check_same_shape(name: str, array: NDArray[Any], other_name: str, other: NDArray[Any], *, first_axis: int) -> None:
    """That two arrays agree on their axes from `first_axis` on: 1 lets the numbers of members differ."""
    if array.shape[first_axis:] != other.shape[first_axis:]:
        raise InputError(
            f"{name}: found shape {array.shape} where {other_name} has {other.shape}; accepted are the same "
            f"{('members, ' if first_axis == 0 else '')}examples and attributes"
        )


def check_paired(is_paired: bool, reference: NDArray[Any], variant: NDArray[Any]) -> None:
    """Equally many members, where row m of both is the same seed."""
    if is_paired and len(reference) != len(variant):
        raise InputError(
            f"variant: found {len(variant)} members where reference has {len(reference)}; "
            "accepted are equally many for a paired comparison"
        )


def check_groups(value: Mapping[str, ArrayLike], *, num_examples: int) -> tuple[tuple[str, ...], BoolArray]:
    """Names of the groups and their masks [groups, examples], in the mapping's order; at least one group."""
    if not isinstance(value, Mapping) or not value:
        raise InputError(f"groups: found {type(value).__name__} of none; accepted is a mapping from names to masks")
    masks = [check_mask(f"groups[{name!r}]", mask, num_examples=num_examples) for name, mask in value.items()]
    return tuple(value), np.stack(masks)


def check_within(value: object) -> float:
    """A distance of a probability from one half, above 0 and below .5."""
    if isinstance(value, bool) or not isinstance(value, float | np.floating) or not 0 < value < 0.5:
        raise InputError(f"within: found {value!r}; accepted is a number above 0 and below 0.5")
    return float(value)


def check_count(name: str, value: object) -> int:
    """An integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise InputError(f"{name}: found {value!r}; accepted is an integer of at least 1")
    return int(value)


def check_tie(value: object) -> None:
    """One of the two tie rules."""
    if not isinstance(value, str) or value not in get_args(Tie):
        raise InputError(f"tie: found {value!r}; accepted are " + ", ".join(map(repr, get_args(Tie))))


def check_method(value: object) -> None:
    """One of the ways to a permutation test's p-values."""
    if not isinstance(value, str) or value not in get_args(PermutationMethod):
        accepted = ", ".join(map(repr, get_args(PermutationMethod)))
        raise InputError(f"method: found {value!r}; accepted are {accepted}")


def check_pairs(reference: IntArray, variant: IntArray) -> None:
    """Equally many members of both populations, row m of both being one pair."""
    if len(variant) != len(reference):
        raise InputError(
            f"variant: found {len(variant)} members where reference has {len(reference)}; "
            "accepted are equally many, row m of both being one pair"
        )


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


def _attribute_array(name: str, value: ArrayLike) -> NDArray[Any]:
    array = _array(name, value)
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(
            f"{name}: found shape {array.shape}; accepted is [members, examples, attributes], at least one of each"
        )
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


def _numbers(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise InputError(f"{name}: found dtype {array.dtype}; accepted are real numbers")
    return array


def _finite(name: str, array: NDArray[Any]) -> NDArray[Any]:
    finite = np.isfinite(_numbers(name, array))
    if not finite.all():
        place = tuple(np.argwhere(~finite)[0].tolist())
        raise InputError(
            f"{name}: found {array[place]} at member {place[0]}, example {place[1]}; accepted are finite numbers"
        )
    return array


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
