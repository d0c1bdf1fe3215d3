"""What a plan says to people and to programs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from bench.driver.planning import Plan, budget_lines, decidable
from bench.driver.progress import spell_seconds

if TYPE_CHECKING:
    from bench.driver.run import Planned


def plan_text(planned: Planned, *, jobs: int | None = None, as_json: bool = False) -> str:
    """What ``bench plan`` prints."""
    plan, slots = planned.plan, jobs or os.cpu_count() or 1
    decisions = decidable(planned.suite, plan.trials, planned.results)
    seconds = sum(plan.seconds.values())
    if as_json:
        missing = {trial.trial_id for trial in plan.missing}
        cells = [
            {"trial_id": t.trial_id, **t.cell(), "skip": t.skip, "missing": t.trial_id in missing, "goes_on_from": plan.start_of(t)}
            for t in plan.trials
        ]
        content = {"cells": cells, "cached": plan.cached, "seconds": seconds, "slots": slots, "bytes": plan.bytes, "decisions": decisions}
        return json.dumps(content, indent=1)
    lines = [f"{planned.suite.name}: {planned.suite.question}", describe(plan, slots)]
    counts: dict[tuple[str, str], int] = {}
    for trial in plan.trials:
        if not trial.skip:
            arm = trial.arm if trial.configuration is None else f"tuning {trial.arm}"
            counts[trial.place, arm] = counts.get((trial.place, arm), 0) + 1
    lines += [f"  {label}: {arm} x {count}" for (label, arm), count in counts.items()]
    if tuning := [trial for trial in plan.trials if trial.configuration is not None]:
        waiting = sum(plan.seconds.get(trial.trial_id, 0.0) for trial in tuning)
        arms = len({(trial.place, trial.arm) for trial in tuning})
        lines.append(f"  of them to tune {arms} arms: {len(tuning)} cells, {spell_seconds(waiting) if waiting else 'none'} of the time")
    lines += [f"  skipped x {count}: {reason}" for reason, count in plan.skipped.items()]
    lines += [f"  {line}" for line in budget_lines(plan)]
    basis = "from cells that have run" if plan.measured > 0.5 else "a first guess; it improves with the first finished cells"
    lines.append(
        f"time: {spell_seconds(seconds)} of one core, {spell_seconds(seconds / slots)} on {slots} ({basis})" if seconds else "time: none"
    )
    lines.append(f"disk: about {plan.bytes / 1e6:.0f} MB in {planned.results}")
    return "\n".join([*lines, *(f"decides: {sentence}" for sentence in decisions)])


def describe(plan: Plan, slots: int) -> str:
    """One line: cells, what is there already, what is to run, and about how long on so many slots."""
    parts = [f"{len(plan.trials)} cells", f"{plan.cached} finished before", f"{len(plan.missing)} to run"]
    if plan.skipped:
        parts.append(f"{sum(plan.skipped.values())} skipped")
    if plan.missing:
        parts.append(f"about {spell_seconds(sum(plan.seconds.values()) / slots)}" + ("" if plan.measured > 0.5 else " (first guess)"))
    return ", ".join(parts)
