"""What became of the cells of a slice: one stacked bar per arm, by status and divergence class."""

from __future__ import annotations

from matplotlib.ticker import MaxNLocator

from bench.report.study import STATUSES, Slice, Study
from bench.report.style import STATUS_COLOURS, Picture, canvas, drawable, finish, legend_below, legend_height
from bench.report.tables import outcome_counts
from bench.report.text import slug

_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++", "oooo")


def failure_bars(study: Study, slice_: Slice) -> Picture:
    """Stacked horizontal bars of the cells of each arm."""
    arms = [arm.name for arm in study.arms_of(slice_)]
    counts = {arm: outcome_counts(study, arm, slice_) for arm in arms}
    outcomes = sorted({o for of_arm in counts.values() for o in of_arm}, key=lambda o: (STATUSES.index(o.split(":")[0]), o))
    classes = [o for o in outcomes if o.startswith("diverged")]
    with canvas(height=0.75 + 0.2 * len(arms) + legend_height(outcomes)) as (figure, axes):
        left = dict.fromkeys(arms, 0)
        for outcome in outcomes:
            status = outcome.split(":")[0]
            axes.barh(
                range(len(arms)),
                [counts[arm].get(outcome, 0) for arm in arms],
                left=[left[arm] for arm in arms],
                color=STATUS_COLOURS[status],
                edgecolor="#444444",
                linewidth=0.5,
                hatch=_HATCHES[classes.index(outcome) % len(_HATCHES)] if outcome in classes else "",
                height=0.72,
                label=outcome.replace("_", " "),
            )
            left = {arm: left[arm] + counts[arm].get(outcome, 0) for arm in arms}
        axes.set_yticks(range(len(arms)), [drawable(arm, 26) for arm in arms])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("cells")
        axes.set_title(drawable(slice_.label), loc="left")
        legend_below(figure, axes)
        said = "; ".join(f"{arm}: " + ", ".join(f"{n} {outcome}" for outcome, n in counts[arm].items()) for arm in arms)
        title = f"Outcomes of the cells, {slice_.label}"
        return finish(figure, key=f"failures-{slug(slice_.label)}", title=title, alt=f"Stacked bars of cells by outcome. {said}.")
