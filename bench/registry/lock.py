"""A pin file: which plugins, at which content, a run may use. It stops a run before its first trial when something differs."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from bench.errors import PluginError, UsageError
from bench.registry.local import VERSION as LOCAL
from bench.registry.registry import Registry


def lock(registry: Registry) -> dict[str, Any]:
    """What is installed and usable, as JSON: versions and content hashes of the plugins, and of bench's own numeric modules."""
    return {
        "bench": importlib.metadata.version("metagan-bench"),
        "bench_numeric_hash": registry.numeric_hash,
        "plugins": {
            plugin.name: {"distribution": plugin.distribution, "version": plugin.version, "content_hash": plugin.content_hash}
            for plugin in registry.plugins
            if plugin.status == "ok"
        },
    }


def require(path: Path, registry: Registry) -> None:
    """Refuse whatever differs from the pin file at ``path``: a missing, additional, broken or changed plugin, or another bench.

    Raises:
        UsageError: the file cannot be read, or is no pin file.
        PluginError: something differs; the text has a line for each difference.
    """
    try:
        pinned = json.loads(path.read_text(encoding="utf-8"))
        found = differences(pinned, lock(registry))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): write it with bench plugins lock > {path.name}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is no pin file: write it with bench plugins lock > {path.name}") from None
    if found:
        lines = "\n".join(f"  {line}" for line in found)
        raise PluginError(
            f"what is installed differs from {path}:\n{lines}\nInstall what it names, or pin anew: bench plugins lock > {path.name}"
        )


def differences(pinned: dict[str, Any], installed: dict[str, Any]) -> list[str]:
    """One line for each difference of two pin files; empty where there is none."""
    lines = []
    if pinned["bench_numeric_hash"] != installed["bench_numeric_hash"]:
        lines.append(f"bench: pinned {pinned['bench']}, installed {installed['bench']}, whose numeric modules are others")
    wanted, there = pinned["plugins"], installed["plugins"]
    for name in sorted({*wanted, *there}):
        if name not in there:
            lines.append(f"{name}: pinned {_spelled(wanted[name])}, and not usable here (bench plugins list says why)")
        elif name not in wanted:
            cure = "make it a package" if there[name]["version"] == LOCAL else f"switch it off with bench plugins disable {name}"
            lines.append(f"{name}: not pinned, installed {_spelled(there[name])}; {cure}")
        elif wanted[name] != there[name]:
            lines.append(f"{name}: pinned {_spelled(wanted[name])}, installed {_spelled(there[name])}")
    return lines


def _spelled(plugin: dict[str, str]) -> str:
    return f"{plugin['distribution']} {plugin['version']} (content {plugin['content_hash'][:12]})"
