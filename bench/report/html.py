"""The page: one file that needs no network, reads without its script, and treats every text as text."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import jinja2

from bench.report.blocks import Cell, Gallery, Paragraph, Section, Table
from bench.report.style import Picture
from bench.report.text import clean, clean_lines, slug

_HERE = Path(__file__).parent
_LARGE = 160_000  # bytes of a picture


def page(title: str, sections: Sequence[Section], *, partial: int = 0, kind: str = "Benchmark report", files: str = "report/") -> str:
    """The whole report as one HTML document.

    Args:
        title: name of the suite.
        sections: in reading order.
        partial: number of unfinished cells; a banner says so where it is not 0.
        kind: what the page is, above its title.
        files: where its tables and figures lie, seen from the page; '' for beside it.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"clean": clean, "clean_lines": clean_lines, "slug": slug, "hash": _hash}
    environment.filters |= {"data_uri": _data_uri, "frames": _frames, "parts": _parts}
    environment.tests |= {
        "paragraph": lambda block: isinstance(block, Paragraph),
        "table": lambda block: isinstance(block, Table),
        "gallery": lambda block: isinstance(block, Gallery),
    }
    css, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    template = environment.get_template("page.html.j2")
    return template.render(title=title, sections=sections, partial=partial, kind=kind, files=files, css=css, script=script) + "\n"


def _hash(text: str) -> str:
    """What a content security policy calls the one style or script that it allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _parts(cell: Cell) -> tuple[str, str]:
    """A number and its interval, which the page writes under it."""
    value, bracket, ends = cell.text.partition(" [") if cell.numeric else (cell.text, "", "")
    return value, f"[{ends}" if bracket else ""


def _data_uri(picture: Picture, folded: bool) -> str:
    """The picture itself: a palette PNG at two pixels a CSS pixel; at one where it is folded, or larger than a dozen curves."""
    smaller = (folded or len(picture.png) > _LARGE) and picture.small
    return "data:image/png;base64," + base64.b64encode(smaller or picture.png).decode()


def _frames(picture: Picture) -> str:
    """Its frames for the script."""
    frames = [{"label": frame.label, "box": [round(edge, 5) for edge in frame.box], "still": frame.still} for frame in picture.frames]
    return json.dumps(frames)
