"""What a suite would cost: cells, what is cached, time, disk, and which comparisons its replicates can decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.errors import MetricError
from bench.grid.cells import Trial
from bench.store import SEGMENTS, TrialRow, is_whole, read_ledger

RERUN = ("planned", "running", "infra")
"""Statuses after which a cell is run (again): it never ended, or its machine failed it."""

# Seconds per gradient evaluation (one player, one task) on one thread of a 2020s CPU, small networks; only until the
# ledger of the same suite knows better.
GUESS = {"image": 0.0016, "points": 0.0004, "signal": 0.0008, "regression": 0.0002}
GUESS_EVALUATION = {"image": 0.004, "points": 0.001, "signal": 0.002, "regression": 0.0005}
BYTES_PER_MEASUREMENT, BYTES_PER_TRIAL = 12, 400_000  # Parquet rows compress well; checkpoint and samples of small networks


@dataclass(frozen=True)
class Plan:
    """Cells of a suite and what they would cost.

    Attributes:
        trials: every cell.
        missing: those that would run.
        skipped: those that can't, by reason.
        seconds: expected seconds of each missing cell, by trial id.
        measured: share of those expectations that rest on cells that have run.
        bytes: expected size of the results.
    """

    trials: Sequence[Trial]
    missing: Sequence[Trial]
    skipped: Mapping[str, int]
    seconds: Mapping[str, float]
    measured: float
    bytes: int

    @property
    def cached(self) -> int:
        """Cells that have an outcome already."""
        return len(self.trials) - len(self.missing) - sum(self.skipped.values())


def known_rows(results: Path) -> Mapping[str, TrialRow]:
    """Rows of a results folder by trial id, none where there is no ledger yet; cells whose measurements are lost count as infra."""
    if not (results / "ledger.jsonl").is_file():
        return {}
    rows = read_ledger(results).rows
    lost = {name for name in {row.segment for row in rows.values() if row.segment} if not is_whole(results / SEGMENTS / name)}
    return {trial_id: replace(row, status="infra") if row.segment in lost else row for trial_id, row in rows.items()}


def make_plan(trials: Sequence[Trial], rows: Mapping[str, TrialRow], kinds: Mapping[str, str], *, again: Collection[str] = ()) -> Plan:
    """Compare the cells with a ledger's rows.

    Args:
        trials: cells of the suite.
        rows: what has run, by trial id.
        kinds: kind of sample by label of the task distribution, for the first guess of costs.
        again: statuses beside :data:`RERUN` of which cells run once more.
    """
    history = typical_costs(rows)
    missing = [trial for trial in trials if not trial.skip and _is_missing(rows.get(trial.trial_id), again)]
    seconds, known, trainings = {}, 0, set()
    for trial in missing:
        training = trial.transfer.training_key if trial.transfer else ""
        lane = history.get((trial.place, trial.arm, trial.configuration is not None))
        known += lane is not None
        trains_itself = training not in trainings
        if lane is not None:
            seconds[trial.trial_id] = lane.seconds if trains_itself else lane.evaluation_seconds
        else:
            seconds[trial.trial_id] = _guess(trial, kinds[trial.task_distribution.label], trains_itself=trains_itself)
        trainings |= {training} - {""}
    cells = [trial for trial in trials if not trial.skip]
    rows_per_cell = sum(t.protocol["tasks"]["meta_test"] * len(t.protocol["adaptation_steps"]["test"]) * 10 for t in cells)
    return Plan(
        trials=trials,
        missing=missing,
        skipped=Counter(trial.skip for trial in trials if trial.skip),
        seconds=seconds,
        measured=known / len(missing) if missing else 1.0,
        bytes=rows_per_cell * BYTES_PER_MEASUREMENT + len(cells) * BYTES_PER_TRIAL,
    )


def _is_missing(row: TrialRow | None, again: Collection[str]) -> bool:
    return row is None or row.status in (*RERUN, *again, "skipped")


@dataclass(frozen=True)
class Lane:
    """Median seconds of the cells of an arm on a task distribution, and the part of them that is measuring."""

    seconds: float
    evaluation_seconds: float


def typical_costs(rows: Mapping[str, TrialRow]) -> dict[tuple[str, str, bool], Lane]:
    """What cells that have run took, by task distribution, arm, and whether they were tuning trials, which measure less."""
    lanes: dict[tuple[str, str, bool], list[tuple[float, float]]] = {}
    for row in rows.values():
        if row.seconds is not None and row.status in ("ok", "diverged"):
            lanes.setdefault(lane_of(row), []).append((row.seconds, row.evaluation_seconds or 0.0))
    return {lane: Lane(*(median(values) for values in zip(*costs, strict=True))) for lane, costs in lanes.items()}


def lane_of(row: TrialRow) -> tuple[str, str, bool]:
    """Cells that cost about the same: task distribution, arm, and whether it is a tuning trial."""
    return str(row.cell.get("task_distribution")), str(row.cell.get("arm")), "configuration" in row.cell


def _guess(trial: Trial, kind: str, *, trains_itself: bool) -> float:
    protocol, budget = trial.protocol, trial.budget
    steps = protocol["adaptation_steps"]
    per_step = 2 * protocol["task_batch"] * (steps["train"] + 1)
    evaluations = budget["amount"] * (per_step if budget["axis"] == "outer_steps" else 1) * trains_itself
    tested = (
        protocol["tasks"]["meta_test"] * max(steps["test"]) * 2
        + protocol["tasks"]["meta_val"] * trial.primary_step * 2 * protocol["validations"]
    )
    seconds: float = 1.0 + evaluations * GUESS[kind] + tested * GUESS_EVALUATION[kind] / 2
    return seconds


def decidable(suite: Any, trials: Sequence[Trial], results: Path) -> list[str]:
    """What the replicates can decide about the primary comparison, one sentence per task distribution and number of shots.

    Where the results folder has measurements of both arms, their spread gives the smallest difference that a new run of
    the same size would detect; otherwise only what the number of replicates allows can be said.
    """
    from bench.stats import replication_warning

    metric, step = suite.primary.metric, suite.primary.adaptation_step
    warning = replication_warning(suite.replicates)
    general = warning or f"{suite.replicates} replicates per arm"
    if not (results / "ledger.jsonl").is_file():
        return [
            f"{general}; run one pass (or --quick) and plan again to see the smallest difference in {metric} that this suite can detect"
        ]
    from bench.frame import UNRECORDED, load_results
    from bench.stats import detectable_difference, spread_of_difference

    frame = load_results(results)
    sentences = []
    places = list(dict.fromkeys((trial.place, int(trial.protocol["shots"])) for trial in trials))
    for place, shots in places:
        label = f"{place}, {shots} shots" if [name for name, _ in places].count(place) > 1 else place
        rows = frame[
            (frame["split"] == "meta-test")
            & (frame["metric"] == metric)
            & (frame["adaptation_step"] == step)
            & (frame["task_distribution"] == place)
            & frame["shots"].isin([shots, UNRECORDED])
        ]
        one, other = (rows[rows["arm"] == arm][["replicate", "task_id", "value"]].dropna() for arm in suite.primary.compare)
        try:
            sd_replicate, sd_task = spread_of_difference(one, other)
        except MetricError:
            sentences.append(f"{label}: {general}; too few measurements so far to say what they can detect")
            continue
        smallest = detectable_difference(
            sd_replicate=sd_replicate, sd_task=sd_task, n_replicates=suite.replicates, n_tasks=int(one["task_id"].nunique())
        )
        sentences.append(
            f"{label}: {suite.replicates} replicates detect a difference of {smallest:.3g} in {metric} at step {step} between "
            f"{suite.primary.compare[0]} and {suite.primary.compare[1]} with power 0.8 (spread measured so far)"
        )
    return sentences
