"""A hook of mkdocs: files of the repository that the documentation links to are pages of the site.

A page links to `../cluster.yaml` as it lies in the repository, so that it reads on a code host too. Here the link leads
to a page with that file, Markdown as it is and everything else as a listing. A link to nothing is left as it is, which
`mkdocs build --strict` refuses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = "docs"
FOLDER = "repository"
"""Where these pages lie in the site."""

IN_NAVIGATION = ("CONTRIBUTING.md", "CHANGELOG.md")
ALWAYS = ("README.md", *IN_NAVIGATION)
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
FENCE = re.compile(r"^ *(`{3,}).*?^ *\1`* *$", re.MULTILINE | re.DOTALL)
LANGUAGES = {".yaml": "yaml", ".py": "python", ".toml": "toml", ".txt": "text", ".json": "json"}
_SHOWN_AS_THEY_ARE = (".md", ".png", ".svg")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    pending = [f"{DOCS}/{file.src_uri}" for file in files.documentation_pages()] + list(ALWAYS)
    seen: set[str] = set()
    while pending:
        if (path := pending.pop()) in seen:
            continue
        seen.add(path)
        if _is_ours(path):
            files.append(File.generated(config, _uri(path), content=_content(path)))
        if path.endswith(".md"):
            pending += [target for target in _targets(path, (ROOT / path).read_text()) if (ROOT / target).is_file()]
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    uri = page.file.src_uri
    path = uri.removeprefix(f"{FOLDER}/") if uri.startswith(f"{FOLDER}/") else f"{DOCS}/{uri}"

    def rewritten(found: re.Match[str]) -> str:
        target = _resolved(path, found[1])
        if not (ROOT / target).is_file():
            return found[0]
        return os.path.relpath(_uri(target), PurePosixPath(uri).parent)

    return outside_fences(markdown, lambda text: LINK.sub(rewritten, text))


def outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """The text with everything but its fenced code changed."""
    parts, start = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [change(markdown[start : fence.start()]), fence[0]]
        start = fence.end()
    return "".join([*parts, change(markdown[start:])])


def _targets(path: str, markdown: str) -> list[str]:
    return [_resolved(path, target) for target in LINK.findall(FENCE.sub("", markdown))]


def _resolved(path: str, target: str) -> str:
    return os.path.normpath(PurePosixPath(path).parent / target)


def _is_ours(path: str) -> bool:
    """Whether a file is no page or picture of `docs/`, which mkdocs takes up by itself."""
    return not (path.startswith(f"{DOCS}/") and path.endswith(_SHOWN_AS_THEY_ARE))


def _uri(path: str) -> str:
    if not _is_ours(path):
        return path.removeprefix(f"{DOCS}/")
    return f"{FOLDER}/{path}" if path.endswith(_SHOWN_AS_THEY_ARE) else f"{FOLDER}/{path}.md"


def _content(path: str) -> str | bytes:
    if path.endswith(".md"):
        hidden = "" if path in IN_NAVIGATION else "---\nsearch: {exclude: true}\n---\n\n"
        return hidden + (ROOT / path).read_text()
    if path.endswith(_SHOWN_AS_THEY_ARE):
        return (ROOT / path).read_bytes()
    language = LANGUAGES.get(PurePosixPath(path).suffix, "text")
    listing = (ROOT / path).read_text()
    return f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n````{language}\n{listing}````\n"
