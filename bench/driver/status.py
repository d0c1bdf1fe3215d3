"""How far a run is, from its ledger alone: any process may ask, while the run goes on or after it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.driver.lookup import told
from bench.driver.planning import lane_of, ledger_and_losses, typical_costs
from bench.driver.progress import spell_seconds
from bench.store import STATUSES, TrialRow, read_ledger, read_progress

LISTED = 12  # cells of one kind in the text; --json has them all


def status(results: Path) -> dict[str, Any]:
    """What ``bench status`` tells.

    Returns:
        ``counts`` {status: cells}; ``running`` and ``troubled`` cells (trial_id, cell, and share or reason); ``seconds_left``: estimate of
        one core's time for what is left, None before a cell has finished; ``beat``: seconds since the ledger was last written;
        ``lost`` cells, whose measurements are gone or damaged, and ``damage``, lines of the ledger that cannot be read: the next run
        makes up for both.

    Raises:
        StoreError: it is not a results folder, or damaged.
    """
    ledger, lost = ledger_and_losses(results)
    rows = list(ledger.planned().values())
    counts = Counter(row.status for row in rows)
    running = [row for row in rows if row.status == "running"]
    left = [row for row in rows if row.status in ("planned", "running", "infra")]
    said = {row.trial_id: _progress(results, row) for row in running}
    return {
        "results": str(results),
        "counts": {name: counts[name] for name in STATUSES if counts[name]},
        "running": [
            {"trial_id": row.trial_id, "cell": told(row), "share": said[row.trial_id][0], "doing": said[row.trial_id][1]} for row in running
        ],
        "troubled": [
            {"trial_id": row.trial_id, "cell": told(row), "status": row.status, "reason": row.reason}
            for row in rows
            if row.status in ("failed", "oom", "timeout", "infra", "diverged")
        ],
        "lost": [{"trial_id": row.trial_id, "cell": told(row), "segment": row.segment} for row in rows if row.segment in lost],
        "damage": ledger.damage,
        "seconds_left": _left(rows, left, {trial_id: 0.0 if doing else share for trial_id, (share, doing) in said.items()}),
        "beat": max(0.0, time.time() - (results / "ledger.jsonl").stat().st_mtime),
    }


def unfinished(results: Path) -> int:
    """How many cells the run that is going on, if any, has still to end.

    Raises:
        StoreError: it is not a results folder, or damaged.
    """
    return sum(row.status in ("planned", "running") for row in read_ledger(results).planned().values())


def status_text(found: dict[str, Any]) -> str:
    """The same for people."""
    counts = found["counts"]
    total = sum(counts.values())
    ended = total - sum(counts.get(name, 0) for name in ("planned", "running", "infra"))
    lines = [f"{found['results']}: {ended} of {total} cells ended ({', '.join(f'{n} {name}' for name, n in counts.items())})"]
    if found["running"]:
        lines.append(f"running (ledger written {spell_seconds(found['beat'])} ago; after a kill, cells stay so until the next run):")
        lines += _some([f"  {cell['trial_id'][:8]}  {cell['share']:4.0%}  {cell['cell']}{_before(cell)}" for cell in found["running"]])
    if found["seconds_left"] is not None and ended < total:
        lines.append(f"left: about {spell_seconds(found['seconds_left'])} of one core")
    if found["troubled"]:
        lines.append("not ok:")
        lines += _some(
            [
                f"  {cell['trial_id'][:8]}  {cell['status']}  {cell['cell']}: {cell['reason'] or 'no reason recorded'}"
                for cell in found["troubled"]
            ]
        )
    if found["lost"]:
        lines.append("measurements that are lost or damaged (the next run makes them anew):")
        lines += _some([f"  {cell['trial_id'][:8]}  segments/{cell['segment']}  {cell['cell']}" for cell in found["lost"]])
    if found["damage"]:
        lines.append("lines that cannot be read (the next run does anew what they held):")
        lines += _some([f"  {line}" for line in found["damage"]])
    return "\n".join(lines)


def _before(cell: dict[str, Any]) -> str:
    return f" ({cell['doing']})" if cell["doing"] else ""


def _some(lines: Sequence[str]) -> list[str]:
    return [*lines[:LISTED], *([f"  and {len(lines) - LISTED} more (--json has them)"] if len(lines) > LISTED else [])]


def _progress(results: Path, row: TrialRow) -> tuple[float, str]:
    """Of the budget that a running cell has spent, as its worker last said; and what it does before that, if anything."""
    said = read_progress(results / "trials" / row.trial_id / "progress.json")
    share, doing = said.get("progress", 0.0), str(said.get("doing", ""))
    return float(share) if isinstance(share, int | float) else 0.0, doing


def _left(rows: Sequence[TrialRow], left: Sequence[TrialRow], shares: dict[str, float]) -> float | None:
    """Seconds of what has not ended: the median of the same arm's cells, or of all."""
    known = {lane: costs.seconds for lane, costs in typical_costs({row.trial_id: row for row in rows}).items()}
    if not known:
        return None
    usual = median(known.values())
    return sum((1 - shares.get(row.trial_id, 0.0)) * known.get(lane_of(row), usual) for row in left)
