"""What the page says of corrupted and natural images."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from pie_ray.analysis.tables import TABLES
from pie_ray.report import figures, panels, robustness, robustness_panels, robustness_section
from pie_ray.report.page import render_report
from pie_ray.report.samples import sample_grid

from .corrupted import COSTS, FAMILIES, robustness_tables
from .study import CLASS_NAMES, Study
from .test_figures import text_of as text_of_svg
from .test_figures import width_of
from .test_page import Page

Tables = dict[str, pd.DataFrame]
TWENTY = {"dense": 0.0} | {f"global_magnitude-0.{level}+static_int8": level / 4000 for level in range(50, 90, 2)}


FEW = {"noise": ("gaussian_noise", "shot_noise"), "extra": ("spatter",)}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return robustness_tables()


@pytest.fixture(scope="module")
def twenty() -> Tables:
    return robustness_tables(TWENTY, severities=(1, 5), natural={})


def section_of(tables: Tables, **changes: Any) -> str:
    return robustness_section.robustness_section(tables.get("robustness"), tables.get("corruption_errors"), **changes)


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def render(study: Study, tables: Tables, samples: bytes | None = None) -> str:
    return render_report(
        title="digits",
        tables=dict.fromkeys(TABLES, pd.DataFrame()) | study.tables | tables,
        class_names=CLASS_NAMES,
        thumbnails={},
        notes=[],
        provenance={},
        samples=samples,
    )


def of_variant(table: pd.DataFrame, variant_id: str, **values: object) -> pd.DataFrame:
    chosen = table[table["variant_id"] == variant_id]
    for column, value in values.items():
        chosen = chosen[chosen[column] == value]
    return chosen


def common(table: pd.DataFrame, variant_id: str) -> pd.DataFrame:
    return of_variant(table, variant_id, kind="corruption").query("family != 'extra'")


# ------------------------------------------------------------------------------------------------------- finding


def test_the_finding_is_about_the_variant_with_the_largest_mce(tables: Tables) -> None:
    mine = common(tables["robustness"], "magnitude-0.90")
    errors = of_variant(tables["corruption_errors"], "magnitude-0.90", level="common").iloc[0]
    num_more = (mine["is_significant"] & (mine["excess_drop"] > 0)).sum()
    text = text_of(section_of(tables))
    assert (
        f"On corrupted images magnitude-0.90 networks reach {100 * mine['top1_mean'].mean():.1f} % top-1 against "
        f"{100 * mine['reference_top1_mean'].mean():.1f} % of the uncompressed ones (mCE {errors['mce']:.3f} , where 1 "
        f"is as robust as they are), and in {num_more} of 75 sets"
    ) in text
    assert num_more > 10


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (
            (0.6, 0.3, 0.5, 0.2),
            "set break first: of those that they answer rightly there, corruption turns 60 % wrong, of other images "
            "30 %; in the uncompressed networks as well (50 % against 20 %): such images are hard to begin with",
        ),
        ((0.6, 0.3, 0.2, 0.2), "in the uncompressed networks it is otherwise (20 % against 20 %)."),
        ((0.301, 0.3, 0.3, 0.302), "break no sooner than other images: of those"),
        ((0.1, 0.3, 0.1, 0.3), "do not break first: of those"),
        ((0.1, 0.3, 0.1, 0.4), "of other images 30 %; nor do they in the uncompressed networks (10 % against 40 %)."),
        ((0.6, 0.3, np.nan, np.nan), "of other images 30 %."),
    ],
)
def test_whether_clean_pies_break_first_is_said_of_both_populations(
    tables: Tables, shares: tuple[float, ...], said: str
) -> None:
    names = ["break_on_clean_pies", "break_elsewhere", "reference_break_on_clean_pies", "reference_break_elsewhere"]
    changed = tables["robustness"].assign(**dict(zip(names, shares, strict=True)))
    assert said in text_of(section_of(tables | {"robustness": changed})).replace(" ,", ",")


def test_unknown_breaks_are_not_told(tables: Tables) -> None:
    changed = tables["robustness"].assign(break_on_clean_pies=np.nan)
    assert "The PIEs of the clean set" not in text_of(section_of(tables | {"robustness": changed}))


def test_without_the_table_of_errors_the_lowest_top1_is_told_of() -> None:
    text = text_of(section_of({"robustness": robustness_tables(families=FEW)["robustness"]}))
    assert "On corrupted images magnitude-0.90 networks reach" in text and "mCE 1" not in text


# -------------------------------------------------------------------------------------------------------- tables


def test_every_variant_has_its_figures_over_the_common_corruptions(tables: Tables) -> None:
    text = text_of(section_of(tables))
    assert "Means over 75 sets of 15 common corruptions." in text
    for variant_id in COSTS:
        row = of_variant(tables["corruption_errors"], variant_id, level="common").iloc[0]
        mine = common(tables["robustness"], variant_id)
        cells = (
            f"{variant_id} {100 * row['error_mean']:.1f} % {100 * row['error_low']:.1f} to "
            f"{100 * row['error_high']:.1f} {row['mce']:.3f} {row['mce_low']:.3f} to {row['mce_high']:.3f} "
            f"{row['relative_mce']:.3f} {row['relative_mce_low']:.3f} to {row['relative_mce_high']:.3f} "
            f"{100 * row['drop_mean']:.1f} {100 * row['drop_low']:.1f} to {100 * row['drop_high']:.1f} "
        )
        assert cells in text
        if variant_id != "dense":
            num_more = (mine["is_significant"] & (mine["excess_drop"] > 0)).sum()
            assert f"{cells}{100 * mine['excess_drop'].mean():+.1f} {num_more} of 75" in text
        else:
            assert f"{cells}– –" in text


def test_sets_that_lose_significantly_less_are_counted_apart(tables: Tables) -> None:
    table = tables["robustness"].copy()
    chosen = (table["variant_id"] == "static_int8") & (table["corruption"] == "fog")
    table.loc[chosen, ["excess_drop", "q_value"]] = [-0.01, 0.001]
    table.loc[(table["variant_id"] == "static_int8") & ~chosen, "q_value"] = 0.5
    assert "0 of 75, 5 less" in text_of(section_of(tables | {"robustness": table}))


def test_without_common_corruptions_the_extra_ones_are_told_of() -> None:
    extra = robustness_tables(families={"extra": ("spatter", "saturate")}, severities=(3,), natural={})
    text = text_of(section_of(extra))
    assert "Means over 2 sets of 2 corruptions." in text and "Natural images" not in text
    assert f"{of_variant(extra['corruption_errors'], 'static_int8', level='all')['mce'].iloc[0]:.3f}" in text


def test_natural_sets_show_their_change_beside_the_clean_one(tables: Tables) -> None:
    row = of_variant(tables["robustness"], "magnitude-0.90", evaluation_set="natural/imagenet_a").iloc[0]
    text = text_of(section_of(tables))
    expected = (
        f"imagenet_a magnitude-0.90 10,000 {100 * row['top1_mean']:.2f} % ± {100 * row['top1_std']:.2f} "
        f"{100 * row['drop']:.1f} {100 * row['drop_low']:.1f} to {100 * row['drop_high']:.1f} "
        f"{100 * row['change']:+.1f} % {100 * row['change_low']:+.1f} to {100 * row['change_high']:+.1f} "
        f"{100 * row['clean_change']:+.1f} % "
    ).replace("-", "−")
    assert expected.replace("magnitude−0.90", "magnitude-0.90") in text


def test_natural_sets_alone_make_a_section(study: Study) -> None:
    natural = robustness_tables(families={}, natural={"natural/<b>odd</b>": 0.3})
    worst = natural["robustness"].sort_values("change").iloc[0]
    html = render(study, natural)
    text = Page(html).text
    assert f"{worst['variant_id']} networks reach {100 * worst['top1_mean']:.1f} % top-1 on <b>odd</b> against" in text
    assert "<b>odd" not in html and "By corruption" not in text and "mCE" not in text
    assert (
        robustness_section.robustness_section(natural["robustness"].query("variant_id == 'dense'"), None).count("<tr")
        == 2
    )


def test_the_reduced_evaluation_is_a_mean_over_sets(tables: Tables) -> None:
    mine = common(tables["robustness"], "magnitude-0.70")
    text = text_of(section_of(tables))
    for column in ("top1_on_pies", "top1_without_pies", "top1_on_clean_pies", "top1_without_clean_pies"):
        before, after = 100 * mine[f"reference_{column}"].mean(), 100 * mine[column].mean()
        assert f"{before:.1f} → {after:.1f} %" in text


# ------------------------------------------------------------------------------------------------------- figures


def drawn_heat_map(table: pd.DataFrame) -> tuple[dict[tuple[str, str], list[str]], dict[tuple[str, str], Any]]:
    """Texts and background of each cell by row's and column's name."""
    axes = Figure().subplots()
    robustness_panels.draw_heat_map(axes, robustness.corrupted_rows(table))
    lines = [label.get_text() for label in axes.get_yticklabels()]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    texts: dict[tuple[str, str], list[str]] = {}
    for text in axes.texts:
        column, position = text.get_position()
        texts.setdefault((lines[round(position - 0.01)], columns[column]), []).append(text.get_text())
    patches = {(lines[round(bar.get_y() + 0.5)], columns[round(bar.get_x())]): bar for bar in axes.patches}
    return texts, patches


def test_a_cell_holds_the_mean_change_and_a_dot_a_significant_severity(tables: Tables) -> None:
    texts, _ = drawn_heat_map(tables["robustness"])
    assert len(texts) == (1 + 19) * 4
    for variant_id in ("magnitude-0.90", "static_int8"):
        for corruption in ("shot_noise", "fog", "saturate"):
            mine = of_variant(tables["robustness"], variant_id, corruption=corruption)
            number, *dots = texts[corruption.replace("_", " "), variant_id]
            assert float(number.strip("±").replace("−", "-")) == pytest.approx(100 * mine["change"].mean(), abs=0.5001)
            assert "".join(dots) == "•" * mine["is_significant"].sum()
        clean = 100 * of_variant(tables["robustness"], variant_id, kind="corruption")["clean_change"].iloc[0]
        assert texts["clean set", variant_id] == [f"{clean:+.1f}".replace("-", "−")]


def test_colours_are_centred_at_zero(tables: Tables) -> None:
    table = tables["robustness"].assign(change=0.0, clean_change=0.0)
    for corruption, change in (("fog", -0.4), ("snow", 0.2), ("frost", -0.1)):
        table.loc[table["corruption"] == corruption, "change"] = change
    _, patches = drawn_heat_map(table)
    fog, snow, frost, zero = (patches[name, "static_int8"] for name in ("fog", "snow", "frost", "contrast"))
    assert to_hex(fog.get_facecolor()) == to_hex(frost.get_facecolor()) == panels.VARIANT
    assert to_hex(snow.get_facecolor()) == panels.REFERENCE
    assert snow.get_alpha() == pytest.approx(fog.get_alpha() / 2)
    assert frost.get_alpha() == pytest.approx(fog.get_alpha() / 4) and zero.get_alpha() == 0


def test_a_corruption_that_a_variant_lacks_is_an_empty_cell(tables: Tables) -> None:
    table = tables["robustness"]
    table = table[~((table["corruption"] == "fog") & (table["variant_id"] == "static_int8"))]
    texts, _ = drawn_heat_map(table)
    assert ("fog", "static_int8") not in texts and ("fog", "magnitude-0.90") in texts


def test_twenty_variants_and_nineteen_corruptions_are_all_named(twenty: Tables) -> None:
    panel = figures.robustness_panel(twenty["robustness"])
    assert panel is not None and panel.inches > 12
    shown = text_of_svg(panel.svg)
    assert all(name.replace("_", " ") in shown for names in FAMILIES.values() for name in names)
    assert all(panels.shorten(name, 28) in shown for name in TWENTY if name != "dense")
    # beyond eight columns a row is named at both ends
    assert shown.count("jpeg compression") == 2


def test_curves_are_means_over_a_familys_corruptions(tables: Tables) -> None:
    mine = of_variant(tables["robustness"], "magnitude-0.70", family="blur")
    curve = robustness_panels.severity_curve(mine.to_dict("records"))
    assert [point[0] for point in curve] == [0, 1, 2, 3, 4, 5]
    assert curve[0][1] == pytest.approx(100 * mine["clean_top1_mean"].mean()) and np.isnan(curve[0][2:]).all()
    expected = 100 * mine[mine["severity"] == 3][["top1_mean", "top1_low", "top1_high"]].mean()
    assert curve[3][1:] == pytest.approx(tuple(expected))
    excess = 100 * mine[mine["severity"] == 5][["excess_drop", "excess_low", "excess_high"]].mean()
    assert robustness_panels.excess_curve(mine.to_dict("records"))[-1] == pytest.approx((5, *excess))


def test_a_panel_a_family_and_one_of_what_is_lost_beyond_the_reference(tables: Tables) -> None:
    shown = figures.severity_panels(tables["robustness"])
    assert [panel.title for panel in shown] == ["noise", "blur", "weather", "digital", "extra", "drop beyond dense"]
    alone = tables["robustness"].query("variant_id == 'dense'")
    assert [panel.title for panel in figures.severity_panels(alone)] == list(FAMILIES)
    assert text_of_svg(shown[0].svg).split()[:6] == ["clean", "1", "2", "3", "4", "5"]
    assert text_of_svg(shown[-1].svg).split()[:5] == ["1", "2", "3", "4", "5"]


def test_of_many_variants_the_eight_that_do_worst_are_named(twenty: Tables) -> None:
    corrupted = twenty["robustness"].query("kind == 'corruption' and variant_id != 'dense'")
    worst = corrupted.groupby("variant_id")["top1_mean"].mean().sort_values().index[:8]
    names = [name for name, _, _ in figures.severity_legend(twenty["robustness"])]
    assert names[0] == "dense" and names[-1] == "the others" and set(names[1:-1]) == set(worst)
    looks = [look for name, *look in figures.severity_legend(twenty["robustness"]) if name in worst]
    assert len({tuple(look) for look in looks}) == 8


def test_the_legend_takes_its_colours_from_the_page(tables: Tables) -> None:
    legend = figures.severity_legend(tables["robustness"])
    assert legend[:2] == [("dense", "var(--reference)", False), ("magnitude-0.50", "var(--variant)", False)]
    assert [name for name, _, _ in legend] == list(COSTS)


def test_figures_of_robustness_are_png_as_wide_as_promised(study: Study, tables: Tables, twenty: Tables) -> None:
    empty = dict.fromkeys(TABLES, pd.DataFrame()) | study.tables
    for found in (tables, twenty):
        drawn = figures.all_figures(empty | found)
        assert width_of(drawn["robustness"]) == width_of(drawn["severity_curves"]) == 1400
    assert not {"robustness", "severity_curves"} & set(figures.all_figures(empty))
    older = {name: table for name, table in empty.items() if name not in tables}
    assert not {"robustness", "severity_curves"} & set(figures.all_figures(older))


# ---------------------------------------------------------------------------------------------------------- page


def test_the_section_is_left_out_without_rows(study: Study) -> None:
    empty = {"robustness": pd.DataFrame(), "corruption_errors": pd.DataFrame(), "fragility": pd.DataFrame()}
    assert section_of(empty) == section_of({}) == ""
    assert "<h2>Robustness</h2>" not in render(study, empty)


def test_the_page_asks_nothing_of_the_network(study: Study, tables: Tables) -> None:
    html = render(study, tables, sample_grid({("fog", 1): np.zeros((8, 8, 3), np.uint8)}))
    page = Page(html)
    without_pictures = re.sub(r"data:image/png;base64,[\w+/=]*", "data:", html)
    assert not re.search(r"https?:|//|@import|url\((?!data:|#)", without_pictures)
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    for title in ("Robustness", "By corruption", "By severity", "Natural images from elsewhere"):
        assert title in page.text
    assert "sample images by corruption and severity" in html and "nan" not in page.text.lower().split()


def test_what_people_wrote_is_escaped(study: Study) -> None:
    evil = '<script>alert("x")</script>'
    tables = robustness_tables({"dense": 0.0, evil: 0.05}, {evil: (evil,)}, natural={f"natural/{evil}": 0.2})
    html = render(study, tables)
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html


def test_one_member_the_reference_alone_and_one_severity_make_a_page(study: Study) -> None:
    alone = robustness_tables({"dense": 0.0}, FEW)
    text = Page(render(study, alone)).text
    assert "no compressed variant is complete yet" in text and "By corruption" not in text and "By severity" in text
    assert "The last panel" not in text
    for found in (robustness_tables(families=FEW, num_members=1), robustness_tables(families=FEW, severities=(3,))):
        assert not re.search(r"\bnan\b", Page(render(study, found)).text, re.IGNORECASE)


def test_what_was_not_measured_is_left_out(study: Study) -> None:
    """No clean set to be held against, and corruptions without a severity, as names of one's own may have."""
    unknown = ["clean_top1_mean", "clean_change", "excess_drop", "excess_low", "excess_high", "q_value", "p_value"]
    tables = robustness_tables(families=FEW)
    table = tables["robustness"].assign(**dict.fromkeys(unknown, np.nan), is_significant=False)
    text = Page(render(study, tables | {"robustness": table})).text
    assert "beyond chance. The PIEs" not in text and "By severity" in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    table = table.assign(severity=np.nan)
    text = Page(render(study, tables | {"robustness": table})).text
    assert "By severity" not in text and "By corruption" in text
    drawn = figures.all_figures(dict.fromkeys(TABLES, pd.DataFrame()) | study.tables | {"robustness": table})
    assert "robustness" in drawn and "severity_curves" not in drawn


# ------------------------------------------------------------------------------------------------------- samples


def opened(png: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGBA"))


def colours(sheet: np.ndarray[Any, np.dtype[np.uint8]]) -> dict[tuple[int, ...], int]:
    found, counts = np.unique(sheet.reshape(-1, 4), axis=0, return_counts=True)
    return {tuple(map(int, colour)): int(num) for colour, num in zip(found, counts, strict=True)}


def plain(height: int, width: int, colour: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((height, width, len(colour)), colour, np.uint8)


def test_pictures_stand_by_corruption_and_severity() -> None:
    shades = {("fog", 2): (10, 0, 0), ("fog", 1): (20, 0, 0), ("snow", 1): (30, 0, 0)}
    sheet = opened(sample_grid({key: plain(32, 32, colour) for key, colour in shades.items()}))
    boxes = {}
    for key, colour in shades.items():
        lines, columns = np.nonzero((sheet == (*colour, 255)).all(axis=2))
        boxes[key] = lines.min(), columns.min(), lines.max() + 1 - lines.min(), columns.max() + 1 - columns.min()
    assert {box[2:] for box in boxes.values()} == {(96, 96)}
    assert boxes["fog", 1][0] == boxes["fog", 2][0] < boxes["snow", 1][0]
    assert boxes["snow", 1][1] == boxes["fog", 1][1] < boxes["fog", 2][1]
    # what is missing stays empty
    top, left = boxes["snow", 1][0], boxes["fog", 2][1]
    assert not sheet[top : top + 96, left : left + 96].any()


def test_small_pictures_are_enlarged_without_smoothing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (28, 28, 1)).astype(np.uint8)
    sheet = opened(sample_grid({("fog", 1): picture}))
    tile = sheet[-100:-4, -100:-4]
    margin = (96 - 3 * 28) // 2
    inner = tile[margin:-margin, margin:-margin]
    assert np.array_equal(inner[..., 1], np.kron(picture[..., 0], np.ones((3, 3), np.uint8)))
    assert (inner[..., 3] == 255).all() and not tile[:margin].any()


def test_large_pictures_are_shrunk_and_keep_their_shape() -> None:
    counts = colours(opened(sample_grid({("fog", 1): plain(100, 200, (200, 10, 10))})))
    assert counts[200, 10, 10, 255] == 96 * 48


def test_the_clean_picture_opens_every_row() -> None:
    pictures = {(name, 1): plain(48, 48, (9, 9, 9)) for name in ("fog", "snow", "frost")}
    with_clean = opened(sample_grid(pictures | {("clean", 0): plain(48, 48, (1, 2, 3))}))
    assert colours(with_clean)[1, 2, 3, 255] == 3 * 96 * 96
    _, columns = np.nonzero((with_clean == (1, 2, 3, 255)).all(axis=2))
    _, corrupted = np.nonzero((with_clean == (9, 9, 9, 255)).all(axis=2))
    assert columns.max() < corrupted.min() and with_clean.shape[1] == opened(sample_grid(pictures)).shape[1] + 100


def test_of_many_corruptions_the_second_half_stands_beside_the_first() -> None:
    picture = plain(32, 32, (5, 5, 5))
    few, many = (
        opened(sample_grid({(f"corruption {index:02}", 1): picture for index in range(num)})) for num in (10, 19)
    )
    assert many.shape == (few.shape[0], 2 * few.shape[1], 4)
    assert colours(many)[5, 5, 5, 255] == 19 * 96 * 96


def test_no_corrupted_picture_is_an_error() -> None:
    with pytest.raises(ValueError, match="found none of a corruption"):
        sample_grid({("clean", 0): plain(8, 8, (0, 0, 0))})


def test_samples_are_shown_in_their_shape(tables: Tables) -> None:
    png = sample_grid({("fog", 1): plain(8, 8, (0, 0, 0))})
    height, width = opened(png).shape[:2]
    assert f"aspect-ratio:{width}/{height};" in section_of(tables, samples=png)
    assert "What the corruptions look like" not in section_of(tables)
