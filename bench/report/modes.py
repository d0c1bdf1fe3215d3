"""Samples per known mode, beside what a perfect sampler would have drawn.

Modes of different tasks have nothing in common but their number, so they are put in the order of their samples before they are averaged.
Counts of a perfect sampler fall, too, when they are put in order: its line is drawn, not a level one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bench import seeds
from bench.measure import count_modes, expected_high_quality, expected_modes
from bench.report.blocks import Block, Gallery, Paragraph
from bench.report.kept import Samples, load_samples, sample_files, shown_replicate
from bench.report.study import Slice, Study
from bench.report.style import COLUMN, Look, Picture, drawable, finish, sheet
from bench.report.text import number, slug

Array = npt.NDArray[np.float64]

_DRAWS = 20_000  # of a perfect sampler: its line is right to a hundredth of a sample
_COLUMNS, _PANEL, _ABOVE, _BELOW = 3, 0.95, 0.42, 0.62  # panels in a row, and inches


def mode_blocks(folders: Sequence[Path], study: Study, slice_: Slice, styles: Mapping[str, Look]) -> tuple[Block, ...]:
    """Samples per known mode over all replicates, where the task distribution knows its modes and lies in the plane."""
    files = sample_files(folders, study, slice_)
    if not files:
        return ()
    first = load_samples(next(iter(files[shown_replicate(files)].values())))
    if first.kind != "points" or first.centres is None:
        return ()

    def trials(arm: str) -> Iterator[Samples]:
        return (load_samples(by_arm[arm]) for by_arm in files.values() if arm in by_arm)

    arms = [arm.name for arm in study.arms_of(slice_) if any(arm.name in by_arm for by_arm in files.values())]
    step, tasks = first.shown_step(study), len(first.task_ids)
    picture = mode_bars(slice_, {arm: trials(arm) for arm in arms}, styles, step=step, drawn=first.generated.shape[2])
    if picture is None:
        return ()
    words = (
        f"Samples per known mode: means over the first {tasks} meta-test tasks and all replicates that kept samples, modes of a task in "
        "the order of their samples. A sample belongs to the nearest mode if it lies within three standard deviations of it, as found "
        "from the real samples."
    )
    return Paragraph(words), Gallery((picture,), wide=True)


def ordered_counts(samples: Iterable[Samples], step: int) -> Array:
    """High-quality samples of each mode after ``step`` adaptation steps, (tasks of all trials, modes), most first.

    A sample is of high quality within three standard deviations of its mode. That of the modes is found from the real samples of
    each task, about their nearest centres. What is not finite is of no mode.
    """
    found = []
    for trial in samples:
        if trial.centres is None or step not in trial.steps:
            continue
        generated = trial.generated[trial.steps.index(step)]
        real = np.concatenate([trial.support, trial.query], axis=1)
        beyond = trial.centres.max() + 1e6 * _spread(real, trial.centres).max()  # near to no mode
        finite = np.isfinite(generated).all(axis=2, keepdims=True)
        counts = count_modes(np.where(finite, generated, beyond), trial.centres, _spread(real, trial.centres)).counts_TK
        found.append(-np.sort(-counts, axis=1))
    return np.concatenate(found) if found else np.empty((0, 0))


def _spread(real: Array, centres: Array) -> Array:
    """Standard deviation per axis of real samples (t, N, F) about their nearest centres (t, K, F)."""
    squares = np.square(real[:, :, None] - centres[:, None]).sum(axis=3).min(axis=2)
    return np.asarray(np.sqrt(squares.mean(axis=1) / real.shape[2]))


def perfect_counts(modes: int, samples: int, *, coordinates: int = 2) -> Array:
    """Expected samples per mode of a perfect sampler in the order of their number, (modes,): ``samples`` draws, equally likely modes."""
    share = expected_high_quality(coordinates) / modes
    draws = seeds.stream("perfect counts", modes, samples).multinomial(samples, [*[share] * modes, 1 - share * modes], size=_DRAWS)
    return np.asarray(-np.sort(-draws[:, :modes], axis=1).mean(axis=0), dtype=np.float64)


def mode_bars(
    slice_: Slice, samples: Mapping[str, Iterable[Samples]], styles: Mapping[str, Look], *, step: int, drawn: int
) -> Picture | None:
    """A bar per mode and a panel per arm: mean samples after ``step`` adaptation steps; None where no arm kept points and modes.

    Args:
        slice_: where.
        samples: what the trials of each arm kept.
        styles: look per arm.
        step: adaptation step.
        drawn: samples that each task's counts are of.
    """
    counts = {name: ordered_counts(trials, step) for name, trials in samples.items()}
    counts = {name: found for name, found in counts.items() if found.size}
    if not counts:
        return None
    modes = next(iter(counts.values())).shape[1]
    perfect, hoped = perfect_counts(modes, drawn), float(expected_modes(modes, drawn, high_quality=expected_high_quality()))
    found = {name: float((of_arm > 0).sum(axis=1).mean()) for name, of_arm in counts.items()}
    highest = max(perfect.max(), *(of_arm.mean(axis=0).max() for of_arm in counts.values()))
    rows = -(-len(counts) // _COLUMNS)
    height = rows * _PANEL + _ABOVE + _BELOW
    with sheet(1.5 * COLUMN, height, fitted=False) as figure:
        figure.subplots_adjust(left=0.1, right=0.985, top=1 - _ABOVE / height, bottom=_BELOW / height, hspace=0.42, wspace=0.1)
        grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True)
        for axes, (name, of_arm) in zip(grid.flat, counts.items(), strict=False):
            _bars(axes, of_arm.mean(axis=0), perfect, styles[name])
            axes.set_title(drawable(name, 24), pad=2, fontsize=8)
            axes.text(0.98, 0.95, f"{number(found[name], 1)} of {modes}", transform=axes.transAxes, ha="right", va="top")
            axes.set_ylim(0, 1.12 * highest)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for axes in grid.flat[len(counts) :]:
            axes.set_visible(False)
        for column in range(min(_COLUMNS, len(counts))):  # the last panel of a column that ends early carries the ticks
            grid[(len(counts) - 1 - column) // _COLUMNS, column].tick_params(labelbottom=True)
        figure.suptitle(drawable(f"{slice_.label}, step {step}"), fontsize=8.5, y=1 - 0.06 / height, va="top")
        figure.supxlabel(
            f"known mode, most samples first\nline: a perfect sampler, which finds {number(hoped, 1)} of {modes}", fontsize=8,
            y=0.05 / height, va="bottom",
        )  # fmt: skip
        figure.supylabel(f"samples, of {drawn} a task", fontsize=8, x=0.01)
        said = "; ".join(f"{name} {number(value, 1)}" for name, value in found.items())
        alt = f"Bars: samples per known mode after {step} adaptation steps. Modes found, of {modes}: {said}; a perfect sampler {hoped:.1f}."
        return finish(figure, key=f"mode-bars-{slug(slice_.label)}", title=f"Samples per known mode, {slice_.label}", alt=alt)


def _bars(axes: Axes, counts: Array, perfect: Array, look: Look) -> None:
    """Bars in the arm's colour, hollow for a control, and the perfect sampler's line."""
    ranks = np.arange(1, len(counts) + 1)
    axes.bar(ranks, counts, width=0.8, color="white" if look.dashed else look.colour, edgecolor=look.colour, linewidth=0.8)
    axes.plot(ranks, perfect, color="black", linewidth=1.0, marker="_", markersize=4)
    axes.grid(visible=False, axis="x")
