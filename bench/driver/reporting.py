"""Results folder -> report: gathers what the report needs and writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.driver.tuning import RECORD, read_record
from bench.errors import StoreError, SuiteError
from bench.registry.registry import Registry, discover
from bench.suite.model import Suite


def report(results: Path, *, registry: Registry | None = None) -> list[Path]:
    """Write page, tables and figures of a results folder.

    Raises:
        StoreError: it is not a results folder, or damaged.
    """
    from bench.frame import ledger_frame, load_results
    from bench.report import Tuned, write_report

    if not (results / "suite.json").is_file():
        raise StoreError(f"{results}: no suite.json here, so this is not a results folder; check the path, or run a suite to make one")
    try:
        suite = Suite.from_dict(_read(results / "suite.json")).to_dict()
    except SuiteError as error:
        raise StoreError(f"{results / 'suite.json'}: {error}; run the suite again, which writes it anew") from error
    command = results / "command.txt"
    provenance = {
        "command": command.read_text() if command.is_file() else "",
        "environments": [_read(path) for path in sorted((results / "environments").glob("*.json"))],
        "extractors": _certificates(results),
    }
    return write_report(
        results,
        frame=load_results(results),
        suite=suite,
        ledger=ledger_frame(results),
        metric_outputs=metric_outputs(registry or discover()),
        provenance=provenance,
        tuning=Tuned(read_record(results / RECORD), ledger_frame(results, tuning=True)),
    )


def metric_outputs(registry: Registry) -> dict[str, Any]:
    """{output name: {"better", "ideal", "label"}} of every metric that is installed."""
    outputs: dict[str, Any] = {}
    for name in registry.names("metrics"):
        outputs |= registry.component("metrics", name).attributes.get("outputs", {})
    return outputs


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
