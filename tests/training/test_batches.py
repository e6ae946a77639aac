"""Batches: every image once an epoch, augmented image by image, normalised, reproducible."""

from __future__ import annotations

import pytest
import torch

from pie_ray.config import Augmentation, ResizedCrop
from pie_ray.training import Batches, Normalise
from pie_ray.training.augmentation import (
    NUM_CROP_DRAWS,
    Draws,
    crop_boxes,
    random_crop,
    random_flip,
    random_resized_crop,
)

CPU = torch.device("cpu")


def batches(num_images=10, batch_size=4, seed=0, augmentation=None, **settings):
    # The first pixel is the image's number, and no two windows of an image are alike.
    texture = torch.arange(8) + 9 * torch.arange(8)[:, None]
    images = (torch.arange(num_images).view(-1, 1, 1, 1) + texture).to(torch.uint8)
    return Batches(
        images,
        torch.arange(num_images),
        statistics=([0.0], [1 / 255]),
        batch_size=batch_size,
        augmentation=augmentation or Augmentation(),
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
        **settings,
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
    cropped = random_crop(images, 2, Draws(torch.Generator().manual_seed(0), 200))
    padded = torch.nn.functional.pad(images[0, 0], (2, 2, 2, 2))
    windows = [padded[top : top + 8, left : left + 8] for top in range(5) for left in range(5)]
    found = {next(i for i, window in enumerate(windows) if torch.equal(image[0], window)) for image in cropped}
    assert len(found) == 25


def test_about_half_of_the_images_are_mirrored_whole():
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).repeat(400, 1, 1, 1)
    flipped = random_flip(images, Draws(torch.Generator().manual_seed(0), 400))
    is_mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    is_same = (flipped == images).flatten(1).all(1)
    assert (is_mirrored ^ is_same).all()
    assert 160 < int(is_mirrored.sum()) < 240


AUGMENTATIONS = [
    Augmentation(),
    Augmentation(crop_padding=2, flip=True),
    Augmentation(crop_padding=2, padding="reflect", flip="alternating"),
    Augmentation(resized_crop=ResizedCrop(), flip=True),
]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=repr)
def test_an_epoch_goes_on_where_it_was_left(augmentation):
    whole = batches(40, augmentation=augmentation)
    list(whole.epoch())
    second = whole.epoch()
    for _ in range(3):
        next(second)
    state = {name: value.clone() for name, value in whole.state().items()}
    rest = [*second, *whole.epoch()]

    again = batches(40, seed=17, augmentation=augmentation)
    again.restore(state)
    found = [*again.epoch(first_step=3), *again.epoch()]
    assert len(found) == len(rest) == 17
    for (images, labels), (expected_images, expected_labels) in zip(found, rest, strict=True):
        assert torch.equal(images, expected_images) and torch.equal(labels, expected_labels)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=repr)
def test_processes_that_share_batches_see_what_a_lone_one_sees(augmentation):
    def two_epochs(share):
        sharing = batches(30, 7, augmentation=augmentation, share=share)
        return [batch for _ in range(2) for batch in sharing.epoch()]

    lone, parts = two_epochs((0, 1)), [two_epochs((rank, 3)) for rank in range(3)]
    assert len(lone) == 8
    for step, (images, labels) in enumerate(lone):
        assert torch.equal(torch.cat([part[step][0] for part in parts]), images)
        assert torch.equal(torch.cat([part[step][1] for part in parts]), labels)


def test_alternating_flips_show_every_image_both_ways_in_two_epochs():
    columns = torch.arange(8, dtype=torch.uint8).expand(50, 1, 8, 8).contiguous()
    flipping = Batches(
        columns,
        torch.arange(50),
        statistics=([0.0], [1 / 255]),
        batch_size=50,
        augmentation=Augmentation(flip="alternating"),
        generator=torch.Generator().manual_seed(0),
        device=CPU,
    )
    epochs = []
    for _ in range(4):
        ((images, labels),) = flipping.epoch()
        epochs.append((images[:, 0, 0, 0].round() == 7)[labels.argsort()])
    assert 10 < int(epochs[0].sum()) < 40
    assert torch.equal(epochs[0], ~epochs[1]) and torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[1], epochs[3])


@pytest.mark.parametrize("padding", [1, 3, 7])
def test_reflecting_crops_are_windows_of_the_reflected_image(padding):
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    cropped = random_crop(images, padding, Draws(torch.Generator().manual_seed(1), 40), "reflect")
    padded = torch.nn.functional.pad(images.float(), (padding,) * 4, mode="reflect").to(torch.uint8)
    tops, lefts = torch.randint(0, 2 * padding + 1, (2, 40), generator=torch.Generator().manual_seed(1)).tolist()
    for image, whole, top, left in zip(cropped, padded, tops, lefts, strict=True):
        assert torch.equal(image, whole[:, top : top + 8, left : left + 8])


def test_resized_crops_are_bilinear_and_obey_the_rule():
    config = ResizedCrop(smallest=0.2, aspect=1.5)
    uniform = torch.rand((NUM_CROP_DRAWS, 2000), generator=torch.Generator().manual_seed(0))
    top, left, height, width = crop_boxes(torch.tensor([[60.0, 100.0]]), config, uniform).unbind(1)
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 60 + 1e-3).all() and (left + width <= 100 + 1e-3).all()
    aspect, share = width / height, width * height / 6000
    assert 1 / 1.5 - 1e-4 <= aspect.min() < 0.75 and 1.35 < aspect.max() <= 1.5 + 1e-4
    assert 0.2 - 1e-4 <= share.min() < 0.22 and share.max() <= 1
    # A picture that no allowed part fits: the largest one in its centre.
    narrow = crop_boxes(torch.tensor([[10.0, 100.0]]), ResizedCrop(smallest=0.9, aspect=1.5), uniform[:, :1])[0]
    torch.testing.assert_close(narrow, torch.tensor([0.0, 42.5, 10.0, 15.0]))

    ramp = torch.arange(32.0).mul(8).to(torch.uint8).expand(1, 1, 32, 32)
    cut = random_resized_crop(ramp, config, Draws(torch.Generator().manual_seed(3), 1))[0, 0]
    numbers = torch.rand((NUM_CROP_DRAWS, 1), generator=torch.Generator().manual_seed(3))
    _, left, _, width = crop_boxes(torch.tensor([[32.0, 32.0]]), config, numbers)[0]
    expected = ((left + (torch.arange(32) + 0.5) * width / 32 - 0.5) * 8).clamp(0, 248)
    torch.testing.assert_close(cut, expected.expand(32, 32), atol=1e-2, rtol=0)
