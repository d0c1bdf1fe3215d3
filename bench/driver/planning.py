"""What a suite would cost: cells, what is cached, time, disk, and which comparisons its replicates can decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

from bench.driver.progress import spell_seconds
from bench.errors import MetricError
from bench.grid.cells import Trial
from bench.store import SEGMENTS, Ledger, TrialRow, is_whole, read_ledger
from bench.trial.lineage import Shorter

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
        seconds: expected seconds of each missing cell, by trial id; what cells share is expected of the first that needs it.
        measured: share of those expectations that rest on cells that have run.
        bytes: expected size of the results.
        shorter: by trial id of a missing cell, the same cell with a smaller budget, which has run.
        saved: seconds that cells do not take because they go on from these.
    """

    trials: Sequence[Trial]
    missing: Sequence[Trial]
    skipped: Mapping[str, int]
    seconds: Mapping[str, float]
    measured: float
    bytes: int
    shorter: Mapping[str, Shorter]
    saved: float

    def start_of(self, trial: Trial) -> str:
        """Id of the trial from whose end the training of a missing cell goes on; empty where it starts anew."""
        shorter = self.shorter.get(trial.trial_id)
        return shorter.trial_id if shorter and not shorter.horizon_use else ""

    @property
    def cached(self) -> int:
        """Cells that have an outcome already."""
        return len(self.trials) - len(self.missing) - sum(self.skipped.values())


def known_rows(results: Path) -> Mapping[str, TrialRow]:
    """Rows of a results folder by trial id, none where there is no ledger yet; cells whose measurements are lost count as infra."""
    if not (results / "ledger.jsonl").is_file():
        return {}
    ledger, lost = ledger_and_losses(results)
    return {trial_id: replace(row, status="infra") if row.segment in lost else row for trial_id, row in ledger.rows.items()}


def ledger_and_losses(results: Path) -> tuple[Ledger, set[str]]:
    """The ledger, and the segments that its rows refer to and that are gone or damaged.

    Raises:
        StoreError: there is no ledger that can be read.
    """
    for _ in range(2):  # a driver at work may merge segments between the reading of the ledger and of these
        ledger = read_ledger(results)
        lost = {name for name in ledger.segments() if not is_whole(results / SEGMENTS / name)}
        if not lost:
            break
    return ledger, lost


def make_plan(
    trials: Sequence[Trial],
    rows: Mapping[str, TrialRow],
    kinds: Mapping[str, str],
    *,
    again: Collection[str] = (),
    shorter: Mapping[str, Shorter] = MappingProxyType({}),
    judges: Mapping[str, Trial] = MappingProxyType({}),
) -> Plan:
    """Compare the cells with a ledger's rows.

    Args:
        trials: cells of the suite.
        rows: what has run, by trial id.
        kinds: kind of sample by label of the task distribution, for the first guess of costs.
        again: statuses beside :data:`RERUN` of which cells run once more.
        shorter: by trial id, what cells could go on from, see :func:`bench.trial.lineage.shorter_trials`.
        judges: by key, the judges that are still to be trained, see :func:`bench.grid.judging.judges`.
    """
    missing = [trial for trial in trials if not trial.skip and _is_missing(rows.get(trial.trial_id), again)]
    before = {trial.trial_id: shorter[trial.trial_id] for trial in missing if trial.trial_id in shorter}
    history, known, saved = typical_costs(rows), 0, 0.0
    seconds: dict[str, float] = {}
    paid: set[str] = {""}  # keys of shared work that an earlier cell is expected to do
    for trial in missing:
        kind, earlier = kinds[trial.task_distribution.label], before.get(trial.trial_id)
        lane = (trial.place, trial.arm, trial.configuration is not None)
        measured = _prolonged(rows.get(earlier.trial_id), trial, earlier) if earlier else None
        measured = measured or history.get(lane)
        known += measured is not None
        cost = measured or _guess(trial, kind)
        training = trial.transfer.training_key if trial.transfer else ""
        trained = 0.0 if training and training in paid else cost.training_seconds
        kept = trained * earlier.amount / trial.budget["amount"] if earlier and not earlier.horizon_use else 0.0
        wanted = {trial.judge_key, trial.transfer.judge_key if trial.transfer else ""} - paid
        judging = sum(_training_guess(judges[key], kind, players=1) for key in wanted if key in judges)
        seconds[trial.trial_id] = trained - kept + cost.evaluation_seconds + judging
        saved += kept
        paid |= {training} | wanted
    cells = [trial for trial in trials if not trial.skip]
    rows_per_cell = sum(t.protocol["tasks"]["meta_test"] * len(t.protocol["adaptation_steps"]["test"]) * 10 for t in cells)
    return Plan(
        trials=trials,
        missing=missing,
        skipped=Counter(trial.skip for trial in trials if trial.skip),
        seconds=seconds,
        measured=known / len(missing) if missing else 1.0,
        bytes=rows_per_cell * BYTES_PER_MEASUREMENT + len(cells) * BYTES_PER_TRIAL,
        shorter=before,
        saved=saved,
    )


def budget_lines(plan: Plan) -> list[str]:
    """What becomes of cells that have run with a smaller budget, one sentence a kind."""
    goes_on = sum(bool(plan.start_of(trial)) for trial in plan.missing)
    reasons = Counter(shorter.horizon_use for shorter in plan.shorter.values() if shorter.horizon_use)
    lines = [f"go on from the same cell with a smaller budget x {goes_on}: saves {spell_seconds(plan.saved)}"] if goes_on else []
    return lines + [f"start anew, though run with a smaller budget x {count}: {reason}" for reason, count in reasons.items()]


def _is_missing(row: TrialRow | None, again: Collection[str]) -> bool:
    return row is None or row.status in (*RERUN, *again, "skipped")


@dataclass(frozen=True)
class Cost:
    """Seconds of a cell, and the part of them that is measuring."""

    seconds: float
    evaluation_seconds: float

    @property
    def training_seconds(self) -> float:
        """The part that grows with the budget."""
        return self.seconds - self.evaluation_seconds


def typical_costs(rows: Mapping[str, TrialRow]) -> dict[tuple[str, str, bool], Cost]:
    """Medians of what cells that have run took, by task distribution, arm, and whether they were tuning trials, which measure less."""
    lanes: dict[tuple[str, str, bool], list[tuple[float, float]]] = {}
    for row in rows.values():
        if row.seconds is not None and row.status in ("ok", "diverged"):
            lanes.setdefault(lane_of(row), []).append((row.seconds, row.evaluation_seconds or 0.0))
    return {lane: Cost(*(median(values) for values in zip(*costs, strict=True))) for lane, costs in lanes.items()}


def lane_of(row: TrialRow) -> tuple[str, str, bool]:
    """Cells that cost about the same: task distribution, arm, and whether it is a tuning trial."""
    return str(row.cell.get("task_distribution")), str(row.cell.get("arm")), "configuration" in row.cell


def _prolonged(row: TrialRow | None, trial: Trial, shorter: Shorter) -> Cost | None:
    """What the whole of ``trial`` costs, by what it took with a smaller budget; None where that is unknown."""
    if row is None or row.seconds is None:
        return None
    short = Cost(row.seconds, row.evaluation_seconds or 0.0)
    training = short.training_seconds * trial.budget["amount"] / shorter.amount
    return Cost(training + short.evaluation_seconds, short.evaluation_seconds)


def _guess(trial: Trial, kind: str) -> Cost:
    protocol = trial.protocol
    tested = (
        protocol["tasks"]["meta_test"] * max(protocol["adaptation_steps"]["test"]) * 2
        + protocol["tasks"]["meta_val"] * trial.primary_step * 2 * protocol["validations"]
    )
    evaluation = 1.0 + tested * GUESS_EVALUATION[kind] / 2
    return Cost(_training_guess(trial, kind, players=2) + evaluation, evaluation)


def _training_guess(trial: Trial, kind: str, *, players: int) -> float:
    """Seconds of meta-training."""
    per_step = players * trial.protocol["task_batch"] * (trial.protocol["adaptation_steps"]["train"] + 1)
    evaluations: float = trial.budget["amount"] * (per_step if trial.budget["axis"] == "outer_steps" else 1)
    return evaluations * GUESS[kind]


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
