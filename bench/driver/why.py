"""Why a cell would run, or why it would not: its identity beside those that a results folder has recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.driver.lookup import told
from bench.driver.narrowing import local_hint
from bench.driver.planning import RERUN, known_rows
from bench.errors import PluginError, UsageError
from bench.grid.cells import Trial, expand
from bench.grid.identity import identity_parts
from bench.grid.selection import select as select_trials
from bench.registry.registry import discover, discover_for
from bench.store import TrialRow, read_identities
from bench.suite.model import load_suite
from bench.trial.lineage import Shorter, shorter_trials
from bench.union import recorded_suite

LISTED = 10

_MEANING = {
    "bench": "the code of the harness that makes numbers",
    "torch": "the version of PyTorch",
    "device": "the class of the device",
    "data": "the content of the data",
    "features": "the feature extractor, or what it was trained on",
    "judge": "the classifier that samples are judged with",
    "warm": "the warm start that is shared",
    "measured_on": "where it is measured",
    "axis": "what the budget counts",
    "budget": "the amount of the budget, or what tuning chose it by",
}


@dataclass(frozen=True)
class Explanation:
    """One cell, and what became of it.

    Attributes:
        cached: a run would take it from the ledger.
        text: why, for people.
        differs: parts of its identity that the nearest recorded cell has otherwise.
        start: where it would start, if the same cell has run with a smaller budget.
    """

    trial_id: str
    cell: str
    cached: bool
    text: str
    differs: tuple[str, ...] = ()
    start: str = ""


def why(
    results: Path, cell: str = "", *, select: str = "", suite: Path | None = None, device: str = "cpu", allow_local: bool = False
) -> list[Explanation]:
    """Explain each cell that is meant.

    Args:
        results: results folder.
        cell: a trial id or its beginning, of a cell of the suite as it is now or of one that has run; empty for all.
        select: words as for ``-k`` of ``bench run``.
        suite: the suite; default: the one that the folder was made from.
        device: where it would run.
        allow_local: load the local plugins of ``suite``.

    Raises:
        UsageError: no cell is meant.
        SuiteError, PluginError, DataError: the suite cannot be read or its cells not be identified.
    """
    registry = discover_for(suite, allow_local=allow_local) if suite else discover()
    meant = load_suite(suite, registry) if suite else recorded_suite(results)
    try:
        planned = expand(meant, registry, device=device)
    except (PluginError, UsageError) as error:
        raise type(error)(f"{error}{local_hint(meant)}") from error
    trials = [one for one in planned if not one.skip]
    rows = known_rows(results)
    recorded = read_identities(results)
    if select:
        trials = select_trials(trials, select)
    if cell:
        old = {_key(row.cell) for row in rows.values() if row.trial_id.startswith(cell.lower())}
        trials = [one for one in trials if one.trial_id.startswith(cell.lower()) or _key(one.cell()) in old]
    if not trials:
        raise UsageError(f"{results}: no cell of the suite is meant by {cell or select!r}; without either, bench why lists them all")
    shorter = shorter_trials(results, planned)
    return [replace(_explained(trial, rows, recorded), start=_start(trial, shorter.get(trial.trial_id))) for trial in trials]


def _key(cell: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(sorted((name, str(value)) for name, value in cell.items() if name != "suite"))


def _explained(trial: Trial, rows: Mapping[str, TrialRow], recorded: Mapping[str, Mapping[str, str]]) -> Explanation:
    cell = f"{trial.arm} on {trial.place}, replicate {trial.replicate}"
    row = rows.get(trial.trial_id)
    if row is not None and row.status not in (*RERUN, "skipped"):
        return Explanation(trial.trial_id, cell, True, f"in the ledger with the same identity ({row.status}): it would not run again")
    if row is not None and row.status != "skipped":
        return Explanation(trial.trial_id, cell, False, f"planned, and without an outcome so far ({row.status}): it would run")
    others = {trial_id: parts for trial_id, parts in recorded.items() if trial_id in rows and rows[trial_id].status not in RERUN}
    if not others:
        told_why = "nothing that it could be compared with has run here" if not rows else "this folder has no record of identities"
        return Explanation(trial.trial_id, cell, False, f"no cell has this identity, and {told_why}: it would run")
    own = identity_parts(trial)
    # Among equally near cells the one of the same labels is the one that a reader has in mind.
    nearest = min(others, key=lambda other: (len(_differing(own, others[other])), _key(rows[other].cell) != _key(trial.cell())))
    differs = _differing(own, others[nearest])
    near = f"{nearest[:8]} ({told(rows[nearest])})"
    text = f"no cell has this identity; the nearest is {near}, which differs in {_spelled(differs)}: it would run"
    return Explanation(trial.trial_id, cell, False, text, tuple(differs))


def _start(trial: Trial, shorter: Shorter | None) -> str:
    if shorter is None:
        return ""
    ended = f"{shorter.trial_id[:8]} ended with a budget of {shorter.amount:g} {trial.budget['axis'].replace('_', ' ')}"
    return f"from the start, though {ended}: {shorter.horizon_use}" if shorter.horizon_use else f"from where {ended}"


def _spelled(parts: Sequence[str]) -> str:
    return "; ".join(f"{part} ({_MEANING[part]})" if part in _MEANING else part for part in parts)


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return [part for part in {**one, **other} if one.get(part) != other.get(part)]


def why_text(found: Sequence[Explanation]) -> str:
    """Cells with equal explanations are told together."""
    groups: dict[tuple[str, str], list[Explanation]] = {}
    for one in found:
        groups.setdefault((", ".join(one.differs) or one.text, one.start.partition("ended")[2]), []).append(one)
    lines = []
    for group in groups.values():
        lines += [f"{one.trial_id[:8]}  {one.cell}" for one in group[:LISTED]]
        lines += [f"and {len(group) - LISTED} more alike"] if len(group) > LISTED else []
        same = len({one.text for one in group}) == 1
        differing = f"no cell has these identities; each differs from its nearest in {_spelled(group[0].differs)}: they would run"
        starts = {one.start for one in group} - {""}
        told_start = f", {min(starts)}" + (" (each from its own)" if len(starts) > 1 else "") if starts else ""
        lines.append(f"  {group[0].text if same else differing}{told_start}")
    return "\n".join(lines)
