"""What the documentation tells people to type works: its blocks are run, page by page, from top to bottom.

Left out are those that a comment before them says to need a cloud or a GPU, and those that take long or need data, for
which the comment names the test that runs them on less.
"""

from __future__ import annotations

import argparse
import re
import shlex
from typing import Any

import pytest
import yaml

from docs.tools.reference import command_parsers
from pie_ray.config import Recipe
from pie_ray.gate import parse_policy
from pie_ray.recipe import embedded_recipe, parse_recipe
from tests.docs.blocks import PAGES, ROOT, Block, blocks_of

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
_PRINTED = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)
_INLINE = re.compile(r"`pie-ray ([^`]+)`")
_CLAIMS = re.compile(r"pie-ray ([a-z]+)|(?:examples|jobs)/(\w+)\.")


def _run_bash(block, place):
    place.run("bash", "-euo", "pipefail", "-c", block.text)


def _run_python(block, place):
    """A `print(...)  # text` prints that text."""
    printed = place.run("python", *([block.file_name] if block.file_name else ["-c", block.text])).splitlines()
    if expected := _PRINTED.findall(block.text):
        assert printed == expected


RUN = {"bash": _run_bash, "python": _run_python}


def _runnable(page):
    """The blocks to run; those of the list of commands only where no other page has the same."""
    blocks = [block for block in blocks_of(page) if block.marker is None and block.language in RUN]
    if page.stem == "commands":
        elsewhere = {block.text for block in BLOCKS if block.page != page and block.marker is None}
        blocks = [block for block in blocks if block.text not in elsewhere]
    return blocks


@pytest.mark.long
@pytest.mark.parametrize("page", [page for page in PAGES if _runnable(page)], ids=lambda page: page.stem)
def test_the_blocks_of_a_page_work(page, workshop, tmp_path):
    place = workshop.copy(tmp_path / "here")
    failures, runnable = [], _runnable(page)
    for block in blocks_of(page):
        if block.file_name is not None:
            (place.folder / block.file_name).write_text(block.text)
        if block in runnable:
            try:
                RUN[block.language](block, place)
            except AssertionError as error:
                failures.append(f"{block.place}\n{block.text}{error}")
    assert not failures, "\n\n".join(failures)


# ---------------------------------------------------------------------------------------- without running anything


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.marker], ids=lambda block: block.place)
def test_a_block_that_is_not_run_is_tested_where_it_says(block):
    texts = []
    for name in block.tests:
        assert (ROOT / name).is_file(), f"{block.place}: there is no {name}"
        texts.append((ROOT / name).read_text())
    if not texts:
        return
    for claim in {name for found in _CLAIMS.findall(block.text) for name in found if name}:
        assert any(re.search(rf"\b{claim}\b", text) for text in texts), (
            f"{block.place}: {claim} is not in {block.tests}"
        )


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "yaml"], ids=lambda block: block.place
)
def test_yaml_is_what_a_command_accepts(block):
    found = yaml.safe_load(block.text)
    if set(found) <= set(Recipe.model_fields):
        parse_recipe(yaml.safe_dump(yaml.safe_load(embedded_recipe()) | found))
    elif all(isinstance(value, dict) and "kind" in value for value in found.values()):
        parse_recipe(embedded_recipe(), [f"evaluation.suites={yaml.safe_dump(found, default_flow_style=True)}"])
    elif "limits" in found:
        parse_policy(block.text)
    elif "jobs" in found:
        _check_commands(block, _scripts(found))
    elif all("script" in job for job in found.values()):
        _check_commands(block, "\n".join(line for job in found.values() for line in job["script"]))
    else:
        pytest.fail(f"{block.place} is no recipe, no suites and no workflow")


def _scripts(workflow: dict[str, Any]) -> str:
    return "\n".join(step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "bash"], ids=lambda block: block.place
)
def test_commands_and_options_of_a_block_exist(block):
    _check_commands(block, block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_options_named_in_the_text_exist(page):
    for found in _INLINE.findall(page.read_text()):
        _check_arguments(page.name, shlex.split(found))


def _check_commands(block: Block, text: str) -> None:
    for line in text.replace("\\\n", " ").splitlines():
        if (found := re.match(r"(?:\S*/)?pie-ray (.*)", line.strip())) is not None:
            _check_arguments(block.place, shlex.split(found[1], comments=True))


def _check_arguments(place: str, arguments: list[str]) -> None:
    command, *others = arguments
    if command.isupper() or command.startswith("-"):
        return
    parsers: dict[str, argparse.ArgumentParser] = command_parsers()
    assert command in parsers, f"{place}: there is no command {command}"
    for argument in others:
        name = argument.split("=")[0]
        if name.startswith("--"):
            assert name in parsers[command]._option_string_actions, f"{place}: {command} has no option {name}"
