"""Curves, measures and costs of every trial in TensorBoard: ``BENCH_TENSORBOARD=runs bench run ...``, then ``tensorboard --logdir runs``.

An observer in the driver, which writes what a trial has measured once the ledger has it: trials cost the same with and without.
A plugin of its own, because what is built in imports torch, which a driver does without. Needs the extra ``tensorboard``.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import hookimpl

SETTING = "BENCH_TENSORBOARD"
"""Environment variable: folder of the event files. Without it nothing is written."""


@hookimpl
def bench_trial_finished(trial: Mapping[str, Any], row: Mapping[str, Any], measurements: Mapping[str, Sequence[Any]]) -> None:
    """Write a TensorBoard run for a trial that has finished; one that is run again replaces what it said before."""
    folder = os.environ.get(SETTING)
    if not folder or not _installed():
        return
    from torch.utils.tensorboard import SummaryWriter

    run = Path(folder) / run_name(trial)
    for before in run.glob("events.out.tfevents.*"):
        before.unlink()
    with SummaryWriter(run) as writer:
        for tag, step, value in scalars(row, measurements):
            writer.add_scalar(tag, value, step)
        writer.add_text("status", f"{row['status']}: {row['reason']}" if row.get("reason") else row["status"], 0)


def run_name(trial: Mapping[str, Any]) -> str:
    """Folder of a trial, ``suite/task distribution/arm, network, loss, replicate, id``: TensorBoard filters runs by their words."""
    loss = trial["gan_loss"] or {"label": ""}
    parts = [trial["arm"], trial["network"]["label"], loss["label"], str(trial["replicate"]), trial["trial_id"][:8]]
    there = trial["transfer"]["task_distribution"]["label"] if trial["transfer"] else ""
    place = "-to-".join(filter(None, (trial["task_distribution"]["label"], there)))
    return "/".join(re.sub(r"[^\w.+=-]+", "_", name) for name in (trial["suite"], place, "-".join(filter(None, parts))))


def scalars(row: Mapping[str, Any], measurements: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, int, float]]:
    """(tag, step, value) of all that TensorBoard draws.

    ``meta-train/<metric>`` and ``meta-val/<metric>`` are over outer steps, ``meta-test/<metric>`` is over adaptation steps; each is the
    mean over tasks, NaN where one of them has no number. ``cost/<column>`` is one number a trial, and so is ``status/ok``, 1 or 0.
    """
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for split, metric, outer_step, adaptation_step, value in zip(
        *(measurements.get(name, ()) for name in ("split", "metric", "outer_step", "adaptation_step", "value")), strict=True
    ):
        step = adaptation_step if split == "meta-test" else outer_step
        values[f"{split}/{metric}", step or 0].append(value)
    for (tag, step), found in values.items():
        yield tag, step, sum(found) / len(found)
    for name, value in row.items():
        if isinstance(value, int | float):
            yield f"cost/{name}", 0, value
    yield "status/ok", 0, float(row["status"] == "ok")


@functools.cache
def _installed() -> bool:
    """Whether event files can be written; tells it where they cannot, once."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        cure = "pip install 'metagan-bench[tensorboard]'"
        logging.getLogger("bench").warning("%s is set, but TensorBoard is missing (%s): %s", SETTING, error, cure)
        return False
    return True
