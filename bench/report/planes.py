"""Samples that are points in the plane: small scatters whose windows follow the real samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.report.style import sheet

Array = npt.NDArray[np.float64]

SIDE = 1.05  # inches of a scatter
_REACH = 0.8  # of the spread of the real samples, to either side of their middle
_QUERY, _SUPPORT = "#9A9A9A", "#222222"
KEY = "real samples: query grey, support ringed; generated: in colour; crosses: mode centres"


@contextmanager
def plane_sheet(columns: float, rows: float, *, left: float = 0.0, top: float = 0.0, lines: int = 1) -> Iterator[tuple[Figure, Axes]]:
    """A figure whose one pair of axes counts scatters: right from 0 to ``columns``, down from 0 to ``rows``.

    One pair, because a hundred small ones take seconds.

    Args:
        columns: scatters beside each other.
        rows: scatters above each other.
        left: inches for labels.
        top: inches for headings.
        lines: of text below.
    """
    below = 0.04 + 0.15 * lines
    width, height = left + SIDE * columns, top + SIDE * rows + below
    with sheet(width, height, fitted=False) as figure:
        axes = figure.add_axes((left / width, below / height, SIDE * columns / width, SIDE * rows / height))
        axes.set_xlim(0, columns)
        axes.set_ylim(rows, 0)
        axes.axis("off")
        yield figure, axes


def scatter(
    axes: Axes, corner: tuple[float, float], *, support: Array, query: Array, centres: Array | None, generated: Array | None, colour: str
) -> None:
    """One scatter in the unit square whose upper left corner is ``corner``.

    Args:
        axes: of a :func:`plane_sheet`.
        corner: in scatters.
        support: (S, 2); drawn where there is nothing generated.
        query: (Q, 2).
        centres: (K, 2) of the known modes.
        generated: (n, 2); points outside the window, or not finite, are counted in words.
        colour: of what is generated.
    """
    real = np.concatenate([support, query])
    middle, reach = (real.min(axis=0) + real.max(axis=0)) / 2, _REACH * float(np.ptp(real, axis=0).max()) or 1.0

    def place(points: Array) -> tuple[Array, Array]:
        placed = np.asarray(corner) + 0.5 + (points - middle) / reach * np.array([0.47, -0.47])
        return placed[:, 0], placed[:, 1]

    axes.add_patch(Rectangle((corner[0] + 0.02, corner[1] + 0.02), 0.96, 0.96, fill=False, edgecolor="#777777", linewidth=0.6))
    axes.scatter(*place(query), s=5, color=_QUERY, linewidths=0)
    if generated is None:
        axes.scatter(*place(support), s=7, facecolors="none", edgecolors=_SUPPORT, linewidths=0.5)
    else:
        inside = np.asarray(np.isfinite(generated).all(axis=1))
        inside[inside] = (np.abs(generated[inside] - middle) <= reach).all(axis=1)
        axes.scatter(*place(generated[inside]), s=5, color=colour, alpha=0.75, linewidths=0)
        if not inside.all():
            axes.text(corner[0] + 0.05, corner[1] + 0.95, f"{(~inside).sum()} outside", va="bottom")
    if centres is not None:
        axes.scatter(*place(centres), marker="+", s=26, color="black", linewidths=0.8)
