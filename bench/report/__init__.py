"""The report of a suite: one offline page, Markdown, and every table and figure as a file.

Equal results give equal bytes: nothing here reads a clock, an unseeded random generator or the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UsageError, did_you_mean
from bench.report.blocks import Told
from bench.report.costs import COSTS
from bench.report.files import report_markdown, table_csv, table_latex, table_markdown
from bench.report.html import page
from bench.report.sections import build_sections
from bench.report.study import UNTUNED, Tuned, build_study
from bench.report.style import FIGURE_FORMATS, figure_formats

__all__ = ["COSTS", "FORMATS", "RUN_FORMATS", "Told", "Tuned", "write_report"]

RUN_FORMATS = ("html", "md", "csv", "latex")
"""What a run leaves. The others take a while: fonts that each PDF embeds, frames of a GIF."""
FORMATS = (*RUN_FORMATS, "pdf", "gif")


def write_report(
    output: Path,
    *,
    folders: Sequence[Path] = (),
    frame: pd.DataFrame,
    suite: Mapping[str, Any],
    ledger: pd.DataFrame,
    metric_outputs: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
    tuning: Tuned = UNTUNED,
    unequal: Sequence[str] = (),
    told: Sequence[Told] = (),
    formats: Sequence[str] = FORMATS,
    x: str | None = None,
) -> list[Path]:
    """Write ``report.html`` and ``report/`` into ``output`` (figures as PNG and SVG always; the rest as asked for).

    Args:
        output: folder to write, the results folder as a rule.
        folders: results folders, whose ``trials/`` sample grids come from; default: ``output`` alone.
        frame: measurements, as ``bench.load_results`` gives them; every planned cell has a row.
        suite: the resolved suite.
        ledger: one row per cell; its columns are added to those of the frame.
        metric_outputs: ``{metric: {"better": "lower" | "higher" | "closer", "ideal": float, "label": str}}``.
        provenance: what to print about versions, plugins, environment and code; ``command`` (how to reproduce) and ``extractors``
            (``{task distribution: {"name", "certificate", "fingerprint"}}``) are shown where a reader looks for them.
        tuning: what tuning tried and chose.
        unequal: where the suite gives its arms unequal conditions, a sentence each.
        told: what reporter plugins say, a section each.
        formats: any of :data:`FORMATS`.
        x: what stands on the x axis of costs and of training curves, a key of :data:`COSTS`; None for every cost, and outer steps.

    Returns:
        The files written, the page first.

    Raises:
        MetricError: a column of numbers would mix two definitions of a metric.
        UsageError: a format or the x axis is unknown.
    """
    for name in formats:
        if name not in FORMATS:
            raise UsageError(f"unknown report format {name!r}.{did_you_mean(name, FORMATS)} Known: {', '.join(FORMATS)}")
    study = build_study(frame, ledger, suite, metric_outputs, tuning)
    with figure_formats([ending for ending in FIGURE_FORMATS if ending == "svg" or ending in formats]):
        sections = build_sections(folders or [output], study, provenance, unequal=unequal, told=told, x=x)
    title = str(suite.get("name") or "suite")

    contents: dict[Path, bytes] = {}
    folder = output / "report"
    if "html" in formats:
        contents[output / "report.html"] = page(title, sections, partial=study.partial).encode()
    if "md" in formats:
        contents[folder / "report.md"] = report_markdown(title, sections, partial=study.partial).encode()
    renderers = {"csv": ("csv", table_csv), "md": ("md", table_markdown), "latex": ("tex", table_latex)}
    for section in sections:
        for table in section.tables:
            contents |= {folder / f"{table.key}.{renderers[f][0]}": renderers[f][1](table).encode() for f in formats if f in renderers}
        for picture in section.pictures:
            contents[folder / f"{picture.key}.png"] = picture.png
            contents |= {folder / f"{picture.key}.{ending}": content for ending, content in picture.files.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        path.write_bytes(content)
    return list(contents)
