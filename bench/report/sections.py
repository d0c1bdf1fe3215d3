"""The sections of a report, in reading order: question, answer, protocol, evidence, failures, costs, provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from bench.measure import expected_coverage
from bench.report.answer import answer_table, answers, changes_tables, settings_sentence
from bench.report.blocks import Block, Gallery, Paragraph, Section, Table, Told, pairs_table, text_row
from bench.report.comparison import comparison_blocks
from bench.report.conditional import conditional_blocks
from bench.report.convergence import collapse_blocks, convergence_blocks
from bench.report.costs import Cost, costs_for, unequal_spending
from bench.report.curves import adaptation_curve, training_curve, training_metrics
from bench.report.estimates import POOLED, Estimates
from bench.report.failures import failure_bars
from bench.report.health import health_blocks
from bench.report.modes import mode_blocks
from bench.report.overhead import overhead_blocks
from bench.report.prose import prose
from bench.report.samples import samples_blocks
from bench.report.scatter import fidelity_diversity, quality_cost
from bench.report.shots import shots_blocks
from bench.report.study import Slice, Study, compact, is_collapse, is_memorisation, labels
from bench.report.style import Look, Picture, looks
from bench.report.tables import (
    aggregate_table,
    cost_table,
    memorisation_table,
    status_table,
    trials_table,
    trouble_table,
    variety_table,
)
from bench.report.text import number, quantity, slug
from bench.report.tuning import tuning_blocks, tuning_trouble_table
from bench.store import read_runs

_OPEN = 3  # training curves that stand open: a row of the page
_Named = TypeVar("_Named", Table, Picture)


def build_sections(
    folders: Sequence[Path],
    study: Study,
    provenance: Mapping[str, Any],
    *,
    unequal: Sequence[str] = (),
    told: Sequence[Told] = (),
    x: str | None = None,
) -> list[Section]:
    """Everything that a report says, independent of its format.

    Args:
        folders: results folders, with the ``trials/`` that samples come from.
        study: what the report is about.
        provenance: see :func:`bench.report.write_report`.
        unequal: where the suite gives its arms unequal conditions.
        told: what reporter plugins say.
        x: key of :data:`bench.report.costs.COSTS`; None for every cost, and outer steps under training curves.

    Raises:
        UsageError: ``x`` is another word.
    """
    costs = costs_for(x)
    estimates = Estimates(study)
    styles = looks(study.live_arms)
    sections = [
        Section("question", "Question", _question(study)),
        Section("answer", "Answer", _answer(estimates)),
        Section("shots", "Shots", shots_blocks(estimates, styles)),
        Section("protocol", "Protocol", _protocol(study, provenance, unequal)),
        Section("results", "Results", _results(estimates)),
        Section("comparison", "Comparison", comparison_blocks(estimates, styles)),
        Section("conditional", "Conditional on these trained models", conditional_blocks(estimates, styles)),
        Section("adaptation", "Adaptation curves", _curves(estimates, styles, lambda m: not is_collapse(m) and not is_memorisation(m))),
        Section("collapse", "Mode collapse", _collapse(folders, estimates, styles)),
        Section("samples", "Samples", samples_blocks(folders, estimates, styles)),
        Section("failures", "Failures", _failures(study)),
        Section("convergence", "Convergence", convergence_blocks(estimates, styles)),
        Section("training", "Training curves", _training(study, styles, costs[0] if x else costs_for("steps")[0])),
        Section("health", "Game health", health_blocks(study, styles)),
        Section("tuning", "Tuning", tuning_blocks(study)),
        Section("memorisation", "Memorisation", _memorisation(estimates)),
        Section("costs", "Costs", _costs(estimates, styles, costs)),
        Section("overhead", "Overhead", overhead_blocks(study, [run for folder in folders for run in read_runs(folder)])),
        Section("trials", "Trials", (trials_table(study),) if study.slices else ()),
        *map(reported, told),
        Section("provenance", "Provenance", _provenance(provenance)),
    ]
    return _distinct([section for section in sections if section.blocks])


def _distinct(sections: Sequence[Section]) -> list[Section]:
    """The same sections with one file name each for tables and figures: names that differ may have equal plain spellings."""
    taken: set[str] = set()

    def renamed(item: _Named) -> _Named:
        key, n = item.key, 1
        while key in taken:
            n += 1
            key = f"{item.key}-{n}"
        taken.add(key)
        return item if key == item.key else replace(item, key=key)

    def of(block: Block) -> Block:
        if isinstance(block, Gallery):
            return replace(block, pictures=tuple(renamed(picture) for picture in block.pictures))
        return renamed(block) if isinstance(block, Table) else block

    return [replace(section, blocks=tuple(of(block) for block in section.blocks)) for section in sections]


def _question(study: Study) -> tuple[Block, ...]:
    blocks: list[Block] = [Paragraph(str(study.suite.get("question") or study.suite["name"]), "question")]
    if study.suite.get("description"):
        blocks.append(Paragraph(str(study.suite["description"])))
    return tuple(blocks)


def _answer(estimates: Estimates) -> tuple[Block, ...]:
    study = estimates.study
    if study.test.empty:
        return (Paragraph("There is no answer yet: no cell has measurements on meta-test tasks.", "warning"),)
    found = answers(estimates)
    missing = [slice_.label for slice_ in study.slices if not any(answer.slice_ == slice_ for answer in found)]
    blocks: list[Block] = [Paragraph(answer.text, "answer") for answer in found]
    first, second = study.primary["compare"]
    blocks += [Paragraph(f"On {label}, no cells compare {first} with {second}.", "warning") for label in missing]
    blocks.append(Paragraph(settings_sentence(study)))
    return (*blocks, *([answer_table(study, found)] if found else []), *changes_tables(estimates))


def _protocol(study: Study, provenance: Mapping[str, Any], unequal: Sequence[str]) -> tuple[Block, ...]:
    """One table, a column per slice: what was done, as it was done; then what the arms did not share."""
    columns = [_settings(study, slice_, provenance) for slice_ in study.slices]
    names = [name for name in columns[0] if any(column[name] not in ("null", "") for column in columns)] if columns else []
    rows = tuple(text_row(name, *(column[name] for column in columns)) for name in names)
    headings = ("setting", *(slice_.label for slice_ in study.slices))
    data = pd.DataFrame([[cell.text for cell in row] for row in rows], columns=list(headings))
    warnings = [Paragraph(f"Not equal for all arms: {flag}.", "warning") for flag in (*unequal, *unequal_spending(study))]
    return (Table("protocol", "What was done", headings, rows, data, fixed=True), *warnings) if rows else ()


def _settings(study: Study, slice_: Slice, provenance: Mapping[str, Any]) -> dict[str, str]:
    protocol = study.setting(slice_, "protocol") or {}
    steps, tasks = protocol.get("adaptation_steps", {}), protocol.get("tasks", {})
    cells = study.cells_of(slice_)
    planned = cells[cells["status"] != "skipped"]
    statuses = planned["status"].astype(str).value_counts()
    return {
        "shots (support)": compact(slice_.shots or protocol.get("shots")) + _train_shots(protocol),
        "query": compact(protocol.get("query")),
        "reference samples per task": compact(protocol.get("reference", protocol.get("query"))),
        "generated samples per task": compact(protocol.get("samples")),
        "adaptation steps": f"meta-training {compact(steps.get('train'))}; meta-test {compact(steps.get('test'))}",
        "tasks": ", ".join(f"{n} {name.replace('_', '-')}" for name, n in _task_counts(study, slice_, tasks).items()),
        "replicates": str(planned["replicate"].nunique()),
        "budget per cell": _budget(study.setting(slice_, "budget") or {}),
        "tuning": _tuning(study),
        "games": ", ".join(map(str, planned["game"].unique())),
        "networks": ", ".join(map(str, planned["network"].unique())),
        "GAN losses": ", ".join(str(v) or "none" for v in planned["gan_loss"].unique()),
        "feature extractor": _extractor(study, slice_, provenance),
        "metrics": _measured(study, slice_),
        "cells": ", ".join(f"{n} {status}" for status, n in statuses.items()) or "none",
        "suite seed": compact(study.suite.get("seed")),
    }


def _train_shots(protocol: Mapping[str, Any]) -> str:
    """What to add where meta-train tasks have another number of shots."""
    return f"; meta-training {protocol['train_shots']}" if protocol.get("train_shots") else ""


def _task_counts(study: Study, slice_: Slice, asked: Mapping[str, int]) -> dict[str, int]:
    """What the suite asks for; a task distribution that is only measured on may have fewer meta-test tasks."""
    found = set(study.test_of(slice_)["task_id"].unique()) - {POOLED}
    there = len(found) if study.trained_on(slice_) != study.measured_on(slice_) and found else math.inf
    return {name: int(min(count, there)) if name == "meta_test" else count for name, count in asked.items()}


def _measured(study: Study, slice_: Slice) -> str:
    """Metrics by sample counts: they belong to a metric's definition."""
    groups: dict[str, list[str]] = {}
    for row in study.test_of(slice_).drop_duplicates("metric").itertuples():
        groups.setdefault(f"n_real {row.n_real}, n_fake {row.n_fake}", []).append(str(row.metric))
    return "; ".join(f"{', '.join(names)} ({sizes})" for sizes, names in groups.items()) or ", ".join(
        labels(study.setting(slice_, "metrics"))
    )


def _budget(budget: Mapping[str, Any]) -> str:
    parts = [f"{quantity(float(v))} {k.replace('_', ' ')}" for k, v in budget.items() if k != "warm_start" and v is not None]
    warm = [f"{quantity(float(v))} of {k}" for k, v in (budget.get("warm_start") or {}).items()]
    return ", ".join(parts) + (
        f"; warm start {', '.join(warm)}, part of it: shared by the arms, charged to each that uses it" if warm else ""
    )


def _tuning(study: Study) -> str:
    asked = study.suite.get("tuning")
    return f"{asked['trials']} configurations per arm on {asked['split']}" if asked else ""


def _extractor(study: Study, slice_: Slice, provenance: Mapping[str, Any]) -> str:
    """Name, certificate and fingerprint where the run recorded them, else what the suite asked for."""
    record = (provenance.get("extractors") or {}).get(study.measured_on(slice_))
    if not isinstance(record, Mapping):
        return ", ".join(labels([study.setting(slice_, "feature_extractor") or "auto"]))
    certificate = record.get("certificate") or {}
    said = f"certificate: {compact(certificate)}" if certificate else "no certificate"
    return f"{record.get('name', 'unnamed')}; {said}; fingerprint {str(record.get('fingerprint', 'unknown'))[:12]}"


def _results(estimates: Estimates) -> tuple[Block, ...]:
    tables = (make(estimates, slice_) for slice_ in estimates.study.slices for make in (aggregate_table, variety_table))
    return tuple(table for table in tables if table is not None)


def _curves(estimates: Estimates, styles: Mapping[str, Look], wanted: Any) -> tuple[Block, ...]:
    study = estimates.study
    metrics = list(dict.fromkeys(m for slice_ in study.slices for m in study.metrics_of(slice_) if wanted(m)))
    blocks: list[Block] = [
        Paragraph(
            "One line per arm: mean over replicates and tasks; band: 95 % two-way interval. Dashed lines with hollow markers are "
            "controls, in the colour of the arm they stand beside. The axes follow the lines: a band is cut off where it leaves them, and "
            "left out for arms with a *, whose intervals fill them."
        )
    ]
    for metric in metrics:
        drawn = [adaptation_curve(estimates, slice_, metric, styles) for slice_ in study.slices if metric in study.metrics_of(slice_)]
        pictures = tuple(picture for picture in drawn if picture is not None)
        if pictures:
            blocks.append(Gallery(pictures))
    return tuple(blocks) if len(blocks) > 1 else ()


def _collapse(folders: Sequence[Path], estimates: Estimates, styles: Mapping[str, Look]) -> tuple[Block, ...]:
    study = estimates.study
    blocks: list[Block] = []
    for slice_ in study.slices:
        pictures: list[Picture] = []
        for metric in study.metrics_of(slice_):
            if is_collapse(metric):
                picture = adaptation_curve(estimates, slice_, metric, styles, reference=_perfect(study, slice_, metric))
                pictures += [picture] if picture else []
        pictures += [picture] if (picture := fidelity_diversity(estimates, slice_, styles)) else []
        bars = mode_blocks(folders, study, slice_, styles)
        if pictures or bars:
            galleries = [*([Gallery(tuple(pictures))] if pictures else []), *bars]
            blocks += [Paragraph(slice_.label, "heading"), *galleries, *collapse_blocks(estimates, slice_, styles)]
    words = (
        "No single measure tells collapse: a low Vendi ratio is few distinct directions, a low pairwise-distance ratio is shrinkage, "
        "low recall is missing variety. Coverage alone can be high for a generator that has collapsed onto the centre. The dotted line is "
        "what a perfect sampler scores with as many samples, which need not be 1. Fidelity against diversity: per arm a point with its "
        "intervals at the primary step and a thin path over all adaptation steps; the star is the ideal, and a path that turns left, "
        "away from it, loses variety for likeness."
    )
    return (Paragraph(words), *blocks) if blocks else ()


def _perfect(study: Study, slice_: Slice, metric: str) -> tuple[float, str]:
    """Expected value of a perfect sampler, where it is not the ideal value itself."""
    if metric == "coverage":
        rows = study.test_of(slice_)
        rows = rows[(rows["metric"] == metric) & rows["n_real"].notna() & rows["n_fake"].notna()]
        if len(rows):
            return expected_coverage(int(rows["n_real"].iloc[0]), int(rows["n_fake"].iloc[0])), "perfect sampler"
    return study.ideal(metric), "perfect sampler"


def _failures(study: Study) -> tuple[Block, ...]:
    bars = tuple(failure_bars(study, slice_) for slice_ in study.slices)
    tried = tuning_trouble_table(study)
    return (*((Gallery(bars),) if bars else ()), status_table(study), trouble_table(study), *((tried,) if tried else ()))


def _costs(estimates: Estimates, styles: Mapping[str, Look], costs: Sequence[Cost]) -> tuple[Block, ...]:
    study = estimates.study
    drawn = (quality_cost(estimates, slice_, styles, costs) for slice_ in study.slices if not study.test.empty)
    pictures = tuple(picture for picture in drawn if picture)
    words = (
        "Quality against what a cell of the arm cost, in each currency that was recorded. The grey staircase joins the arms that no other "
        "one beats in both; controls and privileged arms do not compete. Bars are 95 % two-way intervals of the quality."
    )
    return (
        *((Paragraph(words), Gallery(pictures, wide=True)) if pictures else ()),
        *((Paragraph(shared),) if (shared := _packed(study)) else ()),
        *(cost_table(study, slice_) for slice_ in study.slices),
    )


def _packed(study: Study) -> str:
    """What the tables of costs leave out."""
    packed = int(study.cells["packed"].fillna(False).sum()) if "packed" in study.cells else 0
    return f"{packed} cells shared a card with other trials; their seconds compare with nothing and are left out." if packed else ""


def _training(study: Study, styles: Mapping[str, Look], cost: Cost) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for slice_, name in study.training_slices.items():
        drawn = [training_curve(study, slice_, metric, styles, cost) for metric in training_metrics(study, slice_)]
        pictures = tuple(picture for picture in drawn if picture is not None)
        if pictures:
            blocks += [Paragraph(name.label, "heading"), Gallery(pictures[:_OPEN])]
        if others := pictures[_OPEN:]:
            blocks.append(Gallery(others, folded=f"{len(others)} other curves of {name.label}"))
    spent = "" if cost.column == "outer_steps" else f" Against {cost.label}: a warm start first, then in proportion to the outer steps."
    return (Paragraph(f"Mean over replicates; band: lowest to highest replicate.{spent}"), *blocks) if blocks else ()


def _memorisation(estimates: Estimates) -> tuple[Block, ...]:
    tables = (memorisation_table(estimates, slice_) for slice_ in estimates.study.slices)
    return tuple(table for table in tables if table is not None)


def reported(told: Told) -> Section:
    """The section of a reporter plugin, named after component and plugin."""
    key = f"reporter-{slug(told.reporter)}"
    blocks = (Paragraph(told.text, "warning"),) if told.failed else prose(told.text, key=key, title=told.reporter)
    return Section(key, f"{told.reporter}, from {told.origin}", blocks)


def _provenance(provenance: Mapping[str, Any]) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if provenance.get("command"):
        blocks += [Paragraph("The command that makes these numbers again:"), Paragraph(str(provenance["command"]), "code")]
    pairs = [pair for key, value in provenance.items() if key != "command" for pair in _flatten(str(key), value)]
    if pairs:
        blocks.append(pairs_table("provenance", "Versions, plugins, environment and state of the code", pairs, ("what", "value")))
    return tuple(blocks)


def _flatten(key: str, value: Any) -> list[tuple[str, str]]:
    """``versions`` {torch: 2.15} -> ``versions: torch``; deeper values become one line."""
    if isinstance(value, Mapping):
        return [(f"{key}: {name}", compact(inner)) for name, inner in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping) for v in value):
        names = [key] if len(value) == 1 else [f"{key} {i}" for i in range(1, len(value) + 1)]
        return [pair for name, inner in zip(names, value, strict=True) for pair in _flatten(name, inner)]
    return [(key, number(value) if isinstance(value, float) else compact(value))]
