"""Lines over adaptation steps, over shots and over outer steps, one line per arm, band = interval; many arms get a panel each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from bench.report.costs import COSTS, Cost
from bench.report.estimates import Estimate, Estimates
from bench.report.panels import MOST_TOGETHER, Line, panels
from bench.report.study import Slice, Study
from bench.report.style import Look, Picture, canvas, drawable, finish, legend_below, legend_height, line_style
from bench.report.text import interval, number, slug

_LOG_FROM = 8.0  # ratio of the largest to the smallest estimate from which a logarithmic axis shows more
_POINTS = 120  # outer steps drawn per line; more cannot be told apart at column width


def adaptation_curve(
    estimates: Estimates, slice_: Slice, metric: str, styles: Mapping[str, Look], *, reference: tuple[float, str] | None = None
) -> Picture | None:
    """A metric against the adaptation step, on one slice; None where nothing is finite.

    Args:
        estimates: where the numbers come from.
        slice_: the cells to draw.
        metric: a metric measured on meta-test tasks.
        styles: look per arm.
        reference: height and name of the dashed line; default the metric's ideal value.
    """
    study = estimates.study
    steps = study.steps_of(slice_, metric)
    lines = _finite_lines(estimates, slice_, metric, steps)
    if not lines:
        return None
    height, meaning = reference or (study.ideal(metric), "ideal")
    key, title = f"adaptation-{slug(metric)}-{slug(slice_.label)}", f"{study.label(metric)}, {slice_.label}"
    alt = _spoken(study, metric, steps, lines)
    if len(lines) > MOST_TOGETHER:

        def prepare(axes: Axes) -> None:
            _scale(axes, [e for line in lines.values() for e in line], study.better(metric))
            step_axis(axes, steps)
            axes.set_xlabel("")

        drawn = {name: _line(steps, line) for name, line in lines.items()}
        y_label = f"{drawable(study.label(metric), 56)} ({_direction(study, metric)})"
        with panels(drawn, prepare, title=slice_.label, x_label="adaptation step", y_label=y_label, marked=True) as figure:
            return finish(figure, key=key, title=title, alt=alt)
    with canvas(height=2.15 + legend_height([*lines, meaning])) as (figure, axes):
        draw_adaptation(axes, estimates, slice_, metric, styles, reference=(height, meaning))
        legend_below(figure, axes)
        return finish(figure, key=key, title=title, alt=alt)


def draw_adaptation(
    axes: Axes,
    estimates: Estimates,
    slice_: Slice,
    metric: str,
    styles: Mapping[str, Look],
    *,
    reference: tuple[float, str],
) -> None:
    """A line and a band per arm on ``axes``, labelled but for the legend; what :func:`adaptation_curve` makes a file of."""
    study = estimates.study
    steps = study.steps_of(slice_, metric)
    lines = _finite_lines(estimates, slice_, metric, steps)
    _scale(axes, [e for line in lines.values() for e in line], study.better(metric))
    for name, line in lines.items():
        _draw(axes, steps, line, name, styles[name])
    ceiling = estimates.ceiling(slice_, metric) if study.better(metric) == "lower" else math.nan
    _references(axes, [(*reference, "#333333"), (ceiling, "constant output", "#8A5A00")])
    step_axis(axes, steps)
    axes.set_ylabel(f"{_wrap(study.label(metric))}\n({_direction(study, metric)})")
    axes.set_title(drawable(slice_.label), loc="left")


def _finite_lines(estimates: Estimates, slice_: Slice, metric: str, steps: Sequence[int]) -> dict[str, list[Estimate]]:
    """An estimate per step of every arm that has a finite one."""
    lines = {arm.name: [estimates.at(slice_, arm.name, metric, step) for step in steps] for arm in estimates.study.arms_of(slice_)}
    return {name: line for name, line in lines.items() if any(math.isfinite(e.value) for e in line)}


def _line(x: Sequence[float], line: Sequence[Estimate]) -> Line:
    return Line(x, [e.value for e in line], [e.low for e in line], [e.high for e in line])


def _draw(axes: Axes, steps: Sequence[int], line: Sequence[Estimate], name: str, look: Look) -> None:
    """Line and band; a band that fills the axes says nothing and hides the others, so a star stands for it."""
    bottom, top = axes.get_ylim()
    low, high = np.array([e.low for e in line]), np.array([e.high for e in line])
    fills = bool(np.isfinite(low).any()) and bool((np.clip(high, bottom, top) - np.clip(low, bottom, top) > 0.8 * (top - bottom)).any())
    axes.plot(steps, [e.value for e in line], label=drawable(name) + ("*" if fills else ""), **line_style(look))
    if np.isfinite(low).any() and not fills:
        axes.fill_between(steps, low, high, color=look.colour, alpha=0.07 if look.dashed else 0.14, linewidth=0)
    axes.set_ylim(bottom, top)


def step_axis(axes: Axes, steps: Sequence[int]) -> None:
    """Symmetric logarithm with the evaluated steps as its only ticks."""
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    axes.xaxis.set_major_locator(FixedLocator(list(steps)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlim(min(steps) - 0.15, max(steps) * 1.12 + 0.15)
    axes.set_xlabel("adaptation step")


def _scale(axes: Axes, drawn: Sequence[Estimate], better: str) -> None:
    """Fix the limits to the lines, so that bands of few replicates and references do not flatten them."""
    values = np.array([e.value for e in drawn if math.isfinite(e.value)])
    low, high = float(values.min()), float(values.max())
    if better == "lower" and low > 0 and high / low > _LOG_FROM:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.6, high * 1.6)
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_locator(NullLocator())
        ticks = [m * 10.0**p for p in range(-6, 7) for m in (1, 2, 5)]
        axes.yaxis.set_major_locator(FixedLocator([t for t in ticks if low / 1.6 <= t <= high * 1.6]))
    else:
        spread = (high - low) or abs(high) or 1.0
        axes.set_ylim(low - 0.18 * spread, high + 0.18 * spread)


def _references(axes: Axes, references: Sequence[tuple[float, str, str]]) -> None:
    """Dotted lines (height, meaning, colour) that lie near the curves; the others are words in the corners they lie beyond."""
    beyond: dict[bool, list[str]] = {False: [], True: []}
    for height, meaning, colour in references:
        if not math.isfinite(height):
            continue
        low, high = axes.get_ylim()
        if axes.get_yscale() != "log" and low - 0.35 * (high - low) <= height <= high + 0.35 * (high - low):
            axes.set_ylim(min(low, height - 0.06 * (high - low)), max(high, height + 0.06 * (high - low)))
        elif not low <= height <= high:
            beyond[height > high].append(f"{meaning}: {_short(height)}")
            continue
        axes.axhline(height, color=colour, linestyle=(0, (1.5, 1.5)), linewidth=1.1, label=f"{meaning} ({_short(height)})", zorder=1)
    for above, words in beyond.items():
        x, y, side, end = (0.995, 0.985, "right", "top") if above else (0.01, 0.02, "left", "bottom")
        if words:
            axes.text(x, y, f"{'↑' if above else '↓'} {', '.join(words)}", transform=axes.transAxes, ha=side, va=end, color="#444444")


def _short(height: float) -> str:
    return f"{height:g}" if float(height).is_integer() else number(height)


def _direction(study: Study, metric: str) -> str:
    better, ideal = study.better(metric), study.ideal(metric)
    if study.about_game(metric) and math.isnan(ideal):
        return "no value is best"
    return f"{better} is better" if better != "closer" else f"best: {ideal:g}"


def _spoken(study: Study, metric: str, steps: Sequence[int], lines: Mapping[str, Sequence[Estimate]]) -> str:
    """What a reader who cannot see the figure needs: its numbers at the primary step, or at the last one."""
    step = int(study.primary["adaptation_step"])
    index = steps.index(step) if step in steps else len(steps) - 1
    said = "; ".join(f"{name} {interval(line[index].value, line[index].low, line[index].high)}" for name, line in lines.items())
    return f"Line chart of {study.label(metric)} against the adaptation step, {_direction(study, metric)}. At step {steps[index]}: {said}."


def _wrap(text: str, width: int = 28) -> str:
    """Two lines where one would be longer than the axis."""
    text = drawable(text, 2 * width)
    cut = text.rfind(" ", 0, width)
    return text if len(text) <= width or cut < 0 else text[:cut] + "\n" + text[cut + 1 :]


# ------------------------------------------------------------------ shots
def shots_curve(estimates: Estimates, axis: Sequence[Slice], styles: Mapping[str, Look]) -> Picture | None:
    """The primary metric at the primary step against the number of shots, over slices that differ in it; None where nothing is finite."""
    study = estimates.study
    metric, step = str(study.primary["metric"]), int(study.primary["adaptation_step"])
    shots = [slice_.shots for slice_ in axis]
    arms = [arm.name for arm in study.live_arms if any(arm in study.arms_of(slice_) for slice_ in axis)]
    lines = {name: [estimates.at(slice_, name, metric, step) for slice_ in axis] for name in arms}
    lines = {name: line for name, line in lines.items() if any(math.isfinite(e.value) for e in line)}
    if not lines:
        return None
    label = axis[0].without_shots.label
    with canvas(height=2.15 + legend_height([*lines, "ideal"])) as (figure, axes):
        _scale(axes, [e for line in lines.values() for e in line], study.better(metric))
        for name, line in lines.items():
            _draw(axes, shots, line, name, styles[name])
        _references(axes, [(study.ideal(metric), "ideal", "#333333")])
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(shots))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlim(shots[0] / 1.12, shots[-1] * 1.12)
        axes.set_xlabel("shots")
        axes.set_ylabel(f"{_wrap(study.label(metric))}\n({_direction(study, metric)})")
        axes.set_title(drawable(f"{label}, after {step} adaptation steps"), loc="left")
        legend_below(figure, axes)
        few, many = (
            "; ".join(f"{name} {interval(line[at].value, line[at].low, line[at].high)}" for name, line in lines.items()) for at in (0, -1)
        )
        what = f"Line chart of {study.label(metric)} against shots, {_direction(study, metric)}."
        alt = f"{what} At {shots[0]}: {few}. At {shots[-1]}: {many}."
        return finish(figure, key=f"shots-{slug(metric)}-{slug(label)}", title=f"{study.label(metric)} by shots, {label}", alt=alt)


# ------------------------------------------------------------------ outer steps
def training_curve(study: Study, slice_: Slice, metric: str, styles: Mapping[str, Look], cost: Cost) -> Picture | None:
    """A training curve against the outer step, or what it had cost by then: mean over replicates, band from lowest to highest."""
    rows = study.training_of(slice_)
    score = metric == str(study.primary["metric"]) or study.about_game(metric)
    rows = rows[(rows["split"] == ("meta-val" if score else "meta-train")) & (rows["metric"] == metric)]
    if score and not rows.empty:
        steps = rows["adaptation_step"].dropna()
        wanted = int(study.primary["adaptation_step"])
        taken = wanted if (steps == wanted).any() else int(steps.max()) if len(steps) else wanted
        rows = rows[rows["adaptation_step"] == taken] if len(steps) else rows
    rows = rows[np.isfinite(rows["value"].astype(float)) & rows["outer_step"].notna()]
    if rows.empty:
        return None
    arms = [arm for arm in study.arms_of(slice_) if (rows["arm"] == arm.name).any()]
    label = study.training_slices.get(slice_, slice_).label
    name = f"{study.label(metric)} on meta-val, adaptation step {taken}" if score else metric.replace(".", ", ").replace("_", " ")
    curves = {arm.name: _by_replicate(rows[rows["arm"] == arm.name]) for arm in arms}
    finite = rows["value"].astype(float)
    logarithmic = bool(finite.min() > 0 and finite.max() / finite.min() > 100)
    ends = "; ".join(f"{arm} {number(float(curve.mean(axis=1).iloc[-1]))}" for arm, curve in curves.items())
    key, title = f"training-{slug(metric)}-{slug(label)}", f"{name}, {label}"
    x_label = "outer step" if cost.column == "outer_steps" else cost.label
    alt = f"Line chart of {name} against the {x_label} on {label}. Last values: {ends}."
    lines = {
        arm: Line(
            _spent(study, slice_, arm, cost, list(curve.index)), list(curve.mean(axis=1)), list(curve.min(axis=1)), list(curve.max(axis=1))
        )
        for arm, curve in curves.items()
    }
    if len(lines) > MOST_TOGETHER:

        def prepare(axes: Axes) -> None:
            if logarithmic:
                _logarithmic(axes)

        with panels(lines, prepare, title=label, x_label=x_label, y_label=drawable(name, 56), marked=False) as figure:
            return finish(figure, key=key, title=title, alt=alt)
    with canvas(height=1.9 + legend_height(list(lines))) as (figure, axes):
        for arm, line in lines.items():
            style = line_style(styles[arm]) | ({} if len(line.x) <= 12 else {"marker": ""})
            axes.plot(line.x, line.middle, label=drawable(arm), **style)
            axes.fill_between(line.x, line.low, line.high, color=styles[arm].colour, alpha=0.12, linewidth=0)
        if logarithmic:
            _logarithmic(axes)
        axes.set_xlabel(x_label)
        axes.set_ylabel(_wrap(name))
        axes.set_title(drawable(label), loc="left")
        legend_below(figure, axes)
        return finish(figure, key=key, title=title, alt=alt)


def _spent(study: Study, slice_: Slice, arm: str, cost: Cost, steps: Sequence[int]) -> list[float]:
    """Outer steps, or what a cell had spent by them: its warm start, then its own training in proportion to the outer steps."""
    if cost.column == "outer_steps":
        return [float(step) for step in steps]
    total, outer_steps = cost.of(study, slice_, arm), COSTS["steps"].of(study, slice_, arm)
    budget = study.setting(slice_, "budget") or {}
    amount = next((float(value) for axis, value in budget.items() if axis != "warm_start" and value), math.nan)
    warm = sum(float(value) for value in (budget.get("warm_start") or {}).values()) / amount
    return [total * (warm + (1 - warm) * step / outer_steps) for step in steps]


def _logarithmic(axes: Axes) -> None:
    """Plain numbers at the powers of ten: labels are drawn as they are, so an exponent would be spelled out."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())


def training_metrics(study: Study, slice_: Slice) -> list[str]:
    """Names with a curve over outer steps: the meta-val score, the meta-loss, then players by name."""
    rows = study.training_of(slice_)
    train = sorted(set(rows.loc[rows["split"] == "meta-train", "metric"].dropna()), key=lambda m: (m != "meta_loss", m))
    primary = str(study.primary["metric"])
    scored = ((rows["split"] == "meta-val") & (rows["metric"] == primary)).any()
    return [*([primary] if scored else []), *train]


def _by_replicate(rows: pd.DataFrame) -> pd.DataFrame:
    """(outer step, replicate) means; long curves are averaged in equal bins of outer steps."""
    steps = rows["outer_step"].astype(int)
    distinct = np.unique(steps)
    if len(distinct) > _POINTS:
        edges = np.array_split(distinct, _POINTS)
        lookup = {int(step): int(chunk[-1]) for chunk in edges for step in chunk}
        steps = steps.map(lookup)
    table = pd.DataFrame({"step": steps, "replicate": rows["replicate"], "value": rows["value"].astype(float)})
    return table.pivot_table(index="step", columns="replicate", values="value", aggfunc="mean").sort_index()
