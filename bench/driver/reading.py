"""Verbs that read results folders and print: one at a glance, two side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.driver.outputs import metric_outputs
from bench.driver.reporting import tuned_of
from bench.registry.registry import Registry, discover
from bench.union import Folders, as_folders, united_suite

if TYPE_CHECKING:
    from bench.report.estimates import Estimates
    from bench.report.regression import Comparison
    from bench.report.study import Slice, Study


def study_of(results: Folders, *, registry: Registry | None = None) -> Study:
    """What a results folder holds, or several as one, grouped as the report groups it.

    Raises:
        StoreError: it is not a results folder, or damaged; MetricError: a column would mix two definitions of a metric; UsageError:
            the folders have different protocols.
    """
    from bench.frame import ledger_frame, load_results
    from bench.report.study import build_study

    folders = as_folders(results)
    suite = united_suite(folders).to_dict()
    outputs = metric_outputs(registry or discover(), folders)
    return build_study(load_results(folders), ledger_frame(folders), suite, outputs, tuned_of(folders))


def show(results: Folders, *, width: int, colour: bool = False) -> str:
    """The answer, the aggregate table and a small curve per arm, as text.

    Args:
        results: results folder, or several as one; a run may be going on.
        width: columns of the terminal.
        colour: bold type, for a terminal.

    Raises:
        StoreError: it is not a results folder, or damaged; UsageError: the folders have different protocols.
    """
    from bench.report.answer import answers
    from bench.report.estimates import Estimates
    from bench.report.tables import aggregate_table
    from bench.report.terminal import terminal_table
    from bench.report.text import clean

    study = study_of(results)
    told = " ".join(map(str, as_folders(results)))
    estimates = Estimates(study)
    lines = [clean(study.suite.get("question") or study.suite["name"])]
    if study.partial:
        lines.append(f"Partial: {study.partial} planned cells have no result yet; numbers will change.")
    if study.test.empty:
        return "\n".join([*lines, "There is no answer yet: no cell has measurements on meta-test tasks."])
    lines += [f"- {clean(answer.text)}" for answer in answers(estimates)]
    for slice_ in study.slices:
        lines += ["", terminal_table(aggregate_table(estimates, slice_), width=width, colour=colour), *_curves(estimates, slice_)]
    return "\n".join([*lines, "", f"The page: bench report {told}{' -o DIR' if ' ' in told else ''}"])


def _curves(estimates: Estimates, slice_: Slice) -> list[str]:
    """A line per arm: the primary metric while adapting, all arms on one scale."""
    from bench.report.terminal import sparkline
    from bench.report.text import clean, number

    study = estimates.study
    metric = str(study.primary["metric"])
    steps = study.steps_of(slice_, metric)
    curves = {arm.name: [estimates.at(slice_, arm.name, metric, step).value for step in steps] for arm in study.arms_of(slice_)}
    known = [value for curve in curves.values() for value in curve if math.isfinite(value)]
    if len(steps) < 2 or not known:
        return []
    wide = max(map(len, curves))
    heading = f"{clean(study.label(metric))} at adaptation steps {', '.join(map(str, steps))}; lowest to highest: {number(min(known))} to "
    lines = [heading + number(max(known))]
    for arm, curve in curves.items():
        lines.append(f"  {clean(arm):{wide}}  {sparkline(curve, min(known), max(known))}  {number(curve[0])} → {number(curve[-1])}")
    return lines


@dataclass(frozen=True)
class Compared:
    """What ``bench compare`` prints.

    Attributes:
        comparison: the findings.
        text: them, for a terminal or as Markdown.
        record: them, for programs.
    """

    comparison: Comparison
    text: str
    record: dict[str, Any]


def compare(before: Path, after: Path, *, every_metric: bool = False, markdown: bool = False, width: int = 100) -> Compared:
    """Two results folders side by side; see :func:`bench.report.regression.compare`.

    Raises:
        StoreError: one is not a results folder, or damaged; UsageError: their numbers do not compare.
    """
    from bench.report import regression
    from bench.report.files import table_markdown
    from bench.report.terminal import terminal_table

    registry = discover()
    studies = [study_of(folder, registry=registry) for folder in (before, after)]
    found = regression.compare(*studies, every_metric=every_metric)
    tables = regression.comparison_tables(found, studies[0])
    lines = [_verdict(found)]
    lines += [f"Only before: {', '.join(found.only_before)}."] if found.only_before else []
    lines += [f"Only after: {', '.join(found.only_after)}."] if found.only_after else []
    parts = [table_markdown(table).rstrip() if markdown else terminal_table(table, width=width) for table in tables]
    record = {
        "regressions": [f"{change.slice_.label}: {change.arm}" for change in found.regressions],
        "changes": [row for table in tables for row in table.data.to_dict("records")],
        "only_before": list(found.only_before),
        "only_after": list(found.only_after),
    }
    return Compared(found, "\n\n".join(["\n".join(lines), *parts]), record)


def _verdict(found: Comparison) -> str:
    arms = [change for change in found.changes if change.metric == found.primary]
    if found.regressions:
        named = "; ".join(f"{c.slice_.label}: {c.arm}" + (" (lost cells)" if c.lost else "") for c in found.regressions)
        return f"{len(found.regressions)} of {len(arms)} arms are worse than before: {named}."
    same = sum(change.verdict == "same numbers" for change in arms)
    better = sum(change.verdict == "better" for change in arms)
    return f"No regression among {len(arms)} arms: {same} with the same numbers, {better} better, {len(arms) - same - better} undecided."
