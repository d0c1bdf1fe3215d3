"""The contract tests of one component, in a process of its own: ``python -m bench.authoring.conformance FAMILY NAME --output FILE``.

The component may print, exit, hang or crash; the caller only ever sees a list of checks or its absence.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.errors import DataError
from bench.registry.hyperparameters import hyperparameters, underlying
from bench.registry.registry import Registry, discover
from bench.testing import (
    AugmentationContract,
    Contract,
    FeatureExtractorContract,
    GameContract,
    GanLossContract,
    InnerOptimiserContract,
    MetaLearnerContract,
    MetaRegulariserContract,
    MetricContract,
    NetworkContract,
    PenaltyContract,
    ReporterContract,
    SamplingLearnerContract,
    TaskDistributionContract,
    global_state_untouched,
)

CONTRACTS: dict[str, tuple[type[Contract], str]] = {
    "games": (GameContract, "rules"),
    "networks": (NetworkContract, "network"),
    "gan_losses": (GanLossContract, "loss"),
    "regularisers": (PenaltyContract, "penalty"),
    "augmentations": (AugmentationContract, "augmentation"),
    "inner_optimisers": (InnerOptimiserContract, "optimiser"),
    "meta_learners": (MetaLearnerContract, "learner"),
    "task_distributions": (TaskDistributionContract, "tasks"),
    "metrics": (MetricContract, "metric"),
    "feature_extractors": (FeatureExtractorContract, "extractor"),
    "reporters": (ReporterContract, "reporter"),
}
"""Family -> its contract and the fixture that gives the component."""

MODULE = """\
from bench.authoring.conformance import contract_tests

TestComponent = contract_tests({family!r}, {name!r})
"""


def contract_tests(family: str, name: str, registry: Registry | None = None) -> type[Contract]:
    """The contract class of an installed component, made with its default hyperparameters.

    A component's class attribute ``expected_failures`` says which tests it cannot pass and why, as in its author's own tests.
    """
    known = registry or discover()
    contract, fixture = _contract(family, known.component(family, name).attributes)
    factory = known.factory(family, name)

    def made(self: Contract) -> Any:
        required = [one.name for one in hyperparameters(factory) if one.required]
        if required:
            pytest.skip(f"it has no default for {', '.join(required)}")
        try:
            with global_state_untouched():
                return known.create(family, name)
        except DataError as error:
            pytest.skip(str(error))

    expected = getattr(underlying(factory), "expected_failures", {})
    return type("TestComponent", (contract,), {fixture: pytest.fixture(made), "expected_failures": expected})


def _contract(family: str, attributes: Any) -> tuple[type[Contract], str]:
    if family == "regularisers" and attributes.get("acts_on") != "player":
        return MetaRegulariserContract, "regulariser"
    if family == "meta_learners" and not attributes.get("plays", True):
        return SamplingLearnerContract, "learner"
    return CONTRACTS[family]


class _Recorder:
    """A pytest plugin that keeps one line a test."""

    def __init__(self) -> None:
        self.checks: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Set-up, call and tear-down of a test: the first that is not fine decides."""
        name = report.nodeid.rpartition("::")[2]
        if report.when != "call" and report.passed:
            return
        outcome, reason = report.outcome, ""
        if hasattr(report, "wasxfail") and report.skipped:
            outcome, reason = "expected-failure", report.wasxfail  # type: ignore[assignment]
        elif report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
        elif report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message if crash else str(report.longrepr)
        if self.checks.get(name, {}).get("outcome", "passed") == "passed":
            self.checks[name] = {"name": name, "outcome": outcome, "reason": pathless(reason.partition("\n")[0])}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A component whose tests cannot even be collected."""
        if report.failed:
            last = [line for line in str(report.longrepr).splitlines() if line.strip()][-1:]
            self.checks["collection"] = {"name": "collection", "outcome": "failed", "reason": pathless("".join(last))}


def pathless(text: str) -> str:
    """``text`` whose absolute paths are cut to their last part: certificates name no machine and no user."""
    return re.sub(r"(?<![\w.:/])(?:[A-Za-z]:)?(?:[/\\][\w.+~-]+)+[/\\]([\w.+~-]+)", r"\1", text)


def main() -> None:
    """Write the checks and leave at once: threads and exit handlers of the plugin get no say."""
    parser = argparse.ArgumentParser(prog="python -m bench.authoring.conformance", description="Contract tests of one component.")
    parser.add_argument("family", choices=sorted(CONTRACTS))
    parser.add_argument("name")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    module, recorder = Path("test_component.py"), _Recorder()
    module.write_text(MODULE.format(family=options.family, name=options.name), encoding="utf-8")
    Path("pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    pytest.main([str(module), "-q", "-p", "no:cacheprovider", "--import-mode=importlib"], plugins=[recorder])
    options.output.write_text(json.dumps({"checks": list(recorder.checks.values())}), encoding="utf-8")
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
