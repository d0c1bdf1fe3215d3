"""What trials kept for people to look at: a few tasks' support, query and generated samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from bench.report.study import Slice, Study

Array = npt.NDArray[np.float64]

_LIMIT = 256 * 2**20  # bytes of one samples file: it comes from a folder that anyone may have written


@dataclass(frozen=True)
class Samples:
    """Samples of one trial: steps (K,), support (t, S, ...), query (t, Q, ...), generated (K, t, n, ...), centres (t, M, 2) or None.

    ``predicted`` says that what is called generated predicts something about the query.
    """

    steps: tuple[int, ...]
    task_ids: tuple[str, ...]
    support: Array
    query: Array
    generated: Array
    centres: Array | None
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

    @property
    def limits(self) -> tuple[float, float]:
        """Black and white are the extremes of the real samples, the same for every arm."""
        return float(min(self.support.min(), self.query.min())), float(max(self.support.max(), self.query.max()))

    def shown_step(self, study: Study) -> int:
        """The primary number of steps where there are samples of it, else the last one that has some."""
        step = int(study.primary["adaptation_step"])
        return step if step in self.steps else self.steps[-1]

    def short_name(self, task: int) -> str:
        """The end of a task's name, which tells it from its neighbours."""
        name = self.task_ids[task]
        return f"task {name}" if len(name) <= 18 else f"task …{name[-17:]}"


def sample_files(folders: Sequence[Path], study: Study, slice_: Slice) -> dict[int, dict[str, Path]]:
    """Where the trials of a slice kept samples for people to look at, by replicate and arm, arms in their order."""
    cells = study.cells_of(slice_)
    found: dict[int, dict[str, Path]] = {}
    for trial_id, arm, replicate in zip(cells["trial_id"].astype(str), cells["arm"].astype(str), cells["replicate"], strict=True):
        inside = trial_id not in (".", "..") and "/" not in trial_id and "\\" not in trial_id
        paths = [folder / "trials" / trial_id / "samples.npz" for folder in folders if inside]
        for path in [one for one in paths if one.is_file() and one.stat().st_size <= _LIMIT][:1]:
            found.setdefault(int(replicate), {})[arm] = path
    order = [arm.name for arm in study.arms_of(slice_)]
    return {replicate: {name: by_arm[name] for name in order if name in by_arm} for replicate, by_arm in sorted(found.items())}


def shown_replicate(files: Mapping[int, Mapping[str, Path]]) -> int:
    """The replicate that most arms have, the lowest of these."""
    return max(files, key=lambda replicate: (len(files[replicate]), -replicate))


def load_samples(path: Path) -> Samples:
    """What a trial kept.

    Args:
        path: one of :func:`sample_files`.
    """
    with np.load(path, allow_pickle=False) as stored:
        return Samples(
            steps=tuple(int(s) for s in stored["steps"]),
            task_ids=tuple(str(t) for t in stored["task_ids"]),
            support=stored["support"].astype(np.float64),
            query=stored["query"].astype(np.float64),
            generated=stored["generated"].astype(np.float64),
            centres=stored["modes_centres"].astype(np.float64) if "modes_centres" in stored else None,
            predicted="targets" in stored,
        )


def nearest_support(generated: Array, support: Array, query: Array) -> tuple[npt.NDArray[np.int64], Array]:
    """Which support sample is nearest to each generated one, and how near: 0 for a copy, about 1 for a new sample of the task.

    Args:
        generated: (n, ...).
        support: (S, ...), same shape beyond the first axis.
        query: (Q, ...), new samples of the task.

    Returns:
        Places in the support (n,), and Euclidean distances (n,) in units of the median distance of a query sample to its nearest
        support sample; NaN (and place 0) where a generated sample is not finite or that median is 0.
    """
    flat = [samples.reshape(len(samples), -1) for samples in (generated, support, query)]
    finite = np.asarray(np.isfinite(flat[0]).all(axis=1))
    distances = cdist(np.where(finite[:, None], flat[0], 0.0), flat[1])
    usual = float(np.median(cdist(flat[2], flat[1]).min(axis=1)))
    nearness = distances.min(axis=1) / usual if usual > 0 else np.full(len(distances), np.nan)
    return np.where(finite, distances.argmin(axis=1), 0), np.where(finite, nearness, np.nan)
