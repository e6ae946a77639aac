"""The site builds without a warning, all links lead somewhere, and what is generated is current."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.tools import reference
from tests.docs.blocks import ROOT

CONFIG = ROOT / "mkdocs.yml"


def build(folder: Path, config: Path = CONFIG) -> subprocess.CompletedProcess[str]:
    # Not --quiet, which hides the warnings from --strict as well.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder


@pytest.fixture
def copied(tmp_path) -> Path:
    """The repository with a copy of the documentation, to break."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(CONFIG, tmp_path)
    for entry in ROOT.iterdir():
        if not (tmp_path / entry.name).exists():
            (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


def test_nothing_of_the_site_comes_from_elsewhere(site):
    loaded = re.compile(
        r'(?:<script[^>]* src|<link[^>]* href|<img[^>]* src|@import|url\()[="\'(]+(?:https?:)?//[^"\')]+'
    )
    found = {
        match for page in [*site.rglob("*.html"), *site.rglob("*.css")] for match in loaded.findall(page.read_text())
    }
    assert not found


def test_files_of_the_repository_are_pages(site):
    page = (site / "cluster.html").read_text()
    assert 'href="repository/cluster.yaml.html"' in page
    assert "max_workers" in (site / "repository" / "cluster.yaml.html").read_text()


def test_no_markdown_is_left_in_the_pages(site):
    """Such as a block within a list that the site's Markdown does not see as one."""
    for page in site.glob("*.html"):
        text = re.sub(r"<(pre|code|script)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
        found = re.findall(r"```.*|^\|.*\|$|<p>[*-] .*|\*\*\w.*", text, flags=re.MULTILINE)
        assert not found, f"{page.name}: {found}"


def test_broken_links_and_lost_pages_are_refused(copied, tmp_path):
    broken = {
        "[x](nowhere.md)": "contains a link 'nowhere.md', but the target is not found",
        "[x](design.md#no-anchor)": "design.md' does not contain an anchor '#no-anchor'",
        "[x](../nowhere.yaml)": "contains a link '../nowhere.yaml', but the target is not found",
        "[x](../README.md#not-there)": "README.md' does not contain an anchor '#not-there'",
        "![x](images/missing.png)": "contains a link 'images/missing.png', but the target is not found",
    }
    with (copied / "docs" / "security.md").open("a") as page:
        page.write("\n" + "\n".join(broken) + "\n")
    (copied / "docs" / "lost.md").write_text("# Lost\n")
    done = build(tmp_path / "site", copied / "mkdocs.yml")
    assert done.returncode != 0
    for message in (*broken.values(), "lost.md"):
        assert message in done.stderr, done.stderr


# ------------------------------------------------------------------------------------------------- the reference


def test_the_reference_of_recipes_is_current():
    assert reference.RECIPE.read_text() == reference.recipe_page(), "run python docs/tools/reference.py"


def test_the_options_of_commands_are_current():
    text = reference.COMMANDS.read_text()
    assert text == reference.commands_page(text), "run python docs/tools/reference.py"


@pytest.mark.parametrize("command", reference.command_parsers())
def test_every_command_has_a_section_with_its_options(command):
    text = reference.COMMANDS.read_text()
    assert f"\n## {command}\n" in text
    assert f"<!-- options of {command} -->\n" in text


def test_every_field_of_a_recipe_is_described():
    fields = reference.RECIPE.read_text().split("\n| `")[1:]
    assert len(fields) > 80
    assert not [field.split("`")[0] for field in fields if re.match(r"[^\n]*\| +\|(\n|$)", field)]
