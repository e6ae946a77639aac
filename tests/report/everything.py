"""Tables with rows for every section of the page, for as many variants as a test asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pie_ray.analysis.tables import TABLES

from .corrupted import robustness_tables

SCORES = ("vote_entropy", "unconfidence", "unlikely_label", "entropy")


def every_table(
    variants: Sequence[str], num_classes: int = 10, class_name: str = "class {}"
) -> dict[str, pd.DataFrame]:
    """`variants` are compressed ones, the reference is added; each does a little worse than the one before."""
    rng = np.random.default_rng(0)
    costs = {"dense": 0.0} | {name: 0.05 * (place + 1) / len(variants) for place, name in enumerate(variants)}
    corrupted = robustness_tables(costs, {"noise": ("shot_noise",), "blur": ("motion_blur",)}, (1, 5))
    tables = {
        "costs": pd.DataFrame([cost_row(name, 1 - 10 * cost) for name, cost in costs.items()]),
        "summary": pd.DataFrame([summary_row(name, cost) for name, cost in costs.items()]),
        "pies": _of_each(variants, [_pie(example) for example in range(12)]),
        "classes": _of_each(variants, [_class(index, class_name, rng) for index in range(num_classes)]),
        "pairs": _of_each(variants, [{"seed": seed, "num_only_variant_right": 9, "q_value": 0.2} for seed in range(6)]),
        "foretelling": _of_each(variants, [foretelling_row(name) for name in SCORES]),
        "stability": _of_each(
            variants, [{"num_members": size, "jaccard_mean": size / 10, "jaccard_std": 0.05} for size in (2, 3)]
        ),
        "groups": _of_each(variants, [_group("dark"), _group("light")]),
        "gaps": _of_each(variants, [_GAP]),
        "evidence": _of_each(variants, [_EVIDENCE]),
        "preservation": _of_each(variants, [preservation_row(worst_class=class_name.format(1))]),
        "attribution": pd.DataFrame([row for name, cost in costs.items() for row in attribution_rows(name, cost)]),
        "fragility": _of_each(variants, [fragile(example, 4 - example % 4) for example in range(8)]),
    }
    return dict.fromkeys(TABLES, pd.DataFrame()) | tables | corrupted


def attribution_rows(variant_id: str, cost: float) -> list[dict[str, object]]:
    """Of both methods and similarities; a variant has a loss that keeps its maps."""
    shared = {
        "evaluation_set": "test",
        "variant_id": variant_id,
        "is_float_of_rounded": "int8" in variant_id,
        "num_members": 6,
        "num_examples": 200,
        "num_positions": 64,
        "num_undefined": 3,
        "mean": 0.8 - cost,
        "low": 0.7 - cost,
        "high": 0.9 - cost,
        "num_pies": 7,
        "mean_on_pies": 0.5 - cost,
        "mean_on_rest": 0.85 - cost,
        "dissimilarity_ratio": 1.2 if cost else float("nan"),
        "dissimilarity_ratio_low": 1.05,
        "dissimilarity_ratio_high": 1.4,
    }
    methods, similarities = ("grad_cam", "integrated_gradients"), ("cosine", "spearman")
    return [shared | {"method": method, "similarity": name} for method in methods for name in similarities]


def summary_row(variant_id: str, cost: float, **changes: object) -> dict[str, object]:
    """A cost above .01 is beyond chance."""
    is_reference = variant_id == "dense"
    row = {
        "evaluation_set": "test",
        "variant_id": variant_id,
        "sparsity": 10 * cost,
        "is_paired": False,
        "arithmetic": "native",
        "achieved_sparsity_mean": 10 * cost,
        "checkpoint_bytes_mean": 44_000.0,
        "num_members": 6,
        "num_examples": 4000,
        "num_answers": 4000,
        "top1_mean": 0.9 - cost,
        "top1_std": 0.004,
        "reference_top1_mean": 0.9,
        "top1_change": -cost,
        "top1_change_low": -cost - 0.01,
        "top1_change_high": -cost + 0.01,
        "ece_mean": 0.02,
        "null_pie_fraction": 0.04,
        "null_pie_std": 0.002,
        "null_cie_mean": 0.05,
        "num_pies": 0 if is_reference else round(4000 * (0.01 + cost)),
    }
    compared = {
        "pie_fraction": 0.01 + cost,
        "half_pie_fraction": 0.04 + cost / 2,
        "half_pie_std": 0.003,
        "num_testable": 300,
        "num_significant": 0,
        "num_significant_pies": 0,
        "smallest_p_value": 0.0022,
        "cie_mean": 0.06,
        "cie_std": 0.01,
        "cie_u_mean": 0.03,
        "cie_u_std": 0.01,
        **{f"{who}top1_{part}": 0.5 for who in ("", "reference_") for part in ("on_pies", "without_pies")},
    }
    return row | ({} if is_reference else compared) | changes


def preservation_row(**changes: object) -> dict[str, object]:
    """CIE-U 1.5 times as many without the loss, beyond chance; all else within it."""
    figures = {
        "cie_ratio": (1.25, 0.9, 1.6),
        "cie_u_ratio": (1.5, 1.1, 2.0),
        "top1_change": (0.0125, -0.01, 0.035),
        "class_spread_ratio": (np.inf, 0.0, np.inf),
        "worst_class_difference": (0.04, -0.02, 0.1),
    }
    row: dict[str, object] = {
        "plain_variant_id": "magnitude-0.95",
        "loss": "ce_kd4-softadapt",
        "plain_is_paired": True,
        "num_members": 6,
        "cie_mean": 0.08,
        "plain_cie_mean": 0.1,
        "cie_u_mean": 0.04,
        "plain_cie_u_mean": 0.06,
        "class_spread": 0.0,
        "plain_class_spread": 0.0321,
        "worst_class": "seven",
        "worst_class_change": -0.05,
        "plain_worst_class": "nine",
        "plain_worst_class_change": -0.09,
    }
    ends = {
        f"{name}{end}": value
        for name, values in figures.items()
        for end, value in zip(("", "_low", "_high"), values, strict=True)
    }
    return row | ends | changes


def cost_row(variant_id: str, size: float, speedup: float = 1.0, **changes: object) -> dict[str, object]:
    """Of a network that is left with a share of the reference's bytes, and was measured to be so many times as fast."""
    row: dict[str, object] = {
        "variant_id": variant_id,
        "num_members": 6,
        "num_parameters": 11_000.0,
        "num_nonzero": 11_000.0 * size,
        "checkpoint_bytes": 44_000.0,
        "compressed_bytes": 40_000.0 * size,
        "multiply_adds": 1_000_000.0,
        "multiply_adds_nonzero": 1_000_000.0 * size,
        "relative_checkpoint_bytes": 1.0,
        "relative_compressed_bytes": size,
        "latency_arithmetic": "native",
        "device": "cpu",
        "processor": "<b>fast</b>",
        "num_threads": 1,
        "measured_at": "2026-01-02T03:04:05+00:00",
    }
    for batch_size, milliseconds in ((1, 0.5), (128, 20.0)):
        row |= {
            f"latency_ms_batch_{batch_size}": milliseconds / speedup,
            f"latency_low_ms_batch_{batch_size}": 0.98 * milliseconds / speedup,
            f"latency_high_ms_batch_{batch_size}": 1.02 * milliseconds / speedup,
            f"reference_latency_ms_batch_{batch_size}": milliseconds,
            f"speedup_batch_{batch_size}": speedup,
            f"speedup_low_batch_{batch_size}": 0.98 * speedup,
            f"speedup_high_batch_{batch_size}": 1.02 * speedup,
            f"num_rounds_batch_{batch_size}": 9.0,
        }
    return row | changes


def foretelling_row(score: str) -> dict[str, object]:
    """Uncertain about PIEs; of scores that are minus a probability, minus one."""
    sign = -1 if score.startswith("un") else 1
    shares = {"pies": (0.6, 0.7, 0.8) if sign > 0 else (0.4, 0.5, 0.6), "rest": (0.1, 0.2, 0.3)}
    spread = {
        f"{name}_on_{where}": sign * value
        for where, values in shares.items()
        for name, value in zip(("q25", "median", "q75") if sign > 0 else ("q75", "median", "q25"), values, strict=True)
    }
    ranks = {"auroc": 0.9 if score == "unlikely_label" else 0.8 - 0.01 * len(score), "average_precision": 0.3}
    return {"score": score} | ranks | {f"recall_at_{share}_percent": 0.2 for share in (1, 5, 10)} | spread


def fragile(example_id: int, num_pie_sets: int, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "example_id": example_id,
        "key": f"images/{example_id}.png",
        "label": 1,
        "is_clean_pie": num_pie_sets == 4,
        "num_sets": 4,
        "num_pie_sets": num_pie_sets,
        "break_fraction": 0.75,
        "reference_break_fraction": 0.25,
        "first_break": 1.0,
        "reference_first_break": np.nan,
    }
    return row | changes


def _of_each(variants: Sequence[str], rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame([{"evaluation_set": "test", "variant_id": name} | row for name in variants for row in rows])


def _pie(example_id: int) -> dict[str, object]:
    return {
        "example_id": example_id,
        "key": f"images/{example_id}.png",
        "label": 1,
        "reference_mode": 1,
        "variant_mode": 2,
        "reference_agreement": 1.0,
        "variant_agreement": 0.5,
        "taxicab": 6,
        "is_pie": True,
        "p_value": 0.01,
        "q_value": 0.2,
        "is_significant": False,
    }


def _class(index: int, name: str, rng: np.random.Generator) -> dict[str, object]:
    change = float(rng.normal(scale=0.02))
    return {
        "class_index": index,
        "class_name": name.format(index),
        "num_examples": 400,
        "reference_recall": 0.9,
        "variant_recall": 0.9 + change,
        "change": change,
        "normalised_change": change,
        "low": change - 0.02,
        "high": change + 0.02,
        "p_value": 0.01 if abs(change) > 0.02 else 0.5,
        "significant": abs(change) > 0.02,
        "q_value": 0.04 if abs(change) > 0.025 else 0.6,
        "discovered": abs(change) > 0.025,
    }


def _group(name: str) -> dict[str, object]:
    return {
        "group": name, "rate": "error", "num_examples": 400, "is_small": False, "reference": 0.1, "variant": 0.15,
        "change": 0.05, "low": 0.01, "high": 0.09, "normalised_change": 0.5, "num_pies": 7,
    }  # fmt: skip


_GAP = {
    "reference_worst": "dark", "variant_worst": "dark", "reference_gap": 0.02, "variant_gap": 0.07, "change": 0.05,
    "low": 0.01, "high": 0.09,
}  # fmt: skip
_EVIDENCE = {
    "evidence": "label error", "mean_on_pies": 0.3, "mean_on_rest": 0.1, "auroc": 0.7, "p_value": 0.01, "num_pies": 40,
}  # fmt: skip
