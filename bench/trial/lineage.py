"""Which trial a larger budget goes on from: beside each checkpoint stands what it is a checkpoint of, and of how large a budget.

Trials of one lineage differ in the amount of their budget alone. A longer one passes through every state of a shorter one, so it may
start from where that ended, unless something in it has looked at the whole budget: that is noticed when it happens, not declared.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.grid.cells import Trial
from bench.store import write_atomic

CHECKPOINT = "checkpoint.safetensors"
FILE = "lineage.json"


@dataclass(frozen=True)
class Shorter:
    """A trial that has ended its meta-training, and differs from one that has not in nothing but a smaller budget.

    Attributes:
        amount: of its budget.
        horizon_use: why the larger budget starts anew all the same; empty where it goes on from here.
    """

    trial_id: str
    amount: float
    horizon_use: str


def write_lineage(folder: Path, trial: Trial, horizon_use: str) -> None:
    """Note in the trial's folder how far its checkpoint reaches; ``horizon_use`` as of :class:`Shorter`.

    Raises:
        StoreError: it can't be written.
    """
    note = {"lineage_id": trial.lineage_id, "amount": trial.budget["amount"], "horizon_use": horizon_use}
    write_atomic(folder / FILE, json.dumps(note).encode())


def shorter_trials(results: Path, trials: Collection[Trial]) -> dict[str, Shorter]:
    """By trial id, the longest shorter trial of each of ``trials`` that has one and no checkpoint of its own.

    Folders of ``trials`` themselves are not read, so that it costs nothing where no budget has grown.
    """
    own = {trial.trial_id for trial in trials}
    try:
        others = [entry.name for entry in os.scandir(results / "trials") if entry.name not in own]
    except OSError:
        return {}
    lineages: dict[str, list[Shorter]] = {}
    for name in others:
        note = _note(results / "trials" / name)
        if note is not None:
            lineages.setdefault(note["lineage_id"], []).append(Shorter(name, note["amount"], note["horizon_use"]))
    found = {}
    for trial in trials if lineages else ():
        shorter = [one for one in lineages.get(trial.lineage_id, ()) if one.amount < trial.budget["amount"]]
        if shorter and not (results / "trials" / trial.trial_id / CHECKPOINT).exists():
            found[trial.trial_id] = max(shorter, key=lambda one: (not one.horizon_use, one.amount))
    return found


def _note(folder: Path) -> dict[str, Any] | None:
    """What is noted in a trial's folder, None where nothing that can be used is."""
    try:
        note = json.loads((folder / FILE).read_bytes())
        types = {"lineage_id": str, "amount": int | float, "horizon_use": str}
        if all(isinstance(note[name], kind) for name, kind in types.items()) and (folder / CHECKPOINT).exists():
            return dict(note)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass
    return None
