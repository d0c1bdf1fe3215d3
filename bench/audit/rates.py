"""How often intervals cover and rules call arms different, on data whose truth is known.

Every figure has its own named random stream: it does not change when another one is added or left out.
Shape suffixes: R replicates, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.audit.checks import Check, share_check, standard_error
from bench.audit.designs import Design, frame_of
from bench.audit.rules import ERROR, LEVEL, THESE_TASKS_ENDS, TWO_WAY, TWO_WAY_ENDS, Interval, Rule
from bench.seeds import Factor, stream
from bench.stats import detectable_difference
from bench.stats.crossed import Array

POWER = 0.8
FEW = 3
"""So few replicates leave 2 degrees of freedom, with which Satterthwaite's approximation is too generous."""
SHORTFALL = 0.03
"""Of coverage with ``FEW`` replicates: 0.93 instead of 0.95 on 200 tasks, as the interval's own documentation says."""
POWER_SHORTFALL = 0.05
"""Of power with ``FEW`` replicates: the prediction takes degrees of freedom for known, which so few estimate badly."""

Pair = Callable[[np.random.Generator], tuple[Array, Array]]
"""Draws two arms (R, T)."""


def coverage(designs: Sequence[Design], intervals: Sequence[Interval], *, draws: int, seed: int) -> pd.DataFrame:
    """Coverage and mean width of intervals of one arm.

    Returns:
        Rows interval, statistic, claim, target (new tasks: 0; these tasks: the arm's true mean on the tasks drawn, for intervals of the
        mean), replicates, tasks, covered, standard_error, width, draws.
    """
    rows = []
    for design in designs:
        for interval in intervals:
            rng = _stream(seed, "coverage", design.label, interval.name, interval.statistic)
            repetitions = max(1, draws // interval.every)
            ends_N2, target_N2 = np.empty((repetitions, 2)), np.zeros((repetitions, 2))
            for n in range(repetitions):
                values_ART, means_A = design.draw(rng, arms=1)
                ends_N2[n] = interval.ends(frame_of(values_ART[0]), rng)
                target_N2[n, 1] = means_A[0]
            covered_N2 = (ends_N2[:, :1] <= target_N2) & (target_N2 <= ends_N2[:, 1:])
            # The interquartile mean on the tasks drawn is not their mean, and has no simple form.
            for column, target in enumerate(("new tasks", "these tasks") if interval.statistic == "mean" else ("new tasks",)):
                share = float(covered_N2[:, column].mean())
                rows.append(
                    {
                        "interval": interval.name, "statistic": interval.statistic, "claim": interval.claim, "target": target,
                        "replicates": design.replicates, "tasks": design.tasks, "covered": share,
                        "standard_error": standard_error(share, repetitions),
                        "width": float((ends_N2[:, 1] - ends_N2[:, 0]).mean()), "draws": repetitions,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def coverage_checks(table: pd.DataFrame) -> list[Check]:
    """The t intervals cover what they say, by number of replicates; both numbers of tasks are pooled.

    Bootstraps are shown, not held to a limit: they are approximations even in theory.
    """
    checks = []
    held = table[table["interval"].isin([TWO_WAY_ENDS.name, THESE_TASKS_ENDS.name]) & (table["target"] == table["claim"])]
    for (interval, target, _), group in held.groupby(["interval", "target", "replicates"], sort=False):
        replicates, (share, draws) = int(group["replicates"].iloc[0]), pooled(group, "covered")
        limit = LEVEL - (SHORTFALL if replicates <= FEW and interval == TWO_WAY_ENDS.name else 0.0)
        claim = f"{interval}, {replicates} replicates: nominal {LEVEL:.0%} intervals cover the mean on {target}"
        checks.append(share_check(_key("coverage", interval, replicates), claim, share, "at least", limit, draws=draws))
    return checks


def called_different(pair: Pair, rules: Sequence[Rule], *, draws: int, seed: int, what: tuple[Factor, ...]) -> pd.DataFrame:
    """How often each rule calls two arms different.

    Args:
        pair: draws the arms.
        rules: what is tested; all see the same draws.
        draws: repetitions; a rule with ``every`` = 4 sees every fourth.
        seed: of the audit.
        what: names the random stream.

    Returns:
        Rows rule, claim, called, standard_error, draws.
    """
    rng, own = _stream(seed, "pair", *what), _stream(seed, "rules", *what)
    called = {rule.name: np.zeros(len(range(0, draws, rule.every)), dtype=np.bool_) for rule in rules}
    for n in range(draws):
        a, b = (frame_of(values_RT) for values_RT in pair(rng))
        for rule in rules:
            if n % rule.every == 0:
                called[rule.name][n // rule.every] = rule.different(a, b, own)
    rows = []
    for rule in rules:
        share, repetitions = float(called[rule.name].mean()), called[rule.name].size
        error = standard_error(share, repetitions)
        rows.append({"rule": rule.name, "claim": rule.claim, "called": share, "standard_error": error, "draws": repetitions})
    return pd.DataFrame(rows)


NULLS: dict[str, Callable[[Design], Design]] = {
    "new tasks": lambda design: design,
    "these tasks": lambda design: replace(design, sd_arm_task=0.0),
    "these models": lambda design: replace(design, sd_replicate=0.0),
}
"""True null hypotheses: arms have equal means on new tasks; on these very tasks too; and so have these very models."""


def error_rates(designs: Sequence[Design], rules: Sequence[Rule], *, draws: int, seed: int) -> pd.DataFrame:
    """Type-I errors of simulated arms without a difference, under each of :data:`NULLS`.

    Returns:
        The rows of :func:`called_different` with null, replicates and tasks.
    """
    tables = []
    for null, of in NULLS.items():
        for design in designs:
            drawn = of(design)

            def pair(rng: np.random.Generator, drawn: Design = drawn) -> tuple[Array, Array]:
                values_ART, _ = drawn.draw(rng, arms=2)
                return values_ART[0], values_ART[1]

            found = called_different(pair, rules, draws=draws, seed=seed, what=("errors", null, design.label))
            tables.append(found.assign(null=null, replicates=design.replicates, tasks=design.tasks))
    return pd.concat(tables, ignore_index=True)


def error_checks(table: pd.DataFrame) -> list[Check]:
    """The default rule errs as often as it says where arms are equal, by number of replicates and null hypothesis.

    A rule that speaks of these tasks is held to the null hypothesis about these tasks. Bootstraps are shown, not held to a limit: the
    harness makes no call by them.
    """
    checks = []
    held = table[(table["rule"] == TWO_WAY.name) | ((table["claim"] == "these tasks") & (table["null"] == "these tasks"))]
    for (rule, null, _), group in held.groupby(["rule", "null", "replicates"], sort=False):
        replicates, (share, draws) = int(group["replicates"].iloc[0]), pooled(group, "called")
        limit = ERROR + (SHORTFALL if replicates <= FEW and rule == TWO_WAY.name else 0.0)
        claim = f"{rule}, {replicates} replicates: equal arms are called different, simulated, null hypothesis about {null}"
        checks.append(share_check(_key("errors", rule, null, replicates), claim, share, "at most", limit, draws=draws))
    return checks


def power(designs: Sequence[Design], rule: Rule = TWO_WAY, *, draws: int, seed: int, predicted: float = POWER) -> pd.DataFrame:
    """How often an effect is found whose size :func:`bench.stats.detectable_difference` says is found with probability ``predicted``.

    Returns:
        Rows rule, replicates, tasks, effect, predicted, found, standard_error, draws.
    """
    rows = []
    for design in designs:
        sd_replicate, sd_task = design.spread_of_difference()
        effect = detectable_difference(
            sd_replicate=sd_replicate, sd_task=sd_task, n_replicates=design.replicates, n_tasks=design.tasks, power=predicted, level=LEVEL
        )

        def pair(rng: np.random.Generator, design: Design = design, effect: float = effect) -> tuple[Array, Array]:
            values_ART, _ = design.draw(rng, arms=2)
            return values_ART[0] + effect, values_ART[1]

        found = called_different(pair, [rule], draws=draws, seed=seed, what=("power", design.label)).iloc[0]
        rows.append(
            {
                "rule": rule.name, "replicates": design.replicates, "tasks": design.tasks, "effect": effect, "predicted": predicted,
                "found": float(found["called"]), "standard_error": float(found["standard_error"]), "draws": int(found["draws"]),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def power_checks(table: pd.DataFrame) -> list[Check]:
    """Planted effects are found as often as predicted, by number of replicates."""
    checks = []
    for (rule, _), group in table.groupby(["rule", "replicates"]):
        replicates, predicted = int(group["replicates"].iloc[0]), float(group["predicted"].iloc[0])
        limit = predicted - (POWER_SHORTFALL if replicates <= FEW else 0.0)
        claim = f"{rule}, {replicates} replicates: an effect said to be found with probability {predicted:g} is found"
        share, draws = pooled(group, "found")
        checks.append(share_check(f"power-{replicates}", claim, share, "at least", limit, draws=draws))
    return checks


def pooled(rows: pd.DataFrame, share: str) -> tuple[float, int]:
    """A share over all draws of ``rows``, and their number."""
    draws = rows["draws"].to_numpy(dtype=np.int64)
    return float(np.average(rows[share].to_numpy(dtype=np.float64), weights=draws)), int(draws.sum())


def _stream(seed: int, what: str, *factors: Factor) -> np.random.Generator:
    return stream("audit", seed, what, *factors)


def _key(*parts: object) -> str:
    return "-".join(str(part).replace(" ", "-").replace(",", "") for part in parts)
