"""A small but real study for the report's tests: random-feature networks on scikit-learn's digits, compressed."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.datasets import load_digits

from pie_ray.stats import benjamini_hochberg, permutation_test

NUM_CLASSES = 10
CLASS_NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
VARIANTS: dict[str, tuple[float, str | None]] = {
    "dense": (0.0, None),
    "magnitude-0.50": (0.5, None),
    "magnitude-0.70": (0.7, None),
    "magnitude-0.90": (0.9, None),
    "static_int8": (0.0, "static_int8"),
    "magnitude-0.90+static_int8": (0.9, "static_int8"),
}

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Study:
    summary: pd.DataFrame
    classes: pd.DataFrame
    pies: pd.DataFrame
    thumbnails: dict[int, bytes]
    answers: pd.DataFrame
    """Of every variant on every PIE of any."""

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"summary": self.summary, "classes": self.classes, "pies": self.pies}


def make_study(num_members: int = 12, seed: int = 0, variants: tuple[str, ...] = tuple(VARIANTS)) -> Study:
    rng = np.random.default_rng(seed)
    digits = load_digits()
    pixels, labels = digits.data / 16, digits.target
    trained = {
        variant_id: [_train(pixels[:1000], labels[:1000], rng) for _ in range(num_members)]
        for variant_id, (_, quantization) in VARIANTS.items()
        if quantization is None
    }
    predictions = {
        variant_id: np.stack(
            [_predict(network, pixels[1000:], *VARIANTS[variant_id]) for network in trained[_parent(variant_id)]]
        )
        for variant_id in variants
    }
    truth = labels[1000:]
    rows, pies, classes = [], [pd.DataFrame()], [pd.DataFrame()]
    floor, floor_std = _noise_floor(predictions["dense"], rng)
    for variant_id, predicted in predictions.items():
        row = _summary_row(variant_id, predicted, truth) | {
            "null_pie_fraction": floor,
            "null_pie_std": floor_std,
            "half_pie_fraction": 1.3 * floor,
            "half_pie_std": floor_std,
        }
        if variant_id != "dense":
            table = _pie_table(variant_id, predictions["dense"], predicted, truth)
            row |= _pie_columns(table["is_pie"].to_numpy(), predictions["dense"], predicted, truth)
            pies.append(table[table["is_pie"]].sort_values("taxicab", ascending=False))
            classes.append(_class_table(variant_id, predictions["dense"], predicted, truth))
        rows.append(row)
    pie_table = pd.concat(pies, ignore_index=True)
    shown = pie_table["example_id"].unique() if len(pie_table) else []
    thumbnails = {int(example_id): gray_png(digits.images[1000 + example_id] * 255 / 16) for example_id in shown}
    answers = pd.concat(
        _answers(variant_id, predicted[:, list(thumbnails)]) for variant_id, predicted in predictions.items()
    )
    answers = answers.assign(example_id=np.tile(list(thumbnails), len(predictions)))
    return Study(pd.DataFrame(rows), pd.concat(classes, ignore_index=True), pie_table, thumbnails, answers)


def _answers(variant_id: str, predictions: Array) -> pd.DataFrame:
    counts = _counts(predictions)
    agreement = counts.max(axis=1) / len(predictions)
    return pd.DataFrame({"variant_id": variant_id, "mode": counts.argmax(axis=1), "agreement": agreement})


def _parent(variant_id: str) -> str:
    """The variant whose networks are quantized: a quantized one shares them, a pruned one has its own."""
    return variant_id.removesuffix("static_int8").removesuffix("+") or "dense"


def _train(pixels: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    hidden = rng.normal(size=(64, 150)) / 4
    features = np.maximum(pixels @ hidden, 0)
    target = np.eye(NUM_CLASSES)[labels]
    return hidden, np.linalg.solve(features.T @ features + 2 * np.eye(150), features.T @ target)


def _predict(network: tuple[Array, Array], pixels: Array, sparsity: float, quantization: str | None) -> Array:
    hidden, output = (_compress(weights, sparsity, quantization) for weights in network)
    return (np.maximum(pixels @ hidden, 0) @ output).argmax(axis=1)


def _compress(weights: Array, sparsity: float, quantization: str | None) -> Array:
    # milder than the names say: these networks were not trained while they were pruned
    weights = np.where(np.abs(weights) < np.quantile(np.abs(weights), 0.45 * sparsity), 0, weights)
    step = np.abs(weights).max() / 16
    return np.round(weights / step) * step if quantization else weights


def _mode(predictions: Array) -> Array:
    return _counts(predictions).argmax(axis=1)


def _counts(predictions: Array) -> Array:
    return (predictions[:, :, None] == np.arange(NUM_CLASSES)).sum(axis=0)


def _noise_floor(predictions: Array, rng: np.random.Generator) -> tuple[float, float]:
    if len(predictions) < 2:
        return float("nan"), float("nan")
    orders = [rng.permutation(len(predictions)) for _ in range(50)]
    half = len(predictions) // 2
    rates = [np.mean(_mode(predictions[order[:half]]) != _mode(predictions[order[half:]])) for order in orders]
    return float(np.mean(rates)), float(np.std(rates))


def _summary_row(variant_id: str, predictions: Array, labels: Array) -> dict[str, object]:
    sparsity, quantization = VARIANTS[variant_id]
    accuracy = (predictions == labels).mean(axis=1)
    return {
        "evaluation_set": "test",
        "variant_id": variant_id,
        "sparsity": sparsity,
        "quantization": quantization,
        "arithmetic": "simulated" if quantization else "native",
        "num_members": len(predictions),
        "num_examples": len(labels),
        "top1_mean": accuracy.mean(),
        "top1_std": accuracy.std(ddof=1) if len(accuracy) > 1 else np.nan,
        "top5_mean": 0.99,
        "achieved_sparsity_mean": sparsity,
        "checkpoint_bytes_mean": 44_400 * (1 - 0.75 * (quantization is not None)),
        "num_pies": 0,
    }


def _pie_columns(is_pie: Array, reference: Array, variant: Array, labels: Array) -> dict[str, float]:
    def top1(predictions: Array, chosen: Array) -> float:
        return float((predictions == labels)[:, chosen].mean()) if chosen.any() else float("nan")

    return {
        "num_pies": int(is_pie.sum()),
        "pie_fraction": float(is_pie.mean()),
        "top1_on_pies": top1(variant, is_pie),
        "top1_without_pies": top1(variant, ~is_pie),
        "reference_top1_mean": top1(reference, np.full_like(is_pie, True)),
        "reference_top1_on_pies": top1(reference, is_pie),
        "reference_top1_without_pies": top1(reference, ~is_pie),
    }


def _pie_table(variant_id: str, reference: Array, variant: Array, labels: Array) -> pd.DataFrame:
    before, after = _counts(reference), _counts(variant)
    p_value = permutation_test(reference, variant, num_classes=NUM_CLASSES, rng=np.random.default_rng(0)).p_value
    q_value = benjamini_hochberg(p_value)
    return pd.DataFrame(
        {
            "evaluation_set": "test",
            "variant_id": variant_id,
            "example_id": np.arange(len(labels)),
            "key": [f"digits[{1000 + row}]" for row in range(len(labels))],
            "label": labels,
            "reference_mode": before.argmax(axis=1),
            "variant_mode": after.argmax(axis=1),
            "reference_agreement": before.max(axis=1) / len(reference),
            "variant_agreement": after.max(axis=1) / len(variant),
            "taxicab": np.abs(before - after).sum(axis=1),
            "is_pie": before.argmax(axis=1) != after.argmax(axis=1),
            "p_value": p_value,
            "q_value": q_value,
            "is_significant": q_value <= 0.05,
        }
    )


def _class_table(variant_id: str, reference: Array, variant: Array, labels: Array) -> pd.DataFrame:
    before, after = (
        np.stack([(predictions == labels)[:, labels == index].mean(axis=1) for index in range(NUM_CLASSES)])
        for predictions in (reference, variant)
    )
    change = after.mean(axis=1) - before.mean(axis=1)
    normalised = change - ((variant == labels).mean() - (reference == labels).mean())
    return pd.DataFrame(
        {
            "evaluation_set": "test",
            "variant_id": variant_id,
            "class_index": np.arange(NUM_CLASSES),
            "class_name": CLASS_NAMES,
            "num_examples": np.bincount(labels),
            "reference_recall": before.mean(axis=1),
            "variant_recall": after.mean(axis=1),
            "change": change,
            "normalised_change": normalised,
            "statistic": 0.0,
            "p_value": np.where(np.abs(normalised) > 0.015, 0.001, 0.4),
            "significant": np.abs(normalised) > 0.015,
        }
    )


def gray_png(pixels: Array) -> bytes:
    """A grayscale PNG, without an imaging library."""
    rows = np.clip(pixels, 0, 255).astype(np.uint8)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 8, 0, 0, 0, 0)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
