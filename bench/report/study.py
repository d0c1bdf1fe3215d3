"""What a report is about: the cells of a suite, their measurements, and how they are grouped and named.

A *slice* is a set of cells that differ only in the arm (meta-learner, its regularisers and augmentations, its control)
and the replicate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from bench.contracts import Output
from bench.errors import MetricError
from bench.stats import with_caps
from bench.stats.direction import Better
from bench.stats.impute import CAPPED
from bench.suite.model import PRIVILEGED, transfer_name

ENDED = ("ok", *CAPPED)  # has its numbers, or the caps that stand for them
UNFINISHED = ("planned", "running", "infra")  # would change with more time: the report is partial
STATUSES = ("ok", "diverged", "failed", "oom", "timeout", "infra", "skipped", "running", "planned")
CONTROL = "shuffled-tasks"
_COLLAPSE = ("vendi", "pairwise", "recall", "coverage", "modes", "reverse-kl", "high-quality", "precision", "density", "duplicates", "ndb")
_MEMORISATION = ("novelty", "energy-gap", "to-support", "memor", "data-copying")
_FAMILIES = ("game", "network", "gan_loss")  # compared apart from one another, unless the design makes arms of them
_CELL = (
    "trial_id", "suite", "arm", "game", "task_distribution", "network", "gan_loss", "meta_learner", "regularisers", "augmentations",
    "control", "replicate", "shots", "status", "reason", "seconds", "evaluation_seconds", "gradient_evaluations", "samples_seen", "flops",
    "peak_memory_bytes",
)  # fmt: skip
_NAMES = ("control", "regularisers", "augmentations", "reason", "game", "network", "gan_loss")
"""Texts that a cell may lack: it has none of these."""
_MEASURED = (
    "trial_id", "suite", "arm", "game", "task_distribution", "network", "gan_loss", "replicate", "shots", "status", "split", "task_id",
    "outer_step", "adaptation_step", "metric", "value", "ceiling", "n_real", "n_fake", "fingerprint",
)  # fmt: skip
"""What the report reads of a measurement; what else there is belongs to its cell."""


@dataclass(frozen=True)
class Slice:
    """One task distribution, and the components of the other families where the suite compares several.

    Attributes:
        task_distribution: its label, ``glyphs -> omniglot`` for what is meta-trained on one and measured on another.
        others: (family, label) of every family that takes several values in the suite, `''` reads "none"; and ("shots", number).
    """

    task_distribution: str
    others: tuple[tuple[str, str | int], ...] = ()

    @property
    def label(self) -> str:
        """``glyphs``, ``glyphs, GAN loss hinge`` or ``glyphs, 5 shots``."""
        names = {"gan_loss": "GAN loss"}
        said = {"shots": f"{self.shots} shot{'s' if self.shots != 1 else ''}"}
        return ", ".join([self.task_distribution, *(said.get(f) or f"{names.get(f, f)} {v or 'none'}" for f, v in self.others)])

    @property
    def shots(self) -> int:
        """The number of shots where the suite compares several, else 0."""
        return int(dict(self.others).get("shots", 0))

    @property
    def without_shots(self) -> Slice:
        """What it shares with the slices of other numbers of shots."""
        return Slice(self.task_distribution, tuple(pair for pair in self.others if pair[0] != "shots"))


@dataclass(frozen=True)
class Arm:
    """A line in the figures.

    Attributes:
        name: display name.
        meta_learner: its label.
        beside: its regularisers and its augmentations, ``("", "")`` for the plain learner, and what else the design makes arms of.
        control: name of the control, ``''`` for a real arm.
        twin: name of the arm that a control stands beside, else ``''``.
    """

    name: str
    meta_learner: str
    beside: tuple[str, ...]
    control: str
    twin: str


@dataclass(frozen=True)
class Tuned:
    """What tuning tried.

    Attributes:
        records: per arm and task distribution its ``cell``, the ``configurations`` with settings and score, which one was ``chosen``.
        cells: one row per tuning trial.
    """

    records: Sequence[Mapping[str, Any]] = ()
    cells: pd.DataFrame = field(default_factory=pd.DataFrame)


UNTUNED = Tuned()
_Found = TypeVar("_Found")


def _once_per_slice(find: Callable[[Study, Slice], _Found]) -> Callable[[Study, Slice], _Found]:
    """Keep what is found for a slice: many ask, and millions of rows answer."""

    @wraps(find)
    def found(study: Study, slice_: Slice) -> _Found:
        kept: dict[Slice, _Found] = study._kept.setdefault(find.__name__, {})
        if slice_ not in kept:
            kept[slice_] = find(study, slice_)
        return kept[slice_]

    return found


@dataclass(frozen=True)
class Study:
    """Frame, ledger and suite of one results folder, checked and grouped.

    Attributes:
        frame: one row per measurement, with those columns of :func:`bench.load_results` that tell measurements apart.
        test: meta-test measurements of the cells that ended, with caps for those that owe a value (column ``imputed``).
        health: the finite ones among meta-test measurements of games rather than samples, in the same columns; nobody owes them.
        cells: one row per planned cell.
        suite: the resolved suite.
        outputs: ``{metric: {"better", "ideal", "label"}}``.
        tuned: what tuning tried; none of it is in the other tables.
    """

    frame: pd.DataFrame
    test: pd.DataFrame
    health: pd.DataFrame
    cells: pd.DataFrame
    suite: Mapping[str, Any]
    outputs: Mapping[str, Output]
    tuned: Tuned = UNTUNED

    # ------------------------------------------------------------ grouping
    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Families beside task distribution and arm that take several values on some task distribution."""
        live = self.cells[self.cells["status"] != "skipped"].groupby("task_distribution", observed=True)
        return tuple(family for family in (*self.apart, "shots") if (live[family].nunique() > 1).any())

    @property
    def apart(self) -> tuple[str, ...]:
        """Families whose components are compared in slices of their own."""
        return _FAMILIES if self.suite.get("design", "full") == "full" else ()

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        """In the suite's order of task distributions, then by appearance; a slice needs one cell that was not skipped."""
        live = self.cells[self.cells["status"] != "skipped"]
        rows = live[["task_distribution", *self.varying]].drop_duplicates().itertuples(index=False, name=None)
        found = [Slice(row[0], tuple(zip(self.varying, row[1:], strict=True))) for row in rows]
        order = list(self.places)
        return tuple(sorted(found, key=lambda s: order.index(s.task_distribution) if s.task_distribution in order else len(order)))

    @cached_property
    def places(self) -> Mapping[str, tuple[str, str]]:
        """Labels of the task distributions of each kind of cell, meta-trained on and measured on, by display name."""
        own, elsewhere = labels(self.suite.get("task_distributions")), labels(self.suite.get("test_on"))
        if not elsewhere:
            return {label: (label, label) for label in own}
        return {transfer_name(one, other): (one, other) for one in own for other in elsewhere}

    def trained_on(self, slice_: Slice) -> str:
        """Label of the task distribution that the cells of a slice are meta-trained and validated on."""
        return self.places.get(slice_.task_distribution, (slice_.task_distribution,) * 2)[0]

    def measured_on(self, slice_: Slice) -> str:
        """Label of the task distribution whose meta-test tasks a slice is about."""
        return self.places.get(slice_.task_distribution, (slice_.task_distribution,) * 2)[1]

    @cached_property
    def training_slices(self) -> Mapping[Slice, Slice]:
        """One slice for each of meta-training, and a slice that reads so: transfers to several task distributions share it."""
        found: dict[Slice, Slice] = {}
        for slice_ in self.slices:
            found.setdefault(Slice(self.trained_on(slice_), slice_.others), slice_)
        return {slice_: name for name, slice_ in found.items()}

    @cached_property
    def shots_axes(self) -> tuple[tuple[Slice, ...], ...]:
        """Slices that differ in nothing but the number of shots, fewest first; none where the suite does not compare several."""
        axes: dict[Slice, list[Slice]] = {}
        for slice_ in self.slices:
            if slice_.shots:
                axes.setdefault(slice_.without_shots, []).append(slice_)
        return tuple(tuple(sorted(axis, key=lambda s: s.shots)) for axis in axes.values() if len(axis) > 1)

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm of the suite in its order: learner, then its regularised variants, then its control."""
        order = labels(self.suite.get("meta_learners"))
        rows = self.cells.drop_duplicates("arm")
        names, learners, controls = (rows[column].astype(str) for column in ("arm", "meta_learner", "control"))
        families = ["regularisers", "augmentations", *(family for family in _FAMILIES if family not in self.apart)]
        beside = list(zip(*(rows[family].astype(str) for family in families), strict=True))
        parts = list(zip(names, learners, beside, controls, strict=True))
        real = {(learner, extra): name for name, learner, extra, control in parts if not control}
        arms = [
            Arm(name, learner, extra, control, real.get((learner, extra), "") if control else "") for name, learner, extra, control in parts
        ]
        rank = {name: i for i, name in enumerate(order)}
        return tuple(sorted(arms, key=lambda a: (rank.get(a.meta_learner, len(rank)), bool(a.control), a.name != a.meta_learner, a.name)))

    @cached_property
    def live_arms(self) -> tuple[Arm, ...]:
        """The arms with at least one cell that was not skipped."""
        present = set(self.cells.loc[self.cells["status"] != "skipped", "arm"])
        return tuple(arm for arm in self.arms if arm.name in present)

    @_once_per_slice
    def compared(self, slice_: Slice) -> list[tuple[Arm, Arm]]:
        """The primary comparison in a slice: the two arms that the suite names, or one pair for each way to regularise two learners."""
        first, second = (str(label) for label in self.primary["compare"])
        arms = self.arms_of(slice_)
        real = [arm for arm in arms if not arm.control]
        pairs = [(a, b) for a in real if a.meta_learner == first for b in real if b.meta_learner == second and a.beside == b.beside]
        if not pairs:
            named = {arm.name: arm for arm in arms}
            pairs = [(named[first], named[second])] if first in named and second in named else []
        return sorted(pairs, key=lambda pair: pair[0].name != pair[0].meta_learner)

    def baseline_of(self, slice_: Slice) -> str:
        """Name of the second arm of the primary comparison, or of the first arm where the slice lacks that."""
        compared = self.compared(slice_)
        return compared[0][1].name if compared else self.arms_of(slice_)[0].name

    def ranked(self, slice_: Slice) -> list[str]:
        """Names of the arms that compete: neither controls nor arms that see what they are judged by."""
        return [arm.name for arm in self.arms_of(slice_) if not arm.control and not arm.name.endswith(PRIVILEGED)]

    def in_slice(self, table: pd.DataFrame, slice_: Slice) -> pd.DataFrame:
        """The rows of ``table`` that belong to a slice."""
        keep = table["task_distribution"] == slice_.task_distribution
        for family, value in slice_.others:
            keep &= table[family] == value
        return table[keep]

    @_once_per_slice
    def cells_of(self, slice_: Slice) -> pd.DataFrame:
        """The cells of a slice."""
        return self.in_slice(self.cells, slice_)

    @_once_per_slice
    def test_of(self, slice_: Slice) -> pd.DataFrame:
        """Meta-test measurements of a slice."""
        return self.in_slice(self.test, slice_)

    @_once_per_slice
    def training_of(self, slice_: Slice) -> pd.DataFrame:
        """What was measured of a slice along meta-training, on meta-train and meta-val tasks."""
        return self.in_slice(self._training, slice_)

    @cached_property
    def _training(self) -> pd.DataFrame:
        return self.frame[self.frame["split"].isin(("meta-train", "meta-val"))]

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}

    @_once_per_slice
    def arms_of(self, slice_: Slice) -> tuple[Arm, ...]:
        """The arms with at least one cell in a slice that was not skipped."""
        cells = self.cells_of(slice_)
        present = set(cells.loc[cells["status"] != "skipped", "arm"])
        return tuple(arm for arm in self.arms if arm.name in present)

    def control_of(self, arm: Arm, slice_: Slice) -> Arm | None:
        """The shuffled-tasks control that stands beside an arm in a slice."""
        return next((a for a in self.arms_of(slice_) if a.control == CONTROL and a.twin == arm.name), None)

    @_once_per_slice
    def metrics_of(self, slice_: Slice) -> tuple[str, ...]:
        """Names measured on meta-test tasks of a slice: the primary first, then the suite's order, then by appearance."""
        seen = [str(metric) for metric in self._taken(slice_)["metric"].unique()]
        order = [str(self.primary["metric"]), *labels(self.suite.get("metrics"))]
        return tuple(sorted(seen, key=lambda m: (order.index(m) if m in order else len(order), seen.index(m))))

    def steps_of(self, slice_: Slice, metric: str) -> tuple[int, ...]:
        """Adaptation steps at which a metric was taken."""
        taken = self._taken(slice_)
        return tuple(sorted(int(s) for s in taken.loc[taken["metric"] == metric, "adaptation_step"].dropna().unique()))

    @_once_per_slice
    def _taken(self, slice_: Slice) -> pd.DataFrame:
        """Each metric and adaptation step of a slice once, by appearance."""
        return self.test_of(slice_)[["metric", "adaptation_step"]].drop_duplicates()

    # ------------------------------------------------------------ what the suite says
    @property
    def primary(self) -> Mapping[str, Any]:
        """Metric, adaptation step and the two labels that the suite compares."""
        return self.suite["primary"]  # type: ignore[no-any-return]

    def setting(self, slice_: Slice, key: str) -> Any:
        """A suite-level setting as it holds for a task distribution (``per_task_distribution`` merged in)."""
        override = (self.suite.get("per_task_distribution") or {}).get(self.trained_on(slice_), {}).get(key)
        base = self.suite.get(key)
        return (
            {**base, **override} if isinstance(base, Mapping) and isinstance(override, Mapping) else base if override is None else override
        )

    def better(self, metric: str) -> Better:
        """``lower``, ``higher`` or ``closer``; an unknown metric reads as lower."""
        return self.outputs[metric].better if metric in self.outputs else "lower"

    def ideal(self, metric: str) -> float:
        """The metric's ideal value, NaN where unknown."""
        return float(self.outputs[metric].ideal) if metric in self.outputs else float("nan")

    def limits(self, metric: str) -> tuple[float, float]:
        """Least and greatest value that the metric can have; infinite where unknown."""
        known = self.outputs[metric].range if metric in self.outputs else None
        return known or (-math.inf, math.inf)

    def about_game(self, metric: str) -> bool:
        """Whether a measure is of the game rather than of its samples."""
        return metric in self.outputs and self.outputs[metric].about == "game"

    def label(self, metric: str) -> str:
        """How the metric reads in a figure or table."""
        return self.outputs[metric].label if metric in self.outputs else metric

    @cached_property
    def id_length(self) -> int:
        """Characters of a trial id, at least 8, that tell all cells apart."""
        ids = self.cells["trial_id"].astype(str)
        longest = int(ids.str.len().max()) if len(ids) else 0
        return next((n for n in range(8, longest) if ids.str[:n].nunique() == len(ids)), longest)

    @cached_property
    def partial(self) -> int:
        """Number of cells whose numbers are still to come."""
        return int(self.cells["status"].isin(UNFINISHED).sum())


def build_study(
    frame: pd.DataFrame,
    ledger: pd.DataFrame,
    suite: Mapping[str, Any],
    outputs: Mapping[str, Mapping[str, Any]],
    tuned: Tuned = UNTUNED,
) -> Study:
    """Group a frame for the report.

    Raises:
        MetricError: a column of a table would mix two definitions of a metric.
    """
    frame = frame.copy(deep=False)  # columns are replaced below, never written into: five million rows need not be there twice
    for column in set(_NAMES) - set(frame):
        frame[column] = ""
    frame["shots"] = frame.get("shots", 0)
    cells = _named(frame.drop_duplicates("trial_id")[[c for c in _CELL if c in frame]]).set_index("trial_id", drop=False)
    if "trial_id" in ledger:
        known = ledger.drop_duplicates("trial_id", keep="last").set_index("trial_id")
        extra = [c for c in known.columns if c not in cells.columns]
        cells = cells.join(known[extra]) if extra else cells
    cells = cells.reindex(columns=[*dict.fromkeys([*_CELL, *cells.columns])]).reset_index(drop=True)
    if "packed" in cells:  # beside other trials on a card, a clock tells of these as much
        cells.loc[cells["packed"].fillna(False).astype(bool), ["seconds", "evaluation_seconds"]] = np.nan
    frame = _named(frame[[c for c in _MEASURED if c in frame]])
    readings = {
        name: Output(
            output["better"],
            math.nan if output["ideal"] is None else float(output["ideal"]),
            str(output["label"]),
            output.get("about", "samples"),
            tuple(output["range"]) if output.get("range") else None,
        )
        for name, output in outputs.items()
    }
    in_test = frame["split"] == "meta-test"
    defined = in_test & frame["metric"].notna() & frame["fingerprint"].notna()
    _refuse_mixed_fingerprints(frame.loc[defined, ["trial_id", "arm", "task_distribution", "metric", "fingerprint"]])
    ended, of_game = frame["status"].isin(ENDED), frame["metric"].isin([name for name, one in readings.items() if one.about == "game"])
    health = frame[in_test & ended & of_game].assign(imputed=False)
    health = health[np.isfinite(health["value"].astype(float))]
    # Cells without a measurement take part: what they owe is added.
    capped = with_caps(frame[ended & (in_test & ~of_game | frame["metric"].isna())], outputs=readings)
    test = capped[(capped["split"] == "meta-test") & capped["metric"].notna()]
    return Study(frame=frame, test=test, health=health, cells=cells, suite=suite, outputs=readings, tuned=tuned)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{column: _filled(table[column]) for column in _NAMES if column in table})


def _filled(texts: pd.Series) -> pd.Series:
    """Categories without missing values."""
    texts = texts.astype("category")
    if texts.isna().any():
        texts = texts if "" in texts.cat.categories else texts.cat.add_categories([""])
        texts = texts.fillna("")
    return texts


def _refuse_mixed_fingerprints(known: pd.DataFrame) -> None:
    """A column of numbers has one definition: extractor weights, sample counts and reference are part of it."""
    known = known.drop_duplicates(["task_distribution", "metric", "fingerprint"])
    for (distribution, metric), rows in known.groupby(["task_distribution", "metric"], sort=True, observed=True):
        found = rows.sort_values("fingerprint")
        if len(found) > 1:
            first, second = found.iloc[0], found.iloc[1]
            raise MetricError(
                f"metric {metric!r} on {distribution!r} has {len(found)} definitions: fingerprint {first['fingerprint']!r} "
                f"(trial {first['trial_id']}, arm {first['arm']!r}) and {second['fingerprint']!r} (trial {second['trial_id']}, "
                f"arm {second['arm']!r}). They measure different things and never share a column: run the suite again with one "
                "feature extractor and one protocol, or report the folders apart (pooled and per-task values need two names)"
            )


def is_collapse(metric: str) -> bool:
    """Whether a metric tells of lost modes or lost variety (by its name: plugins follow the same spelling)."""
    return any(word in metric.replace("_", "-") for word in _COLLAPSE)


def is_memorisation(metric: str) -> bool:
    """Whether a metric tells of copied support samples."""
    return any(word in metric.replace("_", "-") for word in _MEMORISATION)


def labels(components: Any) -> list[str]:
    """Display names of a suite's component list, in any of its spellings: ``name``, ``{name: {...}}`` or a resolved record."""
    if isinstance(components, str):
        return [components]
    found = []
    for item in components if isinstance(components, Sequence) else [components] if components else []:
        if isinstance(item, Mapping) and "name" in item:
            found.append(str(item.get("label") or item["name"]))
        elif isinstance(item, Mapping) and item:
            name, parameters = next(iter(item.items()))
            found.append(str(parameters.get("label", name) if isinstance(parameters, Mapping) else name))
        elif isinstance(item, Sequence) and not isinstance(item, str):
            found.append(" + ".join(labels(item)) or "none")
        else:
            found.append(str(item))
    return found


def compact(value: Any) -> str:
    """A setting as one short line: ``train 5, test 0, 1, 2``."""
    if isinstance(value, Mapping):
        return "; ".join(f"{k} {compact(v)}" for k, v in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(compact(v) for v in value) or "none"
    return value if isinstance(value, str) else json.dumps(value, default=str)
