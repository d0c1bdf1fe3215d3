"""A small panel for each arm, where there are more arms than one pair of axes can show: its line in colour, all others in grey."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from bench.report.style import COLUMN, PALETTE, drawable, sheet

MOST_TOGETHER = len(PALETTE)
"""Arms in one pair of axes: as many as there are colours that can be told apart."""

_COLUMNS, _WIDTH = 3, 1.5 * COLUMN
_PANEL, _ABOVE, _BELOW = 0.95, 0.42, 0.42  # inches
_OTHERS, _OWN = "#C8C8C8", PALETTE[0]


@dataclass(frozen=True)
class Line:
    """What is drawn of an arm: a line, and the band around it (NaN where there is none)."""

    x: Sequence[float]
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@contextmanager
def panels(
    lines: Mapping[str, Line], prepare: Callable[[Axes], None], *, title: str, x_label: str, y_label: str, marked: bool
) -> Iterator[Figure]:
    """A figure with one panel per line, all on the same axes.

    Args:
        lines: by name of the arm.
        prepare: sets scales and limits of the panels, which share theirs, on the first one once all lines are drawn.
        title: of the whole.
        x_label: of the whole.
        y_label: of the whole.
        marked: draw a marker at each point.
    """
    rows = -(-len(lines) // _COLUMNS)
    height = rows * _PANEL + _ABOVE + _BELOW
    with sheet(_WIDTH, height, fitted=False) as figure:  # fitting thirty panels takes seconds, and they are all alike
        figure.subplots_adjust(left=0.13, right=0.985, top=1 - _ABOVE / height, bottom=_BELOW / height, hspace=0.42, wspace=0.1)
        background = [list(zip(other.x, other.middle, strict=True)) for other in lines.values()]
        grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat:
            axes.autoscale(enable=False)  # once is enough: each artist would have all panels find their common limits anew
        for axes, (name, line) in zip(grid.flat, lines.items(), strict=False):
            # Each line is the own line of a panel too, where it counts for the limits that all panels share.
            axes.add_collection(LineCollection(background, colors=_OTHERS, linewidths=0.5, antialiaseds=False), autolim=False)
            axes.fill_between(line.x, line.low, line.high, color=_OWN, alpha=0.2, linewidth=0)
            axes.plot(line.x, line.middle, color=_OWN, marker="o" if marked else "", markersize=2.4)
            # Where title and label go is said rather than found: to find it, all ticks are laid out twice more.
            axes.set_title(drawable(name, 26), fontsize=7.5, pad=2, y=1.0)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_label_coords(0, 0)
        for axes in grid.flat:
            axes.autoscale()
        prepare(grid[0, 0])
        for axes in grid.flat[len(lines) :]:
            axes.set_visible(False)
        for column in range(_COLUMNS):  # the last panel of a column that ends early carries the ticks
            last = (len(lines) - 1 - column) // _COLUMNS
            grid[last, column].tick_params(labelbottom=True)
        figure.suptitle(drawable(title), fontsize=8.5, y=1 - 0.06 / height, va="top")
        figure.supxlabel(x_label, fontsize=8, y=0.05 / height, va="bottom")
        figure.supylabel(y_label, fontsize=8, x=0.01)
        yield figure
