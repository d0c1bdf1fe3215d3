"""Which configurations tuning tries for an arm, and which of them it chooses.

Configuration 0 is the arm's own settings. The others are points of one low-discrepancy sequence over the space that the
meta-learner's class declares, the same points for all arms whose spaces have equally many dimensions: equal chances.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench import seeds
from bench.contracts import Output
from bench.suite.components import Component
from bench.suite.constraints import show

Space = Mapping[str, Mapping[str, Any]]
"""{hyperparameter: {"factor": [low, high]} or {"choice": values}}, as the probe records :data:`bench.contracts.Space`."""

OWN = 0  # number of the configuration that is the arm's own settings
DIGITS = 4  # significant ones of a multiplied value: finer than a rate matters, short enough to read
EDGE = 0.1  # share of a factor's logarithmic range at either end; a choice from there asks for a wider space
_POINTS = 16  # drawn per configuration before a space of few values counts as exhausted


def free(learner: Component, space: Space) -> Space:
    """The part of ``space`` that is open for an arm: a choice that the suite has made itself, in a sweep say, is what the arm is."""
    return {name: how for name, how in space.items() if "factor" in how or name not in learner.parameters}


def configurations(learner: Component, space: Space, defaults: Mapping[str, Any], *, trials: int, seed: int) -> list[Component]:
    """``trials`` different configurations of an arm's meta-learner, its own first; fewer where the space holds fewer.

    More trials continue the list, so that what was tried before is not run again.

    Args:
        learner: the arm's meta-learner. What its ``test`` overrides is multiplied along; a choice leaves it.
        space: what its class declares.
        defaults: its hyperparameters' defaults.
        trials: how many are asked for.
        seed: the suite's seed; with the number of dimensions it decides the points.

    Raises:
        ValueError: a factor has no number to multiply; the text names hyperparameter and value.
    """
    dimensions = free(learner, space)
    chosen = [learner]
    if not dimensions or trials == 1:
        return chosen
    from scipy.stats import qmc  # suites without tuning are planned without it

    def effective(candidate: Component) -> str:
        return json.dumps([{**defaults, **candidate.parameters}, candidate.test], sort_keys=True)

    seen = {effective(learner)}
    points = qmc.Halton(len(dimensions), seed=seeds.stream("tuning", seed, len(dimensions))).random(_POINTS * trials)
    for point in points.tolist():
        candidate = _configured(learner, dimensions, defaults, point)
        if effective(candidate) not in seen and len(chosen) < trials:
            seen.add(effective(candidate))
            chosen.append(candidate)
    return chosen


def settings(learner: Component, space: Space, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration sets: {hyperparameter: value} of the arm's free dimensions."""
    return {name: learner.parameters.get(name, defaults.get(name)) for name in space}


def at_edge(own: Component, chosen: Component, space: Space, defaults: Mapping[str, Any]) -> dict[str, str]:
    """{hyperparameter: "low" or "high"}: chosen factors near an end of their range, beyond which the best may lie."""
    found = {}
    for name, how in free(own, space).items():
        if "factor" not in how:
            continue
        low, high = how["factor"]
        before, after = (_some_number(one.parameters.get(name, defaults.get(name))) for one in (own, chosen))
        share = math.log(after / before / low) / math.log(high / low) if before else 0.5
        if not EDGE <= share <= 1 - EDGE:
            found[name] = "low" if share < EDGE else "high"
    return found


def choose(losses: Sequence[float]) -> int:
    """Number of the lowest loss, the first of equals; the arm's own settings where none is finite."""
    finite = [(loss, number) for number, loss in enumerate(losses) if math.isfinite(loss)]
    return min(finite)[1] if finite else OWN


def validation_loss(values: Sequence[float], reading: Output) -> float:
    """Loss of one validation: the mean over meta-val tasks turned so that lower is better, infinite where a task has no number."""
    from bench.stats.direction import as_loss  # pandas, which planning does without

    mean = math.fsum(values) / len(values) if values else math.nan
    return float(as_loss(mean, better=reading.better, ideal=reading.ideal)) if math.isfinite(mean) else math.inf


def _configured(learner: Component, space: Space, defaults: Mapping[str, Any], point: Sequence[float]) -> Component:
    """The configuration at ``point`` of the unit cube."""
    parameters, test = dict(learner.parameters), dict(learner.test)
    for (name, how), share in zip(space.items(), point, strict=True):
        if "choice" in how:
            parameters[name] = how["choice"][int(share * len(how["choice"]))]
            continue
        low, high = how["factor"]
        factor = low * (high / low) ** share
        parameters[name] = _times(factor, name, parameters.get(name, defaults.get(name)))
        if name in test:
            test[name] = _times(factor, name, test[name])
    return replace(learner, parameters=parameters, test=test)


def _times(factor: float, name: str, value: Any) -> Any:
    """``value`` times ``factor``; a mapping by player keeps its ratios."""
    if isinstance(value, Mapping):
        return {player: _times(factor, name, rate) for player, rate in value.items()}
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"tuning multiplies {name!r}, which must be a number or a mapping of numbers (value {show(value)})")
    return float(f"{value * factor:.{DIGITS}g}")


def _some_number(value: Any) -> float:
    """The value, or its first one that is not 0 where it is a mapping by player: all have the same factor."""
    values = list(value.values()) if isinstance(value, Mapping) else [value]
    return float(next((one for one in values if one), 0.0))
