"""Tables of robustness for the tests: accuracies of members are drawn, and summarised as an analysis does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

FAMILIES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
COSTS = {"dense": 0.0, "magnitude-0.50": 0.002, "magnitude-0.70": 0.008, "magnitude-0.90": 0.03, "static_int8": 0.001}
"""What a variant loses on clean images; it loses several times that where they are corrupted."""

NATURAL = {"natural/imagenet_a": 0.07, "natural/imagenet_r": 0.35}

Array = npt.NDArray[np.float64]


def robustness_tables(
    costs: dict[str, float] | None = None,
    families: dict[str, tuple[str, ...]] | None = None,
    severities: tuple[int, ...] = (1, 2, 3, 4, 5),
    natural: dict[str, float] | None = None,
    num_members: int = 10,
) -> dict[str, pd.DataFrame]:
    """`robustness` and `corruption_errors` of populations whose members' accuracies are drawn."""
    rng = np.random.default_rng(0)
    costs, families = COSTS if costs is None else costs, FAMILIES if families is None else families
    clean = {variant_id: rng.normal(0.94 - cost, 0.003, num_members) for variant_id, cost in costs.items()}
    rows, top1 = [], {}
    for family, corruptions in families.items():
        for corruption in corruptions:
            depth = rng.uniform(0.05, 0.6)
            lever = rng.uniform(1, 6)
            for severity in severities:
                name = f"corruption/{corruption}/{severity}"
                top1[name] = {
                    variant_id: clean[variant_id]
                    - depth * (severity / 5) ** 1.3
                    - cost * lever * severity / 5
                    + rng.normal(0, 0.008, num_members)
                    for variant_id, cost in costs.items()
                }
                about = {"kind": "corruption", "family": family, "corruption": corruption, "severity": float(severity)}
                rows += [_row(name, variant_id, clean, top1[name], rng) | about for variant_id in costs]
    for name, level in (NATURAL if natural is None else natural).items():
        found = {key: level * (1 - 4 * cost) + rng.normal(0, 0.006, num_members) for key, cost in costs.items()}
        about = {"kind": "natural", "family": "", "corruption": "", "severity": np.nan}
        rows += [_row(name, variant_id, clean, found, rng) | about | _NO_CLEAN_PIES for variant_id in costs]
    robustness = pd.DataFrame(rows)
    if len(robustness):
        robustness["q_value"] = _benjamini_hochberg(robustness["p_value"].to_numpy())
        robustness["is_significant"] = robustness["q_value"] <= 0.05
    return {"robustness": robustness, "corruption_errors": _errors(robustness, costs)}


_NO_CLEAN_PIES = dict.fromkeys(
    [
        "num_clean_pies",
        *(f"{who}top1_{where}_clean_pies" for who in ("", "reference_") for where in ("on", "without")),
        *(f"{who}break_{where}" for who in ("", "reference_") for where in ("on_clean_pies", "elsewhere")),
    ],
    np.nan,
)


def _row(
    name: str, variant_id: str, clean: dict[str, Array], top1: dict[str, Array], rng: np.random.Generator
) -> dict[str, object]:
    mine, dense, own_clean, dense_clean = top1[variant_id], top1["dense"], clean[variant_id], clean["dense"]
    drops, dense_drops = own_clean - mine, dense_clean - dense
    is_reference = variant_id == "dense"
    is_tested = not is_reference and len(mine) > 1
    statistic, p_value = stats.ttest_ind(drops, dense_drops, equal_var=False) if is_tested else (np.nan, np.nan)
    drop, dense_drop = drops.mean(), dense_drops.mean()
    reach = _half_width(drops) + _half_width(dense_drops)
    return {
        "evaluation_set": name,
        "variant_id": variant_id,
        "sparsity": 0.0,
        "quantization": None,
        "is_paired": False,
        "num_members": len(mine),
        "num_examples": 10_000,
        "top1_mean": mine.mean(),
        "top1_std": mine.std(ddof=1) if len(mine) > 1 else np.nan,
        "top1_low": mine.mean() - _half_width(mine),
        "top1_high": mine.mean() + _half_width(mine),
        "top5_mean": 0.99,
        "reference_top1_mean": dense.mean(),
        "clean_top1_mean": own_clean.mean(),
        "reference_clean_top1_mean": dense_clean.mean(),
        "drop": drop,
        "drop_low": drop - _half_width(drops),
        "drop_high": drop + _half_width(drops),
        "reference_drop": dense_drop,
        "excess_drop": drop - dense_drop,
        "excess_low": drop - dense_drop - reach,
        "excess_high": drop - dense_drop + reach,
        "drop_ratio": drop / dense_drop if dense_drop > 0 else np.nan,
        "change": (mine.mean() - dense.mean()) / dense.mean(),
        "change_low": (mine.mean() - dense.mean() - reach) / dense.mean(),
        "change_high": (mine.mean() - dense.mean() + reach) / dense.mean(),
        "clean_change": (own_clean.mean() - dense_clean.mean()) / dense_clean.mean(),
        "statistic": statistic,
        "p_value": p_value,
        "q_value": np.nan,
        "is_significant": False,
        **(_NO_PIES if is_reference else _pie_columns(mine.mean(), dense.mean(), rng)),
    }


def _pie_columns(top1: float, dense: float, rng: np.random.Generator) -> dict[str, float]:
    share, clean_share = 0.05 + 0.4 * (1 - dense), 0.03
    broken = min(0.95, 1.05 - top1)
    return {
        "num_pies": round(10_000 * share),
        "pie_fraction": share,
        "half_pie_fraction": 1.2 * share,
        "null_pie_fraction": 0.8 * share,
        "null_pie_std": 0.004,
        "top1_on_pies": 0.5 * top1,
        "top1_without_pies": min(1.0, 1.05 * top1),
        "reference_top1_on_pies": 0.6 * dense,
        "reference_top1_without_pies": min(1.0, 1.05 * dense),
        "num_clean_pies": round(10_000 * clean_share),
        "top1_on_clean_pies": 0.45 * top1,
        "top1_without_clean_pies": min(1.0, 1.02 * top1),
        "reference_top1_on_clean_pies": 0.55 * dense,
        "reference_top1_without_clean_pies": min(1.0, 1.02 * dense),
        "break_on_clean_pies": min(1.0, 1.6 * broken + rng.normal(0, 0.01)),
        "break_elsewhere": broken,
        "reference_break_on_clean_pies": min(1.0, 1.5 * min(0.95, 1.05 - dense)),
        "reference_break_elsewhere": min(0.95, 1.05 - dense),
    }


_NO_PIES: dict[str, float] = dict.fromkeys(_pie_columns(0.9, 0.9, np.random.default_rng(0)), np.nan)


def _half_width(values: Array) -> float:
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def _benjamini_hochberg(p_values: Array) -> Array:
    q_values = np.full(len(p_values), np.nan)
    known = ~np.isnan(p_values)
    if known.any():
        q_values[known] = stats.false_discovery_control(p_values[known])
    return q_values


def _errors(robustness: pd.DataFrame, variants: dict[str, float]) -> pd.DataFrame:
    if not len(robustness):
        return pd.DataFrame()
    corrupted = robustness[robustness["kind"] == "corruption"]
    common = corrupted[corrupted["family"] != "extra"]
    levels = [("all", "", corrupted), ("common", "", common)]
    for level in ("family", "corruption", "severity"):
        levels += [(level, str(name), part) for name, part in corrupted.groupby(level)]
    return pd.DataFrame(
        [
            _error_row(variant_id, level, name, part)
            for variant_id in variants
            for level, name, part in levels
            if len(part)
        ]
    )


def _error_row(variant_id: str, level: str, name: str, part: pd.DataFrame) -> dict[str, object]:
    mine = part[part["variant_id"] == variant_id]
    error, dense_error = 1 - mine["top1_mean"], 1 - mine["reference_top1_mean"]
    sums = pd.DataFrame(
        {
            "corruption": mine["corruption"],
            "error": error,
            "dense_error": dense_error,
            "rise": mine["drop"],
            "dense_rise": mine["reference_drop"],
        }
    )
    sums = sums.groupby("corruption").sum()
    mce = (sums["error"] / sums["dense_error"]).mean()
    relative = (sums["rise"] / sums["dense_rise"]).mean()
    reach = (mine["top1_high"] - mine["top1_mean"]).mean()
    return {
        "evaluation_set": "corruption",
        "variant_id": variant_id,
        "level": level,
        "name": name,
        "num_sets": len(mine),
        "error_mean": error.mean(),
        "error_low": error.mean() - reach,
        "error_high": error.mean() + reach,
        "reference_error_mean": dense_error.mean(),
        "mce": mce,
        "mce_low": mce - 2 * reach,
        "mce_high": mce + 2 * reach,
        "relative_mce": relative,
        "relative_mce_low": relative - 3 * reach,
        "relative_mce_high": relative + 3 * reach,
        "drop_mean": mine["drop"].mean(),
        "drop_low": mine["drop"].mean() - reach,
        "drop_high": mine["drop"].mean() + reach,
        "num_significant": int(mine["is_significant"].sum()),
    }
