"""Predict with every network on every evaluation set: one table of rows a network."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata

import numpy as np
import pyarrow as pa
import torch

from .. import __version__
from ..analysis import Audit, AuditedMember
from ..config import VALIDATION
from ..data import EvaluationImages
from ..errors import ModelError
from ..member import restrict
from ..prepared import PreparedImages
from ..store import prediction_batch, schema
from .asked import Asked
from .inputs import Foreign, Images, Preprocessing
from .networks import Network, Setting, open_network
from .subject import Opened as OpenedSubject

OnImages = Callable[[str, int], None]
"""Hears of a network's name, and of each number of images that it answered."""

_ONNX_RUNTIME = "onnxruntime"


def evaluation_sets(subject: OpenedSubject) -> list[EvaluationImages]:
    """Those that networks are audited on; validation images choose thresholds, of which there are none here."""
    return [images for suite, sets in subject.suites.items() if suite != VALIDATION for images in sets]


def evaluate_networks(
    populations: Sequence[Asked],
    subject: OpenedSubject,
    prepared: PreparedImages,
    *,
    title: str,
    paired: Sequence[str],
    preprocessing: Preprocessing,
    num_threads: int,
    on_images: OnImages = lambda name, num_images: None,
) -> tuple[Audit, list[pa.Table]]:
    """Every network's predictions, a table each, and what they are of.

    One network at a time is held in memory. Raises InputError (ModelError, DataError) for networks that cannot be
    opened, do not fit the images, or answer what is no answer.
    """
    torch.set_num_threads(num_threads)
    test = subject.splits.test
    images = Images((test.num_channels, test.image_size, test.image_size), test.num_classes)
    setting = Setting(images, preprocessing, num_threads)
    members, tables = [], []
    for population in populations:
        for number, what in enumerate(population.members):
            opened = open_network(what, setting)
            batches = [
                batch
                for evaluation_set in evaluation_sets(subject)
                for batch in _predict(opened.network, what, evaluation_set, prepared, on_images)
            ]
            tables.append(_rows(pa.Table.from_batches(batches), population.variant_id, number))
            members.append(
                AuditedMember(
                    variant_id=population.variant_id,
                    member=number,
                    what=what,
                    kind=_kind(opened.kind, opened.network),
                    sha256=opened.sha256,
                    num_bytes=opened.num_bytes,
                )
            )
    audit = Audit(
        title=title,
        members=tuple(members),
        paired=tuple(paired),
        data=subject.subject.data,
        fingerprint=test.fingerprint,
        class_names=test.class_names,
        evaluation=subject.subject.evaluation,
        options=_options(preprocessing),
        versions=_versions(members),
    )
    return audit, tables


def _predict(
    network: Network, what: str, images: EvaluationImages, prepared: PreparedImages, on_images: OnImages
) -> Iterator[pa.RecordBatch]:
    """As a sweep stores them, with the examples' keys and groups."""
    for part, pixels in prepared.read(images):
        for rows, logits in network.predict(pixels):
            place = slice(part.start + rows.start, part.start + rows.stop)
            _check_finite(what, images, place, logits)
            batch = prediction_batch(
                images.name,
                images.example_ids[place],
                images.labels[place].numpy(),
                restrict(logits, images.among).numpy(),
            )
            yield _described(batch, images, place)
            on_images(what, len(logits))


def _check_finite(what: str, images: EvaluationImages, place: slice, logits: torch.Tensor) -> None:
    wrong = (~torch.isfinite(logits)).any(1).nonzero()
    if len(wrong):
        row = place.start + int(wrong[0])
        raise ModelError(
            f"{what}: the network gives NaN or infinity for {images.keys[row]} of {images.name} (example "
            f"{images.example_ids[row]}); accepted are finite logits or probabilities"
        )


def _described(batch: pa.RecordBatch, images: EvaluationImages, place: slice) -> pa.RecordBatch:
    batch = batch.append_column(schema.KEY, pa.array(images.keys[place], pa.string()))
    for name, values in images.groups.items():
        # A group that is called as a column of predictions would be taken for it.
        if name not in (*batch.schema.names, "variant", "member"):
            batch = batch.append_column(name, pa.array(np.asarray(values[place])))
    return batch


def _rows(table: pa.Table, variant_id: str, member: int) -> pa.Table:
    table = table.add_column(0, "member", pa.array(np.full(table.num_rows, member)))
    return table.add_column(0, "variant", schema.constant(variant_id, table.num_rows))


def _kind(kind: str, network: Network) -> str:
    return f"{kind}, gives probabilities" if isinstance(network, Foreign) and network.gives_probabilities else kind


def _options(preprocessing: Preprocessing) -> dict[str, str]:
    numbers = {"mean": preprocessing.mean, "std": preprocessing.std}
    options = {name: " ".join(f"{value:g}" for value in values) for name, values in numbers.items() if values}
    return options | ({} if preprocessing.layout == "nchw" else {"layout": preprocessing.layout})


def _versions(members: Sequence[AuditedMember]) -> dict[str, str]:
    versions = {"pie_ray": __version__, "torch": torch.__version__, "python": platform.python_version()}
    if any(member.kind.startswith("ONNX") for member in members):
        versions[_ONNX_RUNTIME] = metadata.version(_ONNX_RUNTIME)
    return versions
