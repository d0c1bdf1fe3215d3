"""A small run as reporters and observers meet it: two arms on two task distributions, two replicates, three held-out tasks.

Cells are those of the planner and the frame comes out of the store, so both look as they do after ``bench run``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Any

from bench.grid.cells import Trial
from bench.store import MEASUREMENT_COLUMNS, Store
from bench.suite.components import Component

if TYPE_CHECKING:
    import pandas as pd

ARMS, PLACES, REPLICATES = ("reptile", "scratch"), ("gaussian-rings", "spirals"), 2
STEPS, TASKS, OUTER_STEPS = (0, 5), 3, 20


def small_trials() -> list[Trial]:
    """The cells of the run, in the order of its plan."""
    cells = ((arm, place, replicate) for place in PLACES for arm in ARMS for replicate in range(REPLICATES))
    return [_trial(number, *cell) for number, cell in enumerate(cells)]


def small_row(status: str) -> dict[str, Any]:
    """What the ledger says of a finished trial of this status."""
    ended = {"status": status, "reason": "" if status == "ok" else f"{status} on purpose", "environment": "0" * 32}
    costs = {"seconds": 2.0, "evaluation_seconds": 0.5, "gradient_evaluations": 480.0, "samples_seen": 7680.0, "flops": 1e9}
    measured = {**costs, "peak_memory_bytes": 2e8, "outer_steps": OUTER_STEPS, "artefacts": ["checkpoint.safetensors"]}
    return {**ended, **(measured if status in ("ok", "diverged") else {})}


def small_measurements(trial: Trial, status: str) -> dict[str, list[Any]]:
    """What a finished trial has measured, by column: training curves, one validation, and the held-out tasks where it ended well.

    On task t after k adaptation steps the energy is 1 + t + replicate / 10, less k / 10 for Reptile.
    """
    if status not in ("ok", "diverged"):
        return {}
    rows = [{"split": "meta-train", "outer_step": step, "metric": "loss.generator", "value": 1.0 - step / 40} for step in (0, 10, 20)]
    if status == "ok":
        rows += _energies(trial, "meta-val", (5,)) + _energies(trial, "meta-test", STEPS)
    return {name: [row.get(name, "" if name in ("task_id", "fingerprint") else None) for row in rows] for name in MEASUREMENT_COLUMNS}


def small_frame(*statuses: str) -> pd.DataFrame:
    """The run as ``bench.load_results`` gives it.

    Args:
        statuses: of its cells, in turn and again from the first; ``planned`` and ``running`` are those that have not ended. Default: ok.
    """
    from bench.frame import load_results

    with tempfile.TemporaryDirectory() as folder:
        with Store.create(folder) as store:
            store.plan({trial.trial_id: trial.cell() for trial in small_trials()})
            for trial, status in zip(small_trials(), cycle(statuses or ("ok",)), strict=False):
                if status == "planned":
                    continue
                store.start(trial.trial_id)
                if status != "running":
                    store.finish(trial.trial_id, small_row(status), small_measurements(trial, status))
        return load_results(folder)


def small_outcomes() -> Iterator[dict[str, Any]]:
    """What ``bench_trial_finished`` is told of trials that ended well, diverged, raised, or took too long."""
    for trial, status in zip(small_trials(), ("ok", "diverged", "failed", "timeout"), strict=False):
        yield {"trial": trial.to_dict(), "row": small_row(status), "measurements": small_measurements(trial, status)}


def _energies(trial: Trial, split: str, steps: tuple[int, ...]) -> list[dict[str, Any]]:
    gain = 0.1 if trial.arm == "reptile" else 0.0
    shared = {"split": split, "outer_step": OUTER_STEPS, "metric": "energy", "ceiling": 10.0, "n_real": 16, "n_fake": 32}
    return [
        {**shared, "task_id": f"task-{task}", "adaptation_step": step, "value": 1.0 + task + trial.replicate / 10 - gain * step}
        for step in steps
        for task in range(TASKS)
    ]


def _trial(number: int, arm: str, place: str, replicate: int) -> Trial:
    return Trial(
        suite="small",
        seed=0,
        replicate=replicate,
        game=Component("games", "gan"),
        task_distribution=Component("task_distributions", place),
        network=Component("networks", "mlp"),
        gan_loss=Component("gan_losses", "non-saturating"),
        meta_learner=Component("meta_learners", arm),
        regularisers=(),
        augmentations=(),
        control="",
        metrics=(Component("metrics", "energy"),),
        feature_extractor=Component("feature_extractors", "identity"),
        primary_metric="energy",
        primary_step=STEPS[-1],
        budget={"axis": "outer_steps", "amount": OUTER_STEPS, "warm_start": None},
        protocol={"shots": 8},
        device="cpu",
        arm=arm,
        trial_id=2 * f"{number + 1:08x}",
        lineage_id=2 * f"{number + 1:08x}",
    )
