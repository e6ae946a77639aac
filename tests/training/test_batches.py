"""Batches: every image once an epoch, augmented image by image, normalised, reproducible."""

from __future__ import annotations

import torch

from pie_ray.config import Augmentation
from pie_ray.training import Batches, Normalise
from pie_ray.training.batches import random_crop, random_flip

CPU = torch.device("cpu")


def batches(num_images=10, batch_size=4, seed=0, augmentation=None):
    images = torch.arange(num_images, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    return Batches(
        images,
        torch.arange(num_images),
        statistics=([0.0], [1 / 255]),
        batch_size=batch_size,
        augmentation=augmentation or Augmentation(),
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
    )


def test_an_epoch_is_a_permutation_without_its_ragged_end():
    epoch = list(batches().epoch())
    assert [len(labels) for _, labels in epoch] == [4, 4]
    seen = torch.cat([labels for _, labels in epoch]).tolist()
    assert len(set(seen)) == 8
    assert all(torch.equal(images[:, 0, 0, 0].round().long(), labels) for images, labels in epoch)


def test_fewer_images_than_a_batch_make_one_batch():
    assert [len(labels) for _, labels in batches(num_images=3, batch_size=64).epoch()] == [3]


def test_the_seed_decides_order_and_augmentation():
    augmentation = Augmentation(crop_padding=2, flip=True)

    def pixels(seed):
        return torch.cat([images for images, _ in batches(seed=seed, augmentation=augmentation).epoch()])

    assert torch.equal(pixels(0), pixels(0))
    assert not torch.equal(pixels(0), pixels(1))


def test_batches_are_channels_last_float32():
    images, _ = next(batches().epoch())
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_normalise_gives_zero_mean_and_unit_deviation():
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scaled = images.double() / 255
    statistics = (scaled.mean((0, 2, 3)).tolist(), scaled.std((0, 2, 3), correction=0).tolist())
    normalised = Normalise(statistics, CPU)(images)
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalised.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_normalise_survives_a_channel_of_one_colour():
    assert torch.isfinite(Normalise(([0.5], [0.0]), CPU)(torch.full((2, 1, 8, 8), 128, dtype=torch.uint8))).all()


def test_each_image_is_cropped_from_its_own_place():
    images = torch.arange(1, 65, dtype=torch.uint8).view(1, 1, 8, 8).repeat(200, 1, 1, 1)
    cropped = random_crop(images, 2, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images[0, 0], (2, 2, 2, 2))
    windows = [padded[top : top + 8, left : left + 8] for top in range(5) for left in range(5)]
    found = {next(i for i, window in enumerate(windows) if torch.equal(image[0], window)) for image in cropped}
    assert len(found) == 25


def test_about_half_of_the_images_are_mirrored_whole():
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).repeat(400, 1, 1, 1)
    flipped = random_flip(images, torch.Generator().manual_seed(0))
    is_mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    is_same = (flipped == images).flatten(1).all(1)
    assert (is_mirrored ^ is_same).all()
    assert 160 < int(is_mirrored.sum()) < 240
