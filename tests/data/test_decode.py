from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pie_ray.config import DigitsData
from pie_ray.data import Encoded, Published, PublishedSplit, Splits
from pie_ray.data.decode import decode_splits
from pie_ray.errors import DataError

pytestmark = pytest.mark.filterwarnings("error")


def publish(images: Sequence[Encoded]) -> PublishedSplit:
    return PublishedSplit(
        place="here",
        labels=np.zeros(len(images), dtype=np.int64),
        example_ids=np.arange(len(images)),
        keys=tuple(f"here[{row}]" for row in range(len(images))),
        images=lambda rows: (images[row] for row in rows),
        locate=lambda row: f"here, row {row}",
    )


def decode(images: Sequence[Encoded], image_size: int | None = None, **settings: Any) -> Splits:
    split = publish(images)
    # Any config will do: only what all kinds share is read.
    return decode_splits(
        Published(split, split, ("all",)), DigitsData(kind="digits", image_size=image_size, **settings)
    )


def test_as_many_validation_images_as_test_images_at_most() -> None:
    def load(num_test: int | None, num_validation: int) -> Splits:
        images = [picture("L", 7)] * 10
        published = Published(publish(images), publish(images), ("all",), publish(images[:num_validation]))
        return decode_splits(published, DigitsData(kind="digits", num_test=num_test))

    sizes = []
    for num_test, num_validation in ((None, 8), (4, 8), (8, 4)):
        splits = load(num_test, num_validation)
        assert splits.validation is not None
        sizes.append((len(splits.test), len(splits.validation)))
    assert sizes == [(10, 8), (4, 4), (8, 4)]
    assert decode([picture("L", 7)]).validation is None


def test_an_empty_validation_split_is_refused() -> None:
    one = publish([picture("L", 7)])
    with pytest.raises(DataError, match="here: the split is empty, found no examples"):
        Published(one, one, ("all",), publish([]))


def picture(mode: str, colour: Any, size: tuple[int, int] = (4, 4)) -> Image.Image:
    return Image.new(mode, size, colour)


def stored(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


GRAY_PALETTE_WITH_TRANSPARENCY = stored(picture("RGBA", (10, 20, 30, 255)).quantize(4), "png", transparency=b"\xff\0")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (picture("L", 7), [7]),
        (picture("1", 1), [255]),
        (picture("LA", (9, 255)), [9]),
        (stored(Image.fromarray(np.full((4, 4), 0x1234, dtype=np.uint16)), "png"), [0x12]),
        (picture("RGB", (1, 2, 3)), [1, 2, 3]),
        (picture("RGBA", (1, 2, 3, 255)), [1, 2, 3]),
        (picture("CMYK", (0, 0, 0, 0)), [255, 255, 255]),
        (picture("RGB", (10, 20, 30)).quantize(4), [10, 20, 30]),
        (GRAY_PALETTE_WITH_TRANSPARENCY, [10, 20, 30]),
        (np.full((4, 4), 5, dtype=np.uint8), [5]),
        (np.full((4, 4, 3), 5, dtype=np.uint8), [5, 5, 5]),
    ],
)
def test_modes_become_grey_or_colour(image: Encoded, expected: list[int]) -> None:
    images = decode([image]).train.images
    assert images.shape == (1, len(expected), 4, 4)
    assert images[0, :, 2, 2].tolist() == expected


def test_one_colour_image_among_the_first_makes_all_colour() -> None:
    assert decode([picture("L", 7), picture("RGB", (1, 2, 3))]).test.images[:, :, 0, 0].tolist() == [[7] * 3, [1, 2, 3]]


def test_after_grey_first_images_all_are_grey() -> None:
    images = decode([picture("L", 7)] * 16 + [picture("RGB", (8, 8, 8))]).train.images
    assert images.shape[1] == 1 and images[16, 0, 0, 0] == 8


def test_modes_without_a_known_range_are_refused() -> None:
    with pytest.raises(
        DataError, match="here, row 0: the image cannot be read: pixels of Pillow's mode F have no know"
    ):
        decode([picture("F", 0.5)])


def test_image_size_fits_the_shorter_side_and_crops_the_centre() -> None:
    pixels = np.zeros((8, 16), dtype=np.uint8)
    pixels[:, 4:12] = 200
    assert (decode([pixels], image_size=8).train.images == 200).all()
    pixels = np.zeros((32, 16), dtype=np.uint8)
    pixels[8:24] = 200
    assert (decode([pixels], image_size=8).train.images[0, 0, 1:-1] == 200).all()


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (32, 16))
    assert (decode([stripes], image_size=8).train.images.float() - 127.5).abs().max() < 10


def test_enlarging() -> None:
    assert (decode([picture("L", 9)], image_size=10).train.images == torch.full((1, 1, 10, 10), 9)).all()


def test_a_photograph_is_turned_upright() -> None:
    image = picture("L", 0, (16, 16))
    image.paste(255, (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    images = decode([stored(image, "jpeg", exif=exif)]).train.images
    assert images[0, 0, 2].max() < 50 and images[0, 0, -2].min() > 200


def test_the_first_odd_row_is_named_whatever_thread_meets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    images = [picture("L", 7)] * 300 + [picture("L", 7, (5, 4))] * 700
    with pytest.raises(DataError, match=r"here, row 300: 4 x 5 pixels where the first image has 4 x 4; set data.image"):
        decode(images)


def test_many_images_keep_their_order_in_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    images = [np.full((2, 2), row % 251, dtype=np.uint8) for row in range(1000)]
    train = decode(images, num_train=700).train
    assert (train.images[:, 0, 0, 0].numpy() == train.example_ids % 251).all()
