from __future__ import annotations

from pie_ray.store import paths


def test_names_that_people_and_tools_rely_on():
    assert [
        paths.RECIPE,
        paths.MANIFEST,
        paths.examples("corruption/fog/3"),
        paths.checkpoint("magnitude-0.90+static_int8", 7),
        paths.predictions("clean", "dense", 29),
        paths.member("dense", 29),
        paths.table("summary"),
        paths.figure("pies"),
        paths.REPORT,
        paths.driver("a1"),
        paths.training_state("magnitude-0.90", 7),
    ] == [
        "recipe.yaml",
        "manifest.json",
        "examples/corruption/fog/3.parquet",
        "checkpoints/magnitude-0.90+static_int8/7.safetensors",
        "predictions/clean/dense/29.parquet",
        "members/dense/29.json",
        "analysis/summary.parquet",
        "analysis/figures/pies.png",
        "report/index.html",
        "drivers/a1.json",
        "training/magnitude-0.90/7.state",
    ]
