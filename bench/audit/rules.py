"""What is audited: the harness's intervals and its rules to call two arms different, and what others use, for comparison.

The rules are the public functions of :mod:`bench.stats` that the report calls, on the same tidy frames: nothing is re-implemented for
the audit except the comparison row that the harness refuses to offer.
Shape suffixes: B resamples, R replicates, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from bench.stats import (
    permutation_test,
    pigeonhole_interval,
    signed_rank_test,
    these_tasks_interval,
    two_way_difference,
    two_way_interval,
    welch_test,
)
from bench.stats.crossed import cross

LEVEL, ERROR = 0.95, 0.05
RESAMPLES = 500
"""Of a bootstrap in the audit: ends move by a twentieth of their distance, and thousands of intervals stay affordable."""
COSTLY = 4
"""All but the default rule and the t intervals get one draw where those get this many."""

Claim = Literal["new tasks", "these tasks", "these models"]
"""What a rule speaks of: new replicates on new tasks, new replicates on these very tasks, or these very trained models on new tasks."""
Different = Callable[[pd.DataFrame, pd.DataFrame, np.random.Generator], bool]
Ends = Callable[[pd.DataFrame, np.random.Generator], tuple[float, float]]


@dataclass(frozen=True)
class Rule:
    """A way to call two arms different at the 5 % level. Frames hold the same replicates and tasks in the same order."""

    name: str
    claim: Claim
    different: Different
    every: int = 1


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of one arm's ``statistic``. All simulated effects are symmetric, so on new tasks both statistics are 0."""

    name: str
    statistic: Literal["mean", "iqm"]
    claim: Claim
    ends: Ends
    every: int = 1


def two_way(a: pd.DataFrame, b: pd.DataFrame, rng: np.random.Generator) -> bool:
    """The report's own rule: the two-way interval of the difference excludes 0."""
    found = two_way_difference(a, b, level=LEVEL)
    return found.low > 0 or found.high < 0


def two_way_unpaired(a: pd.DataFrame, b: pd.DataFrame, rng: np.random.Generator) -> bool:
    """The same where replicates are not paired."""
    return two_way(a, b.assign(replicate=b["replicate"] + a["replicate"].max() + 1), rng)


def pigeonhole(a: pd.DataFrame, b: pd.DataFrame, rng: np.random.Generator) -> bool:
    """The pigeonhole interval of the mean difference excludes 0."""
    differences = a.assign(value=a["value"].to_numpy() - b["value"].to_numpy())
    found = pigeonhole_interval(differences, rng, statistic="mean", resamples=RESAMPLES, level=LEVEL)
    return found.low > 0 or found.high < 0


def stratified(frame: pd.DataFrame, rng: np.random.Generator, *, trimmed: bool) -> tuple[float, float]:
    """Percentile interval of the mean (``trimmed``: the interquartile mean), replicates resampled within each task on their own.

    The default of rliable. It takes the replicates of different tasks for different runs, which meta-trained replicates are not.
    """
    values_RT = cross(frame).values_RT
    replicates, tasks = values_RT.shape
    which_BRT = rng.integers(replicates, size=(RESAMPLES, replicates, tasks))
    resampled_BN = np.take_along_axis(values_RT[None], which_BRT, axis=1).reshape(RESAMPLES, -1)
    cut = values_RT.size // 4 if trimmed else 0
    kept_BN = np.partition(resampled_BN, (cut, values_RT.size - cut - 1), axis=1)[:, cut : values_RT.size - cut] if cut else resampled_BN
    low, high = np.quantile(kept_BN.mean(axis=1), [ERROR / 2, 1 - ERROR / 2])
    return float(low), float(high)


def _two_way_ends(frame: pd.DataFrame, rng: np.random.Generator) -> tuple[float, float]:
    found = two_way_interval(frame, level=LEVEL)
    return found.low, found.high


def _these_tasks_ends(frame: pd.DataFrame, rng: np.random.Generator) -> tuple[float, float]:
    found = these_tasks_interval(frame, level=LEVEL)
    return found.low, found.high


def _pigeonhole_ends(frame: pd.DataFrame, rng: np.random.Generator, *, statistic: Literal["mean", "iqm"]) -> tuple[float, float]:
    found = pigeonhole_interval(frame, rng, statistic=statistic, resamples=RESAMPLES, level=LEVEL)
    return found.low, found.high


TWO_WAY = Rule("two-way interval", "new tasks", two_way)
OVER_REPLICATES = (
    Rule("Welch over replicates", "these tasks", lambda a, b, rng: welch_test(a, b).p <= ERROR, every=COSTLY),
    Rule("permutation of replicates", "these tasks", lambda a, b, rng: permutation_test(a, b, rng).p <= ERROR, every=COSTLY),
)
WILCOXON = Rule("Wilcoxon over tasks", "these models", lambda a, b, rng: signed_rank_test(a, b).p <= ERROR, every=COSTLY)
RULES = (
    TWO_WAY,
    Rule("two-way interval, unpaired replicates", "new tasks", two_way_unpaired, every=COSTLY),
    Rule("pigeonhole bootstrap", "new tasks", pigeonhole, every=COSTLY),
    *OVER_REPLICATES,
    WILCOXON,
)
TWO_WAY_ENDS = Interval("two-way t", "mean", "new tasks", _two_way_ends)
THESE_TASKS_ENDS = Interval("t over replicates", "mean", "these tasks", _these_tasks_ends)
INTERVALS = (
    TWO_WAY_ENDS,
    THESE_TASKS_ENDS,
    Interval("pigeonhole bootstrap", "mean", "new tasks", partial(_pigeonhole_ends, statistic="mean"), every=COSTLY),
    Interval("pigeonhole bootstrap", "iqm", "new tasks", partial(_pigeonhole_ends, statistic="iqm"), every=COSTLY),
    Interval("stratified bootstrap", "mean", "these tasks", partial(stratified, trimmed=False), every=COSTLY),
    Interval("stratified bootstrap", "iqm", "these tasks", partial(stratified, trimmed=True), every=COSTLY),
)
