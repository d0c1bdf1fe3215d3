"""Results folder -> report: gathers what the report needs and writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.audit.certificate import statement
from bench.driver.outputs import metric_outputs
from bench.driver.tuning import RECORD, read_record
from bench.errors import DataError, PluginError, UsageError
from bench.grid.equality import unequal_arms
from bench.registry.registry import Registry, discover
from bench.store import read_file, read_json
from bench.suite.model import Suite
from bench.union import Folders, as_folders, united_suite

if TYPE_CHECKING:
    import pandas as pd

    from bench.report import Told, Tuned


def report(
    results: Folders,
    *,
    output: Path | None = None,
    registry: Registry | None = None,
    formats: Sequence[str] | None = None,
    x: str | None = None,
) -> list[Path]:
    """Write page, tables and figures of a results folder, or of several as one.

    Args:
        results: results folder of a suite; or several of one protocol (:mod:`bench.union`).
        output: folder to write; default: the results folder, where there is one.
        registry: what is installed; default: what is found now.
        formats: any of :data:`bench.report.FORMATS`; default: all of them.
        x: what stands on the x axis of costs and training curves, see :func:`bench.report.write_report`.

    Raises:
        StoreError: it is not a results folder, or damaged.
        UsageError: a format or the x axis is unknown; the folders have different protocols, or there is no ``output`` for them.
    """
    from bench.frame import ledger_frame, load_results
    from bench.report import FORMATS, write_report

    folders = as_folders(results)
    if output is None and len(folders) > 1:
        raise UsageError(f"a report of {len(folders)} results folders belongs to none of them; name a folder for it with -o DIR")
    registry = registry or discover()
    suite = united_suite(folders)
    frame = load_results(folders)
    return write_report(
        output or folders[0],
        folders=folders,
        frame=frame,
        suite=suite.to_dict(),
        ledger=ledger_frame(folders),
        metric_outputs=metric_outputs(registry, folders),
        provenance=_provenance(folders),
        tuning=tuned_of(folders),
        unequal=_unequal(suite, registry),
        told=_told(registry, frame),
        formats=FORMATS if formats is None else formats,
        x=x,
    )


def tuned_of(folders: Sequence[Path]) -> Tuned:
    """What tuning tried in the suites of results folders; of an arm that several tuned, what the first did."""
    from bench.frame import ledger_frame
    from bench.report import Tuned

    records: dict[str, Any] = {}
    for folder in folders:
        for record in read_record(folder / RECORD):
            records.setdefault(json.dumps({**record["cell"], "suite": ""}, sort_keys=True), record)
    return Tuned(tuple(records.values()), ledger_frame(folders, tuning=True))


def opened(page: Path) -> bool:
    """Show a page in the reader's browser; False where there is none."""
    import webbrowser

    try:
        return webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        return False


def _unequal(suite: Suite, registry: Registry) -> list[str]:
    """Where the suite's arms are not equal; nothing where its plugins or data are not at hand, which the numbers do without."""
    try:
        return unequal_arms(suite, registry)
    except (PluginError, DataError, UsageError):
        return []


def _told(registry: Registry, frame: pd.DataFrame) -> list[Told]:
    """What every installed reporter says of the frame; what one raises is told in its place, and harms nothing."""
    from bench.report import Told

    told = []
    for name in registry.names("reporters"):
        origin = registry.component("reporters", name).origin
        try:
            text = registry.create("reporters", name)(frame.copy(deep=False))
            if not isinstance(text, str):
                raise TypeError(f"a reporter returns Markdown as str, got {type(text).__name__}")
            told.append(Told(name, origin, text))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # plugin boundary: sys.exit included
            reason = f"Reporter {name!r} of {origin} raised {type(error).__name__}: {error}"
            told.append(Told(name, origin, f"{reason}. The rest of the report does without it.", failed=True))
    return told


def _provenance(folders: Sequence[Path]) -> dict[str, Any]:
    """How the numbers were made, each thing once."""
    commands = [read_file(path).decode(errors="replace") for folder in folders if (path := folder / "command.txt").exists()]
    environments = [read_json(path) for folder in folders for path in sorted((folder / "environments").glob("*.json"))]
    together = {"results folders": ", ".join(folder.resolve().name for folder in folders)} if len(folders) > 1 else {}
    return {
        "command": "\n".join(dict.fromkeys(commands)),
        "environments": [one for place, one in enumerate(environments) if one not in environments[:place]],
        "extractors": _certificates(folders),
        "audit of the statistics": statement(),
        **together,
    }


def _certificates(folders: Sequence[Path]) -> dict[str, Any]:
    """{task distribution: name, certificate and fingerprint} of the feature extractors that the trials used."""
    records = [read_json(path) for folder in reversed(folders) for path in sorted((folder / "artefacts").glob("features-*.json"))]
    return {str(record.pop("task_distribution", "")): record for record in records}
