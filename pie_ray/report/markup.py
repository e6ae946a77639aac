"""Pieces of HTML that all sections are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Protocol

from .words import unbroken


class Drawn(Protocol):
    """A figure for the page: an SVG element with its title and unit, and the inches that it was drawn at."""

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def svg(self) -> str: ...
    @property
    def inches(self) -> float: ...


def section(anchor: str, title: str, text: str, body: str) -> str:
    """`anchor` is what the table of contents leads to; `text` and `body` are HTML."""
    opening = f'<section id="{anchor}">\n<h2>{escape(title)}</h2>'
    return f"{opening}\n{f'<p>{unbroken(text)}</p>' if text else ''}\n{body}\n</section>"


def scrolled(content: str, label: str, *, is_tall: bool = False) -> str:
    """What scrolls in a box of its own where it is too wide, by keyboard as well; `label` is its name, no HTML."""
    kind = "scroll tall" if is_tall else "scroll"
    return f'<div class="{kind}" role="region" aria-label="{escape(label)}" tabindex="0">{content}</div>'


def folded(summary: str, content: str, kind: str = "fold") -> str:
    """What a reader opens who wants to know; both are HTML."""
    return f'<details class="{kind}"><summary>{summary}</summary>{content}</details>'


def figure(drawn: Drawn) -> str:
    return f'<figure class="plot">{_caption(drawn)}{_image(drawn)}</figure>'


def wide_figure(drawn: Drawn) -> str:
    """A figure that grows with what it shows, and scrolls where the page is narrower."""
    points = 72 * drawn.inches
    box = (
        f'<div class="wide" role="region" aria-label="Figure: {escape(drawn.title)}" tabindex="0">'
        f'<div style="min-width:{1.1 * points:.0f}px;max-width:{1.75 * points:.0f}px">{_image(drawn)}</div></div>'
    )
    return f'<figure class="plot">{_caption(drawn)}{box}</figure>'


def _caption(drawn: Drawn) -> str:
    return f"<figcaption><b>{escape(drawn.title)}</b> <small>{escape(drawn.unit)}</small></figcaption>"


def _image(drawn: Drawn) -> str:
    """One image to a reader who cannot see it: what it shows stands in the tables as well."""
    return drawn.svg.replace("<svg", f'<svg role="img" aria-label="{escape(drawn.title)}, {escape(drawn.unit)}"', 1)


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """A symbol's CSS class, and what it means."""
    items = "".join(f'<li><i class="{kind}"></i>{escape(text)}</li>' for kind, text in entries)
    return f'<ul class="legend">{items}</ul>'


def definition_list(pairs: Mapping[str, str], kind: str = "") -> str:
    """Terms and what they mean, neither of them HTML."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs.items())
    return f'<dl class="{kind}">{items}</dl>' if kind else f"<dl>{items}</dl>"
