"""ImageNet-C, ImageNet-A and ImageNet-R in their published layouts, of a few photographs' squares."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pie_ray.config import ClassFoldersSuite, ImagenetCSuite
from pie_ray.data import Splits
from pie_ray.data.decode import choose_rows
from pie_ray.data.evaluation_images import EvaluationImages
from pie_ray.data.ready_made import class_folder_sets, imagenet_c_sets
from pie_ray.errors import DataError

from .test_ready_made import Pixels, copied_with_other_times, crops, save_png, study_of

pytestmark = pytest.mark.filterwarnings("error")

WNIDS = ("n01440764", "n01443537", "n01484850", "n01491361")
FILES = tuple(f"{WNIDS[row % 4]}/ILSVRC2012_val_{row:08d}" for row in range(1, 21))
"""Twenty validation images by the number in their names, five of each class."""

SORTED = tuple(sorted(FILES))
PLACES = {"brightness": "weather", "defocus_blur": "blur"}


def darker(name: str, severity: int) -> Pixels:
    """What the image of that name is at a severity, whatever the corruption."""
    return crops(64)[FILES.index(name)] // (severity + 1)


def published(folder: Path, places: dict[str, str], severities: tuple[int, ...] = (1, 2, 3, 4, 5)) -> Path:
    """`places` maps corruptions to folders that theirs lie in. PNG named JPEG, so that pixels can be told exactly."""
    for corruption, place in places.items():
        for severity in severities:
            for name in FILES:
                path = folder / place / corruption / str(severity) / f"{name}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(darker(name, severity)).save(path, "png")
    return folder


def val_study(names: tuple[str, ...] = SORTED, **settings: Any) -> Splits:
    """A study on `val/<class>/<file>`, whose ids are their places in the sorted tree."""
    labels = np.array([WNIDS.index(name.split("/")[0]) for name in names])
    keys = settings.pop("keys", [f"val/{name}.JPEG" for name in names])
    return study_of(labels, WNIDS, keys, [SORTED.index(name) for name in names], shape=(3, 64, 64), **settings)


def make(folder: Path, study: Splits | None = None, **settings: Any) -> list[EvaluationImages]:
    return imagenet_c_sets("c", ImagenetCSuite(kind="imagenet_c", path=str(folder), **settings), study or val_study())


@pytest.fixture
def imagenet_c(tmp_path: Path) -> Path:
    """As the archives unpack, two corruptions in their families' folders."""
    return published(tmp_path / "ImageNet-C", PLACES)


def test_corruptions_in_their_families_folders(imagenet_c: Path) -> None:
    sets = make(imagenet_c)
    assert [images.name for images in sets] == [
        f"corruption/{name}/{severity}" for name in ("defocus_blur", "brightness") for severity in (1, 2, 3, 4, 5)
    ]
    for images in sets:
        severity = int(images.name[-1])
        expected = np.stack([darker(name, severity) for name in SORTED]).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(images.read(0, 20), expected)
        np.testing.assert_array_equal(images.labels, np.repeat(np.arange(4), 5))
        assert images.keys == tuple(f"{name}.JPEG" for name in SORTED)
        assert images.class_names == WNIDS and images.among is None
    assert len({images.fingerprint for images in sets}) == 10


def test_corruptions_without_families(tmp_path: Path, imagenet_c: Path) -> None:
    flat = published(tmp_path / "flat", dict.fromkeys(PLACES, ""))
    in_families, without = make(imagenet_c), make(flat)
    assert [images.name for images in without] == [images.name for images in in_families]
    assert [images.fingerprint for images in without] == [images.fingerprint for images in in_families]
    np.testing.assert_array_equal(without[-1].read(3, 9), in_families[-1].read(3, 9))


def test_the_extra_corruptions_have_a_folder_too(tmp_path: Path) -> None:
    folder = published(tmp_path, {"saturate": "extra", "gaussian_noise": "noise", "contrast": "digital"}, (2,))
    names = [images.name for images in make(folder, severities=(2,))]
    assert names == ["corruption/gaussian_noise/2", "corruption/contrast/2", "corruption/saturate/2"]
    (images,) = make(folder, severities=(2,), corruptions=("saturate",))
    assert images.name == "corruption/saturate/2"


def test_other_files_are_passed_over(imagenet_c: Path) -> None:
    before = [images.fingerprint for images in make(imagenet_c)]
    folder = imagenet_c / "weather" / "brightness" / "2"
    for path in (
        imagenet_c / "README.md",
        imagenet_c / "weather" / "notes.txt",
        folder / "list.txt",
        folder / WNIDS[0] / "Thumbs.db",
        folder / WNIDS[0] / "._ILSVRC2012_val_00000004.JPEG",
        folder / ".cache" / "a.JPEG",
    ):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [images.fingerprint for images in make(imagenet_c)] == before


# -------------------------------------------------------------------------------------------------- ids of examples


def test_images_of_the_study_have_its_ids(imagenet_c: Path) -> None:
    """The study has them in another order, and under other suffixes."""
    order = np.random.default_rng(3).permutation(20)
    names = [SORTED[row] for row in order]
    labels = np.array([WNIDS.index(name.split("/")[0]) for name in names])
    keys = [f"deep/val/{name}.png" for name in names]
    study = study_of(labels, WNIDS, keys, range(100, 120))
    for images in make(imagenet_c, study):
        np.testing.assert_array_equal(images.example_ids, np.arange(100, 120))
        assert images.keys == tuple(f"{name}.JPEG" for name in names)
        np.testing.assert_array_equal(images.labels, labels)
    severity_5 = np.stack([darker(name, 5) for name in names]).transpose(0, 3, 1, 2)
    (images,) = make(imagenet_c, val_study(tuple(names)), severities=(5,), corruptions=("brightness",))
    in_order = np.argsort([SORTED.index(name) for name in names])
    np.testing.assert_array_equal(images.read(0, 20), severity_5[in_order])


def test_images_that_the_study_lacks_have_ids_beyond_its_own(imagenet_c: Path) -> None:
    names = tuple(SORTED[row] for row in (2, 3, 11, 17))
    for images in make(imagenet_c, val_study(names)):
        ids = dict(zip(images.keys, images.example_ids.tolist(), strict=True))
        assert {f"{name}.JPEG": SORTED.index(name) for name in names}.items() <= ids.items()
        others = [f"{name}.JPEG" for name in SORTED if name not in names]
        assert [ids[key] for key in others] == [17 + 1 + SORTED.index(key.removesuffix(".JPEG")) for key in others]
        assert (np.diff(images.example_ids) > 0).all()


def test_where_no_name_is_the_studys_no_id_is(imagenet_c: Path) -> None:
    images = make(imagenet_c, val_study(keys=[f"test[{row}]" for row in range(20)]))[0]
    np.testing.assert_array_equal(images.example_ids, np.arange(20, 40))
    assert images.keys == tuple(f"{name}.JPEG" for name in SORTED)


def test_a_file_of_the_same_name_in_another_class_is_another_image(imagenet_c: Path) -> None:
    """All of the study's files lie in the first class."""
    keys = [f"val/{WNIDS[0]}/{name.split('/')[1]}.JPEG" for name in SORTED]
    images = make(imagenet_c, study_of(np.zeros(20, dtype=np.int64), WNIDS, keys))[0]
    assert images.example_ids[:5].tolist() == [0, 1, 2, 3, 4]
    assert images.example_ids[5:].tolist() == list(range(20 + 5, 20 + 20))


def test_names_that_tell_several_of_the_studys_images_join_none(imagenet_c: Path) -> None:
    keys = [f"val/{name}.JPEG" for name in SORTED]
    keys[1] = f"val/{SORTED[0]}.png"
    images = make(imagenet_c, val_study(keys=keys))[0]
    ids = dict(zip(images.keys, images.example_ids.tolist(), strict=True))
    assert [ids[f"{name}.JPEG"] for name in SORTED[:3]] == [20, 21, 2]


def test_two_files_that_would_be_one_example(imagenet_c: Path) -> None:
    for folder in imagenet_c.glob("*/*/?"):
        shutil.copyfile(folder / f"{SORTED[6]}.JPEG", folder / f"{SORTED[6]}.png")
    with pytest.raises(DataError, match=rf"{SORTED[6]}.JPEG and {SORTED[6]}.png are one image by their names"):
        make(imagenet_c)


def test_the_same_examples_are_chosen_of_every_set(imagenet_c: Path) -> None:
    rows = choose_rows(20, 7)
    for images in make(imagenet_c, num_examples=7):
        np.testing.assert_array_equal(images.example_ids, rows)
        expected = np.stack([darker(SORTED[row], int(images.name[-1])) for row in rows])
        np.testing.assert_array_equal(images.read(0, 7), expected.transpose(0, 3, 1, 2))


# ------------------------------------------------------------------------------------------------ errors of the tree


def test_folders_that_are_missing(imagenet_c: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"neither {imagenet_c}/fog nor {imagenet_c}/weather/fog is a folder"):
        make(imagenet_c, corruptions=("brightness", "fog"))
    shutil.rmtree(imagenet_c / "blur" / "defocus_blur" / "4")
    with pytest.raises(DataError, match=r"^evaluation.suites.c: .*blur/defocus_blur/4 does not exist; each severity"):
        make(imagenet_c)
    assert len(make(imagenet_c, severities=(1, 2, 3, 5))) == 8
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no corruption's folder, nor a family's.*saturate, and the famil"):
        make(tmp_path / "empty")


def test_sets_of_different_images(imagenet_c: Path) -> None:
    folder = imagenet_c / "weather" / "brightness" / "3"
    path = folder / f"{SORTED[8]}.JPEG"
    path.rename(path.with_name("other.JPEG"))
    message = rf"{folder} lacks {SORTED[8]}.JPEG, which {imagenet_c}/blur/defocus_blur/1 has; all sets need the same"
    with pytest.raises(DataError, match=message):
        make(imagenet_c)
    path.with_name("other.JPEG").rename(path)
    save_png(path.with_name("AAA.png"), crops(64)[0])
    message = rf"{imagenet_c}/blur/defocus_blur/1 lacks {WNIDS[1]}/AAA.png, which {folder} has"
    with pytest.raises(DataError, match=message):
        make(imagenet_c)


def test_a_class_that_the_study_has_not(imagenet_c: Path) -> None:
    names = ("tench", *WNIDS[1:])
    study = study_of(np.arange(4), names)
    message = r"defocus_blur/1/n01440764: the study has no class n01440764; .* the study's are tench, n01443537, "
    with pytest.raises(DataError, match=message):
        make(imagenet_c, study)


def test_the_fingerprint_of_a_tree(imagenet_c: Path) -> None:
    before = {images.name: images.fingerprint for images in make(imagenet_c)}
    copy = copied_with_other_times(imagenet_c)
    assert {images.name: images.fingerprint for images in make(copy)} == before
    labels, keys = np.repeat(np.arange(4), 5), [f"val/{name}.JPEG" for name in SORTED]
    with_other_ids = study_of(labels, WNIDS, keys, range(1, 21), shape=(3, 64, 64))
    assert not {images.fingerprint for images in make(imagenet_c, with_other_ids)} & set(before.values())
    save_png(imagenet_c / "blur/defocus_blur/2" / f"{SORTED[4]}.png", crops(64)[30]).replace(
        imagenet_c / "blur/defocus_blur/2" / f"{SORTED[4]}.JPEG"
    )
    changed = {images.name for images in make(imagenet_c) if images.fingerprint != before[images.name]}
    assert changed == {"corruption/defocus_blur/2"}


# --------------------------------------------------------------------------------------------- ImageNet-A, ImageNet-R


@pytest.fixture
def imagenet_a(tmp_path: Path) -> Path:
    """Two of the four classes, the later one with more images."""
    for index in range(3):
        save_png(tmp_path / "imagenet-a" / WNIDS[1] / f"0.{index}_fox squirrel _ 0.{index}.png", crops(64)[index])
    for index in range(4):
        save_png(tmp_path / "imagenet-a" / WNIDS[3] / f"0.{index}_hotdog _ 0.{index}.png", crops(64)[10 + index])
    (tmp_path / "imagenet-a" / "README.txt").write_text("200 classes")
    return tmp_path / "imagenet-a"


def make_natural(folder: Path, study: Splits | None = None, **settings: Any) -> EvaluationImages:
    settings = {"kind": "imagenet_a"} | settings
    (images,) = class_folder_sets("hard", ClassFoldersSuite(path=str(folder), **settings), study or val_study())
    return images


def test_class_folders(imagenet_a: Path) -> None:
    images = make_natural(imagenet_a)
    assert images.name == "natural/hard"
    assert images.labels.tolist() == [1] * 3 + [3] * 4
    assert images.example_ids.tolist() == list(range(7)) and images.example_ids.dtype == np.int64
    assert images.keys[3] == "n01491361/0.0_hotdog _ 0.0.png"
    assert images.class_names == WNIDS
    expected = np.concatenate([crops(64)[:3], crops(64)[10:14]]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(images.read(0, 7), expected)
    assert make_natural(imagenet_a, kind="imagenet_r").fingerprint != images.fingerprint


def test_answers_are_chosen_among_the_sets_own_classes_as_published(imagenet_a: Path) -> None:
    assert make_natural(imagenet_a).among == (1, 3)
    assert make_natural(imagenet_a, among="all").among is None
    # Not among those that happen to be chosen.
    assert make_natural(imagenet_a, num_examples=1).among == (1, 3)
    study = study_of(np.arange(4), (WNIDS[3], WNIDS[2], WNIDS[1], WNIDS[0]))
    images = make_natural(imagenet_a, study)
    assert images.among == (0, 2) and images.labels.tolist() == [2] * 3 + [0] * 4


def test_folders_that_are_no_class(imagenet_a: Path) -> None:
    (imagenet_a / "n99999999").mkdir()
    with pytest.raises(DataError, match=r"^evaluation.suites.hard: .*/n99999999: the study has no class n99999999; "):
        make_natural(imagenet_a)
    (imagenet_a / "n99999999").rename(imagenet_a / WNIDS[0])
    with pytest.raises(DataError, match=rf"{WNIDS[0]} holds no image; accepted suffixes: .bmp"):
        make_natural(imagenet_a)
    with pytest.raises(DataError, match=rf"{WNIDS[0]} holds no folder; each class needs one"):
        make_natural(imagenet_a / WNIDS[0])
