"""Results folder -> report: gathers what the report needs and writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.audit.certificate import statement
from bench.driver.tuning import RECORD, read_record
from bench.errors import DataError, PluginError, StoreError, SuiteError
from bench.grid.equality import unequal_arms
from bench.registry.registry import Registry, discover
from bench.suite.model import Suite

if TYPE_CHECKING:
    import pandas as pd

    from bench.report import Told


def report(results: Path, *, registry: Registry | None = None, formats: Sequence[str] | None = None, x: str | None = None) -> list[Path]:
    """Write page, tables and figures of a results folder.

    Args:
        results: results folder of a suite.
        registry: what is installed; default: what is found now.
        formats: any of :data:`bench.report.FORMATS`; default: all of them.
        x: what stands on the x axis of costs and training curves, see :func:`bench.report.write_report`.

    Raises:
        StoreError: it is not a results folder, or damaged.
        UsageError: a format or the x axis is unknown.
    """
    from bench.frame import ledger_frame, load_results
    from bench.report import FORMATS, Tuned, write_report

    registry = registry or discover()
    suite = recorded_suite(results)
    command = results / "command.txt"
    provenance = {
        "command": command.read_text() if command.is_file() else "",
        "environments": [_read(path) for path in sorted((results / "environments").glob("*.json"))],
        "extractors": _certificates(results),
        "audit of the statistics": statement(),
    }
    frame = load_results(results)
    return write_report(
        results,
        frame=frame,
        suite=suite.to_dict(),
        ledger=ledger_frame(results),
        metric_outputs=metric_outputs(registry),
        provenance=provenance,
        tuning=Tuned(read_record(results / RECORD), ledger_frame(results, tuning=True)),
        unequal=_unequal(suite, registry),
        told=_told(registry, frame),
        formats=FORMATS if formats is None else formats,
        x=x,
    )


def opened(page: Path) -> bool:
    """Show a page in the reader's browser; False where there is none."""
    import webbrowser

    try:
        return webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        return False


def recorded_suite(results: Path) -> Suite:
    """The suite of a results folder, as it was run.

    Raises:
        StoreError: it is not a results folder, or damaged.
    """
    if not (results / "suite.json").is_file():
        raise StoreError(f"{results}: no suite.json here, so this is not a results folder; check the path, or run a suite to make one")
    try:
        return Suite.from_dict(_read(results / "suite.json"))
    except SuiteError as error:
        raise StoreError(f"{results / 'suite.json'}: {error}; run the suite again, which writes it anew") from error


def metric_outputs(registry: Registry) -> dict[str, Any]:
    """{output name: {"better", "ideal", "label", "about"}} of every metric that is installed, and of what is measured of games."""
    from bench.measure.health import health_outputs

    outputs: dict[str, Any] = {}
    for name in registry.names("games"):
        about = registry.component("games", name).attributes
        outputs |= {measure: asdict(output) for measure, output in health_outputs(about["roles"]).items()}
        outputs |= about.get("health_outputs", {})
    for name in registry.names("metrics"):
        outputs |= registry.component("metrics", name).attributes.get("outputs", {})
    return outputs


def _unequal(suite: Suite, registry: Registry) -> list[str]:
    """Where the suite's arms are not equal; nothing where its plugins or data are not at hand, which the numbers do without."""
    try:
        return unequal_arms(suite, registry)
    except (PluginError, DataError):
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


def _certificates(results: Path) -> dict[str, Any]:
    """{task distribution: name, certificate and fingerprint} of the feature extractors that the trials used."""
    records = [_read(path) for path in sorted((results / "artefacts").glob("features-*.json"))]
    return {str(record.pop("task_distribution", "")): record for record in records}


def _read(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        StoreError: it is damaged.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: damaged ({error}); delete it and run the suite again, which writes it anew") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path}: must hold a JSON object, got {type(content).__name__}; delete it and run the suite again")
    return content
