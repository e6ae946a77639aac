"""CelebA's layout, on a small tree of real images that is made here; torchvision's own parser says what it holds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CelebA

from pie_ray.config import CelebaData, TorchvisionData
from pie_ray.data import Splits, load_splits
from pie_ray.errors import DataError
from tests.celeba import CATEGORY, HARD, make_celeba

pytestmark = pytest.mark.filterwarnings("error")

NUM_TRAIN, NUM_VALIDATION, NUM_TEST = 40, 12, 20
NAMES = ("Even", "Large", "Round", "Seven", "Bright", "Wide", "Busy", "Top_Heavy", "Left_Heavy", "Marked")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_celeba(tmp_path / "root" / "celeba", NUM_TRAIN, NUM_VALIDATION, NUM_TEST)


def load(folder: Path, **settings: Any) -> Splits:
    config = CelebaData(kind="celeba", path=str(folder), **settings)
    return load_splits(config, cache=str(folder.parent / "cache"))


def replace_line(path: Path, number: int, line: str | None) -> None:
    """Replace a line, numbered from 1; None removes it."""
    lines = path.read_text().splitlines()
    lines[number - 1 : number] = [] if line is None else [line]
    path.write_text("\n".join(lines) + "\n")


def test_splits_are_those_of_the_partition(folder: Path) -> None:
    splits = load(folder)
    assert {name: len(images) for name, images in splits.by_name.items()} == {
        "train": NUM_TRAIN,
        "test": NUM_TEST,
        "validation": NUM_VALIDATION,
    }
    assert splits.validation is not None
    assert splits.train.keys[0] == "000001.jpg"
    assert splits.validation.keys[0] == "000041.jpg"
    assert splits.test.keys == tuple(f"{number:06d}.jpg" for number in range(53, 73))
    for images in splits.by_name.values():
        np.testing.assert_array_equal(images.example_ids, np.arange(len(images)))
    pixels = np.asarray(Image.open(folder / "img_align_celeba" / "000055.jpg"))
    np.testing.assert_array_equal(splits.test.images[2], pixels.transpose(2, 0, 1))


def test_torchvisions_parser_reads_the_same(folder: Path) -> None:
    # Its class checks the published files' digests, so only its parser can be asked.
    place: Any = SimpleNamespace(root=str(folder.parent), base_folder="celeba")
    listed = CelebA._load_csv(place, "list_attr_celeba.txt", header=1)
    partition = CelebA._load_csv(place, "list_eval_partition.txt")
    splits = load(folder)
    assert [name for name in listed.header if name] == list(splits.train.class_names) == list(NAMES)
    for number, images in ((0, splits.train), (1, splits.validation), (2, splits.test)):
        assert images is not None
        rows = (partition.data.squeeze(1) == number).nonzero().squeeze(1)
        assert [listed.index[row] for row in rows] == list(images.keys)
        np.testing.assert_array_equal(listed.data[rows] == 1, images.labels)


def test_torchvisions_root_is_accepted(folder: Path) -> None:
    assert load(folder.parent).fingerprint == load(folder).fingerprint


def test_attributes_are_learned_in_the_order_of_the_recipe_and_all_are_groups(folder: Path) -> None:
    whole, some = load(folder), load(folder, attributes=("Round", "Even"))
    assert some.train.class_names == ("Round", "Even")
    np.testing.assert_array_equal(some.train.labels, whole.train.labels[:, [2, 0]])
    for images, column in ((some.test, whole.test), (some.train, whole.train)):
        assert list(images.groups) == list(NAMES)
        for index, name in enumerate(NAMES):
            assert images.groups[name].dtype == np.bool_
            np.testing.assert_array_equal(images.groups[name], column.labels[:, index])


def test_a_subset_keeps_images_labels_and_ids_together(folder: Path) -> None:
    whole, part = load(folder), load(folder, num_train=7, num_test=5)
    assert part.validation is not None
    assert (len(part.train), len(part.test), len(part.validation)) == (7, 5, 5)
    np.testing.assert_array_equal(part.train.labels, whole.train.labels[part.train.example_ids])
    assert part.train.keys == tuple(whole.train.keys[row] for row in part.train.example_ids)
    np.testing.assert_array_equal(part.train.groups["Even"], whole.train.groups["Even"][part.train.example_ids])


def test_a_partition_without_validation_images(folder: Path) -> None:
    path = folder / "list_eval_partition.txt"
    path.write_text(path.read_text().replace(" 1\n", " 0\n"))
    splits = load(folder)
    assert splits.validation is None and len(splits.train) == NUM_TRAIN + NUM_VALIDATION


def test_the_lists_may_name_images_in_different_orders(folder: Path) -> None:
    before = load(folder)
    path = folder / "list_eval_partition.txt"
    path.write_text("".join(sorted(path.read_text().splitlines(keepends=True), reverse=True)))
    assert load(folder).fingerprint == before.fingerprint


@pytest.mark.parametrize(
    ("file", "number", "line", "message"),
    [
        ("list_attr_celeba.txt", 1, "forty", "list_attr_celeba.txt, line 1: found 'forty', needs the number of images"),
        ("list_attr_celeba.txt", 1, "71", "list_attr_celeba.txt, line 1: promises 71 images, there are 72"),
        ("list_attr_celeba.txt", 2, " ".join([*NAMES, "Even"]), "line 2: needs names .* each once, found Even"),
        ("list_attr_celeba.txt", 2, "", "line 2: needs names of attributes, each once, found none"),
        ("list_attr_celeba.txt", 5, "000003.jpg 1 1", "line 5: 2 values for 10 attributes"),
        ("list_attr_celeba.txt", 5, "000003.jpg 1 1 0" + " 1" * 7, "line 5: attribute Round is 0, accepted -1 and 1"),
        ("list_attr_celeba.txt", 5, "a.jpg" + " 1" * 10, "line 5: .*img_align_celeba has no image a.jpg"),
        ("list_attr_celeba.txt", 5, "000001.jpg" + " 1" * 10, "line 5: 000001.jpg stands in line 3 too"),
        ("list_attr_celeba.txt", 5, "", "line 5: the line is empty"),
        ("list_eval_partition.txt", 5, "000005.jpg 3", "list_eval_partition.txt, line 5: split 3, accepted 0, 1 and 2"),
        ("list_eval_partition.txt", 5, "000005.jpg", "line 5: split missing, accepted 0, 1 and 2"),
        ("list_eval_partition.txt", 5, "a.jpg 0", "line 5: list_attr_celeba.txt has no image a.jpg"),
        ("list_eval_partition.txt", 5, None, "celeba.txt, line 7: list_eval_partition.txt has no image 000005.jpg"),
    ],
)
def test_damaged_lists_are_named_with_the_line(
    file: str, number: int, line: str | None, message: str, folder: Path
) -> None:
    replace_line(folder / file, number, line)
    with pytest.raises(DataError, match=message):
        load(folder)


def test_a_broken_image_is_named_with_its_line(folder: Path) -> None:
    (folder / "img_align_celeba" / "000054.jpg").write_bytes(b"no image")
    message = r"000054.jpg \(list_attr_celeba.txt, line 56\): the image cannot be read"
    with pytest.raises(DataError, match=message):
        load(folder)


def test_a_missing_image_is_named_with_its_line(folder: Path) -> None:
    (folder / "img_align_celeba" / "000054.jpg").unlink()
    with pytest.raises(DataError, match=r"list_attr_celeba.txt, line 56: .* has no image 000054.jpg"):
        load(folder)


def test_an_unknown_attribute_names_those_there_are(folder: Path) -> None:
    message = "data.attributes: .*list_attr_celeba.txt has no marked; did you mean Marked. there are Even, Large, Round"
    with pytest.raises(DataError, match=message):
        load(folder, attributes=("Even", "marked"))


def test_a_folder_that_holds_no_celeba(tmp_path: Path) -> None:
    (tmp_path / "list_attr_celeba.txt").touch()
    message = "lacks img_align_celeba, list_eval_partition.txt; .*/celeba lacks img_align_celeba, list_attr_celeba.txt"
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_torchvisions_name_for_it_is_told_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"CelebA has attributes and no classes; set data\.kind to celeba"):
        load_splits(TorchvisionData(kind="torchvision", name="CelebA", path=str(tmp_path)))


# ------------------------------------------------------------------------------------------- what tests.celeba plants


def test_the_mark_goes_with_the_hard_attribute_in_training_alone(tmp_path: Path) -> None:
    splits = load(make_celeba(tmp_path / "celeba", 600, 200, 200))
    assert splits.validation is not None
    shares = {}
    for name, images in splits.by_name.items():
        mark, hard = images.groups[CATEGORY], images.groups[HARD]
        shares[name] = (mark[hard].mean(), mark[~hard].mean())
    assert shares["train"] == pytest.approx((0.9, 0.1), abs=0.005)
    assert shares["validation"] == pytest.approx((0.5, 0.5), abs=0.01)
    assert shares["test"] == pytest.approx((0.5, 0.5), abs=0.01)


def test_the_mark_can_be_seen(folder: Path) -> None:
    train = load(folder).train
    corner = train.images[:, :, 1:3, 1:3].float().mean((2, 3))
    redness = (corner[:, 0] - corner[:, 1]).numpy()
    assert redness[train.groups[CATEGORY]].min() > 100 > 20 > redness[~train.groups[CATEGORY]].max()


def test_every_attribute_has_both_values_in_every_split(folder: Path) -> None:
    for images in load(make_celeba(folder.parent / "larger", 300, 100, 100)).by_name.values():
        share = images.labels.float().mean(0)
        assert (share > 0.03).all() and (share < 0.97).all()


def test_the_seed_chooses_images(tmp_path: Path) -> None:
    fingerprints = [
        load(make_celeba(tmp_path / str(index), 10, 5, 5, seed)).fingerprint for index, seed in enumerate((0, 0, 1))
    ]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
