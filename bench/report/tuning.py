"""How settings were chosen on meta-val: every configuration that was tried, its score, the one that was taken, and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.report.blocks import Block, Cell, Paragraph, Table, text_row
from bench.report.study import Slice, Study, compact
from bench.report.text import number, slug


def tuning_blocks(study: Study) -> tuple[Block, ...]:
    """What tuning tried and chose; nothing where the suite does not tune."""
    if not study.suite.get("tuning"):
        return ()
    metric, step = str(study.primary["metric"]), study.primary["adaptation_step"]
    words = (
        "Configuration 0 of an arm is the suite's own settings; the others are points of the space that its meta-learner declares, the "
        "same points for arms with spaces of equal size. Each one was meta-trained once with the whole budget, on tasks and from an "
        f"initialisation that no cell of the results has, and scored by its best validation: {study.label(metric)} at adaptation step "
        f"{step}, mean over meta-val tasks ({study.better(metric)} is better). One that diverged or failed counts as worst. A control has "
        "the settings of the arm that it stands beside."
    )
    by_place: dict[str, list[Mapping[str, Any]]] = {}
    for record in study.tuned.records:
        by_place.setdefault(_place(study, record["cell"]), []).append(record)
    blocks: list[Block] = [Paragraph(words)]
    blocks += [Paragraph(text, "warning") for place, records in by_place.items() for text in _warnings(place, records)]
    blocks += [_table(study, place, records) for place, records in by_place.items()]
    single = [name for name, count in configurations_per_arm(study).items() if count == 1]
    if single:
        blocks.append(Paragraph(f"With one configuration, its own settings, since there was nothing to vary: {', '.join(single)}."))
    return (*blocks, *(table for slice_ in study.slices if (table := _checkpoints(study, slice_))))


def configurations_per_arm(study: Study) -> dict[str, int]:
    """How many configurations were planned for each arm; controls share those of theirs."""
    tried = study.tuned.cells
    known = tried.groupby("arm", observed=True)["configuration"].nunique().to_dict() if len(tried) else {}
    return {arm.name: int(known.get(arm.name, 1)) for arm in study.live_arms if not arm.control}


def tuning_trouble_table(study: Study) -> Table | None:
    """Every tuning trial that is not ok, with its reason; None where all are."""
    tried = study.tuned.cells
    cells = tried[tried["status"] != "ok"] if len(tried) else tried
    if cells.empty:
        return None
    records = cells.to_dict("records")
    names = ["trial_id", "arm", "configuration", "status", "reason"]
    rows = [text_row(str(r["arm"]), _place(study, r), str(r["configuration"]), str(r["status"]), str(r["reason"])) for r in records]
    return Table(
        "tuning-not-ok", "Tuning trials that are not ok", ("arm", "task distribution", "configuration", "status", "reason"), tuple(rows),
        pd.DataFrame([{**{name: r[name] for name in names}, "slice": _place(study, r)} for r in records]),
    )  # fmt: skip


def _table(study: Study, place: str, records: Sequence[Mapping[str, Any]]) -> Table:
    rows, data = [], []
    for record in records:
        arm = str(record["cell"]["arm"])
        for i, tried in enumerate(record["configurations"]):
            score, step, chosen = tried["score"], tried["outer_step"], i == record["chosen"]
            settings = "; ".join(f"{name} {compact(value)}" for name, value in tried["settings"].items())
            rows.append(
                (
                    *text_row(arm, str(i), settings),
                    Cell(number(score) if score is not None else str(tried["status"])),
                    Cell("n/a" if step is None else str(step)),
                    *text_row("chosen" if chosen else ""),
                )
            )
            data.append(
                {"slice": place, "arm": arm, "configuration": i, **tried["settings"], "score": score, "outer_step": step, "chosen": chosen,
                 "status": tried["status"], "trial_id": tried["trial_id"]}
            )  # fmt: skip
    return Table(
        key=f"tuning-{slug(place)}",
        caption=f"Configurations tried on {place}",
        columns=("arm", "configuration", "settings", "score on meta-val", "best outer step", ""),
        rows=tuple(rows),
        data=pd.DataFrame(data),
    )


def _warnings(place: str, records: Sequence[Mapping[str, Any]]) -> list[str]:
    said = []
    for record in records:
        arm, chosen = record["cell"]["arm"], record["configurations"][record["chosen"]]
        if all(tried["score"] is None for tried in record["configurations"]):
            said.append(f"No configuration of {arm} on {place} has a finite score, so it runs with the suite's own settings.")
        for name, end in record["edges"].items():
            value = compact(chosen["settings"][name])
            said.append(f"The chosen {name} of {arm} on {place} ({value}) lies at the {end} end of its space: a better one may lie beyond.")
    return said


def _checkpoints(study: Study, slice_: Slice) -> Table | None:
    """The outer step whose meta parameters were measured, cell by cell."""
    rows = study.in_slice(study.frame, slice_)
    rows = rows[(rows["split"] == "meta-test") & rows["outer_step"].notna()].drop_duplicates("trial_id").sort_values("replicate")
    shown, data = [], []
    for arm in study.arms_of(slice_):
        own = rows[rows["arm"] == arm.name]
        steps = [int(step) for step in own["outer_step"]]
        shown.append(text_row(arm.name, ", ".join(map(str, steps)) or "none"))
        data += [
            {"slice": slice_.label, "arm": arm.name, "replicate": int(replicate), "outer_step": step}
            for replicate, step in zip(own["replicate"], steps, strict=True)
        ]
    if not data:
        return None
    return Table(
        f"checkpoints-{slug(slice_.label)}", f"Checkpoints measured on {slice_.label}", ("arm", "outer step, by replicate"), tuple(shown),
        pd.DataFrame(data), ("Each cell is measured with the meta parameters of its best validation on meta-val, not with its last ones.",),
    )  # fmt: skip


def _place(study: Study, cell: Mapping[Any, Any]) -> str:
    return Slice(str(cell["task_distribution"]), tuple((family, str(cell[family])) for family in study.varying)).label
