"""What the harness itself took: how the runs that filled the results folder spent the time of their slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.report.blocks import Block, Cell, Paragraph, Table
from bench.report.study import Study
from bench.report.text import quantity
from bench.store.runs import PARTS

LISTED = 10
"""Runs in the table, the latest; the CSV has them all."""

_HEADINGS = {"working": "in trials", "starting": "starting workers", "handover": "handing over", "idle": "idle"}
Run = Mapping[str, float]


def overhead_blocks(study: Study, runs: Sequence[Run]) -> tuple[Block, ...]:
    """Share of measuring in the trials' time, and of the harness in the runs' time as far as these recorded it."""
    measuring = _measuring(study)
    blocks: list[Block] = [Paragraph(measuring)] if measuring else []
    kept = [run for run in runs if _total(run) > 0]
    if kept:
        blocks += [Paragraph(_harness(kept)), _table(kept)]
    return tuple(blocks)


def _measuring(study: Study) -> str:
    """How much of the trials' time went into measuring rather than training."""
    spent = study.cells[["seconds", "evaluation_seconds"]].astype(float).dropna().sum()
    if not spent["seconds"] > 0:
        return ""
    share = 100 * spent["evaluation_seconds"] / spent["seconds"]
    return f"All trials together took {quantity(spent['seconds'])} seconds, {share:.0f} % of them measuring."


def _harness(runs: Sequence[Run]) -> str:
    spent = {part: sum(_seconds(run, part) for run in runs) for part in PARTS}
    total, trials = sum(spent.values()), int(sum(run.get("trials", 0) for run in runs))
    ratio = f"{_percent(spent['handover'], spent['working'])} of the time in trials" if spent["working"] else "no time in trials"
    each = f", {1e3 * spent['handover'] / trials:.3g} ms a trial" if trials else ""
    return (
        f"The harness took {ratio} to hand over trials and take their results{each}. Of the time of all slots, "
        f"{_percent(spent['starting'], total)} went into starting workers; in {_percent(spent['idle'], total)} there was nothing to run."
    )


def _table(runs: Sequence[Run]) -> Table:
    rows, data = [], []
    for number, run in enumerate(runs, start=1):
        total = _total(run)
        counts = {"trials": run.get("trials", 0.0), "slots": run.get("slots", 0.0), "seconds": run.get("seconds", 0.0)}
        shares = {part: _seconds(run, part) / total for part in PARTS}
        latency = {name: run.get(name) for name in ("dispatch_median_ms", "dispatch_95_ms")}
        rows.append(
            (
                Cell(str(number)),
                *(Cell(quantity(value)) for value in counts.values()),
                *(Cell(f"{100 * share:.1f} %") for share in shares.values()),
                *(Cell("" if value is None else f"{value:.3g}") for value in latency.values()),
            )
        )
        data.append({"run": number, **counts, **{f"share_{part}": share for part, share in shares.items()}, **latency})
    return Table(
        key="overhead",
        caption="Where the time of the slots went, by run",
        columns=(
            "run", "trials", "slots", "seconds", *(_HEADINGS[part] for part in PARTS), "dispatch latency, ms: median", "95 % quantile",
        ),
        rows=tuple(rows[-LISTED:]),
        data=pd.DataFrame(data),
        notes=(
            "Every second of every slot belongs to one column. Dispatch latency: what a trial took from being sent until its result was "
            "here, beyond its own work." + (f" The last {LISTED} of {len(rows)} runs." if len(rows) > LISTED else ""),
        ),
    )  # fmt: skip


def _seconds(run: Run, part: str) -> float:
    return run.get(f"{part}_seconds", 0.0)


def _total(run: Run) -> float:
    return sum(_seconds(run, part) for part in PARTS)


def _percent(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.1f} %" if share >= 0.1 or not part else "under 0.1 %"
