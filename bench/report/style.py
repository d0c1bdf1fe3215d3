"""One look for every figure: colours that a colour-blind reader tells apart, 8 pt type, column width, bytes that repeat.

Figures are made without pyplot: no global state, no display, safe beside a user's own plots.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from PIL import Image

from bench.report.study import Arm
from bench.report.text import clean

COLUMN = 3.35  # inches: one column of a two-column paper, and 322 CSS pixels, so that 8 pt stays 8 pt on a telephone
DPI = 192  # two device pixels a CSS pixel
COLOURS = 128  # of a figure in the palette: antialiased lines need no more, and the page stays a quarter as large

# Okabe & Ito (2008) without its yellow, which vanishes on white, then three of Tol's "muted" that stay apart from them.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#882255", "#7A7A00", "#555555")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")

STATUS_COLOURS = {
    "ok": "#B8D8C8",
    "diverged": "#D55E00",
    "failed": "#882255",
    "oom": "#332288",
    "timeout": "#E69F00",
    "infra": "#56B4E9",
    "skipped": "#DDDDDD",
    "running": "#F4F4F4",
    "planned": "#F4F4F4",
}

_RC: Any = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: the same bytes on every machine
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.unicode_minus": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "metagan-bench",
    "pdf.fonttype": 42,  # outlines as TrueType: publishers refuse Type 3
    "text.usetex": False,
    "text.parse_math": False,  # a label is data: `$` has no meaning in it
}


@dataclass(frozen=True)
class Frame:
    """A part of a figure, a step of an animation.

    Attributes:
        label: what it shows.
        box: its left and upper edge, its width and its height, as shares of those of the figure.
        still: it shows the same at every step, and stands beside the others.
    """

    label: str
    box: tuple[float, float, float, float]
    still: bool = False


@dataclass(frozen=True)
class Picture:
    """A finished figure.

    Attributes:
        key: file name without ending.
        title: above it.
        alt: what a reader who cannot see it needs.
        png: its bytes.
        width: CSS pixels at which 8 pt type is 8 pt.
        small: the PNG with half the pixels each way; empty for photographs, whose sharp edges smoothing makes larger.
        files: the same figure in other formats, by ending.
        frames: parts that the page can show one after the other.
        scene: pictures of one scene are shown at the same step.
    """

    key: str
    title: str
    alt: str
    png: bytes
    width: int
    small: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    frames: tuple[Frame, ...] = ()
    scene: str = ""


@dataclass(frozen=True)
class Look:
    """How one arm is drawn, everywhere."""

    colour: str
    marker: str
    dashed: bool


def looks(arms: Sequence[Arm]) -> dict[str, Look]:
    """A colour per arm; a control has the colour of the arm it stands beside, dashed and with hollow markers."""
    found: dict[str, Look] = {}
    for arm in arms:
        if not arm.twin:
            i = len(found)
            found[arm.name] = Look(PALETTE[i % len(PALETTE)], MARKERS[(i + i // len(PALETTE)) % len(MARKERS)], bool(arm.control))
    return found | {a.name: Look(found[a.twin].colour, found[a.twin].marker, True) for a in arms if a.twin}


def line_style(look: Look) -> dict[str, Any]:
    """Keyword arguments of ``Axes.plot``."""
    return {
        "color": look.colour,
        "marker": look.marker,
        "linestyle": (0, (4, 1.6)) if look.dashed else "-",
        "markerfacecolor": "white" if look.dashed else look.colour,
    }


def new_axes() -> Axes:
    """Axes of a new figure in the user's own style, which a notebook shows; unlike everything else here they are pyplot's."""
    from matplotlib import pyplot

    axes: Axes = pyplot.subplots(layout="constrained")[1]
    return axes


@contextmanager
def canvas(width: float = COLUMN, height: float = 2.5) -> Iterator[tuple[Figure, Axes]]:
    """A figure of one axes, in the report's style, that nothing else sees."""
    with sheet(width, height) as figure:
        yield figure, figure.add_subplot()


@contextmanager
def sheet(width: float, height: float, *, fitted: bool = True) -> Iterator[Figure]:
    """An empty figure in the report's style; the style ends with the block. ``fitted``: its parts make room for each other."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained" if fitted else None)
        FigureCanvasAgg(figure)
        yield figure


# How the :data:`COLOURS` of a palette are found.
DRAWING = Image.Quantize.FASTOCTREE  # few colours, which an octree finds at once and with smaller files
PHOTOGRAPH = Image.Quantize.MEDIANCUT  # the greys of samples


# No date and no program version: equal figures have equal bytes.
_UNDATED: Mapping[str, Mapping[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
FIGURE_FORMATS = (*_UNDATED, "gif")
"""What a figure is written as beside PNG: drawings as SVG and PDF, samples through adaptation as GIF."""
_wanted: ContextVar[Sequence[str]] = ContextVar("wanted figure formats", default=FIGURE_FORMATS)


@contextmanager
def figure_formats(wanted: Sequence[str]) -> Iterator[None]:
    """Figures that are finished inside the block are made in these formats: fonts of a PDF and frames of a GIF take a while."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def wanted(ending: str) -> bool:
    """Whether figures are to be made in one of :data:`FIGURE_FORMATS`."""
    return ending in _wanted.get()


def finish(figure: Figure, *, key: str, title: str, alt: str, vector: bool = True, palette: Image.Quantize | None = DRAWING) -> Picture:
    """Render a figure to bytes that repeat; call inside its :func:`sheet`.

    ``vector``: as SVG and PDF too, where :func:`wanted`. ``palette``: :data:`DRAWING` or :data:`PHOTOGRAPH`; None keeps every colour.
    """
    pixels = rendered(figure)
    figure.set_layout_engine("none")  # its parts have found their places, which takes longer than drawing them
    files = {ending: _drawn(figure, ending) for ending in _UNDATED if vector and wanted(ending)}
    small = _png(_halved(pixels), palette) if palette is DRAWING else b""
    return Picture(key, title, alt, _png(pixels, palette), round(figure.get_figwidth() * 96), small, files)


def rendered(figure: Figure) -> npt.NDArray[np.uint8]:
    """Pixels of a figure, (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _drawn(figure: Figure, ending: str) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=ending, metadata=_UNDATED[ending])
    return file.getvalue()


def _halved(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width, _ = pixels.shape
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((-(-width // 2), -(-height // 2)), Image.Resampling.LANCZOS))


def _png(pixels: npt.NDArray[np.uint8], palette: Image.Quantize | None) -> bytes:
    image, file = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    if palette is not None:
        image = image.quantize(COLOURS, palette, dither=Image.Dither.NONE)
    image.save(file, format="png", optimize=True, dpi=(DPI, DPI))
    return file.getvalue()


_TWO_COLUMNS = 25  # characters of the longest name up to which two columns fit the width


@cache
def _font() -> FT2Font:
    return font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans")))


def drawable(value: object, limit: int = 48) -> str:
    """Text that the figures' font can draw; other characters are spelled by code point."""
    text = clean(value)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if _font().get_char_index(ord(c)) else f"⟨U+{ord(c):04X}⟩" for c in text)


def legend_height(names: Sequence[str]) -> float:
    """Inches that :func:`legend_below` takes for ``names``."""
    return 0.08 + 0.165 * -(-len(names) // _columns(names))


def legend_below(figure: Figure, axes: Axes) -> None:
    """The legend under the axes, where it hides no line."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, names, loc="outside lower center", ncols=_columns(names), handlelength=2.3, handletextpad=0.5, columnspacing=1.0,
            borderaxespad=0.2, labelspacing=0.35,
        )  # fmt: skip


def _columns(names: Sequence[str]) -> int:
    return 2 if max(map(len, names), default=0) <= _TWO_COLUMNS else 1
