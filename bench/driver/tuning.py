"""Tuning trials that have run -> the settings that each arm goes on with, what they cost, and a record of both.

A choice is a function of the measurements in the results folder alone, so a resumed run makes it again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contracts import Output
from bench.driver.planning import RERUN
from bench.errors import StoreError
from bench.grid.cells import Trial
from bench.grid.tuning import at_edge, choose, free, settings, validation_loss
from bench.registry.registry import Registry
from bench.store import TUNING_COSTS, TrialRow, read_json, write_atomic
from bench.suite.components import Component

RECORD = "tuning.json"
_KEYS = {"cell", "configurations", "chosen", "edges"}


@dataclass(frozen=True)
class Choice:
    """What tuning chose for the cells that rest on the same tuning trials.

    Attributes:
        learner: the meta-learner with the chosen settings.
        costs: {column of the ledger: sum over the tuning trials}.
        record: the arm, every configuration with its score, and which one was chosen, as plain JSON.
    """

    learner: Component
    costs: Mapping[str, float]
    record: Mapping[str, Any]


def choices(trials: Iterable[Trial], rows: Mapping[str, TrialRow], results: Path, registry: Registry) -> dict[tuple[str, ...], Choice]:
    """The choice of every arm whose tuning trials have all ended, by the ids of these.

    Args:
        trials: cells of the suite, tuning trials among them.
        rows: what became of them.
        results: the folder that holds their measurements.
        registry: where meta-learners declare their spaces and metrics their directions.
    """
    trials = list(trials)
    tried = {trial.trial_id: trial for trial in trials if trial.configuration is not None}
    groups = dict.fromkeys(trial.tuning for trial in trials if trial.tuning)
    ended = [group for group in groups if all(rows[trial_id].status not in RERUN for trial_id in group)]
    if not ended:
        return {}
    values = _validations(results, next(iter(tried.values())).primary_metric)
    return {group: _choice([tried[trial_id] for trial_id in group], rows, values, registry) for group in ended}


def write_record(path: Path, found: Iterable[Mapping[str, Any]], *, whole: bool) -> None:
    """Write what was chosen as JSON; ``whole``: of all arms, so that nothing that is there already is kept.

    Raises:
        StoreError: the file cannot be written.
    """
    kept = [] if whole else read_record(path)
    by_cell = {json.dumps(record["cell"], sort_keys=True): record for record in (*kept, *found)}
    content = json.dumps({"arms": list(by_cell.values())}, indent=1).encode()
    if not path.exists() or path.read_bytes() != content:
        write_atomic(path, content)


def read_record(path: Path) -> list[dict[str, Any]]:
    """What :func:`write_record` wrote, arm by arm; nothing where there is no such file or it is damaged: a run writes it anew."""
    try:
        return [dict(one) for one in read_json(path)["arms"] if one.keys() >= _KEYS]
    except (StoreError, KeyError, TypeError, AttributeError):
        return []


def _validations(results: Path, metric: str) -> dict[str, dict[int, list[float]]]:
    """{tuning trial: {outer step: values of ``metric`` on the meta-val tasks}}."""
    from bench.frame import load_results

    frame = load_results(results, tuning=True)
    frame = frame[(frame["split"] == "meta-val") & (frame["metric"] == metric)]
    found: dict[str, dict[int, list[float]]] = {}
    for trial_id, step, value in zip(frame["trial_id"], frame["outer_step"], frame["value"], strict=True):
        found.setdefault(str(trial_id), {}).setdefault(int(step), []).append(float(value))
    return found


def _choice(
    tried: Sequence[Trial], rows: Mapping[str, TrialRow], values: Mapping[str, Mapping[int, Sequence[float]]], registry: Registry
) -> Choice:
    own = tried[0]
    judge = registry.component("metrics", own.metrics[0].name).attributes["outputs"][own.primary_metric]
    info = registry.component("meta_learners", own.meta_learner.name)
    space, defaults = info.attributes["space"], info.defaults
    losses, configurations = [], []
    for trial in tried:
        row = rows[trial.trial_id]
        points = values.get(trial.trial_id, {}) if row.status == "ok" else {}
        by_step = {step: validation_loss(of_tasks, Output(**judge)) for step, of_tasks in points.items()}
        step = min(by_step, key=lambda step: (by_step[step], step), default=None)
        losses.append(math.inf if step is None else by_step[step])
        score = None if step is None or not math.isfinite(losses[-1]) else math.fsum(points[step]) / len(points[step])
        configurations.append(
            {
                "trial_id": trial.trial_id,
                "settings": settings(trial.meta_learner, free(own.meta_learner, space), defaults),
                "score": score,
                "outer_step": None if score is None else step,
                "status": row.status,
                "reason": row.reason,
            }
        )
    number = choose(losses)
    chosen = tried[number].meta_learner
    costs = {name: math.fsum(getattr(rows[t.trial_id], name.removeprefix("tuning_")) or 0.0 for t in tried) for name in TUNING_COSTS}
    record = {
        "cell": {name: value for name, value in own.cell().items() if name not in ("replicate", "control", "configuration")},
        "metric": own.primary_metric,
        "adaptation_step": own.primary_step,
        "split": "meta-val",
        "configurations": configurations,
        "chosen": number,
        "edges": at_edge(own.meta_learner, chosen, space, defaults) if math.isfinite(losses[number]) else {},
        "costs": costs,
    }
    return Choice(chosen, costs, record)
