"""The code blocks of a Markdown page, and what the comment before one says of it.

    <!-- needs time: tested by tests/cluster/test_run.py -->
    ```bash
    pie-ray run
    ```

A block without such a comment is run as it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

ELSEWHERE = ("needs a cloud", "needs a GPU")
_TESTED = re.compile(r"needs (?:time|data): tested by (\S+(?: and \S+)*)")
_MARKER = re.compile(r" *<!-- (needs .*?) -->")
_FENCE = re.compile(r"( *)(`{3,})(\w*)")
_FILE_NAME = re.compile(r"# (\w[\w./-]*\.\w+)\n")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    marker: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}, line {self.line}"

    @property
    def file_name(self) -> str | None:
        """The file that a block shows, which its first line names in a comment."""
        found = _FILE_NAME.match(self.text)
        return found[1] if found else None

    @property
    def tests(self) -> list[str]:
        """The files that, as the marker says, test the block. Raises AssertionError for a marker of another kind."""
        if self.marker is None or self.marker in ELSEWHERE:
            return []
        found = _TESTED.fullmatch(self.marker)
        accepted = f"{', '.join(ELSEWHERE)}, needs time|data: tested by FILE [and FILE]"
        assert found, f"{self.place}: found the marker {self.marker!r}; accepted: {accepted}"
        return found[1].split(" and ")


def blocks_of(page: Path) -> list[Block]:
    lines = page.read_text().splitlines()
    blocks, marker, index = [], None, 0
    while index < len(lines):
        fence = _FENCE.fullmatch(lines[index])
        if fence is None:
            if lines[index].strip():
                found = _MARKER.fullmatch(lines[index])
                marker = found[1] if found else None
            index += 1
            continue
        end = next(at for at in range(index + 1, len(lines)) if lines[at].strip() == fence[2])
        text = "".join(f"{line.removeprefix(fence[1])}\n" for line in lines[index + 1 : end])
        blocks.append(Block(page, index + 1, fence[3], text, marker))
        marker, index = None, end + 1
    return blocks
