"""The answer to the suite's primary comparison, in one sentence with its interval, whatever its sign.

A gain stands beside its control: the same learner on tasks without structure. What the control gains too is not learning to adapt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bench.report.blocks import Cell, Table
from bench.report.estimates import Contrast, Estimates
from bench.report.study import Arm, Slice, Study
from bench.report.text import decimals_for, interval, number, slug
from bench.report.tuning import configurations_per_arm
from bench.stats import replication_warning
from bench.suite.model import Suite

DEFAULTS = "Nothing was tuned in this suite: settings are its own, or untuned defaults."


@dataclass(frozen=True)
class Answer:
    """The primary comparison on one slice.

    Attributes:
        arms: the two arms compared.
        text: the answer for people.
        contrast: first arm minus second.
        control: first arm minus its shuffled-tasks control, None where there is no such cell.
    """

    slice_: Slice
    arms: tuple[Arm, Arm]
    text: str
    contrast: Contrast
    control: Contrast | None


def answers(estimates: Estimates) -> list[Answer]:
    """One answer per slice and pair of arms, in the order of the suite."""
    study = estimates.study
    return [_answer(estimates, slice_, pair) for slice_ in study.slices for pair in study.compared(slice_)]


def settings_sentence(study: Study) -> str:
    """How the settings were chosen."""
    record, asked = study.suite.get("tuning_record"), study.suite.get("tuning")
    by_hand = f"How settings were chosen, in the suite's words: {record}" if record else ""
    if not asked:
        return by_hand or DEFAULTS
    others = [f"{name}: {count}" for name, count in configurations_per_arm(study).items() if count != asked["trials"]]
    fewer = f" ({', '.join(others)})" if others else ""
    how_many = f"{asked['trials']} configurations per arm{fewer}"
    told = f"Settings and checkpoints were tuned on {asked['split']}, never on meta-test, with {how_many}."
    return f"{told} {by_hand}" if by_hand else told


def answer_table(study: Study, found: list[Answer]) -> Table:
    """The same numbers as the sentences."""
    rows, data = [], []
    for answer in found:
        first, second = answer.arms
        contrast, control = answer.contrast, answer.control
        shown = "no control" if control is None else interval(control.value, control.low, control.high)
        rows.append(
            (
                Cell(answer.slice_.label, numeric=False),
                Cell(f"{first.name} − {second.name}", numeric=False),
                Cell(interval(contrast.value, contrast.low, contrast.high)),
                Cell(_verdict(contrast, first.name, second.name), numeric=False),
                Cell(shown),
                Cell(f"{contrast.n_tasks} × {contrast.n_replicates}"),
            )
        )
        data.append(
            {
                "slice": answer.slice_.label, "first": first.name, "second": second.name, "metric": study.primary["metric"],
                "adaptation_step": study.primary["adaptation_step"], "difference": contrast.value, "low": contrast.low,
                "high": contrast.high, "verdict": contrast.verdict, "n_tasks": contrast.n_tasks, "n_replicates": contrast.n_replicates,
                "difference_to_control": control.value if control else None, "control_low": control.low if control else None,
                "control_high": control.high if control else None,
            }
        )  # fmt: skip
    metric, step = str(study.primary["metric"]), study.primary["adaptation_step"]
    return Table(
        key="answer",
        caption=f"Primary comparison: {study.label(metric)} at adaptation step {step} ({study.better(metric)} is better)",
        columns=("task distribution", "difference", "estimate [95 %]", "verdict", "first − its control", "tasks × replicates"),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(
            "Two-way intervals: for new replicates and new tasks alike. The comparison was declared before the run.",
            *([_multiplicity(len(rows))] if len(rows) > 1 else []),
        ),
    )


def changes_tables(estimates: Estimates) -> list[Table]:
    """Every arm against the first one, where the suite's design changes one thing at a time; one table per slice, none otherwise."""
    study = estimates.study
    if study.suite.get("design", "full") == "full":
        return []
    base = Suite.from_dict(dict(study.suite)).arms()[0]
    return [_changes(estimates, slice_, base) for slice_ in study.slices if any(arm.name == base for arm in study.arms_of(slice_))]


def _changes(estimates: Estimates, slice_: Slice, base: str) -> Table:
    study = estimates.study
    metric, step = str(study.primary["metric"]), int(study.primary["adaptation_step"])
    rows, data = [], []
    for arm in study.arms_of(slice_):
        level = estimates.at(slice_, arm.name, metric, step)
        contrast = None if arm.name == base else estimates.contrast(slice_, (arm.name, base), metric, step)
        verdict = "" if contrast is None else _verdict(contrast, "this change", "the plain arm")
        rows.append(
            (
                Cell(arm.name, numeric=False),
                Cell(interval(level.value, level.low, level.high)),
                Cell("" if contrast is None else interval(contrast.value, contrast.low, contrast.high)),
                Cell(verdict, numeric=False),
            )
        )
        known = {"arm": arm.name, "value": level.value, "low": level.low, "high": level.high, "verdict": verdict}
        change = () if contrast is None else zip(("", "_low", "_high"), (contrast.value, contrast.low, contrast.high), strict=True)
        data.append({**known, **{f"difference{part}": value for part, value in change}})
    return Table(
        key=f"changes-{slug(slice_.label)}",
        caption=f"Each change on {slice_.label}: {study.label(metric)} at adaptation step {step} ({study.better(metric)} is better)",
        columns=("arm", "estimate [95 %]", f"difference to {base} [95 %]", "verdict"),
        rows=tuple(rows),
        data=pd.DataFrame(data),
        notes=(f"Two-way intervals. {_multiplicity(len(rows) - 1)}",) if len(rows) > 2 else ("Two-way intervals.",),
    )


def _multiplicity(comparisons: int) -> str:
    by_chance = f"about {0.05 * comparisons:.1f} of them would exclude 0 by chance"
    return f"Each of the {comparisons} intervals stands alone: where all true differences were 0, {by_chance}."


def _answer(estimates: Estimates, slice_: Slice, arms: tuple[Arm, Arm]) -> Answer:
    study = estimates.study
    metric, step = str(study.primary["metric"]), int(study.primary["adaptation_step"])
    first, second = arms
    contrast = estimates.contrast(slice_, (first.name, second.name), metric, step)
    twin = study.control_of(first, slice_)
    control = estimates.contrast(slice_, (first.name, twin.name), metric, step) if twin else None
    text = f"On {slice_.label}, {_sentence(estimates, slice_, arms, contrast)} {_structure(first.name, contrast, control)}"
    text += _caps(estimates, slice_, [first, second], metric, step)
    warning = replication_warning(contrast.n_replicates) if contrast.n_replicates else ""
    return Answer(slice_, arms, f"{text} {_capital(warning)}." if warning else text, contrast, control)


def _sentence(estimates: Estimates, slice_: Slice, arms: tuple[Arm, Arm], contrast: Contrast) -> str:
    study = estimates.study
    metric, step = str(study.primary["metric"]), int(study.primary["adaptation_step"])
    first, second = (arm.name for arm in arms)
    if contrast.n_tasks == 0:
        return f"the comparison of {first} with {second} cannot be made: {contrast.reason}."
    levels = [estimates.at(slice_, name, metric, step).value for name in (first, second)]
    known = min((decimals_for(level, math.nan, math.nan) for level in levels), default=0)
    decimals = max(known, decimals_for(contrast.value, contrast.low, contrast.high))
    what = study.label(metric) if study.better(metric) != "closer" else f"distance of {study.label(metric)} from {study.ideal(metric):g}"
    count = f"{contrast.n_tasks} tasks × {contrast.n_replicates} replicate{'s' if contrast.n_replicates != 1 else ''}"
    at = f"after {step} adaptation steps the {study.label(metric)} is {number(levels[0], decimals)} against {number(levels[1], decimals)}"
    difference = interval(contrast.value, contrast.low, contrast.high)
    if not contrast.has_interval:
        return (
            f"{first} against {second} is undecided: {at}, a difference in {what} of {difference}, without an interval ({contrast.reason})."
        )
    tail = f"(95 % two-way interval over {count}; {study.better(metric)} is better)"
    if contrast.verdict == 0:
        return f"{first} against {second} is undecided: {at}, a difference of {difference}; the interval includes 0 {tail}."
    winner, loser = (first, second) if contrast.verdict > 0 else (second, first)
    named = "" if study.better(metric) != "closer" else f" in {what}"
    few = replication_warning(contrast.n_replicates)
    said = f"{winner} is ahead of {loser}, but {contrast.n_replicates} replicates cannot decide" if few else f"{winner} beats {loser}"
    return f"{said}: {at}, a difference ({first} − {second}){named} of {difference} {tail}."


def _structure(first: str, contrast: Contrast, control: Contrast | None) -> str:
    """What part of the first arm's gain needs task structure."""
    if control is None:
        missing = f"No shuffled-tasks control was run for {first}"
        return f"{missing}, so the gain may not be learning to adapt." if contrast.verdict > 0 else f"{missing}."
    if control.n_tasks == 0 or not control.has_interval:
        return f"The shuffled-tasks control of {first} has too few results to compare with ({control.reason})."
    shown = f"{first} − its shuffled-tasks control is {interval(control.value, control.low, control.high)}"
    if contrast.verdict <= 0:
        said = {1: "so it does use task structure", 0: "an interval that includes 0", -1: "so task structure does not help it"}
        return f"There is no gain to explain; {shown}, {said[control.verdict]}."
    if control.verdict == 0:
        return f"Whether any of this gain needs task structure is undecided: {shown}, and the interval includes 0."
    if control.verdict < 0:
        return f"None of this gain needs task structure: {shown}, in favour of the control."
    share = control.value / contrast.value
    part = "All of this gain" if share >= 1 else f"About {100 * share:.0f} % of this gain"
    return f"{part} needs task structure: {shown}."


def _caps(estimates: Estimates, slice_: Slice, arms: list[Arm], metric: str, step: int) -> str:
    capped = [(arm.name, estimates.at(slice_, arm.name, metric, step)) for arm in arms]
    said = [f"{e.n_imputed} of {e.n_replicates} replicates of {name}" for name, e in capped if e.n_imputed]
    return f" {_capital(' and '.join(said))} ended without numbers and count as a constant generator." if said else ""


def _verdict(contrast: Contrast, first: str, second: str) -> str:
    if contrast.verdict:
        few = replication_warning(contrast.n_replicates)
        said = f"is ahead; {contrast.n_replicates} replicates cannot decide" if few else "is better"
        return f"{first if contrast.verdict > 0 else second} {said}"
    return "undecided: the interval includes 0" if contrast.has_interval else "undecided: no interval"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
