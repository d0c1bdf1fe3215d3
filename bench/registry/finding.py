"""An entry point or a local file -> what is known of the plugin: disabled, or as its probe describes it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

from bench.registry.local import VERSION, LocalFile, roots_behind
from bench.registry.plugins import ComponentInfo, Plugin
from bench.registry.probing import content_hash, owner_of, record_of


def _facts(point: EntryPoint | LocalFile) -> dict[str, Any]:
    """What is known of a plugin without looking at its files."""
    if isinstance(point, LocalFile):
        own = {"distribution": point.path.name, "version": VERSION, "entry_point": point.spelled, "editable": True, "file": point}
        return {"name": point.name, **own}
    return {
        "name": point.name,
        "distribution": owner_of(point),
        "version": point.dist.version if point.dist else "",
        "entry_point": point.value,
        "editable": _editable(point),
    }


def disabled_plugin(point: EntryPoint, reason: str) -> Plugin:
    """One that the user does not want; neither its files nor its probe are looked at."""
    return Plugin(**_facts(point), status="disabled", reason=reason, content_hash="")


def local_plugin(file: LocalFile, fault: str, *, timeout: float, refresh: bool) -> Plugin:
    """A local plugin; ``fault``, and what is wrong with its place, is found without running its code."""
    fault = fault or file.fault
    if fault:
        return Plugin(**_facts(file), status="quarantined", reason=fault, content_hash="")
    plugin = probed_plugin(file, timeout=timeout, refresh=refresh)
    if file.content in ("", plugin.content_hash):
        return plugin
    reason = "has changed since the run began: give the command again"
    return replace(plugin, status="quarantined", reason=reason, components=(), observers=())


def probed_plugin(point: EntryPoint | LocalFile, *, timeout: float, refresh: bool) -> Plugin:
    """What the probe says, or has said of the same files."""
    facts = _facts(point)
    roots = roots_behind(point)
    content = content_hash(roots)
    record = record_of(point, content, timeout=timeout, refresh=refresh)
    owner = {"plugin": facts["name"], "distribution": facts["distribution"], "version": facts["version"]}
    try:
        components = tuple(ComponentInfo(**owner, **component) for component in record["components"])
        broken, lacking = ({(one["family"], one["name"]): str(one["reason"]) for one in record[kind]} for kind in ("broken", "lacking"))
        status, reason, observers = record["status"], record["reason"], tuple(record["observers"])
    except (KeyError, TypeError) as error:
        components, broken, lacking, observers = (), {}, {}, ()
        status, reason = "quarantined", f"its probe wrote a record that cannot be read ({error})"
    return Plugin(
        **facts,
        status=status,
        reason=reason,
        content_hash=content,
        components=components,
        broken=broken,
        lacking=lacking,
        observers=observers,
        roots=roots,
    )


def _editable(point: EntryPoint) -> bool:
    if point.dist is None:
        return False
    url = point.dist.read_text("direct_url.json")
    return bool(json.loads(url).get("dir_info", {}).get("editable")) if url else point.dist.read_text("RECORD") is None
