"""Scores task by task: a row for each arm, a column for each task, and beside them a dot for each replicate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator

from bench.report.estimates import Estimates
from bench.report.study import Slice
from bench.report.style import COLUMN, Look, Picture, drawable, finish, sheet
from bench.report.text import number, slug
from bench.stats.crossed import cross

_ROW, _AROUND = 0.19, 0.95  # inches
_COLOURS = colormaps["cividis"].resampled(16)  # reads alike with and without colour vision, and in grey; steps that the eye can name


def heat_map(estimates: Estimates, slice_: Slice, styles: Mapping[str, Look]) -> Picture | None:
    """Scores at the primary step, means over replicates, hardest task at the left; None for fewer than two arms or tasks."""
    crossed = {arm.name: cross(scores) for arm in estimates.study.arms_of(slice_) if len(scores := estimates.scores(slice_, arm.name))}
    crossed = {name: one for name, one in crossed.items() if not one.problem()}
    tasks = [task for task in next(iter(crossed.values())).tasks if all(task in one.tasks for one in crossed.values())] if crossed else []
    if len(crossed) < 2 or len(tasks) < 2:
        return None
    values_AT = np.stack([one.of_tasks(tasks).mean(axis=0) for one in crossed.values()])
    order = np.argsort(values_AT.mean(axis=0), kind="stable")
    low, high = np.quantile(values_AT, [0.02, 0.98])
    low = max(low, 0.0) if high > 0 else low  # below 0 is worse than knowing nothing: how much worse would cost the others their colours
    with sheet(2 * COLUMN, _AROUND + _ROW * len(crossed)) as figure:
        map_, strip = figure.subplots(1, 2, width_ratios=[3, 1], sharey=True)
        image = map_.imshow(values_AT[:, order], aspect="auto", interpolation="nearest", cmap=_COLOURS, vmin=low, vmax=high)
        map_.set_yticks(range(len(crossed)), [drawable(name, 30) for name in crossed])
        map_.set_xticks([])
        map_.set_xlabel(f"{len(tasks)} tasks, hardest first")
        map_.grid(visible=False)
        map_.set_title(drawable(f"score, {slice_.label}"), loc="left")
        figure.colorbar(image, ax=map_, orientation="horizontal", location="bottom", aspect=40, shrink=0.6, pad=0.02, extend="both")
        for place, (name, one) in enumerate(crossed.items()):
            look, means_R = styles[name], one.of_tasks(tasks).mean(axis=1)
            face = "white" if look.dashed else look.colour
            strip.plot(means_R, [place] * len(means_R), marker="o", markersize=3.4, linestyle="", color=look.colour, markerfacecolor=face)
        strip.xaxis.set_major_locator(MaxNLocator(3))
        strip.grid(visible=False, axis="y")
        strip.set_title("replicates", loc="left")
        strip.tick_params(axis="y", length=0)
        ranges = zip(crossed, values_AT.min(axis=1), values_AT.max(axis=1), strict=True)
        said = ", ".join(f"{name} {number(float(worst), 2)} to {number(float(best), 2)}" for name, worst, best in ranges)
        alt = f"Heat map of scores by arm and task on {slice_.label}, with a dot per replicate. Range over tasks: {said}."
        return finish(figure, key=f"tasks-{slug(slice_.label)}", title=f"Scores task by task, {slice_.label}", alt=alt)
