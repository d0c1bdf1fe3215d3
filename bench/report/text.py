"""Text of the report: numbers with their intervals, and escaping for each place that text goes to.

Whatever a suite, a plugin or an exception wrote is data: it is made visible here and never interpreted.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

MINUS = "\N{MINUS SIGN}"
LIMIT = 600  # characters of one cell; the whole reason of a failure stays in the ledger

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    MINUS: r"$-$",
    "×": r"$\times$",
    "‡": r"\ddag{}",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "⟨": r"$\langle$",
    "⟩": r"$\rangle$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
}
_MARKDOWN = re.compile(r"([\\`*_\[\]|<>#~])")


def clean(value: object) -> str:
    """One line of visible text: control, bidirectional and unassigned characters become ``⟨U+202E⟩``."""
    text = " ".join(str(value).split())
    shown = "".join(f"⟨U+{ord(c):04X}⟩" if unicodedata.category(c)[0] == "C" else c for c in text)
    return shown if len(shown) <= LIMIT else shown[: LIMIT - 1] + "…"


def clean_lines(value: object) -> str:
    """As :func:`clean`, line by line, their indentation kept."""
    lines = str(value).expandtabs(4).splitlines()
    return "\n".join(" " * (len(line) - len(line.lstrip(" "))) + clean(line) for line in lines)


def latex(value: object) -> str:
    """Text for LaTeX; characters outside Latin-1 without a command are spelled by code point, so that pdfLaTeX compiles it."""
    return "".join(_LATEX.get(c) or (c if ord(c) < 256 else f"[U+{ord(c):04X}]") for c in clean(value))


def markdown(value: object) -> str:
    """Text for Markdown, inside a table cell too."""
    return _MARKDOWN.sub(r"\\\1", clean(value))


def slug(value: object) -> str:
    """A file name or HTML id: lower-case ASCII letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", str(value)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "unnamed"


def number(value: float, decimals: int | None = None) -> str:
    """``value`` with a real minus sign; three significant digits unless ``decimals`` is given; ``n/a`` where undefined."""
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    if decimals is None:
        decimals = 0 if value == 0 else min(6, max(0, 2 - math.floor(math.log10(abs(value)))))
    shown = f"{value:,.{decimals}f}"
    if float(shown.replace(",", "")) == 0:
        shown = shown.lstrip("-")
    return shown.replace("-", MINUS)


def decimals_for(value: float, low: float, high: float) -> int:
    """Decimals that show two significant digits of the interval's half width, and no more than three of the value."""
    half = (high - low) / 2
    known = math.isfinite(half) and half > 0
    largest = max(abs(value), half) if known else abs(value)
    if not math.isfinite(largest) or largest == 0:
        return 2
    of_value = 2 - math.floor(math.log10(largest))
    return min(6, max(0, min(of_value, 1 - math.floor(math.log10(half))) if known else of_value))


def interval(value: float, low: float, high: float) -> str:
    """``1.95 [1.71, 2.19]``; without an interval the value alone."""
    decimals = decimals_for(value, low, high)
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(value, decimals)
    return f"{number(value, decimals)} [{number(low, decimals)}, {number(high, decimals)}]"


def quantity(value: float) -> str:
    """A count or cost, with an SI-like suffix from 10 000 on: ``40.0 k``."""
    if not math.isfinite(value):
        return "n/a"
    for size, suffix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):
            return f"{value / size:.3g} {suffix}" if abs(value) < 1000 * size else f"{value / size:.0f} {suffix}"
    return number(value, 0 if float(value).is_integer() else None)


def listing(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
