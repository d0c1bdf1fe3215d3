"""A results folder and a word -> the trial that is meant, rebuilt from the suite that the folder holds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.driver.narrowing import local_hint, narrowed
from bench.driver.run import plugin_hashes
from bench.driver.tuning import RECORD, read_record
from bench.environment import environment_record
from bench.errors import BenchError, NothingSelectedError, PluginError, StoreError, UsageError, did_you_mean
from bench.grid.cells import Trial, expand
from bench.grid.selection import matches
from bench.registry.registry import Registry, discover, discover_for
from bench.store import TrialRow, read_json, read_ledger
from bench.union import recorded_suite

if TYPE_CHECKING:
    from bench.trial.trained import TrainedModel

LISTED = 20  # trials in a message; beyond, a filter helps more than a longer list


class ChangedTrialWarning(UserWarning):
    """Code, data or settings have changed since a trial was trained, so its numbers cannot be made again."""


def load_trial(
    results: Path | str, trial: str = "", *, select: str = "", suite: Path | str | None = None, allow_local_plugins: bool = False
) -> TrainedModel:
    """The meta-trained model of a finished trial.

    Args:
        results: results folder with its ``trials/``.
        trial: a trial id or the beginning of one; may be empty where the rest leaves only one.
        select: words as for ``-k`` of ``bench run``: ``arm=reptile and glyphs and replicate=0``.
        suite: the suite that was run, where the trial is made of its local plugins; a results folder names these, and does not hold them.
        allow_local_plugins: whether their code may run.

    Returns:
        What adapts: ``load_trial("results/fewshot", "ab12").adapt(support).samples(64)``. It computes where the trial did, or on the
        CPU where there is no such device.

    Raises:
        UsageError: no finished trial is meant, or several are, or what is meant is no text.
        NothingSelectedError: ``select`` matches nothing.
        StoreError: it is not a results folder, or parts of it are missing or damaged.
        PluginError, DataError: what the trial is made of is not there any more.
    """
    for name, given in (("trial", trial), ("select", select)):
        if not isinstance(given, str):
            raise UsageError(f"load_trial: {name} must be text, the beginning of a trial's id or words as for -k, got {given!r}")
    folder = Path(results)
    row = find(folder, trial, select)
    checkpoint = _checkpoint(folder, row)
    registry = discover_for(Path(suite), allow_local=allow_local_plugins) if suite else discover()
    rebuilt = _rebuilt(folder, row, registry)
    if rebuilt.trial_id != row.trial_id:
        warnings.warn(_what_changed(folder, row, registry), ChangedTrialWarning, stacklevel=2)
    import torch

    from bench.trial.trained import TrainedModel

    device = rebuilt.device if torch.cuda.is_available() else "cpu"
    return TrainedModel.load(replace(rebuilt, trial_id=row.trial_id, device=device), checkpoint, folder / "artefacts", registry.local)


def find(results: Path, trial: str, select: str) -> TrialRow:
    """The row of the one finished trial that is meant. Raises like :func:`load_trial`."""
    rows = list(read_ledger(results).planned().values())
    meant = [row for row in rows if row.trial_id.startswith(trial.lower())]
    if not meant:
        hint = did_you_mean(trial, [row.trial_id for row in rows])
        raise UsageError(f"{results}: no trial's id begins with {trial!r}.{hint} Trials:\n{_listed(rows)}")
    if select:
        meant = [row for row in meant if matches(select, row.cell)]
    if not meant:
        raise NothingSelectedError(f"{results}: -k {select!r} matches no trial. Trials:\n{_listed(rows)}")
    usable = [row for row in meant if row.status == "ok" and (trial or "configuration" not in row.cell)]
    if len(usable) == 1:
        return usable[0]
    if len(meant) == 1:
        raise UsageError(_why_not(results, meant[0]))
    if not usable:
        raise UsageError(f"{results}: none of the {len(meant)} trials that are meant is finished:\n{_listed(meant)}")
    arm = str(usable[0].cell.get("arm")).split(" ")[0]
    raise UsageError(
        f"{results}: {len(usable)} finished trials are meant; name one by the beginning of its id, or with -k and words such as "
        f"'arm={arm} and replicate=0':\n{_listed(usable)}"
    )


def told(row: TrialRow) -> str:
    """``reptile on glyphs, dcgan, non-saturating, replicate 0``."""
    parts = [f"{row.cell.get('arm')} on {row.cell.get('task_distribution')}"]
    parts += [str(row.cell[name]) for name in ("network", "gan_loss") if row.cell.get(name)]
    number = f"tuning {row.cell['configuration']}" if "configuration" in row.cell else f"replicate {row.cell.get('replicate')}"
    return ", ".join([*parts, number, *([f"{row.cell['shots']} shots"] if "shots" in row.cell else [])])


def _listed(rows: Sequence[TrialRow]) -> str:
    shown = sorted(rows, key=lambda row: (row.status != "ok", "configuration" in row.cell))[:LISTED]
    lines = [f"  {row.trial_id}  {row.status:8}  {told(row)}" for row in shown]
    return "\n".join([*lines, *([f"  and {len(rows) - len(shown)} more"] if len(rows) > len(shown) else [])])


def _why_not(results: Path, row: TrialRow) -> str:
    """Why the one trial that is meant cannot be used, and what to do."""
    cures = {
        "skipped": "choose another trial",
        "diverged": "choose another replicate or arm",
        "planned": "run the suite to its end",
        "running": "wait for it, or run the suite again",
        "infra": "run the suite again",
    }
    reason = f": {row.reason}" if row.reason else ""
    cure = cures.get(
        row.status, f"{results}/trials/{row.trial_id}/error.txt has the details; mend it and run the suite into another folder"
    )
    return f"{results}: trial {row.trial_id} ({told(row)}) is {row.status}{reason}; there is nothing to adapt. To go on, {cure}"


def _checkpoint(results: Path, row: TrialRow) -> Path:
    path = results / "trials" / row.trial_id / "checkpoint.safetensors"
    if not path.is_file():
        raise StoreError(
            f"{path}: the checkpoint of trial {row.trial_id} ({told(row)}) is missing; copy the trials/ of this results folder from where "
            "it was run, or run its suite.yaml into another folder with --output"
        )
    return path


def _rebuilt(results: Path, row: TrialRow, registry: Registry) -> Trial:
    """The trial of ``row`` from the suite of its results folder, with another id where something has changed since."""
    suite = narrowed(recorded_suite(results), row.cell, registry)
    grids = []
    for device in ("cpu", "cuda"):  # part of its identity, and of no other record
        try:
            grids.append(expand(suite, registry, device=device))
        except BenchError as error:
            hint = local_hint(suite) if isinstance(error, PluginError | UsageError) else ""
            raise type(error)(f"{results}: trial {row.trial_id} ({told(row)}) cannot be rebuilt: {error}{hint}") from error
        for trial in grids[-1]:
            if trial.trial_id == row.trial_id:
                return _tuned(trial, row, grids[-1], results)
    for trial in grids[0]:
        cell = {**trial.cell(), "arm": row.cell.get("arm")}
        if {**cell, **row.cell} == cell:  # an old ledger lacks columns that came later
            return _tuned(trial, row, grids[0], results)
    raise StoreError(
        f"{results}: trial {row.trial_id} ({told(row)}) is not in suite.json, which has changed since; "
        "run the suite again into another folder with --output"
    )


def _tuned(trial: Trial, row: TrialRow, grid: Sequence[Trial], results: Path) -> Trial:
    """``trial`` under the name of its arm in the whole suite, with the settings that its tuning trials chose.

    Raises:
        StoreError: there is no record of what they chose.
    """
    trial = replace(trial, arm=str(row.cell.get("arm", trial.arm)))
    if not trial.tuning:
        return trial
    tried = {one.trial_id: one for one in grid}
    configurations = [tried[trial_id] for trial_id in trial.tuning]
    others = ("arm", "replicate", "control", "configuration")
    arm = {name: value for name, value in configurations[0].cell().items() if name not in others}
    for record in read_record(results / RECORD):
        if {**record["cell"], **arm} == record["cell"]:
            return replace(trial, meta_learner=configurations[record["chosen"]].meta_learner)
    raise StoreError(f"{results / RECORD}: does not say what tuning chose for {trial.arm}; run the suite again, which writes it anew")


def _what_changed(results: Path, row: TrialRow, registry: Registry) -> str:
    """What differs between the machine that trained a trial and this one, as far as its environment record tells."""
    try:
        before: Mapping[str, Any] = read_json(results / "environments" / f"{row.environment}.json")
    except StoreError:
        before = {}
    now = environment_record(plugin_hashes(registry))
    parts = [
        f"{kind}{name} was {value}, is {now[table].get(name, 'not installed')}"
        for table, kind in (("plugins", "plugin "), ("versions", ""))
        for name, value in before.get(table, {}).items()
        if now[table].get(name) != value
    ]
    because = "; ".join(parts) or "not its plugins or their versions, so bench itself, the data, or suite.json"
    return (
        f"trial {row.trial_id} ({told(row)}): something that its numbers depend on has changed since it was trained "
        f"({because}); what it generates may differ from what was measured"
    )
