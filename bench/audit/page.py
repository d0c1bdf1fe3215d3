"""An audit for people: tables, and the page that holds them, by the means of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.audit.checks import Check
from bench.audit.run import Audit
from bench.audit.stored import StoredArms
from bench.report.blocks import Block, Cell, Paragraph, Section, Table, pairs_table
from bench.report.text import number

_CONDITIONAL = (
    "Wilcoxon over tasks speaks of these very trained models. Read as a statement about learners it errs far more often than 5 %, the more "
    "tasks the worse: that is why reports show it under a heading of its own."
)


def sections(audit: Audit) -> list[Section]:
    """Everything that an audit says, in reading order."""
    tables = audit.tables
    return [
        Section("answer", "Verdict", (Paragraph(verdict(audit), "answer"), checks_table(audit.checks))),
        Section("stored", "Stored cells without a difference", tuple(_stored(audit))),
        Section("coverage", "Coverage of intervals", (coverage_table(tables["coverage"]),)),
        Section("errors", "Simulated arms without a difference", (errors_table(tables["errors"]),)),
        Section("power", "Planted differences", (power_table(tables["power"]),)),
        Section("collapse", "Planted faults of generators", (collapse_table(tables["collapse"]), naming_table(tables["naming"]))),
        Section("certificate", "Certificate", (_certificate(audit),)),
    ]


def verdict(audit: Audit) -> str:
    """One sentence: how many checks passed, and which did not."""
    failed = [check.key for check in audit.checks if not check.passed]
    quick = " This was a quick audit: its few draws find gross faults only." if audit.certificate["quick"] else ""
    if failed:
        return f"{len(failed)} of {len(audit.checks)} checks fail: {', '.join(failed)}.{quick}"
    return f"All {len(audit.checks)} checks pass.{quick}"


def checks_table(checks: Sequence[Check]) -> Table:
    """Every check with its value and its limit."""
    rows = tuple(
        (
            Cell(check.claim, numeric=False),
            Cell(number(check.value, 3)),
            Cell(f"{check.sense} {number(check.limit, 3)}"),
            Cell(number(check.allowance, 3)),
            Cell(number(check.draws, 0)),
            Cell("pass" if check.passed else "FAIL", numeric=False),
        )
        for check in checks
    )
    columns = ("check", "value", "limit", "leave for chance", "draws", "verdict")
    return Table(
        "checks", "What is checked", columns, rows, pd.DataFrame([check.to_dict() for check in checks]),
        (
            "Leave for chance: two Monte-Carlo standard errors (three in a quick audit). With three replicates the two-way interval may "
            "fall 0.03 short, and predicted power 0.05: so few leave 2 degrees of freedom, and reports warn of them.",
        ),
    )  # fmt: skip


def relabelled_table(table: pd.DataFrame, null: str) -> Table:
    """Share of relabelled stored arms called different, a row per slice."""
    rows = table[table["null"] == null]
    rules = list(rows["rule"].unique())
    lines = []
    for (suite, slice_), group in rows.groupby(["suite", "slice"], sort=False):
        of = group.set_index("rule")
        first = group.iloc[0]
        size = f"{first['arms']} x {first['replicates']} x {first['tasks']}"
        shares = (Cell(_share(of.loc[rule, "called"], of.loc[rule, "standard_error"])) for rule in rules)
        lines.append((Cell(f"{suite}: {slice_}", numeric=False), Cell(str(first["metric"]), numeric=False), Cell(size), *shares))
    return Table(
        f"relabelled-{null.replace(' ', '-')}",
        f"Called different at 5 % after labels were permuted, null hypothesis about {null}",
        ("slice", "metric", "arms x replicates x tasks", *rules),
        tuple(lines),
        rows,
        (f"Share ± Monte-Carlo standard error. {_CONDITIONAL}",),
    )


def halves_table(table: pd.DataFrame) -> Table:
    """Share of splits of an arm's replicates called different."""
    rules = list(table["rule"].unique())
    lines = []
    for (suite, slice_), group in table.groupby(["suite", "slice"], sort=False):
        of, first = group.set_index("rule"), group.iloc[0]
        shares = (Cell(_share(of.loc[rule, "called"], of.loc[rule, "standard_error"])) for rule in rules)
        lines.append((Cell(f"{suite}: {slice_}", numeric=False), Cell(f"{first['arms']} x {first['splits']}"), *shares))
    return Table(
        "halves", "Called different at 5 %: replicates of one arm against its others", ("slice", "arms x splits", *rules), tuple(lines),
        table, ("Measurements as they are, no label permuted: few and dependent splits, so no limit is set. ± standard error over arms.",),
    )  # fmt: skip


def coverage_table(table: pd.DataFrame) -> Table:
    """Coverage, and mean width, by interval, target and design."""
    designs = list(dict.fromkeys(_label(row) for row in table.to_dict("records")))
    lines = []
    for (interval, statistic, target), group in table.groupby(["interval", "statistic", "target"], sort=False):
        of = {_label(row): row for row in group.to_dict("records")}
        cells = (Cell(f"{number(of[d]['covered'], 3)} ({number(of[d]['width'], 2)})") for d in designs)
        lines.append((Cell(f"{interval}, {statistic}", numeric=False), Cell(str(target), numeric=False), *cells))
    notes = (
        "Columns: replicates x tasks; normal effects of standard deviation 0.3 (replicate), 1.04 (task) and 1 (residual). In brackets the "
        f"mean width. Monte-Carlo standard error at 0.95: {_errors(table, 0.95)}. The stratified bootstrap, rliable's default, resamples "
        "replicates within each task, as if every task had models of its own; the harness does not offer it.",
    )
    return Table("coverage", "Coverage of nominal 95 % intervals of one arm", ("interval", "target", *designs), tuple(lines), table, notes)


def errors_table(table: pd.DataFrame) -> Table:
    """Type-I errors by null hypothesis, rule and design."""
    designs = list(dict.fromkeys(_label(row) for row in table.to_dict("records")))
    lines = []
    for (null, rule), group in table.groupby(["null", "rule"], sort=False):
        of = {_label(row): float(row["called"]) for row in group.to_dict("records")}
        lines.append((Cell(str(null), numeric=False), Cell(str(rule), numeric=False), *(Cell(number(of[d], 3)) for d in designs)))
    notes = (
        "Standard deviations 0.3 (replicate, each arm's own), 0.3 (arm by task) and 1 (residual). Null hypothesis about these tasks: no "
        "arm-by-task effect; about these models: no replicate effect. Tests over replicates speak of these tasks only. Monte-Carlo "
        f"standard error at 0.05: {_errors(table, 0.05)}. {_CONDITIONAL}",
    )
    columns = ("null hypothesis about", "rule", *designs)
    return Table("errors", "Called different at 5 % where two simulated arms are equal", columns, tuple(lines), table, notes)


def power_table(table: pd.DataFrame) -> Table:
    """Predicted and found power."""
    lines = tuple(
        (
            Cell(_label(row), numeric=False),
            Cell(number(row["effect"], 3)),
            Cell(number(row["predicted"], 2)),
            Cell(_share(row["found"], row["standard_error"])),
        )
        for row in table.to_dict("records")
    )
    columns = ("replicates x tasks", "planted difference", "predicted power", "found")
    return Table("power", "Planted differences that the two-way interval finds", columns, lines, table)


def collapse_table(table: pd.DataFrame) -> Table:
    """Mean of each measure for each planted generator, and the name that follows."""
    measures = [column for column in table.columns if column not in ("generator", "named")]
    lines = tuple(
        (
            Cell(str(row["generator"]), numeric=False),
            *(Cell(number(row[m], 1 if abs(row[m]) >= 10 else 2 if abs(row[m]) >= 1 else 3)) for m in measures),
            Cell(str(row["named"]), numeric=False),
        )
        for row in table.to_dict("records")
    )
    notes = (
        "Means over tasks with 8 modes in 64 features; 20 support, 20 query and 20 generated samples. Density and precision reward what is "
        "too near the centre, recall rewards noise, and a copy of the support passes for real everywhere but in novelty and data-copying: "
        "no column names every fault.",
    )
    return Table("collapse", "Planted faults and what each measure says", ("generator", *measures, "named"), lines, table, notes)


def naming_table(table: pd.DataFrame) -> Table:
    """How often each planted fault is named rightly."""
    lines = tuple(
        (
            Cell(str(row["generator"]), numeric=False),
            Cell(str(row["should_be"]), numeric=False),
            Cell(str(row["tasks"])),
            Cell(_share(row["right"], row["standard_error"])),
            Cell(str(row["draws"])),
            Cell(str(row["otherwise"]) or "none", numeric=False),
        )
        for row in table.to_dict("records")
    )
    columns = ("generator", "should be", "tasks", "named rightly", "sets of tasks", "wrong names")
    notes = ("Named from means over tasks of pairwise-distance ratio, nearest-support ratio, precision and Vendi ratio alone.",)
    return Table("naming", "Faults named from measures alone", columns, lines, table, notes)


def _stored(audit: Audit) -> list[Block]:
    if not any(one.usable for one in audit.stored):
        return [Paragraph("No stored cells were given, or none has two arms of two replicates on two tasks.", "warning")]
    words = (
        "Deviations of replicates from their arm's mean on each task are shuffled over all arms of a slice, whole rows at a time; for the "
        "null hypothesis about new tasks the arms' means are shuffled as well, on each task anew. Two pseudo-arms drawn so cannot "
        "differ in truth, whatever the distributions are. Where a few arms vary far more than the others the rate stays below 5 %."
    )
    blocks: list[Block] = [Paragraph(words)]
    blocks += [relabelled_table(audit.tables["relabelled"], null) for null in ("new tasks", "these tasks")]
    if len(audit.tables["halves"]):
        blocks.append(halves_table(audit.tables["halves"]))
    blocks += [Paragraph(left) for left in _left_out(audit.stored)]
    return blocks


def _left_out(stored: Sequence[StoredArms]) -> list[str]:
    said = [
        f"{one.suite}: {one.label}: {', '.join(f'{arm} ({why})' for arm, why in one.left_out.items())}" for one in stored if one.left_out
    ]
    return [f"Left out: {'; '.join(said)}."] if said else []


def _certificate(audit: Audit) -> Table:
    found = audit.certificate
    pairs = [(name, str(found[name])) for name in ("certificate", "bench", "code", "seed", "quick", "passed", "failed")]
    pairs += [(f"version of {name}", version) for name, version in found["versions"].items()]
    return pairs_table("audited", "What was audited", [*pairs, ("stored cells of", ", ".join(found["stored"]) or "none")])


def _label(row: Mapping[Any, Any]) -> str:
    return f"{row['replicates']} x {row['tasks']}"


def _share(share: float, error: float) -> str:
    return f"{number(share, 3)} ± {number(error, 3)}" if math.isfinite(error) else number(share, 3)


def _errors(table: pd.DataFrame, share: float) -> str:
    """Monte-Carlo standard errors of a share, for each number of draws that occurs."""
    draws = sorted({int(n) for n in table["draws"]}, reverse=True)
    return ", ".join(f"{number(math.sqrt(share * (1 - share) / n), 3)} with {n:,} draws" for n in draws)
