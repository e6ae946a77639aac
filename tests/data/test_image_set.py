from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pie_ray.data import ImageSet, Measured, Splits, channel_statistics
from pie_ray.errors import DataError

pytestmark = pytest.mark.filterwarnings("error")


def make(**changes: Any) -> ImageSet:
    parts: dict[str, Any] = {
        "images": torch.arange(3 * 2 * 4 * 4, dtype=torch.uint8).reshape(3, 2, 4, 4),
        "labels": torch.tensor([0, 1, 1]),
        "example_ids": np.array([4, 7, 9]),
        "keys": ("a.png", "b.png", "c.png"),
        "class_names": ("cat", "dog"),
    }
    return ImageSet(**parts | changes)


def test_properties() -> None:
    image_set = make()
    assert (len(image_set), image_set.num_classes, image_set.num_channels, image_set.image_size) == (3, 2, 2, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(3, 2, 4, 4)}, r"uint8 \[examples, channels, height, width\], found torch.float32"),
        ({"images": torch.zeros(3, 4, 4, dtype=torch.uint8)}, r"found torch.uint8 \[3, 4, 4\]"),
        ({"images": torch.zeros(0, 2, 4, 4, dtype=torch.uint8)}, "needs at least one example"),
        ({"images": torch.zeros(3, 1, 4, 6, dtype=torch.uint8)}, "square, found 4 x 6 pixels of 1 channel: set data.i"),
        ({"labels": torch.tensor([0, 1])}, "images 3, labels 2, example_ids 3, keys 3"),
        ({"groups": {"old": np.array([True])}}, "keys 3, group old 1"),
        ({"labels": torch.tensor([0.0, 1.0, 1.0])}, r"must be int64 \[examples\], found torch.float32 \[3\]"),
        ({"labels": torch.ones(3, 2)}, r"must be bool \[examples, attributes\] .*, found torch.float32 \[3, 2\]"),
        ({"labels": torch.ones(3, 3).bool()}, r"with a name each, found torch.bool \[3, 3\] and 2 names"),
        ({"labels": torch.ones(3, 2, 2).bool()}, r"must be int64 \[examples\], found torch.bool \[3, 2, 2\]"),
        ({"labels": torch.ones(2, 2).bool()}, "images 3, labels 2, example_ids 3, keys 3"),
        ({"example_ids": np.array([4.0, 7.0, 9.0])}, "must be int64, found float64"),
        ({"example_ids": np.array([4, 7, 4])}, "example_ids must differ"),
        ({"labels": torch.tensor([0, 2, 1])}, r"b.png \(row 1\): label 2, accepted 0 to 1"),
        ({"labels": torch.tensor([0, 1, -1])}, r"c.png \(row 2\): label -1, accepted 0 to 1"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(**changes)


def test_fingerprint_is_pinned_because_manifests_keep_it() -> None:
    assert make().fingerprint == "245d90986bae725d"


def make_multilabel(**changes: Any) -> ImageSet:
    labels = torch.tensor([[True, False], [False, False], [True, True]])
    return make(**{"labels": labels, "class_names": ("Young", "Smiling")} | changes)


def test_attributes_are_labels_of_several_columns() -> None:
    image_set = make_multilabel()
    assert (image_set.is_multilabel, make().is_multilabel) == (True, False)
    assert image_set.num_classes == 2


def test_fingerprint_of_attributes() -> None:
    image_set = make_multilabel()
    labels = image_set.labels
    changed = [
        make_multilabel(labels=~labels),
        make_multilabel(labels=labels.flip(1)),
        make_multilabel(labels=labels[:, :1], class_names=("Young",)),
        make_multilabel(example_ids=np.array([4, 7, 8])),
    ]
    assert len({image_set.fingerprint, *(other.fingerprint for other in changed)}) == 5
    assert make_multilabel(labels=labels.t().contiguous().t()).fingerprint == image_set.fingerprint


def test_eight_attributes_are_not_taken_for_a_class_of_as_many_bytes() -> None:
    flags = torch.zeros(3, 8, dtype=torch.bool)
    flags[:, 0] = torch.tensor([False, True, True])
    names = tuple("abcdefgh")
    assert make_multilabel(labels=flags, class_names=names).fingerprint != make(class_names=names).fingerprint


def test_fingerprint_depends_on_pixels_labels_and_ids_and_on_nothing_else() -> None:
    image_set = make()
    other_pixels = image_set.images.clone()
    other_pixels[2, 1, 3, 3] = 0
    changed = [
        make(images=other_pixels),
        make(images=image_set.images.reshape(3, 8, 2, 2)),
        make(labels=torch.tensor([0, 1, 0])),
        make(example_ids=np.array([4, 7, 8])),
    ]
    assert len({image_set.fingerprint, *(other.fingerprint for other in changed)}) == 5
    assert (
        make(keys=("x", "y", "z"), groups={"old": np.array([True, False, True])}).fingerprint == image_set.fingerprint
    )


def test_fingerprint_does_not_depend_on_memory_layout() -> None:
    images = make().images
    assert make(images=images.contiguous(memory_format=torch.channels_last)).fingerprint == make().fingerprint


def test_channel_statistics_are_those_of_the_float_pixels() -> None:
    images = torch.randint(0, 256, (50, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mean, std = channel_statistics(
        make(images=images, labels=torch.zeros(50).long(), example_ids=np.arange(50), keys=tuple("k" * 50))
    )
    scaled = images.double() / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 2, 3)))
    np.testing.assert_allclose(std, scaled.std((0, 2, 3), correction=0))


def test_a_constant_channel_has_deviation_one() -> None:
    images = make().images.clone()
    images[:, 0] = 51
    mean, std = channel_statistics(make(images=images))
    assert mean[0] == pytest.approx(0.2) and std[0] == 1.0


def test_what_was_measured_before_is_not_computed_again() -> None:
    image_set = make(measured=Measured("0123456789abcdef", (0.5, 0.5), (0.1, 0.2)))
    assert image_set.fingerprint == "0123456789abcdef"
    assert channel_statistics(image_set) == ((0.5, 0.5), (0.1, 0.2))


def test_fingerprint_of_splits_is_pinned_because_manifests_keep_it() -> None:
    assert Splits(make(), make()).fingerprint == "db9e519259e2bc1a"


def test_a_validation_split_is_part_of_the_fingerprint() -> None:
    one, other = make(), make(labels=torch.tensor([1, 1, 1]))
    assert (
        len({splits.fingerprint for splits in (Splits(one, one), Splits(one, one, one), Splits(one, one, other))}) == 3
    )
    assert list(Splits(one, one).by_name) == ["train", "test"]
    assert list(Splits(one, one, other).by_name) == ["train", "test", "validation"]


def test_fingerprint_of_splits_stands_for_both() -> None:
    one, other = make(), make(labels=torch.tensor([1, 1, 1]))
    fingerprints = {Splits(a, b).fingerprint for a in (one, other) for b in (one, other)}
    assert len(fingerprints) == 4


def test_splits_must_agree_on_classes_and_shape() -> None:
    with pytest.raises(DataError, match=r"differ in classes: \('cat', 'dog'\) and \('cat', 'cow'\)"):
        Splits(make(), replace(make(), class_names=("cat", "cow")))
    with pytest.raises(DataError, match="train images are 4 x 4 pixels of 2 channels, test images 2 x 2 pixels of 8"):
        Splits(make(), make(images=make().images.reshape(3, 8, 2, 2)))
    with pytest.raises(DataError, match="train and validation differ in classes"):
        Splits(make(), make(), replace(make(), class_names=("cat", "cow")))
    with pytest.raises(DataError, match="train and test differ in kind: one has a label an example, the other attrib"):
        Splits(make(), make_multilabel(class_names=("cat", "dog")))
