from __future__ import annotations

from typing import Any

import pytest

from pie_ray.errors import StoreError
from pie_ray.store import Manifest, claim, paths, read_manifest


def make_manifest(**changes: Any) -> Manifest:
    base = {
        "format": 1,
        "data": {"kind": "digits"},
        "model": {"kind": "small_resnet"},
        "training": {"epochs": 4, "schedule": {"kind": "cosine", "warmup_epochs": 1.0}},
    }
    fields: dict[str, Any] = {
        "name": "demo",
        "sweep_id": "0123",
        "base": base,
        "fingerprint": "aaaa",
        "num_classes": 2,
        "class_names": ("cat", "dog"),
        "suites": {"clean": {"test": 797}},
        "versions": {"torch": "2.15"},
        "machine": {"cpu": "two"},
        "created": "2026-01-02T03:04:05+00:00",
    }
    return Manifest(**{**fields, **changes})


def test_a_claim_writes_recipe_and_manifest(storage):
    assert claim(storage, make_manifest(), "name: demo\n") == make_manifest()
    assert storage.list_files() == [paths.MANIFEST, paths.RECIPE]
    assert read_manifest(storage) == make_manifest()
    assert storage.read_bytes(paths.RECIPE) == b"name: demo\n"


def test_the_same_claim_again_writes_nothing(storage, monkeypatch):
    claim(storage, make_manifest(), "name: demo\n")
    monkeypatch.setattr(type(storage), "write_bytes", None)
    later = make_manifest(created="2027-01-01T00:00:00+00:00", versions={"torch": "3"}, machine={})
    assert claim(storage, later, "name: demo\n") == make_manifest()


def test_population_variants_and_suites_may_grow(storage):
    claim(storage, make_manifest(), "num_members: 2\n")
    claimed = claim(storage, make_manifest(suites={"natural": {"cifar10.1": 2000}}), "num_members: 30\n")

    assert claimed.suites == {"clean": {"test": 797}, "natural": {"cifar10.1": 2000}}
    assert read_manifest(storage) == claimed
    assert storage.read_bytes(paths.RECIPE) == b"num_members: 30\n"


def test_a_claim_that_was_cut_short_is_made_again(storage):
    storage.write_bytes(paths.RECIPE, b"name: other\n")
    claim(storage, make_manifest(), "name: demo\n")
    assert storage.read_bytes(paths.RECIPE) == b"name: demo\n"


def test_every_disagreement_is_shown_with_both_values(storage):
    claim(storage, make_manifest(), "name: demo\n")
    base = {**make_manifest().base, "training": {"epochs": 5, "nesterov": False, "schedule": {"kind": "cosine"}}}
    with pytest.raises(StoreError) as raised:
        claim(storage, make_manifest(base=base, fingerprint="bbbb", suites={"clean": {"test": 500}}), "name: demo\n")
    assert str(raised.value) == (
        f"fingerprint of the images: the results in {storage} have aaaa, the recipe says bbbb\n"
        f"suite clean: the results in {storage} have test (797 examples), the recipe says test (500 examples)\n"
        f"training.epochs: the results in {storage} have 4, the recipe says 5\n"
        f"training.nesterov: the results in {storage} have the default, the recipe says False\n"
        f"training.schedule.warmup_epochs: the results in {storage} have 1.0, the recipe says the default"
        "; use another name or storage"
    )
    assert read_manifest(storage) == make_manifest()


def test_predictions_of_another_precision_or_of_other_images_are_refused(storage):
    claim(storage, make_manifest(suite_fingerprints={"fog": "aaaa"}, suites={"fog": {"fog/1": 5}}), "name: demo\n")
    with pytest.raises(StoreError) as raised:
        others = make_manifest(precision="bfloat16", suite_fingerprints={"fog": "bbbb"}, suites={"fog": {"fog/1": 5}})
        claim(storage, others, "name: demo\n")
    assert str(raised.value) == (
        f"evaluation.precision: the results in {storage} have float32, the recipe says bfloat16\n"
        f"images of suite fog (or call it otherwise): the results in {storage} have aaaa, the recipe says bbbb"
        "; use another name or storage"
    )


def test_a_suite_of_many_sets_is_named_by_a_few(storage):
    sets = {f"corruption/fog/{severity}": 10 for severity in range(20)}
    claim(storage, make_manifest(suites={"fog": sets}), "name: demo\n")
    with pytest.raises(StoreError, match=r"corruption/fog/13 \(10 examples\), 20 sets in all, the recipe says"):
        claim(storage, make_manifest(suites={"fog": dict.fromkeys(list(sets)[:19], 10)}), "name: demo\n")


def test_no_manifest_is_file_not_found(storage):
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is not in"):
        read_manifest(storage)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b'{"name": "de', "Invalid JSON"), (b"{}", "name: Field required"), (b"\xff\xfe", "Invalid JSON")],
)
def test_a_damaged_manifest_is_one_message(storage, data, reason):
    storage.write_bytes(paths.MANIFEST, data)
    with pytest.raises(StoreError, match=rf"manifest\.json in .* cannot be read: {reason}"):
        claim(storage, make_manifest(), "name: demo\n")
