"""Processes that decode training images work inside a Ray worker, and give the bits that they give outside."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

SCRIPT = """
import hashlib, sys
import ray, torch
from pie_ray.config import Augmentation, ImageFolderData, ResizedCrop
from pie_ray.data import load_splits
from pie_ray.training import StreamedBatches


def digest(path, cache, num_workers):
    train = load_splits(ImageFolderData(kind="image_folder", path=path, image_size=16, streaming=True), cache).train
    batches = StreamedBatches(
        train.pixels, train.labels, statistics=train.channel_statistics, batch_size=7,
        augmentation=Augmentation(resized_crop=ResizedCrop(), flip=True),
        generator=torch.Generator().manual_seed(0), device=torch.device("cpu"), num_workers=num_workers,
    )
    found = hashlib.sha256()
    for _ in range(2):
        for images, labels in batches.epoch():
            found.update(images.contiguous().numpy().tobytes() + labels.numpy().tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    here = digest(*sys.argv[1:], 0)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    there = ray.get(ray.remote(digest).remote(*sys.argv[1:], 2))
    print("same" if here == there else "different")
    ray.shutdown()
"""


@pytest.mark.long
def test_images_are_decoded_by_processes_of_a_ray_worker(tmp_path: Path) -> None:
    digits = load_digits()
    for row in range(30):
        path = tmp_path / "digits" / ("train" if row < 20 else "test") / str(digits.target[row] % 2) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[row] * 15).astype(np.uint8)).resize((24, 24)).save(path)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as ray_folder:
        environment = os.environ | {"RAY_TMPDIR": ray_folder, "RAY_AUTH_MODE": "disabled"}
        environment.pop("RAY_ADDRESS", None)
        command = [sys.executable, str(script), str(tmp_path / "digits"), str(tmp_path / "cache")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.split()[-1:] == ["same"], done.stdout + done.stderr
