"""What the arms generate, to be looked at: support | query | generated after each number of adaptation steps.

Every arm shows the same replicate, tasks and noise, so samples at one place of two grids differ by the learner only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.report.study import Arm, Slice, Study
from bench.report.style import DPI, PHOTOGRAPH, Look, Picture, drawable, finish, sheet
from bench.report.text import slug

TASKS = 4
EACH = 3  # samples under each heading of an arm's grid
_TILE = 76  # device pixels of a tile, about
WIDE = 8  # samples of each kind where arms are compared at one step
_SIDE = 1.5  # inches of a scatter
_LIMIT = 256 * 2**20  # bytes of one samples file: it comes from a folder that anyone may have written


@dataclass(frozen=True)
class Samples:
    """Samples of one trial: steps (K,), support (t, S, ...), query (t, Q, ...), generated (K, t, n, ...), centres (t, M, 2) or None.

    ``predicted`` says that what is called generated predicts something about the query.
    """

    steps: tuple[int, ...]
    task_ids: tuple[str, ...]
    support: npt.NDArray[np.float64]
    query: npt.NDArray[np.float64]
    generated: npt.NDArray[np.float64]
    centres: npt.NDArray[np.float64] | None
    predicted: bool = False

    @property
    def kind(self) -> str:
        """``image``, ``points`` in the plane, or ``''`` where there is no picture for it."""
        if self.predicted:
            return ""
        shape = self.support.shape[2:]
        if len(shape) == 3 and shape[0] in (1, 3):
            return "image"
        return "points" if shape == (2,) and self.generated.shape[3:] == (2,) else ""


def load_samples(results: Path, study: Study, slice_: Slice) -> tuple[int | None, dict[str, Samples]]:
    """Samples of each arm in a slice, all of one replicate: the one that most arms have, the lowest of these.

    Returns:
        The replicate (None where no trial kept samples), and the samples by arm.
    """
    cells = study.in_slice(study.cells, slice_)
    found: dict[int, dict[str, Path]] = {}
    for trial_id, arm, replicate in zip(cells["trial_id"].astype(str), cells["arm"].astype(str), cells["replicate"], strict=True):
        path = results / "trials" / trial_id / "samples.npz"
        if (
            trial_id not in (".", "..")
            and "/" not in trial_id
            and "\\" not in trial_id
            and path.is_file()
            and path.stat().st_size <= _LIMIT
        ):
            found.setdefault(int(replicate), {})[arm] = path
    if not found:
        return None, {}
    replicate = max(found, key=lambda r: (len(found[r]), -r))
    loaded = {arm: _load(path) for arm, path in found[replicate].items()}
    return replicate, {arm.name: loaded[arm.name] for arm in study.arms_of(slice_) if arm.name in loaded}


def comparison(study: Study, slice_: Slice, samples: Mapping[str, Samples], styles: Mapping[str, Look]) -> Picture | None:
    """All arms after the primary number of steps, a row each, under the real samples of the same tasks."""
    first = next(iter(samples.values()))
    if not first.kind:
        return None
    step = int(study.primary["adaptation_step"])
    step = step if step in first.steps else first.steps[-1]
    shown = {name: s for name, s in samples.items() if step in s.steps and s.kind == first.kind}
    title = f"All arms after {step} adaptation steps, {slice_.label}"
    alt = f"Rows: support, query, then {', '.join(shown)}; columns: samples of {min(TASKS, len(first.task_ids))} held-out tasks."
    key = f"samples-compared-{slug(slice_.label)}"
    if first.kind == "image":
        tasks = range(min(3, len(first.task_ids)))
        rows = [("support", _strips(first.support, tasks, WIDE)), ("query", _strips(first.query, tasks, WIDE))]
        rows += [(name, _strips(s.generated[s.steps.index(step)], tasks, WIDE)) for name, s in shown.items()]
        colours = {name: styles[name].colour for name in shown}
        headings = [_task(first, t) for t in tasks]
        return _grid(rows, headings, _range(first), key=key, title=title, alt=alt, colours=colours)
    panels = [[_Panel(s, s.steps.index(step), task, name) for name, s in shown.items()] for task in range(min(3, len(first.task_ids)))]
    return _scatters(panels, styles, key=key, title=title, alt=alt)


def arm_grid(slice_: Slice, arm: Arm, samples: Samples, styles: Mapping[str, Look]) -> Picture | None:
    """One arm through adaptation: a row per task; support, query, then generated samples at each step."""
    if not samples.kind:
        return None
    tasks = range(min(TASKS, len(samples.task_ids)))
    steps = ", ".join(str(s) for s in samples.steps)
    title = f"{arm.name}, {slice_.label}"
    key = f"samples-{slug(arm.name)}-{slug(slice_.label)}"
    alt = f"Rows: {len(tasks)} held-out tasks. Columns: real samples, then samples generated by {arm.name} after {steps} adaptation steps."
    if samples.kind == "image":
        rows = [
            (
                _task(samples, t),
                [samples.support[t, :EACH], samples.query[t, :EACH], *(samples.generated[k, t, :EACH] for k in range(len(samples.steps)))],
            )
            for t in tasks
        ]
        headings = ["support", "query", *(f"step {s}" for s in samples.steps)]
        return _grid(rows, headings, _range(samples), key=key, title=title, alt=alt, colours={})
    panels = [[_Panel(samples, k, task, f"step {step}") for k, step in enumerate(samples.steps)] for task in tasks[:3]]
    return _scatters(panels, {f"step {step}": styles[arm.name] for step in samples.steps}, key=key, title=title, alt=alt)


# ------------------------------------------------------------------ images
def _grid(
    rows: Sequence[tuple[str, Sequence[npt.NDArray[np.float64]]]],
    headings: Sequence[str],
    limits: tuple[float, float],
    *,
    key: str,
    title: str,
    alt: str,
    colours: Mapping[str, str],
) -> Picture:
    """Blocks of tiles: each row has one strip of samples under each heading; whole pixels, never smoothed."""
    height, width = rows[0][1][0].shape[-2:]
    zoom = max(1, round(_TILE / max(height, width)))  # device pixels a sample pixel
    gap, space = 2, 18
    strips = [[_tiles(strip, limits, zoom, gap) for strip in strips] for _, strips in rows]
    tall, widths = strips[0][0].shape[0], [max(strip.shape[1] for strip in column) for column in zip(*strips, strict=True)]
    label, head = 22 + 12 * max(len(drawable(name, 24)) for name, _ in rows), 34
    total = label + sum(widths) + space * (len(widths) - 1)
    pixels = np.ones((head + len(rows) * (tall + 4), total, 3))
    starts = [label + sum(widths[:i]) + space * i for i in range(len(widths))]
    for r, row in enumerate(strips):
        top = head + r * (tall + 4)
        for start, strip in zip(starts, row, strict=True):
            pixels[top : top + strip.shape[0], start : start + strip.shape[1]] = strip
    with sheet(total / DPI, pixels.shape[0] / DPI) as figure:
        figure.set_layout_engine("none")
        figure.figimage(pixels, resize=False)
        for start, heading in zip(starts, headings, strict=True):
            _write(figure, start, 4, drawable(heading, 30), total, pixels.shape[0])
        for r, (name, _) in enumerate(rows):
            top = head + r * (tall + 4) + tall / 2 - 12
            _write(figure, 2, top, drawable(name, 24), total, pixels.shape[0], colour=colours.get(name, "black"))
        colourful = rows[0][1][0].shape[-3] == 3 or bool(colours)
        return finish(figure, key=key, title=title, alt=alt, vector=False, palette=None if colourful else PHOTOGRAPH)


def _write(figure: Figure, x: float, top: float, text: str, width: int, height: int, colour: str = "black") -> None:
    darker = tuple(0.75 * part for part in to_rgb(colour))  # text needs more contrast than a line
    figure.text(x / width, 1 - top / height, text, va="top", ha="left", fontsize=7.5, color=darker)


def _tiles(strip: npt.NDArray[np.float64], limits: tuple[float, float], zoom: int, gap: int) -> npt.NDArray[np.float64]:
    """(n, C, H, W) -> one row of tiles (H', W', 3) in [0, 1]; values that are not finite are red."""
    low, high = limits
    tiles = []
    for sample in strip:
        finite = np.isfinite(sample).all(axis=0)
        grey = np.clip((np.nan_to_num(sample, nan=low, posinf=high, neginf=low) - low) / (high - low or 1.0), 0, 1)
        rgb = np.repeat(grey, 3, axis=0)[:3] if len(grey) == 1 else grey[:3]
        tile = np.where(finite, rgb, np.array([0.84, 0.37, 0.0])[:, None, None]).transpose(1, 2, 0)
        tiles += [np.kron(tile, np.ones((zoom, zoom, 1))), np.ones((tile.shape[0] * zoom, gap, 3))]
    return np.concatenate(tiles[:-1], axis=1)


def _strips(samples: npt.NDArray[np.float64], tasks: Sequence[int], n: int) -> list[npt.NDArray[np.float64]]:
    return [samples[t, :n] for t in tasks]


def _range(samples: Samples) -> tuple[float, float]:
    """Black and white are the extremes of the real samples, the same for every arm."""
    return float(min(samples.support.min(), samples.query.min())), float(max(samples.support.max(), samples.query.max()))


# ------------------------------------------------------------------ points
@dataclass(frozen=True)
class _Panel:
    samples: Samples
    position: int
    task: int
    name: str


def _scatters(panels: Sequence[Sequence[_Panel]], styles: Mapping[str, Look], *, key: str, title: str, alt: str) -> Picture:
    """A grid of scatters: a row per task; real query in grey, generated in the arm's colour, mode centres as crosses."""
    columns, rows = max(len(row) for row in panels), len(panels)
    left, top, bottom = 0.26, 0.24, 0.26
    width, height = left + _SIDE * columns, top + _SIDE * rows + bottom
    with sheet(width, height) as figure:
        figure.set_layout_engine("none")
        # One axes for all panels: a hundred small ones take seconds.
        axes = figure.add_axes((left / width, bottom / height, _SIDE * columns / width, _SIDE * rows / height))
        axes.set_xlim(0, columns)
        axes.set_ylim(rows, 0)
        axes.axis("off")
        for r, of_task in enumerate(panels):
            axes.text(
                -0.03, r + 0.5, drawable(_task(of_task[0].samples, of_task[0].task)), rotation=90, ha="right", va="center", fontsize=7.5
            )
            for c, panel in enumerate(of_task):
                _scatter(axes, (c, r), panel, styles[panel.name].colour)
        for c, panel in enumerate(panels[0]):
            axes.text(c + 0.5, -0.03, drawable(panel.name, 24), ha="center", va="bottom")
        axes.text(0.02, rows + 0.03, "grey: real query samples; colour: generated; crosses: mode centres", va="top")
        return finish(figure, key=key, title=title, alt=alt, vector=False)


def _scatter(axes: Axes, corner: tuple[int, int], panel: _Panel, colour: str) -> None:
    """One panel, in the unit square at ``corner``; the window follows the real samples."""
    samples, task = panel.samples, panel.task
    real = np.concatenate([samples.support[task], samples.query[task]])
    middle, reach = (real.min(axis=0) + real.max(axis=0)) / 2, 0.8 * float(np.ptp(real, axis=0).max()) or 1.0

    def place(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        placed: npt.NDArray[np.float64] = np.asarray(corner) + 0.5 + (points - middle) / reach * np.array([0.47, -0.47])
        return placed

    fake = samples.generated[panel.position, task]
    inside = np.isfinite(fake).all(axis=1)
    inside[inside] = (np.abs(fake[inside] - middle) <= reach).all(axis=1)
    axes.add_patch(Rectangle((corner[0] + 0.02, corner[1] + 0.02), 0.96, 0.96, fill=False, edgecolor="#777777", linewidth=0.6))
    axes.scatter(*_xy(place(samples.query[task])), s=9, color="#9A9A9A", linewidths=0)
    axes.scatter(*_xy(place(fake[inside])), s=7, color=colour, alpha=0.75, linewidths=0)
    if samples.centres is not None:
        centres = samples.centres[task]
        axes.scatter(*_xy(place(centres[np.isfinite(centres).all(axis=1)])), marker="+", s=40, color="black", linewidths=0.9)
    if not inside.all():
        axes.text(corner[0] + 0.05, corner[1] + 0.95, f"{(~inside).sum()} outside", fontsize=7, va="bottom")


def _xy(points: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return points[:, 0], points[:, 1]


def _task(samples: Samples, task: int) -> str:
    """A short name: the end of the task's, which tells it from its neighbours."""
    name = samples.task_ids[task]
    return f"task {name}" if len(name) <= 18 else f"task …{name[-17:]}"


def _load(path: Path) -> Samples:
    with np.load(path, allow_pickle=False) as stored:
        centres = stored["modes_centres"].astype(np.float64) if "modes_centres" in stored else None
        return Samples(
            steps=tuple(int(s) for s in stored["steps"]),
            task_ids=tuple(str(t) for t in stored["task_ids"]),
            support=stored["support"].astype(np.float64),
            query=stored["query"].astype(np.float64),
            generated=stored["generated"].astype(np.float64),
            centres=centres,
            predicted="targets" in stored,
        )
