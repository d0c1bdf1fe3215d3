"""Planted faults of generators: what each measure says of them, and whether their names follow from the measures alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from bench.audit.checks import Check, share_check, standard_error
from bench.audit.rates import pooled
from bench.measure import (
    data_copying,
    duplicate_fraction,
    energy_distance,
    frechet_distance,
    kid,
    nearest_support_ratio,
    pairwise_distance_ratio,
    precision_recall,
    support_query_gap,
    vendi_ratio,
)
from bench.measure.diagnosis import SOUND, name_fault
from bench.measure.planted import GENERATORS, MixtureTasks, mixture_tasks
from bench.seeds import stream
from bench.stats.crossed import Array

NAMES: Mapping[str, str] = {
    "ideal": SOUND,
    "half-the-modes": "lost modes",
    "one-mode": "one mode",
    "mean": "mean image",
    "copies": "copies",
    "shrunken": "shrunken",
    "memorised-support": "memorised support",
    "noise": "noise",
}
"""What each planted generator should be called."""
NAMED_TASKS = (20, 200)
"""Numbers of tasks whose means a name follows from: few and many."""
SAMPLES = 20
NAMED = 0.95
"""Share of task sets on which each fault must be named rightly."""

Measures = Callable[[Array, MixtureTasks], Mapping[str, Array]]


def needed_measures(fake_TMF: Array, tasks: MixtureTasks) -> dict[str, Array]:
    """The measures that a name depends on, (T,) each, by the names of their metrics."""
    query, support = tasks.query_TQF, tasks.support_TSF
    return {
        "pairwise-distance": pairwise_distance_ratio(fake_TMF, query),
        "novelty": nearest_support_ratio(fake_TMF, query, support),
        "precision": precision_recall(fake_TMF, query).precision,
        "vendi": vendi_ratio(fake_TMF, query, support.mean(axis=1)),
    }


def all_measures(fake_TMF: Array, tasks: MixtureTasks) -> dict[str, Array]:
    """Every measure of the table of collapse types, (T,) each."""
    query, support = tasks.query_TQF, tasks.support_TSF
    shares = precision_recall(fake_TMF, query)
    return {
        "fid": frechet_distance(fake_TMF, query),
        "kid x 1000": 1000 * kid(fake_TMF, query),
        "energy": energy_distance(fake_TMF, query),
        "energy-gap": support_query_gap(fake_TMF, query, support),
        "recall": shares.recall,
        "density": shares.density,
        "coverage": shares.coverage,
        "duplicates": duplicate_fraction(fake_TMF, query),
        "data-copying": data_copying(fake_TMF, query, support),
        **needed_measures(fake_TMF, tasks),
    }


def collapse_table(*, tasks: int, seed: int) -> pd.DataFrame:
    """Mean over tasks of every measure for every planted generator, and the name that follows; one row per generator."""
    planted = mixture_tasks(stream("audit", seed, "collapse", "tasks"), tasks=tasks, support=SAMPLES, query=SAMPLES)
    rows = []
    for generator, generate in GENERATORS.items():
        fake_TMF = generate(stream("audit", seed, "collapse", generator), planted, samples=SAMPLES)
        means = {name: float(np.mean(values_T)) for name, values_T in all_measures(fake_TMF, planted).items()}
        rows.append({"generator": generator, **means, "named": name_fault(means)})
    return pd.DataFrame(rows)


def naming_table(*, draws: int, seed: int, name: Callable[[Mapping[str, float]], str] = name_fault) -> pd.DataFrame:
    """Share of sets of tasks on which each planted generator is named rightly.

    Args:
        draws: sets of tasks of each size; fewer of larger ones, for equal work.
        seed: of the audit.
        name: from mean measures to a name.

    Returns:
        Rows generator, should_be, tasks, right, standard_error, draws, otherwise (the wrong names that occurred).
    """
    rows = []
    for tasks in NAMED_TASKS:
        repetitions = max(1, draws * NAMED_TASKS[0] // tasks)
        names: dict[str, list[str]] = {generator: [] for generator in GENERATORS}
        rng = stream("audit", seed, "naming", tasks)
        for _ in range(repetitions):
            planted = mixture_tasks(rng, tasks=tasks, support=SAMPLES, query=SAMPLES)
            for generator, generate in GENERATORS.items():
                measured = needed_measures(generate(rng, planted, samples=SAMPLES), planted)
                names[generator].append(name({measure: float(np.mean(values_T)) for measure, values_T in measured.items()}))
        for generator, found in names.items():
            right = float(np.mean([one == NAMES[generator] for one in found]))
            rows.append(
                {
                    "generator": generator, "should_be": NAMES[generator], "tasks": tasks, "right": right,
                    "standard_error": standard_error(right, repetitions), "draws": repetitions,
                    "otherwise": ", ".join(sorted({one for one in found if one != NAMES[generator]})),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def naming_checks(table: pd.DataFrame) -> list[Check]:
    """Every planted fault, and its absence, is named rightly; sets of all sizes are pooled."""
    checks = []
    for generator, group in table.groupby("generator", sort=False):
        share, draws = pooled(group, "right")
        claim = f"planted generator {generator} is named {NAMES[str(generator)]!r} from its measures"
        checks.append(share_check(f"named-{generator}", claim, share, "at least", NAMED, draws=draws))
    return checks
