"""Images that are made once: by whom, how often, and what becomes of damaged ones."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from pie_ray import prepared as prepared_room
from pie_ray.config import Execution
from pie_ray.data import EvaluationImages
from pie_ray.prepared import PreparedImages, parts
from pie_ray.store import Storage, paths

NUM_EXAMPLES, SHAPE = 25, (1, 8, 8)


class Made:
    """An evaluation set that counts how often each of its images is made."""

    def __init__(self, name="corruption/fog/1", fingerprint="f00d"):
        rng = np.random.default_rng(int(fingerprint, 16))
        self.pixels = rng.integers(0, 256, (NUM_EXAMPLES, *SHAPE), dtype=np.uint8)
        self.times = np.zeros(NUM_EXAMPLES, int)
        self.images = EvaluationImages(
            name=name,
            labels=torch.zeros(NUM_EXAMPLES, dtype=torch.int64),
            example_ids=np.arange(NUM_EXAMPLES),
            keys=tuple(map(str, range(NUM_EXAMPLES))),
            class_names=("a",),
            image_shape=SHAPE,
            fingerprint=fingerprint,
            read=self.read,
        )

    def read(self, start, stop):
        self.times[start:stop] += 1
        return self.pixels[start:stop]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(prepared_room, "PART_BYTES", 10 * 64)


@pytest.fixture
def execution(tmp_path):
    return Execution(storage=str(tmp_path / "results"), cache=str(tmp_path / "cache"))


@pytest.fixture
def prepared(execution):
    return PreparedImages(execution)


def make_all(prepared, *made):
    for one in made:
        for part in prepared.missing([one.images]):
            prepared.make(one.images, part)


def read_all(prepared, images):
    pixels = np.empty((len(images), *images.image_shape), np.uint8)
    for rows, part in prepared.read(images):
        assert part.dtype == torch.uint8
        pixels[rows] = part.numpy()
    return pixels


def image_file(execution, start, fingerprint="f00d"):
    folder = Storage(execution.storage).child(paths.IMAGES)
    return folder, paths.image_part(fingerprint, start)


def test_a_set_is_cut_into_parts_that_cover_it_once():
    cut = parts(Made().images)
    assert [(part.start, part.stop) for part in cut] == [(0, 10), (10, 20), (20, 25)]
    assert {part.evaluation_set for part in cut} == {"corruption/fog/1"}


def test_an_image_larger_than_a_part_is_a_part(monkeypatch):
    monkeypatch.setattr(prepared_room, "PART_BYTES", 1)
    assert len(parts(Made().images)) == NUM_EXAMPLES


def test_what_is_made_once_is_read_by_all(prepared, execution):
    made = Made()
    assert len(prepared.missing([made.images])) == 3
    make_all(prepared, made)
    for reader in (prepared, PreparedImages(execution)):
        assert reader.missing([made.images]) == []
        assert np.array_equal(read_all(reader, made.images), made.pixels)
    assert made.times.tolist() == [1] * NUM_EXAMPLES


def test_only_what_is_missing_is_made(prepared):
    made, other = Made(), Made("corruption/fog/2", "beef")
    make_all(prepared, made)
    assert [part.evaluation_set for part in prepared.missing([made.images, other.images])] == ["corruption/fog/2"] * 3


def test_a_part_that_is_not_there_is_made_by_its_first_reader(prepared):
    made = Made()
    for _ in range(2):
        assert np.array_equal(read_all(prepared, made.images), made.pixels)
    assert made.times.tolist() == [1] * NUM_EXAMPLES


@pytest.mark.parametrize("damage", ["truncated", "of another set", "junk"])
def test_a_part_that_is_damaged_is_found_and_made_again(prepared, execution, damage):
    made, other = Made(), Made("corruption/fog/2", "beef")
    make_all(prepared, made, other)
    folder, path = image_file(execution, 10)
    data = folder.read_bytes(path)
    other_folder, other_path = image_file(execution, 10, "beef")
    spoilt = {"truncated": data[:-30], "of another set": other_folder.read_bytes(other_path), "junk": b"PAR1"}
    folder.write_bytes(path, spoilt[damage])
    (missing,) = prepared.missing([made.images, other.images])
    assert (missing.evaluation_set, missing.start, missing.stop) == ("corruption/fog/1", 10, 20)
    prepared.make(made.images, missing)
    assert folder.read_bytes(path) == data
    assert np.array_equal(read_all(prepared, made.images), made.pixels)


def test_damage_that_shows_only_when_read_costs_the_reader_a_part_and_no_more(prepared, execution):
    made = Made()
    make_all(prepared, made)
    folder, path = image_file(execution, 10)
    data = bytearray(folder.read_bytes(path))
    data[len(data) // 3] ^= 16
    folder.write_bytes(path, bytes(data))
    assert prepared.missing([made.images]) == []
    assert np.array_equal(read_all(prepared, made.images), made.pixels)
    assert made.times.tolist() == [1] * 10 + [2] * 10 + [1] * 5
    assert folder.read_bytes(path) != bytes(data)


def test_images_in_memory_are_neither_kept_nor_missing(prepared, execution):
    made = Made()
    images = replace(made.images, is_in_memory=True)
    assert prepared.missing([images]) == []
    assert np.array_equal(read_all(prepared, images), made.pixels)
    assert Storage(execution.storage).list_files() == []


def test_of_another_machine_s_storage_a_copy_is_kept_here(prepared, execution, monkeypatch):
    made = Made()
    make_all(prepared, made)
    monkeypatch.setattr(Storage, "is_local", property(lambda storage: "cache" in storage.uri))
    far = PreparedImages(execution)
    assert np.array_equal(read_all(far, made.images), made.pixels)
    for start in (0, 10, 20):
        folder, path = image_file(execution, start)
        folder.delete(path)
    assert np.array_equal(read_all(far, made.images), made.pixels)
    assert made.times.tolist() == [1] * NUM_EXAMPLES


def test_a_cache_that_cannot_be_used_costs_nothing_but_time(prepared, execution, tmp_path, monkeypatch):
    made = Made()
    make_all(prepared, made)
    (tmp_path / "cache").write_text("a file where a folder should be")
    monkeypatch.setattr(Storage, "is_local", property(lambda storage: "cache" in storage.uri))
    assert np.array_equal(read_all(PreparedImages(execution), made.images), made.pixels)
    assert made.times.tolist() == [1] * NUM_EXAMPLES


def test_what_a_killed_process_left_half_written_is_removed(prepared, execution):
    folder, path = image_file(execution, 0)
    make_all(prepared, Made())
    old = folder.uri + "/f00d/.0123.pie_ray_tmp"
    with open(old, "wb") as file:
        file.write(b"half")
    os.utime(old, (0, 0))
    prepared.remove_leftovers()
    assert not os.path.exists(old)
    assert folder.exists(path)
