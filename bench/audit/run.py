"""All parts of an audit, in order, and what they found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from bench.audit.certificate import certificate, code_hash
from bench.audit.checks import Check
from bench.audit.collapse import collapse_table, naming_checks, naming_table
from bench.audit.designs import DESIGNS
from bench.audit.rates import coverage, coverage_checks, error_checks, error_rates, power, power_checks
from bench.audit.rules import INTERVALS, OVER_REPLICATES, RULES, TWO_WAY, WILCOXON
from bench.audit.stored import StoredArms, halves_rates, permuted_checks, permuted_rates


@dataclass(frozen=True)
class Effort:
    """Draws behind each figure: their number sets the Monte-Carlo error, 0.7 % at a share of 5 % and 1,000 draws.

    Attributes:
        draws: of simulated designs and relabelled folders; a folder's slices share them.
        task_sets: sets of 20 tasks on which faults are named.
        tasks: whose mean is the table of planted faults.
    """

    draws: int
    task_sets: int
    tasks: int


FULL, QUICK = Effort(draws=1_000, task_sets=100, tasks=200), Effort(draws=40, task_sets=10, tasks=50)
QUICK_LEAVE = 1.5
"""A quick audit allows three standard errors instead of two: one of its many checks would fail by chance more often than not."""


@dataclass(frozen=True)
class Audit:
    """Tables by name, the checks that follow from them, and the certificate.

    Attributes:
        tables: ``relabelled``, ``halves``, ``coverage``, ``errors``, ``power``, ``collapse``, ``naming``.
        checks: in reading order.
        stored: the slices that were looked at.
        certificate: see :func:`bench.audit.certificate.certificate`.
    """

    tables: dict[str, pd.DataFrame]
    checks: tuple[Check, ...]
    stored: tuple[StoredArms, ...]
    certificate: dict[str, Any] = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


def audit(stored: Sequence[StoredArms], *, seed: int = 0, quick: bool = False, say: Callable[[str], None] = lambda text: None) -> Audit:
    """Run every part; equal arguments give equal results.

    Args:
        stored: slices of results folders for the A/A part; without any it is left out.
        seed: of every random stream.
        quick: few draws: does it work, rather than does it hold?
        say: told what is being done.
    """
    effort = QUICK if quick else FULL
    code_hash()  # kept from here on: files may be edited while a long audit runs
    tables: dict[str, pd.DataFrame] = {}
    say(f"relabelling {sum(one.usable for one in stored)} slices of stored cells, {effort.draws} draws a folder")
    tables["relabelled"] = permuted_rates(stored, RULES, draws=effort.draws, seed=seed)
    tables["halves"] = halves_rates(stored, [TWO_WAY, *OVER_REPLICATES, WILCOXON], seed=seed)
    say(f"coverage of {len(INTERVALS)} intervals in {len(DESIGNS)} simulated designs, {effort.draws} draws each")
    tables["coverage"] = coverage(DESIGNS, INTERVALS, draws=effort.draws, seed=seed)
    say(f"errors of {len(RULES)} rules in {len(DESIGNS)} simulated designs under three null hypotheses")
    tables["errors"] = error_rates(DESIGNS, RULES, draws=effort.draws, seed=seed)
    say("power of the two-way interval against its prediction")
    tables["power"] = power(DESIGNS, draws=effort.draws, seed=seed)
    say(f"planted generators, named on {effort.task_sets} sets of tasks")
    tables["collapse"] = collapse_table(tasks=effort.tasks, seed=seed)
    tables["naming"] = naming_table(draws=effort.task_sets, seed=seed)
    checks = [
        *permuted_checks(tables["relabelled"]),
        *coverage_checks(tables["coverage"]),
        *error_checks(tables["errors"]),
        *power_checks(tables["power"]),
        *naming_checks(tables["naming"]),
    ]
    if quick:
        checks = [replace(check, allowance=QUICK_LEAVE * check.allowance) for check in checks]
    suites = list(dict.fromkeys(one.suite for one in stored if one.usable))
    return Audit(tables, tuple(checks), tuple(stored), certificate(checks, seed=seed, quick=quick, stored=suites))
