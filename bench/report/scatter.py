"""Points in a plane: fidelity against diversity, arm against arm task by task, quality against cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bench.report.costs import Cost
from bench.report.estimates import Estimate, Estimates
from bench.report.study import Arm, Slice
from bench.report.style import COLUMN, Look, Picture, canvas, drawable, finish, legend_below, legend_height, sheet
from bench.report.text import interval, quantity, slug
from bench.stats import as_loss
from bench.stats.crossed import common_tasks, cross

FIDELITY = ("recognisability", "precision", "high-quality")
DIVERSITY = ("vendi", "pairwise-distance", "recall")
"""The first that a slice has measured is drawn."""


# ------------------------------------------------------------------ fidelity and diversity
def fidelity_diversity(estimates: Estimates, slice_: Slice, styles: Mapping[str, Look]) -> Picture | None:
    """Fidelity against diversity, a path over adaptation steps per arm; None where one of the two was not measured."""
    study = estimates.study
    measured = study.metrics_of(slice_)
    fidelity, diversity = (next((m for m in wanted if m in measured), "") for wanted in (FIDELITY, DIVERSITY))
    if not fidelity or not diversity:
        return None
    primary = int(study.primary["adaptation_step"])
    steps = [step for step in study.steps_of(slice_, fidelity) if step in study.steps_of(slice_, diversity)]
    names = [arm.name for arm in study.arms_of(slice_)]
    paths = {
        name: [(estimates.at(slice_, name, diversity, step), estimates.at(slice_, name, fidelity, step)) for step in steps]
        for name in names
    }
    paths = {name: path for name, path in paths.items() if all(math.isfinite(x.value + y.value) for x, y in path)}
    if not paths or primary not in steps:
        return None
    at = steps.index(primary)
    with canvas(height=2.3 + legend_height([*paths, "ideal"])) as (figure, axes):
        for name, path in paths.items():
            look = styles[name]
            x, y = path[at]
            axes.plot([p.value for p, _ in path], [p.value for _, p in path], color=look.colour, linewidth=0.8, alpha=0.55)
            _cross(axes, x, y, look)
            _marker(axes, x.value, y.value, look, drawable(name))
        ideal = study.ideal(diversity), study.ideal(fidelity)
        axes.plot(*[[one] for one in ideal], marker="*", markersize=9, color="#333333", linestyle="", label="ideal", zorder=5)
        _frame(axes, [p.value for path in paths.values() for p, _ in path] + [ideal[0]], "x")
        _frame(axes, [p.value for path in paths.values() for _, p in path] + [ideal[1]], "y")
        axes.set_xlabel(drawable(f"diversity: {study.label(diversity)}"))
        axes.set_ylabel(drawable(f"fidelity: {study.label(fidelity)}", 34))
        axes.set_title(drawable(f"{slice_.label}, step {primary}"), loc="left")
        legend_below(figure, axes)
        said = "; ".join(
            f"{name} {interval(p[at][0].value, p[at][0].low, p[at][0].high)} and {interval(p[at][1].value, p[at][1].low, p[at][1].high)}"
            for name, p in paths.items()
        )
        alt = f"{study.label(diversity)} against {study.label(fidelity)} at adaptation step {primary}; the ideal is the star. {said}."
        return finish(figure, key=f"fidelity-diversity-{slug(slice_.label)}", title=f"Fidelity and diversity, {slice_.label}", alt=alt)


# ------------------------------------------------------------------ arm against arm
def paired_tasks(estimates: Estimates, slice_: Slice, pair: tuple[Arm, Arm], styles: Mapping[str, Look]) -> Picture | None:
    """One dot per task, means over replicates: the first arm against the second at the primary step; None without common tasks."""
    study = estimates.study
    metric, step = str(study.primary["metric"]), int(study.primary["adaptation_step"])
    first, second = pair
    found = [cross(estimates.rows(slice_, arm.name, metric, step)) for arm in pair]
    if any(one.problem() for one in found):
        return None
    first_RT, second_RT, tasks = common_tasks(*found)
    if len(tasks) < 2:
        return None
    y_T, x_T = first_RT.mean(axis=0), second_RT.mean(axis=0)
    losses = [as_loss(values, better=study.better(metric), ideal=study.ideal(metric)) for values in (y_T, x_T)]
    wins, ties = int((losses[0] < losses[1]).sum()), int((losses[0] == losses[1]).sum())
    with canvas(height=2.9) as (figure, axes):
        both = np.concatenate([x_T, y_T])
        low, high = float(both.min()), float(both.max())
        margin = 0.05 * ((high - low) or abs(high) or 1.0)
        ends = [low - margin, high + margin]
        axes.plot(ends, ends, color="#333333", linestyle=(0, (1.5, 1.5)), linewidth=1.0, zorder=1)
        axes.plot(x_T, y_T, linestyle="", marker="o", markersize=3.4, color=styles[first.name].colour, alpha=0.75)
        axes.set(xlim=ends, ylim=ends, aspect="equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel(drawable(second.name, 34))
        axes.set_ylabel(drawable(first.name, 34))
        won = f"{first.name} better on {wins} of {len(tasks)} tasks" + (f", {ties} tied" if ties else "")
        axes.set_title(drawable(f"{study.label(metric)}, step {step}", 40) + "\n" + drawable(won, 46), loc="left")
        alt = f"{study.label(metric)} of each task at adaptation step {step}, {first.name} against {second.name} on {slice_.label}: {won}."
        return finish(figure, key=f"paired-{slug(slice_.label)}", title=f"Task by task, {slice_.label}", alt=alt)


# ------------------------------------------------------------------ quality and cost
def quality_cost(estimates: Estimates, slice_: Slice, styles: Mapping[str, Look], costs: Sequence[Cost]) -> Picture | None:
    """The primary metric at the primary step against what a cell of the arm cost, a panel per cost; None where nothing was recorded.

    The Pareto front is drawn: the arms that no other one beats in quality and cost.
    """
    study = estimates.study
    metric, step = str(study.primary["metric"]), int(study.primary["adaptation_step"])
    arms = [arm.name for arm in study.arms_of(slice_)]
    quality = {name: estimates.at(slice_, name, metric, step) for name in arms}
    spent = {cost: {name: cost.of(study, slice_, name) for name in arms} for cost in costs}
    drawn = {
        cost: [name for name in arms if math.isfinite(by_arm[name]) and math.isfinite(quality[name].value)]
        for cost, by_arm in spent.items()
    }
    drawn = {cost: names for cost, names in drawn.items() if len(names) > 1}
    if not drawn:
        return None
    shown = [name for name in arms if any(name in names for names in drawn.values())]
    columns, rows = (2, -(-len(drawn) // 2)) if len(drawn) > 1 else (1, 1)
    said = []
    with sheet(COLUMN * (1.5 if columns > 1 else 1), 1.75 * rows + 0.35 + legend_height([*shown, "not beaten"])) as figure:
        panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
        for axes, (cost, names) in zip(panels, drawn.items(), strict=False):
            by_arm = spent[cost]
            for name in names:
                _vertical(axes, by_arm[name], quality[name], styles[name])
                _marker(axes, by_arm[name], quality[name].value, styles[name], drawable(name))
            competing = [name for name in names if name in study.ranked(slice_)]
            losses = as_loss([quality[name].value for name in competing], better=study.better(metric), ideal=study.ideal(metric))
            front = [competing[i] for i in pareto_front([by_arm[name] for name in competing], losses)]
            line = {"color": "#777777", "linewidth": 1.0, "zorder": 1, "drawstyle": "steps-post", "label": "not beaten"}
            axes.plot([by_arm[name] for name in front], [quality[name].value for name in front], **line)
            _cost_axis(axes, [by_arm[name] for name in names])
            axes.set_xlabel(cost.label)
            said.append(f"{cost.label}, not beaten: " + ", ".join(f"{name} ({quantity(by_arm[name])})" for name in front))
        _frame(figure.axes[0], [quality[name].value for name in shown], "y")
        for axes in panels[len(drawn) :]:
            axes.set_visible(False)
        figure.supylabel(f"{drawable(study.label(metric), 34)}\n(step {step}, {study.better(metric)} is better)", fontsize=8)
        figure.suptitle(drawable(slice_.label), fontsize=8.5)
        legend_below(figure, figure.axes[0])
        alt = f"{study.label(metric)} at adaptation step {step} against the cost of a cell. {'; '.join(said)}."
        return finish(figure, key=f"quality-cost-{slug(slice_.label)}", title=f"Quality and cost, {slice_.label}", alt=alt)


def pareto_front(costs: Sequence[float], losses: npt.ArrayLike) -> list[int]:
    """Places of the points that no other one beats in cost or loss without being worse in the other, by ascending cost."""
    losses_N = np.asarray(losses, dtype=np.float64)
    order = sorted(range(len(costs)), key=lambda i: (costs[i], losses_N[i]))
    front: list[int] = []
    for i in order:
        if not front or losses_N[i] < losses_N[front[-1]]:
            front.append(i)
    return front


# ------------------------------------------------------------------ parts
def _marker(axes: Axes, x: float, y: float, look: Look, label: str) -> None:
    face = "white" if look.dashed else look.colour
    axes.plot([x], [y], marker=look.marker, color=look.colour, markerfacecolor=face, markersize=5, linestyle="", label=label, zorder=4)


def _cross(axes: Axes, x: Estimate, y: Estimate, look: Look) -> None:
    if math.isfinite(x.low):
        axes.plot([x.low, x.high], [y.value, y.value], color=look.colour, linewidth=1.2, alpha=0.5)
    _vertical(axes, x.value, y, look)


def _vertical(axes: Axes, x: float, y: Estimate, look: Look) -> None:
    if math.isfinite(y.low):
        axes.plot([x, x], [y.low, y.high], color=look.colour, linewidth=1.2, alpha=0.5)


def _frame(axes: Axes, values: Sequence[float], which: str) -> None:
    """Limits that follow the points: an interval of few replicates may leave the axes, and must not flatten them."""
    low, high = min(values), max(values)
    margin = 0.15 * ((high - low) or abs(high) or 1.0)
    axes.set(**{f"{which}lim": (low - margin, high + margin)})


def _cost_axis(axes: Axes, spent: Sequence[float]) -> None:
    """Plain quantities; a logarithm where costs differ a lot, linear about 0 where an arm spends nothing."""
    low, high = min(spent), max(spent)
    if low > 0 and high / low > 4:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(low / 1.3, high * 1.3)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        margin = 0.1 * ((high - low) or abs(high) or 1.0)
        axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value) if value >= 0 else ""))
