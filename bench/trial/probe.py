"""How much memory a trial takes on its card, before anything is packed beside it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.grid.cells import Trial
from bench.trial.run import run

GRADIENTS = 1  # of the budget: the outer step that reaches it is done whole


def probe(payload: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Run one outer step and one chunk of held-out tasks of a trial with its own networks, batch and steps of adaptation.

    The joint phase that arms share is left out, for it takes no more than the trials themselves; features and judge are
    made as for the trial, which then finds them.

    Args:
        payload: as for :func:`bench.trial.run.run`.

    Returns:
        A row with ``status`` and ``peak_memory_bytes``; no measurements.
    """
    trial, results = Trial.from_dict(payload["trial"]), Path(payload["results"])
    tasks = {split: min(count, trial.protocol["task_chunk"]) for split, count in trial.protocol["tasks"].items()}
    short = replace(
        trial,
        trial_id=f"probe-{trial.trial_id}",
        budget={**trial.budget, "amount": GRADIENTS, "warm_start": None},
        protocol={**trial.protocol, "tasks": tasks, "validations": min(1, trial.protocol["validations"])},
        warm_key="",
        transfer=replace(trial.transfer, training_key=f"probe-{trial.trial_id}") if trial.transfer else None,
    )
    try:
        row, _ = run({**payload, "trial": short.to_dict()})
    finally:
        shutil.rmtree(results / "trials" / short.trial_id, ignore_errors=True)
        (results / "artefacts" / f"{short.trial_id}.safetensors").unlink(missing_ok=True)
    return {"status": row["status"], "peak_memory_bytes": row["peak_memory_bytes"]}, {}
