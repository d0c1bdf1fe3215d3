"""Which way a metric is better, and what it is called: of what is installed, and, for metrics that are not, of a results folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.registry.registry import Registry
from bench.store import read_json
from bench.suite.model import Suite

RECORD = "metrics.json"

Outputs = dict[str, Any]
"""{output name: {"better", "ideal", "label", "about"}}, see :class:`bench.contracts.Output`."""


def metric_outputs(registry: Registry, folders: Sequence[Path] = ()) -> Outputs:
    """Of every metric and game that is installed, and of those that were when the results in ``folders`` were made.

    Raises:
        StoreError: the record in one of ``folders`` is damaged.
    """
    recorded: Outputs = {}
    for path in [folder / RECORD for folder in folders]:
        recorded = (read_json(path) if path.is_file() else {}) | recorded
    return recorded | _outputs(registry, registry.names("games"), registry.names("metrics"))


def suite_outputs(suite: Suite, registry: Registry) -> Outputs:
    """Of the metrics and games of a suite: what its results folder keeps, for readers who have not all of its plugins."""
    parts = (suite, *suite.per_task_distribution.values())
    games, metrics = ({one.name for part in parts for one in getattr(part, family)} for family in ("games", "metrics"))
    return _outputs(registry, games, metrics)


def _outputs(registry: Registry, games: Iterable[str], metrics: Iterable[str]) -> Outputs:
    from bench.measure.health import health_outputs

    outputs: Outputs = {}
    for name in sorted(games):
        about = registry.component("games", name).attributes
        outputs |= {measure: asdict(output) for measure, output in health_outputs(about["roles"]).items()}
        outputs |= about.get("health_outputs", {})
    for name in sorted(metrics):
        outputs |= registry.component("metrics", name).attributes.get("outputs", {})
    return outputs
