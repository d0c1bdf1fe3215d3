"""Shares of runs, a line for each arm: how many score above a threshold, have reached a target, have not collapsed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from bench import seeds
from bench.report.curves import step_axis
from bench.report.estimates import Estimates
from bench.report.panels import MOST_TOGETHER, Line, panels
from bench.report.study import Slice
from bench.report.style import Look, Picture, canvas, drawable, finish, legend_below, legend_height, line_style
from bench.report.text import number, slug
from bench.stats import profile_band, survival

_THRESHOLDS = 61  # of a profile: finer than column width shows
_LOWEST = 0.02  # share of scores below the left end of a profile's axis


def profile_curves(estimates: Estimates, slice_: Slice, styles: Mapping[str, Look]) -> Picture | None:
    """Performance profile of the scores at the primary step, with pointwise intervals; None without scores."""
    rows = {arm.name: estimates.scores(slice_, arm.name) for arm in estimates.study.arms_of(slice_)}
    values = np.concatenate([np.empty(0), *(scores["value"].to_numpy(dtype=np.float64) for scores in rows.values())])
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    thresholds = np.linspace(min(0.0, float(np.quantile(values, _LOWEST))), max(1.0, float(np.quantile(values, 1 - _LOWEST))), _THRESHOLDS)
    lines = {}
    for name, scores in rows.items():
        band = profile_band(scores, thresholds, seeds.stream("report-profile", slice_.label, name)) if len(scores) else None
        if band is not None and np.isfinite(band.share).all():
            lines[name] = Line(thresholds.tolist(), band.share.tolist(), band.low.tolist(), band.high.tolist())
    if not lines:
        return None
    middle = int(np.abs(thresholds - 0.5).argmin())
    said = "; ".join(f"{name} {number(100 * line.middle[middle], 0)} %" for name, line in lines.items())
    return _shares(
        lines, styles, lambda axes: axes.set_xlim(thresholds[0], thresholds[-1]), _scattered, key=f"profile-{slug(slice_.label)}",
        title=f"Performance profile, {slice_.label}", label=slice_.label, x_label="score τ", y_label="share of runs above τ",
        alt=f"Share of runs (replicate and task) with a score above a threshold, higher is better. Above {thresholds[middle]:.2f}: {said}.",
    )  # fmt: skip


def reached_curves(
    times: Mapping[str, pd.DataFrame], steps: Sequence[int], styles: Mapping[str, Look], *, label: str, target: str
) -> Picture | None:
    """Share of runs that have reached a target by each adaptation step; None without runs.

    Args:
        times: by arm, a row per run: value, the step at which it was reached, inf where it was not.
        steps: adaptation steps evaluated.
        styles: look per arm.
        label: of the slice.
        target: what is to be reached, in words.
    """
    lines = {name: _stepped(1 - survival(rows["value"], steps[-1], steps), steps) for name, rows in times.items() if len(rows)}
    return _over_steps(
        lines, steps, styles, key=f"reached-{slug(label)}", title=f"Runs at the target, {label}", label=label,
        y_label="share of runs at the target", alt=f"Share of runs that have reached {target}, by adaptation step, higher is better.",
    )  # fmt: skip


def not_collapsed_curves(
    onsets: Mapping[str, pd.DataFrame], steps: Sequence[int], styles: Mapping[str, Look], *, label: str, meaning: str
) -> Picture | None:
    """Share of runs that have not collapsed by each adaptation step (Kaplan-Meier); None without runs.

    Args:
        onsets: by arm, a row per run: value, the step from which it is collapsed, inf where it never is.
        steps: adaptation steps evaluated.
        styles: look per arm.
        label: of the slice.
        meaning: when a run counts as collapsed, in words.
    """
    lines = {name: _stepped(survival(rows["value"], steps[-1], steps), steps) for name, rows in onsets.items() if len(rows)}
    return _over_steps(
        lines, steps, styles, key=f"not-collapsed-{slug(label)}", title=f"Runs that have not collapsed, {label}", label=label,
        y_label="share of runs not collapsed", alt=f"Share of runs that have not collapsed ({meaning}), by adaptation step.",
    )  # fmt: skip


def _scattered(place: int) -> tuple[int, int]:
    """Few markers, not at the same points for all lines: they tell lines apart that lie on one another."""
    return 2 * place % 10, 10


def _over_steps(
    lines: Mapping[str, Line], steps: Sequence[int], styles: Mapping[str, Look], *, alt: str, key: str, title: str, label: str, y_label: str
) -> Picture | None:
    if not lines:
        return None
    ends = "; ".join(f"{name} {number(100 * line.middle[-1], 0)} %" for name, line in lines.items())

    def prepare(axes: Axes) -> None:
        step_axis(axes, steps)
        axes.set_xlabel("")

    return _shares(
        lines, styles, prepare, lambda place: (0, 2), key=key, title=title, label=label, x_label="adaptation step", y_label=y_label,
        alt=f"{alt} At step {steps[-1]}: {ends}.",
    )  # fmt: skip


def _stepped(shares: npt.NDArray[np.float64], steps: Sequence[int]) -> Line:
    """The staircase through the shares: nothing is known to happen between two evaluations, so it counts at the later one."""
    x = [float(steps[0]), *(float(step) for step in steps[1:] for _ in range(2))]
    y = [*(float(share) for share in shares[:-1] for _ in range(2)), float(shares[-1])]
    nothing = [math.nan] * len(x)
    return Line(x, y, nothing, nothing)


def _shares(
    lines: Mapping[str, Line],
    styles: Mapping[str, Look],
    prepare: Callable[[Axes], object],
    marks: Callable[[int], tuple[int, int]],
    *,
    key: str,
    title: str,
    label: str,
    x_label: str,
    y_label: str,
    alt: str,
) -> Picture:
    """``marks``: first marker of a line and every how many points, by the line's place."""

    def limits(axes: Axes) -> None:
        axes.set_ylim(-0.03, 1.03)
        prepare(axes)

    if len(lines) > MOST_TOGETHER:
        with panels(lines, limits, title=label, x_label=x_label, y_label=y_label, marked=False) as figure:
            return finish(figure, key=key, title=title, alt=alt)
    with canvas(height=2.0 + legend_height(list(lines))) as (figure, axes):
        for place, (name, line) in enumerate(lines.items()):
            axes.plot(line.x, line.middle, label=drawable(name), markevery=marks(place), **line_style(styles[name]))
            if not all(math.isnan(low) for low in line.low):
                axes.fill_between(line.x, line.low, line.high, color=styles[name].colour, alpha=0.1, linewidth=0)
        limits(axes)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_title(drawable(label), loc="left")
        legend_below(figure, axes)
        return finish(figure, key=key, title=title, alt=alt)
