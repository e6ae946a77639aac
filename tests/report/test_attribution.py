"""The page's section on attribution maps: what it says of which rows, and its figures."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pie_ray.report import figures
from pie_ray.report.attribution import attribution_section

from .everything import attribution_rows

TABLE = pd.DataFrame([*attribution_rows("dense", 0), *attribution_rows("static_int8", 0.1)])


def test_every_method_has_a_figure_of_reference_and_variants():
    panels = figures.attribution_panels(TABLE)
    assert [panel.title for panel in panels] == ["Grad-CAM", "Integrated gradients"]
    for panel in panels:
        assert "dense" in panel.svg and "static_int8" in panel.svg and panel.unit == "rank correlation of maps"
    assert figures.attribution(TABLE).startswith(b"\x89PNG")


def test_rows_tell_both_similarities_pies_and_the_ratio():
    html = attribution_section(TABLE, ["<figure></figure>"])
    line = html.split("static_int8</th>")[1].split("</tr>")[0]
    assert "Grad-CAM <small>rounded weights</small>" in line
    assert line.count("0.70 <small>0.60 to 0.80</small>") == 2
    assert "<b>1.20 <small>1.05 to 1.40</small></b>" in line and "0.40, 0.75" in line
    assert "3 <small>of 1,200</small>" in line
    assert "Rounding has no gradient" in html and "The row <i>dense</i>" in html


def test_what_nobody_has_is_left_out():
    table = TABLE.assign(is_float_of_rounded=False, num_undefined=0, num_pies=0, dissimilarity_ratio=np.nan)
    html = attribution_section(table[table["variant_id"] != "dense"], [])
    for text in ("Rounding", "Undefined", "PIEs, rest", "Plain / preserving", "The row <i>", "places here"):
        assert text not in html


def test_an_interval_that_reaches_1_is_not_stressed():
    assert "<b>1.20" not in attribution_section(TABLE.assign(dissimilarity_ratio_low=0.9), [])


def test_coarse_maps_are_named():
    table = TABLE.assign(num_positions=np.where(TABLE["method"] == "grad_cam", 4, 64))
    assert "Maps of Grad-CAM have 4 places here" in attribution_section(table, [])


def test_without_variants_there_is_no_section():
    assert attribution_section(TABLE[TABLE["variant_id"] == "dense"], []) == ""
    assert attribution_section(pd.DataFrame(), []) == attribution_section(None, []) == ""
    assert figures.attribution_panels(None) == []
