"""Results folder -> report: gathers what the report needs and writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.registry.registry import Registry, discover


def report(results: Path, *, registry: Registry | None = None, command: str = "") -> list[Path]:
    """Write page, tables and figures of a results folder.

    Raises:
        StoreError: it is not a results folder, or damaged.
    """
    from bench.frame import ledger_frame, load_results
    from bench.report import write_report

    if not (results / "suite.json").is_file():
        raise StoreError(f"{results}: no suite.json here, so this is not a results folder; check the path, or run a suite to make one")
    suite: dict[str, Any] = json.loads((results / "suite.json").read_text())
    environments = [json.loads(path.read_text()) for path in sorted((results / "environments").glob("*.json"))]
    provenance = {
        "command": command or f"bench run suites/{suite['name']}.yaml",
        "environments": environments,
        "extractors": _certificates(results),
    }
    return write_report(
        results,
        frame=load_results(results),
        suite=suite,
        ledger=ledger_frame(results),
        metric_outputs=metric_outputs(registry or discover()),
        provenance=provenance,
    )


def metric_outputs(registry: Registry) -> dict[str, Any]:
    """{output name: {"better", "ideal", "label"}} of every metric that is installed."""
    outputs: dict[str, Any] = {}
    for name in registry.names("metrics"):
        outputs |= registry.component("metrics", name).attributes.get("outputs", {})
    return outputs


def _certificates(results: Path) -> dict[str, Any]:
    """{task distribution: name, certificate and fingerprint} of the feature extractors that the trials used."""
    records = [json.loads(path.read_text()) for path in sorted((results / "artefacts").glob("features-*.json"))]
    return {str(record.pop("task_distribution")): record for record in records}
