"""A/A on stored cells: labels of real measurements are permuted, so that a true difference cannot exist.

Within a slice (equal tasks, game, network and loss) the table of an arm is its own mean on each task plus the deviations of its
replicates. Two pseudo-arms are drawn from these parts:

- *replicates*: the rows of deviations of all arms are shuffled, and each pseudo-arm gets as many rows as a real one, whole, so that
  what a replicate does on all tasks, and the dependence between tasks, stay as measured;
- *tasks*: on each task anew the arms' means (less each arm's mean over tasks) are shuffled and each pseudo-arm gets one, so that what
  suits one learner and not another stays as large as measured; or each gets their mean, for the null hypothesis about these very tasks.

The pseudo-arms are exchangeable by construction: whatever the real arms' variances and distributions are, each row and each mean is
as likely to go to one as to the other, so calling them different is an error. Three replicates an arm suffice, because the deviations of
all arms form one pool; permuting two arms of three alone would give ten groupings. Where a few arms deviate far more than the others,
intervals from such a pool are wide and the rate stays below 5 %: a mild test, on data as they are. What is not kept is the pairing of
replicates across arms (a shared initialisation): it would need the labels of whole arms, of which there are too few.
Shape suffixes: A arms, R replicates, T tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from bench.audit.checks import Check, share_check
from bench.audit.designs import frame_of
from bench.audit.rates import called_different, pooled
from bench.audit.rules import ERROR, TWO_WAY, Rule
from bench.report.estimates import Estimates
from bench.report.study import Study
from bench.seeds import stream
from bench.stats.crossed import Array, cross

ALIKE = 1e-9
"""Arms whose replicates' means differ by less, relative to their values, are deterministic: they have no replicates to permute."""


@dataclass(frozen=True)
class StoredArms:
    """Primary measurements of the arms of a slice, at the primary adaptation step.

    Attributes:
        suite: name of the results folder.
        label: of the slice.
        metric: what was measured.
        names: of the arms.
        values_ART: measured values.
        left_out: arms that could not take part, and why.
    """

    suite: str
    label: str
    metric: str
    names: tuple[str, ...]
    values_ART: Array
    left_out: Mapping[str, str]

    @property
    def usable(self) -> bool:
        """Whether there are two arms of two replicates and two tasks to relabel."""
        arms, replicates, tasks = self.values_ART.shape
        return bool(min(arms, replicates, tasks) >= 2)


def stored_arms(study: Study, suite: str) -> list[StoredArms]:
    """The slices of a results folder, as its report sees them: caps for cells that owe values, arms with all replicates.

    Args:
        study: of the folder.
        suite: name that the folder goes by.
    """
    estimates = Estimates(study)
    metric, step = str(study.primary["metric"]), int(study.primary["adaptation_step"])
    slices = []
    for slice_ in study.slices:
        tables = {arm.name: cross(estimates.rows(slice_, arm.name, metric, step)) for arm in study.arms_of(slice_)}
        usual = Counter(table.tasks for table in tables.values() if not table.problem()).most_common(1)
        tasks = usual[0][0] if usual else ()
        most = max((len(table.replicates) for table in tables.values() if table.tasks == tasks), default=0)
        left_out = {}
        for name, table in tables.items():
            if table.problem() or table.tasks != tasks or len(table.replicates) < most:
                left_out[name] = table.problem() or "other tasks or fewer replicates than the others"
            elif _deterministic(table.values_RT):
                left_out[name] = "its replicates are equal"
        kept = {name: table.values_RT for name, table in tables.items() if name not in left_out}
        values_ART = np.stack(list(kept.values())) if kept else np.empty((0, 0, 0))
        slices.append(StoredArms(suite, slice_.label, metric, tuple(kept), values_ART, left_out))
    return slices


def _deterministic(values_RT: Array) -> bool:
    return bool(values_RT.mean(axis=1).std() <= ALIKE * np.abs(values_RT).mean())


def relabelled(values_ART: Array, rng: np.random.Generator, *, arm_by_task: bool) -> tuple[Array, Array]:
    """Two pseudo-arms (R, T) with permuted labels, as the module says.

    Args:
        values_ART: real values.
        rng: the only source of randomness.
        arm_by_task: whether the pseudo-arms may differ on single tasks (null hypothesis about new tasks), or on none.
    """
    arms, replicates, tasks = values_ART.shape
    means_AT = values_ART.mean(axis=1)
    # Deviations from a mean of R replicates are too small, by sqrt(1 - 1 / R), beside the effects of tasks.
    deviations_ART = (values_ART - means_AT[:, None, :]) * np.sqrt(replicates / (replicates - 1))
    rows_NT = deviations_ART.reshape(arms * replicates, tasks)
    taken = rng.permutation(len(rows_NT))[: 2 * replicates]
    centred_AT = means_AT - means_AT.mean(axis=1, keepdims=True)
    if arm_by_task:
        shuffled_AT = rng.permuted(centred_AT, axis=0)
        first_T, second_T = shuffled_AT[0], shuffled_AT[1]
    else:
        first_T = second_T = centred_AT.mean(axis=0)
    return first_T + rows_NT[taken[:replicates]], second_T + rows_NT[taken[replicates:]]


def permuted_rates(slices: Sequence[StoredArms], rules: Sequence[Rule], *, draws: int, seed: int) -> pd.DataFrame:
    """A/A: how often each rule calls relabelled arms different, under both null hypotheses.

    Args:
        slices: real cells; those that are not usable are passed over.
        rules: what is tested.
        draws: relabellings of each results folder and null hypothesis, shared by its slices.
        seed: of the audit.

    Returns:
        Rows suite, slice, metric, arms, replicates, tasks, null, rule, claim, called, standard_error, draws.
    """
    tables = []
    usable = [one for one in slices if one.usable]
    per_suite = Counter(one.suite for one in usable)
    for one in usable:
        arms, replicates, tasks = one.values_ART.shape
        each = -(-draws // per_suite[one.suite])
        for null, arm_by_task in (("new tasks", True), ("these tasks", False)):

            def pair(rng: np.random.Generator, one: StoredArms = one, arm_by_task: bool = arm_by_task) -> tuple[Array, Array]:
                return relabelled(one.values_ART, rng, arm_by_task=arm_by_task)

            found = called_different(pair, rules, draws=each, seed=seed, what=("stored", one.suite, one.label, null))
            facts = {"suite": one.suite, "slice": one.label, "metric": one.metric, "arms": arms, "replicates": replicates, "tasks": tasks}
            tables.append(found.assign(**facts, null=null))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def permuted_checks(table: pd.DataFrame) -> list[Check]:
    """The default rule calls at most 5 % of relabelled arms different, by results folder."""
    if table.empty:
        return []
    checks = []
    rows = table[(table["rule"] == TWO_WAY.name) & (table["null"] == TWO_WAY.claim)]
    for suite, group in rows.groupby("suite", sort=False):
        share, draws = pooled(group, "called")
        claim = f"{TWO_WAY.name}: relabelled cells of {suite} are called different"
        checks.append(share_check(f"relabelled-{suite}", claim, share, "at most", ERROR, draws=draws))
    return checks


def halves_rates(slices: Sequence[StoredArms], rules: Sequence[Rule], *, seed: int) -> pd.DataFrame:
    """A/A without a model: the replicates of one arm against each other, in every way to split them in two groups of 2 or more.

    Few and dependent splits, of arms with 4 or more replicates only; in exchange nothing is centred or shuffled. Shown, not held to
    a limit: an arm of five replicates has ten splits, which share five rows.

    Returns:
        Rows suite, slice, arms, splits, rule, called, standard_error (over arms).
    """
    rows = []
    for one in slices:
        replicates = one.values_ART.shape[1]
        if not one.usable or replicates < 4:
            continue
        rng = stream("audit", seed, "halves", one.suite, one.label)
        splits = list(combinations(range(replicates), replicates // 2))
        for rule in rules:
            called_AN = np.array([[_split(rule, values_RT, first, rng) for first in splits] for values_RT in one.values_ART])
            by_arm = called_AN.mean(axis=1)
            error = float(by_arm.std(ddof=1) / np.sqrt(by_arm.size)) if by_arm.size > 1 else float("nan")
            rows.append(
                {
                    "suite": one.suite, "slice": one.label, "arms": by_arm.size, "splits": len(splits), "rule": rule.name,
                    "called": float(by_arm.mean()), "standard_error": error,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _split(rule: Rule, values_RT: Array, first: tuple[int, ...], rng: np.random.Generator) -> bool:
    second = [r for r in range(len(values_RT)) if r not in first]
    a, b = frame_of(values_RT[list(first)]), frame_of(values_RT[second])
    return rule.different(a, b.assign(replicate=b["replicate"] + len(values_RT)), rng)
