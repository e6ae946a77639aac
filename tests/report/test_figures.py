"""Figures are drawn for whatever a partial or odd study hands in."""

from __future__ import annotations

import io
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pie_ray.report import figures

from .study import Study


def width_of(png: bytes) -> int:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        assert image.format == "PNG"
        return image.width


def parse(svg: str) -> ElementTree.Element:
    """The page holds the element bare, so its namespaces are put back here."""
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return ElementTree.fromstring(svg.replace("<svg", f"<svg {namespaces}", 1))


def text_of(svg: str) -> str:
    return " ".join(parse(svg).itertext())


def many_classes(num_classes: int) -> pd.DataFrame:
    change = np.random.default_rng(0).normal(size=num_classes) / 50
    change[2] = np.nan
    return pd.DataFrame(
        {
            "evaluation_set": "test",
            "variant_id": "magnitude-0.90",
            "class_index": np.arange(num_classes),
            "class_name": [f"class {index} of the many there are" for index in range(num_classes)],
            "normalised_change": change,
            "significant": np.abs(change) > 0.02,
        }
    )


def test_png_figures_are_as_wide_as_promised(study: Study) -> None:
    for png in (figures.accuracy_and_pies(study.summary), figures.reduced_accuracy(study.summary)):
        assert width_of(png) == 1400
    assert width_of(figures.class_impact(study.classes)) == 1400


def test_figures_name_every_variant(study: Study) -> None:
    for svg in (figures.accuracy_panel(study.summary).svg, figures.pies_panel(study.summary).svg):
        assert all(variant_id in text_of(svg) for variant_id in study.summary["variant_id"])
    assert "dense" not in text_of(figures.reduced_accuracy_panel(study.summary).svg)
    assert list(figures.class_impact_panels(study.classes)) == list(study.summary["variant_id"][1:])


def test_bars_carry_the_number_of_pies(study: Study) -> None:
    shown = text_of(figures.pies_panel(study.summary).svg).split()
    assert all(str(num_pies) in shown for num_pies in study.summary["num_pies"][1:])


def test_figures_take_their_colours_from_the_page(study: Study) -> None:
    svg = figures.accuracy_panel(study.summary).svg
    assert "currentColor" in svg and "var(--variant)" in svg and "var(--reference)" in svg
    assert "http" not in svg and "#d55e00" not in svg


def test_the_same_tables_draw_the_same_bytes(study: Study) -> None:
    assert figures.pies_panel(study.summary).svg == figures.pies_panel(study.summary).svg


@pytest.mark.parametrize(
    "columns", [["null_pie_fraction", "null_pie_std"], ["top1_std"], ["pie_fraction", "top1_on_pies"], ["top1_mean"]]
)
@pytest.mark.parametrize("absent", [False, True])
def test_what_was_not_measured_is_left_out(study: Study, columns: list[str], absent: bool) -> None:
    summary = study.summary.drop(columns=columns) if absent else study.summary.assign(**dict.fromkeys(columns, np.nan))
    assert width_of(figures.accuracy_and_pies(summary)) == 1400
    assert width_of(figures.reduced_accuracy(summary)) == 1400


def test_one_variant_the_reference_alone_or_nothing(study: Study) -> None:
    for summary in (study.summary.iloc[:2], study.summary.iloc[1:2], study.summary.iloc[:1], study.summary.iloc[:0]):
        assert width_of(figures.accuracy_and_pies(summary)) == 1400
        assert width_of(figures.reduced_accuracy(summary)) == 1400
    assert width_of(figures.class_impact(pd.DataFrame())) == 1400
    assert figures.class_impact_panels(pd.DataFrame()) == {}


def test_of_a_thousand_classes_the_thirty_that_moved_most_are_shown() -> None:
    classes = many_classes(1000)
    assert width_of(figures.class_impact(classes)) == 1400
    shown = text_of(figures.class_impact_panels(classes)["magnitude-0.90"].svg)
    ranked = classes["normalised_change"].abs().sort_values(ascending=False).index
    assert all(f"class {index} of" in shown for index in ranked[:30])
    assert f"class {ranked[31]} of" not in shown


def test_names_are_text_in_any_script() -> None:
    classes = many_classes(3).assign(normalised_change=0.0, class_name=["cost: $5$", "<b>&", "猫"])
    assert width_of(figures.class_impact(classes)) == 1400
    shown = text_of(figures.class_impact_panels(classes)["magnitude-0.90"].svg)
    assert "cost: $5$" in shown and "<b>&" in shown and "猫" in shown


def test_the_main_evaluation_set_is_drawn(study: Study) -> None:
    fog = study.summary.assign(evaluation_set="corruption/fog/3", num_pies=7777)
    assert "7,777" not in text_of(figures.pies_panel(pd.concat([fog, study.summary])).svg)
    assert "7,777" in text_of(figures.pies_panel(fog).svg)


@pytest.mark.parametrize("module", ["pie_ray.report.figures", "pie_ray.report.page"])
def test_importing_loads_no_matplotlib(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'matplotlib', 'mlflow', 'torch'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
