from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from pie_ray.errors import StorageError
from pie_ray.store import has_image_part, paths, read_image_part, write_image_part

SHAPE = (20, 3, 9, 9)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


def read(storage, fingerprint="aaaa", start=40, shape=SHAPE):
    return read_image_part(storage, fingerprint, start, shape)


def test_pixels_come_back_as_they_were(storage, pixels):
    write_image_part(storage, "aaaa", 40, pixels)
    assert has_image_part(storage, "aaaa", 40, SHAPE)
    assert read(storage).dtype == np.uint8
    assert np.array_equal(read(storage), pixels)


@pytest.mark.parametrize("extreme", [0, 255])
def test_constant_and_alternating_images_come_back(storage, extreme):
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[..., ::2] = extreme
    write_image_part(storage, "aaaa", 40, pixels)
    assert np.array_equal(read(storage), pixels)


def test_views_of_other_strides_are_written_as_they_look(storage, pixels):
    turned = pixels.transpose(0, 1, 3, 2)[::2]
    write_image_part(storage, "aaaa", 40, turned)
    assert np.array_equal(read(storage, shape=turned.shape), turned)


def test_smooth_images_take_less_room_than_their_pixels(storage):
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8), (50, 3, 64, 64)).copy()
    write_image_part(storage, "aaaa", 0, ramp)
    assert len(storage.read_bytes(paths.image_part("aaaa", 0))) < ramp.nbytes / 10


def test_an_absent_part_is_none(storage):
    assert not has_image_part(storage, "aaaa", 40, SHAPE)
    assert read(storage) is None


@pytest.mark.parametrize("shape", [(21, 3, 9, 9), (19, 3, 9, 9), (20, 1, 9, 9), (20, 3, 9, 27)])
def test_a_part_of_another_shape_is_none(storage, pixels, shape):
    write_image_part(storage, "aaaa", 40, pixels)
    assert not has_image_part(storage, "aaaa", 40, shape)
    assert read(storage, shape=shape) is None


def test_a_part_of_other_images_in_its_place_is_none(storage, pixels):
    write_image_part(storage, "bbbb", 40, pixels)
    write_image_part(storage, "aaaa", 0, pixels)
    for fingerprint, start in (("bbbb", 40), ("aaaa", 0)):
        storage.write_bytes(paths.image_part("aaaa", 40), storage.read_bytes(paths.image_part(fingerprint, start)))
        assert not has_image_part(storage, "aaaa", 40, SHAPE)
        assert read(storage) is None


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -9, -200])
def test_a_truncated_part_is_none(storage, pixels, keep):
    write_image_part(storage, "aaaa", 40, pixels)
    path = paths.image_part("aaaa", 40)
    storage.write_bytes(path, storage.read_bytes(path)[:keep])
    assert not has_image_part(storage, "aaaa", 40, SHAPE)
    assert read(storage) is None


def test_a_flipped_bit_among_the_pixels_is_noticed_when_they_are_read(storage, pixels):
    write_image_part(storage, "aaaa", 40, pixels)
    path = paths.image_part("aaaa", 40)
    data = bytearray(storage.read_bytes(path))
    data[len(data) // 2] ^= 1
    storage.write_bytes(path, bytes(data))
    assert read(storage) is None


def test_a_foreign_parquet_file_is_none(storage, tmp_path):
    import pyarrow as pa

    pq.write_table(pa.table({"differences": [b"x"] * 20}), tmp_path / "foreign.parquet")
    storage.write_bytes(paths.image_part("aaaa", 40), (tmp_path / "foreign.parquet").read_bytes())
    assert not has_image_part(storage, "aaaa", 40, SHAPE)
    assert read(storage) is None


def test_a_storage_that_fails_is_no_missing_part(storage, monkeypatch):
    def fail(*_):
        raise StorageError("the disk is on fire")

    monkeypatch.setattr(type(storage), "read_file", fail)
    for look in (has_image_part, read_image_part):
        with pytest.raises(StorageError, match="on fire"):
            look(storage, "aaaa", 40, SHAPE)
