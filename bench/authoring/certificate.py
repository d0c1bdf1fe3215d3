"""A certificate: which contract tests the components of an installed plugin pass, as JSON that its README can show."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from bench.errors import UsageError, did_you_mean
from bench.registry.probing import isolated
from bench.registry.registry import ComponentInfo, Plugin, Registry

TIMEOUT = 300.0  # seconds for the tests of one component; the slowest built-in one takes 40

Check = dict[str, str]
"""``{"name": of a test, "outcome": passed | failed | skipped | expected-failure, "reason": one line}``."""


def certify(
    package: str, registry: Registry, *, timeout: float = TIMEOUT, say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """The certificate of the plugin, or of all plugins of the distribution, ``package``: every component at its default hyperparameters.

    Each component is tested in a process of its own, so one that hangs, exits or crashes fails alone. ``passed`` is true where no
    check failed and at least one passed. Of the machine it holds the versions that can change an outcome, and no name or path.

    Args:
        package: name of a distribution or of an entry point.
        registry: what is installed.
        timeout: seconds for the tests of one component.
        say: is told what is being tested.

    Raises:
        UsageError: it is not installed, is disabled, or pytest is missing.
    """
    plugins = _plugins(package, registry)
    if importlib.util.find_spec("pytest") is None:
        raise UsageError("contract tests run under pytest, which is not installed: pip install 'metagan-bench[test]'")
    components = [checked for plugin in plugins for checked in _checked(plugin, timeout, say)]
    outcomes = Counter(check["outcome"] for component in components for check in component["checks"])
    return {
        "distribution": plugins[0].distribution,
        "version": plugins[0].version,
        "plugin": ", ".join(plugin.name for plugin in plugins),
        "content_hash": plugins[0].content_hash,
        "editable": plugins[0].editable,
        "passed": outcomes["passed"] > 0 and not outcomes["failed"],
        "date": datetime.now(UTC).date().isoformat(),
        "bench": importlib.metadata.version("metagan-bench"),
        "bench_numeric_hash": registry.numeric_hash,
        "torch": importlib.metadata.version("torch"),
        "python": platform.python_version(),
        "components": components,
    }


def certificate_text(certificate: dict[str, Any]) -> str:
    """A table: one line a component, and below it every check that did not simply pass."""
    verdict = "passed" if certificate["passed"] else "FAILED"
    lines = [f"{certificate['distribution']} {certificate['version']} (content {certificate['content_hash'][:12]}): {verdict}"]
    width = max((len(f"{one['family']} {one['name']}") for one in certificate["components"]), default=0)
    for component in certificate["components"]:
        outcomes = Counter(check["outcome"] for check in component["checks"])
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        lines.append(f"  {component['family'] + ' ' + component['name']:<{width}}  {counts}")
        reasons: dict[tuple[str, str], list[str]] = {}
        for check in component["checks"]:
            if check["outcome"] != "passed":
                reasons.setdefault((check["outcome"], check["reason"]), []).append(check["name"])
        for (outcome, reason), names in reasons.items():
            which = names[0] if len(names) == 1 else f"{len(names)} checks"
            lines.append(f"    {outcome}: {which}: {reason}")
    return "\n".join(lines)


def _plugins(package: str, registry: Registry) -> list[Plugin]:
    """The plugin of that name, or else all of the distribution of that name.

    Raises:
        UsageError: there is none, or one is disabled.
    """
    wanted = package.lower().replace("_", "-")
    found = [one for one in registry.plugins if one.name in (package, wanted)] or [
        one for one in registry.plugins if wanted == one.distribution.lower().replace("_", "-")
    ]
    if not found:
        known = [name for one in registry.plugins for name in (one.name, one.distribution)]
        raise UsageError(f"there is no plugin or distribution {package!r}.{did_you_mean(package, known)} See: bench plugins list")
    for one in found:
        if one.status == "disabled":
            raise UsageError(f"plugin {one.origin} is disabled ({one.reason}): enable it to check it")
    return found


def _checked(plugin: Plugin, timeout: float, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Whatever a plugin offers, with its checks."""
    if plugin.status != "ok":
        yield _broken("plugin", plugin.name, plugin.reason)
    for (family, name), reason in {**plugin.broken, **plugin.lacking}.items():
        yield _broken(family, name, reason)
    for info in plugin.components:
        say(f"testing {info.family} {info.name}")
        yield _tested(info, timeout)
    for hook in plugin.observers:
        # The probe has registered it, and pluggy refuses unknown hooks and arguments. To call it would be to write, or to post, something.
        yield {"family": "observers", "name": hook, "source_hash": "", "checks": [_check("arguments", "passed", "")]}


def _tested(info: ComponentInfo, timeout: float) -> dict[str, Any]:
    """One component with its checks."""
    answer = isolated("bench.authoring.conformance", info.family, info.name, timeout=timeout)
    checks = [_check("running", "failed", answer)] if isinstance(answer, str) else answer["checks"]
    return {"family": info.family, "name": info.name, "source_hash": info.source_hash, "checks": checks}


def _broken(family: str, name: str, reason: str) -> dict[str, Any]:
    return {"family": family, "name": name, "source_hash": "", "checks": [_check("loading", "failed", reason)]}


def _check(name: str, outcome: str, reason: str) -> Check:
    return {"name": name, "outcome": outcome, "reason": reason}
