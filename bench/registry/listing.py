"""What ``bench plugins list`` and ``info`` show, from the probes alone: no plugin is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.errors import UsageError, did_you_mean
from bench.hookspecs import FAMILIES
from bench.registry.registry import ComponentInfo, Plugin, Registry


def plugins_json(registry: Registry) -> list[dict[str, Any]]:
    """Every plugin with its components by family, the broken ones with their reasons."""
    return [_plugin_json(plugin) for plugin in registry.plugins]


def plugins_text(registry: Registry) -> str:
    """Families with their components, then plugins, the broken ones with their reasons."""
    lines = []
    for family in FAMILIES:
        names = registry.names(family)
        if names:
            lines.append(f"{family}:")
            width = max(len(name) for name in names)
            for name in names:
                info = registry.component(family, name)
                lines.append(f"  {name:<{width}}  {_plain(info.doc)}  [{info.plugin}]")
    lines.append("plugins:")
    for plugin in registry.plugins:
        lines.append(
            f"  {plugin.name} ({plugin.distribution} {plugin.version}): {plugin.status}" + (f": {plugin.reason}" if plugin.reason else "")
        )
        lines += [f"    {family} {name}: {reason}" for (family, name), reason in plugin.broken.items()]
        lines += [f"    {family} {name}: unavailable: it {reason}" for (family, name), reason in plugin.lacking.items()]
    return "\n".join(lines)


def _plain(doc: str) -> str:
    """The first line of a docstring without its markup: ``:class:`~a.B``` reads B."""
    first = doc.splitlines()[0] if doc else ""
    return re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", first).replace("``", "")


def info_json(registry: Registry, name: str) -> dict[str, Any]:
    """A plugin, or every component of that name.

    Raises:
        UsageError: there is neither.
    """
    plugins = [plugin for plugin in registry.plugins if name in (plugin.name, plugin.distribution)]
    if plugins:
        return _plugin_json(plugins[0])
    return {info.family: _component_json(info) for info in _components(registry, name)}


def info_text(registry: Registry, name: str) -> str:
    """A component's documentation and hyperparameters, or a plugin's state.

    Raises:
        UsageError: there is neither.
    """
    plugins = [plugin for plugin in registry.plugins if name in (plugin.name, plugin.distribution)]
    if plugins:
        plugin = plugins[0]
        head = f"{plugin.name} ({plugin.distribution} {plugin.version}), {plugin.status}" + (f": {plugin.reason}" if plugin.reason else "")
        facts = [
            f"entry point: {plugin.entry_point}",
            f"editable: {'yes' if plugin.editable else 'no'}",
            f"content hash: {plugin.content_hash[:16]}",
        ]
        offers = [f"{info.family}: {info.name}" for info in plugin.components]
        offers += [f"{family}: {name}: quarantined: {reason}" for (family, name), reason in plugin.broken.items()]
        offers += [f"{family}: {name}: unavailable: it {reason}" for (family, name), reason in plugin.lacking.items()]
        namesakes = [_component_text(info) for info in plugin.components if info.name == name]
        return "\n\n".join(["\n".join([head, *facts, *offers]), *namesakes])
    return "\n\n".join(_component_text(info) for info in _components(registry, name))


def _components(registry: Registry, name: str) -> list[ComponentInfo]:
    found = [registry.component(family, name) for family in FAMILIES if name in registry.names(family)]
    if not found:
        for plugin in registry.plugins:
            for family, lost in (*plugin.broken, *plugin.lacking):
                if lost == name:
                    registry.component(family, name)  # says why it cannot be used
        known = [known for family in FAMILIES for known in registry.names(family)] + [plugin.name for plugin in registry.plugins]
        raise UsageError(f"there is no component or plugin {name!r}.{did_you_mean(name, known)} See: bench plugins list")
    return found


def _component_text(info: ComponentInfo) -> str:
    lines = [f"{info.name} ({info.family}) from {info.distribution} {info.version}, {info.module}:{info.qualname}", info.doc]
    required = set(info.schema.get("required", ()))
    for name, schema in info.schema.get("properties", {}).items():
        default = "required" if name in required else f"default {info.defaults.get(name)!r}"
        lines.append(f"  {name}: {_type(schema)}, {default}{_tuned(info.attributes.get('space', {}).get(name, {}))}")
    if not info.schema.get("properties"):
        lines.append("  no hyperparameters")
    return "\n".join(lines)


def _tuned(how: dict[str, Any]) -> str:
    """How tuning varies a hyperparameter, if it does."""
    if "factor" in how:
        return ", tuned by a factor of {:g} to {:g}".format(*how["factor"])
    return f", tuned among {', '.join(map(str, how['choice']))}" if how else ""


RANGES = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<", "multipleOf": "multiple of"}


def _type(schema: dict[str, Any]) -> str:
    if "x-family" in schema:
        return f"one of {schema['x-family']}"
    if "enum" in schema or "const" in schema:
        return "one of " + ", ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    ranges = [f"{sign} {schema[key]}" for key, sign in RANGES.items() if key in schema]
    return " ".join([str(schema.get("type", "any")), *ranges])


def _singled(components: Mapping[tuple[str, str], str]) -> list[dict[str, str]]:
    return [{"family": family, "name": name, "reason": reason} for (family, name), reason in components.items()]


def _component_json(info: ComponentInfo) -> dict[str, Any]:
    return {
        "family": info.family,
        "name": info.name,
        "plugin": info.plugin,
        "distribution": info.distribution,
        "version": info.version,
        "doc": info.doc,
        "hyperparameters": dict(info.schema),
        "defaults": dict(info.defaults),
        "attributes": dict(info.attributes),
    }


def _plugin_json(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": plugin.status,
        "reason": plugin.reason,
        "editable": plugin.editable,
        "content_hash": plugin.content_hash,
        "components": [{"family": info.family, "name": info.name} for info in plugin.components],
        "broken": _singled(plugin.broken),
        "lacking": _singled(plugin.lacking),
    }
