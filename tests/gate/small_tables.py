"""Result tables of four members a variant, small enough to check by hand: `pruned`, and `int8` derived from `dense`."""

from __future__ import annotations

import numpy as np
import pandas as pd

VARIANTS = ("pruned", "int8")
SETS = ("corruption/fog/1", "corruption/fog/3", "natural/phone")
TOP1 = {"dense": (0.90, 0.92, 0.90, 0.92), "pruned": (0.86, 0.88, 0.86, 0.88), "int8": (0.90, 0.92, 0.89, 0.92)}
"""Of the members on `test`."""


def small_tables() -> dict[str, pd.DataFrame]:
    """Every table that the gate reads, fresh, to be changed by a test."""
    return {
        "summary": pd.DataFrame([summary_row(name) for name in TOP1]),
        "accuracy": accuracy_table(),
        "pies": pies_table(),
        "classes": classes_table(),
        "pairs": pairs_table(),
        "groups": groups_table(),
        "gaps": pd.DataFrame(
            [of(name, reference_worst="x", variant_worst="y", reference_gap=0.02, variant_gap=gap, change=gap - 0.02,
                low=gap - 0.03, high=gap - 0.01) for name, gap in zip(VARIANTS, (0.06, 0.03), strict=True)]
        ),
        "attributes": pd.DataFrame(
            [of(name, attribute="smiling", reference_accuracy=0.9, accuracy=accuracy)
             for name, accuracy in zip(VARIANTS, (0.84, 0.89), strict=True)]
        ),
        "costs": costs_table(),
        "robustness": robustness_table(),
        "corruption_errors": pd.DataFrame(
            [of(name, "corruption", level=level, num_sets=2, reference_error_mean=0.3, error_mean=0.3 * mce, mce=mce,
                mce_low=mce - 0.02, mce_high=mce + 0.02)
             for name, mce in (("pruned", 1.1), ("int8", 1.01)) for level in ("all", "common")]
        ),
    }  # fmt: skip


def of(variant_id, evaluation_set="test", **columns):
    return {"evaluation_set": evaluation_set, "variant_id": variant_id, **columns}


def summary_row(name):
    shared = of(
        name, num_members=4, num_examples=100, num_answers=100, is_paired=name == "int8", top1_mean=np.mean(TOP1[name]),
        null_pie_fraction=0.02, null_cie_mean=0.03, null_cie_u_mean=0.01, ece_mean=0.02, ece_std=0.004,
        checkpoint_bytes_mean=4000.0, achieved_sparsity_mean=0.0,
    )  # fmt: skip
    if name == "pruned":
        found = {"num_significant_pies": 6.0, "num_testable": 8.0, "half_pie_fraction": 0.06, "ece_mean": 0.05}
        return shared | found | {"achieved_sparsity_mean": 0.9}
    if name == "int8":
        found = {"num_significant_pies": 0.0, "num_testable": 0.0, "half_pie_fraction": 0.02, "ece_mean": 0.021}
        return shared | found | {"checkpoint_bytes_mean": 1200.0}
    return shared


def accuracy_table():
    lower = {"test": 0.0, "corruption/fog/1": 0.1, "corruption/fog/3": 0.3, "natural/phone": 0.2}
    rows = [
        of(name, evaluation_set, seed=seed, top1=top1 - less)
        for evaluation_set, less in lower.items()
        for name, members in TOP1.items()
        for seed, top1 in enumerate(members)
    ]
    return pd.DataFrame(rows)


def pies_table():
    keys = ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png", "only_a_pie.png"]
    significant = [True] * 6 + [False]
    return pd.DataFrame(
        [of("pruned", example_id=i, key=key, is_pie=True, is_significant=significant[i]) for i, key in enumerate(keys)]
    )


def classes_table():
    """The interval is of the change less the overall one: -.04 of the pruned variant's."""
    rows = [
        of("pruned", class_name="cat", num_examples=50, reference_recall=0.9, variant_recall=0.80, change=-0.10,
           normalised_change=-0.06, low=-0.09, high=-0.03, significant=True, discovered=False),
        of("pruned", class_name="dog", num_examples=40, reference_recall=0.9, variant_recall=0.82, change=-0.08,
           normalised_change=-0.04, low=-0.10, high=0.02, significant=False, discovered=False),
        of("pruned", class_name="fox", num_examples=10, reference_recall=0.9, variant_recall=0.40, change=-0.50,
           normalised_change=-0.46, low=-0.80, high=-0.12, significant=True, discovered=True),
        of("int8", class_name="cat", num_examples=50, reference_recall=0.9, variant_recall=0.89, change=-0.01,
           normalised_change=-0.01, low=-0.02, high=0.0, significant=False, discovered=False),
    ]  # fmt: skip
    return pd.DataFrame(rows)


def pairs_table():
    fractions = {"pruned": (0.08, 0.10, 0.08, 0.10), "int8": (0.01, 0.01, 0.01, 0.01)}
    return pd.DataFrame(
        [of(name, seed=seed, cie_fraction=share, cie_u_fraction=share / 2)
         for name, shares in fractions.items() for seed, share in enumerate(shares)]
    )  # fmt: skip


def groups_table():
    rows = [("x", 60, 0.10, 0.12, 0.0, 0.04), ("y", 40, 0.08, 0.18, 0.05, 0.15), ("tiny", 5, 0.0, 0.6, 0.2, 1.0)]
    table = [
        of("pruned", group=group, rate=rate, num_examples=count, reference=before, variant=after, change=after - before,
           low=low, high=high)
        for rate in ("error", "false_positive") for group, count, before, after, low, high in rows
    ]  # fmt: skip
    table.append(of("int8", group="x", rate="error", num_examples=60, reference=0.1, variant=0.11, change=0.01,
                    low=0.0, high=0.02))  # fmt: skip
    return pd.DataFrame(table)


def costs_table():
    """Of the pruned variant zeros that zstd finds, and no other latency; int8 is half as large, and as fast again."""
    rows = (("dense", 1.0, 1.0), ("pruned", 0.3, 0.98), ("int8", 0.25, 2.0))
    return pd.DataFrame(
        [{"variant_id": name, "compressed_bytes": 4000 * share, "relative_compressed_bytes": share, "num_threads": 1,
          "latency_ms_batch_1": 8 / speedup, "reference_latency_ms_batch_1": 8.0, "speedup_batch_1": speedup}
         for name, share, speedup in rows]
    )  # fmt: skip


def robustness_table():
    excess = {"dense": (0.0,) * 3, "pruned": (0.01, 0.05, 0.02), "int8": (0.0, 0.01, 0.005)}
    rows = [
        of(name, evaluation_set, kind=evaluation_set.partition("/")[0], num_members=4, reference_drop=0.1,
           drop=0.1 + value, excess_drop=value, excess_low=value - 0.02, excess_high=value + 0.02)
        for name, values in excess.items() for evaluation_set, value in zip(SETS, values, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)
