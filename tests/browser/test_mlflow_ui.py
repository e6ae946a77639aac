"""MLflow's pages of a real sweep: a person who opens them finds the description, the variants and the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pie_ray.cli import main
from pie_ray.tracking import LocalServer, find_page, full_address
from tests.cluster.nodes import free_port
from tests.swept import sweep_here

from .conftest import Watched

VARIANTS = "variants=[{pruning: {kind: magnitude, sparsities: [0.5, 0.95]}}, {quantization: [static_int8]}]"
BEST = "execution.tracking={kind: mlflow, log_models: best}"

OWN_NOISE = ("ResizeObserver", "404 (Not Found)")
"""MLflow's own complaints: it asks for a user whom a server without logins does not know."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The sweep's page, on the server that `pie-ray ui` starts."""
    folder = tmp_path_factory.mktemp("mlflow_ui")
    results = sweep_here(folder, VARIANTS, BEST)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main(["track", results.storage.uri]) == 0
    uri = f"sqlite:///{folder}/results/mlflow.db"
    page = find_page(uri, "pie_ray", sweep_id=results.plan.sweep_id, name="tiny")
    assert page is not None
    with LocalServer(uri, port=free_port()) as server:
        yield full_address(server.address, page)


@pytest.fixture
def opened(watched: Watched, address: str) -> Iterator[Any]:
    """The sweep's page, with MLflow's assistant out of the way."""
    watched.page.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
    watched.page.goto(address)
    watched.page.get_by_text("Description", exact=True).wait_for(timeout=60_000)
    yield watched.page
    assert [text for text in watched.complaints if not any(noise in text for noise in OWN_NOISE)] == []


def follow(page: Any, name: str) -> Any:
    """The page that a link of the description opens, which is a new one."""
    with page.context.expect_page() as found:
        page.get_by_role("link", name=name, exact=True).click()
    return found.value


def test_the_parents_page_tells_what_the_sweep_is(opened: Any) -> None:
    opened.get_by_text("Show more").first.click()
    description = opened.get_by_text("is a population study by pie_ray").locator("xpath=..")
    description.wait_for()
    text = description.inner_text()
    assert "Complete. 8 of 8 members" in text and "changes most" in text
    rows = description.locator("table tbody tr")
    assert [row.locator("td").first.inner_text() for row in rows.all()] == [
        "dense", "magnitude-0.50", "magnitude-0.95", "static_int8",
    ]  # fmt: skip
    opened.get_by_text("by_sparsity/magnitude/top1").wait_for()
    opened.get_by_text("digits/train").first.wait_for()
    opened.get_by_role("link", name="static_int8").first.wait_for()


def test_the_curves_are_drawn_over_the_sparsity(opened: Any) -> None:
    opened.get_by_role("tab", name="Model metrics").click()
    opened.get_by_text("by_sparsity/magnitude").first.wait_for()
    opened.locator(".js-plotly-plot .scatterlayer .points path").nth(2).wait_for()


def test_the_table_of_variants_has_the_most_pies_first(opened: Any) -> None:
    table = follow(opened, "Variants as a table")
    cells = table.locator("[role=gridcell][col-id*=num_pies]")
    cells.nth(3).wait_for(timeout=60_000)
    texts = [cell.inner_text() for cell in cells.all()]
    assert texts[-1] == "-", "the reference has no PIEs"
    counts = [float(text) for text in texts[:-1]]
    assert len(counts) == 3 and counts == sorted(counts, reverse=True) and counts[0] > counts[-1]
    assert table.get_by_role("link", name="dense").count() == 1


def test_a_variant_has_its_members_below_it(opened: Any) -> None:
    opened.get_by_role("link", name="magnitude-0.50", exact=True).first.click()
    opened.get_by_role("link", name="magnitude-0.50/seed-1").wait_for()
    opened.get_by_text("50 % of the weights were pruned").wait_for()
    opened.get_by_text("top1_change", exact=True).first.wait_for()
    # the logged model
    opened.get_by_text("magnitude-0_50-seed-").first.wait_for()


def test_the_report_is_shown_among_the_artifacts(opened: Any) -> None:
    artifacts = follow(opened, "Report")
    complaints: list[str] = []
    artifacts.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    report = artifacts.frame_locator("iframe.mlflow-html-iframe, #html")
    report.get_by_role("heading", name="tiny").first.wait_for(timeout=60_000)
    report.get_by_text("magnitude-0.95").first.wait_for()
    for folder in ("figures", "tables", "recipe.yaml"):
        artifacts.get_by_text(folder, exact=True).wait_for()
    assert [text for text in complaints if not any(noise in text for noise in OWN_NOISE)] == []
