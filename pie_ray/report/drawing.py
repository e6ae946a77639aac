"""The only home of matplotlib: panels become PNG for MLflow and papers, and SVG for the page.

The SVG takes its colours from the page (`currentColor`, `--muted`, `--reference`, `--variant`), so that it follows
dark mode. Title, unit and legend are left to the page, which breaks their lines as its width allows.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .panels import INK, MUTED, REFERENCE, VARIANT, Draw, Rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    REFERENCE: "var(--reference)",
    VARIANT: "var(--variant)",
    "#ffffff": "var(--paper)",
}
SVG_INCHES, SMALL_SVG_INCHES, HEADING_INCHES = 4.4, 3.7, 0.6
_PNG_INCHES = 10.0
_LEGEND_LETTERS = 130
_PNG_DPI = 140

_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.color": INK,
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.1,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "pie_ray",
}


@dataclass(frozen=True)
class PagePanel:
    """One panel for the page: `svg` is an element to be put into HTML."""

    title: str
    unit: str
    svg: str
    inches: float
    """How wide it was drawn; the page may scale it."""


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # class names may be in any script; the page's own fonts have what matplotlib's has not
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def png(
    panels: Sequence[tuple[Draw, Rows]], height: float, *, num_columns: int, share_rows: bool = False, unit: str = ""
) -> bytes:
    """`unit` stands once below all panels, where they share one."""
    num_lines = math.ceil(len(panels) / num_columns)
    with _figure(_PNG_INCHES, height * num_lines) as figure:
        grid = figure.subplots(num_lines, num_columns, squeeze=False, sharey=share_rows)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes, (draw, rows) in zip(grid.flat, panels, strict=False):
            draw(axes, rows)
            if unit:
                axes.set_xlabel("")
        if unit:
            figure.supxlabel(unit, fontsize=9)
        _add_legend(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_PNG_DPI, facecolor="white")
    return buffer.getvalue()


def page_panel(draw: Draw, rows: Rows, height: float, width: float = SVG_INCHES) -> PagePanel:
    with _figure(width, height - HEADING_INCHES) as figure:
        axes = figure.subplots()
        draw(axes, rows)
        title, unit = axes.get_title(loc="left"), axes.get_xlabel()
        axes.set_title("")
        axes.set_xlabel("")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return PagePanel(title, unit, _for_page(buffer.getvalue(), title), width)


def _add_legend(figure: Figure) -> None:
    """One legend below, each label once however many panels use it."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        num_columns = min(len(entries), _LEGEND_LETTERS // (max(map(len, entries)) + 6))
        figure.legend(list(entries.values()), list(entries), loc="outside lower right", ncols=num_columns)


def _for_page(svg: str, title: str) -> str:
    """The bare element, scaled by the page, in its font and colours, and with no ids but its own that it refers to."""
    view_box = re.search(r'viewBox="[^"]*"', svg)
    drawing = svg[svg.index(">", svg.index("<svg")) + 1 :]
    drawing = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' id="[\w.]+_\d+"| transform="rotate\(-0 [^"]*"| font-family: [^;]*;', "", drawing)
    for colour, ours in PAGE_COLOURS.items():
        drawing = drawing.replace(colour, ours)
    own = hashlib.sha256(f"{title} {drawing}".encode()).hexdigest()[:8]
    drawing = re.sub(r'(id="|#)([mp][0-9a-f]{10})\b', rf"\1\2-{own}", drawing)
    assert view_box is not None
    return f"<svg {view_box[0]}>{drawing}"
