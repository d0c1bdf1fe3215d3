"""Points with intervals, a row for each arm: scores and probabilities side by side, and mean ranks with their critical difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bench.report.estimates import Estimate
from bench.report.style import COLUMN, Look, Picture, canvas, drawable, finish, sheet
from bench.report.text import interval, number

_ROW, _AROUND = 0.19, 0.62  # inches: of one arm, of headings and axis
_NAME = 30  # characters of an arm's name beside the axes


@dataclass(frozen=True)
class Row:
    """One arm: an estimate per column, None where the column has nothing to say about it."""

    name: str
    estimates: tuple[Estimate | None, ...]


def interval_plot(
    rows: Sequence[Row],
    headings: Sequence[str],
    styles: Mapping[str, Look],
    *,
    references: Sequence[float],
    key: str,
    title: str,
) -> Picture | None:
    """A panel for each column of estimates, a row for each arm; None where nothing is finite.

    Args:
        rows: arms from top to bottom.
        headings: of the panels.
        styles: look per arm.
        references: position of the dotted line in each panel.
        key: file name without ending.
        title: of the whole.
    """
    if not any(e and math.isfinite(e.value) for row in rows for e in row.estimates):
        return None
    with sheet(2 * COLUMN, _AROUND + _ROW * len(rows)) as figure:
        panels = figure.subplots(1, len(headings), sharey=True, squeeze=False)[0]
        for column, (axes, heading, reference) in enumerate(zip(panels, headings, references, strict=True)):
            for place, row in enumerate(rows):
                found = row.estimates[column]
                if found and math.isfinite(found.value):
                    _point(axes, place, found, styles[row.name])
            axes.axvline(reference, color="#333333", linestyle=(0, (1.5, 1.5)), linewidth=1.0, zorder=1)
            axes.set_title(drawable(heading, 26), loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        _names(panels[0], [row.name for row in rows])
        said = "; ".join(
            f"{row.name}: "
            + ", ".join(f"{h} {interval(e.value, e.low, e.high)}" for h, e in zip(headings, row.estimates, strict=True) if e)
            for row in rows
        )
        return finish(figure, key=key, title=title, alt=f"Points with 95 % intervals, a row for each arm. {said}.")


def _point(axes: Axes, place: int, found: Estimate, look: Look) -> None:
    if math.isfinite(found.low) and math.isfinite(found.high):
        axes.plot([found.low, found.high], [place, place], color=look.colour, linewidth=2.2, alpha=0.45, solid_capstyle="butt")
    face = "white" if look.dashed else look.colour
    axes.plot([found.value], [place], marker=look.marker, color=look.colour, markerfacecolor=face, markersize=4.6, linestyle="")


def _names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [drawable(name, _NAME) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)


def rank_plot(
    mean_ranks: Mapping[str, float], critical_difference: float, styles: Mapping[str, Look], *, key: str, title: str, note: str
) -> Picture:
    """Mean ranks, best first; bars at the right join arms whose mean ranks differ by less than the critical difference.

    Args:
        mean_ranks: by arm; 1 is best.
        critical_difference: of two mean ranks; NaN draws no bars.
        styles: look per arm.
        key: file name without ending.
        title: of the figure.
        note: what the ranks are conditional on, drawn with them, because a figure travels without its section.
    """
    names = sorted(mean_ranks, key=lambda name: (mean_ranks[name], name))
    groups = cliques([mean_ranks[name] for name in names], critical_difference)
    with canvas(height=_AROUND + 0.3 + _ROW * len(names)) as (figure, axes):
        for place, name in enumerate(names):
            look = styles[name]
            axes.plot([mean_ranks[name]], [place], marker=look.marker, color=look.colour, markersize=5, linestyle="")
        end, width = float(len(names)), max(len(names) - 1, 1) * 0.05
        for number_of_group, (first, last) in enumerate(groups):
            x = end + width * (1 + number_of_group)
            axes.plot([x, x], [first - 0.22, last + 0.22], color="#444444", linewidth=2.4, solid_capstyle="round", clip_on=False)
        axes.set_xlim(1 - width, end + width * (len(groups) + 0.5))
        if math.isfinite(critical_difference):
            axes.plot([1, 1 + critical_difference], [-0.85, -0.85], color="#333333", linewidth=1.2, marker="|", markersize=6)
            axes.text(1 + critical_difference + width / 3, -0.85, f"CD {number(critical_difference, 2)}", va="center")
        _names(axes, names)
        axes.set_ylim(len(names) - 0.5, -1.4)
        axes.set_xlabel("mean rank, 1 = best")
        axes.set_xticks(range(1, len(names) + 1, -(-len(names) // 8)))
        axes.grid(visible=False, axis="y")
        figure.suptitle(f"{drawable(title)}\n{note}", x=0.02, ha="left", fontsize=8.5)
        said = ", ".join(f"{name} {number(mean_ranks[name], 2)}" for name in names)
        joined = "; ".join(", ".join(names[first : last + 1]) for first, last in groups) or "none"
        alt = f"Mean ranks, {note}: {said}. Critical difference {number(critical_difference, 2)}. Not told apart: {joined}."
        return finish(figure, key=key, title=title, alt=alt)


def cliques(ranks: Sequence[float], critical_difference: float) -> list[tuple[int, int]]:
    """First and last place of every longest run of ascending ``ranks`` that lie within the critical difference; runs of one are none."""
    groups: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(place for place in range(first, len(ranks)) if place == first or ranks[place] - ranks[first] < critical_difference)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups
