"""The report's figures and numbers for a notebook or a paper's script: axes to draw on, frames to compute with.

    import bench
    axes = bench.plots.adaptation_curves("results/fewshot", "energy", on="glyphs")
    axes.figure.savefig("figure.pdf")
    bench.plots.estimates("results/fewshot").query("metric == 'energy' and adaptation_step == 10")

Arms have the colours that they have in the report. Matplotlib's own settings hold, so a paper's style sheet does, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bench.report.study import Slice, Study
    from bench.union import Folders


def adaptation_curves(results: Folders, metric: str | None = None, *, on: str | None = None, axes: Axes | None = None) -> Axes:
    """A metric against the adaptation step: one line per arm, mean over replicates and tasks, with its 95 % two-way interval.

    Args:
        results: results folder, or several of one protocol; a run may be going on.
        metric: default: the suite's primary one.
        on: task distribution, or the part of its name that tells it from the others, as the report spells it (``glyphs, 5 shots``);
            may be left out where there is one.
        axes: where to draw; default: new ones.

    Returns:
        The axes.

    Raises:
        UsageError: the metric or the task distribution is not in the results.
        StoreError: it is not a results folder, or damaged.
    """
    from bench.driver.reading import study_of
    from bench.report.curves import draw_adaptation
    from bench.report.estimates import Estimates
    from bench.report.style import looks, new_axes

    study = study_of(results)
    slice_ = _slice(study, on)
    metric = _metric(study, slice_, metric)
    axes = new_axes() if axes is None else axes
    draw_adaptation(axes, Estimates(study), slice_, metric, looks(study.live_arms), reference=(study.ideal(metric), "ideal"))
    axes.legend(fontsize="small", frameon=False)
    return axes


def estimates(results: Folders) -> pd.DataFrame:
    """Every estimate behind the report's curves.

    Returns:
        One row per task distribution (``slice``), arm, metric and adaptation step: ``value`` (mean over replicates and tasks, every ended
        cell counted), ``low`` and ``high`` (95 % two-way interval; NaN where there is none), ``n_tasks``, ``n_replicates``, ``n_imputed``.

    Raises:
        StoreError: it is not a results folder, or damaged.
    """
    import pandas as pd

    from bench.driver.reading import study_of
    from bench.report.estimates import Estimates

    study = study_of(results)
    found = Estimates(study)
    rows = []
    for slice_ in study.slices:
        for metric in study.metrics_of(slice_):
            for step in study.steps_of(slice_, metric):
                for arm in study.arms_of(slice_):
                    one = found.at(slice_, arm.name, metric, step)
                    rows.append(
                        (slice_.label, arm.name, metric, step, one.value, one.low, one.high, one.n_tasks, one.n_replicates, one.n_imputed)
                    )
    columns = ["slice", "arm", "metric", "adaptation_step", "value", "low", "high", "n_tasks", "n_replicates", "n_imputed"]
    return pd.DataFrame(rows, columns=columns)


def _slice(study: Study, on: str | None) -> Slice:
    labels = [slice_.label for slice_ in study.slices]
    if not labels:
        raise UsageError("no cell of these results has run; run the suite first")
    meant = [slice_ for slice_ in study.slices if on is None or on == slice_.label]
    meant = meant or [slice_ for slice_ in study.slices if on is not None and on in slice_.label]
    if len(meant) != 1:
        asked = "several parts" if on is None or meant else f"no part {on!r}"
        raise UsageError(f"the results have {asked}; name one with on=.{did_you_mean(on or '', labels)} There are: {'; '.join(labels)}")
    return meant[0]


def _metric(study: Study, slice_: Slice, metric: str | None) -> str:
    known = study.metrics_of(slice_)
    wanted = metric or str(study.primary["metric"])
    if wanted not in known:
        raise UsageError(
            f"metric {wanted!r} was not measured on {slice_.label}.{did_you_mean(wanted, known)} Measured: {', '.join(known) or 'none'}"
        )
    return wanted
