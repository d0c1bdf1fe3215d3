"""Which components are installed: discovery, probing in subprocesses, quarantine, provenance.

Commands read cached probe records and never import a plugin; :meth:`Registry.create`, which does, is for workers.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any, Literal

from bench.errors import PluginError, UsageError, did_you_mean
from bench.registry.probing import (
    PROBE_TIMEOUT,
    bench_numeric_hash,
    content_hash,
    data_fingerprint,
    files_of,
    owner_of,
    record_of,
    sample_spec,
)
from bench.registry.sources import Roots, roots_of
from bench.registry.switches import switched_off
from bench.registry.tracing import traced
from bench.suite.constraints import Schema, hyperparameter_problems, show
from bench.suite.document import Problem

__all__ = ["ComponentInfo", "Plugin", "Registry", "UnknownName", "bench_numeric_hash", "discover", "unspelled"]

GROUP = "bench"
OWN_DISTRIBUTION = "metagan-bench"  # its components keep their names whatever else is installed

NOUNS = {
    "games": "game",
    "networks": "network",
    "gan_losses": "GAN loss",
    "regularisers": "regulariser",
    "augmentations": "augmentation",
    "inner_optimisers": "inner optimiser",
    "meta_learners": "meta-learner",
    "task_distributions": "task distribution",
    "metrics": "metric",
    "feature_extractors": "feature extractor",
    "reporters": "reporter",
}
"""Family -> what messages call one of its components."""


class UnknownName(UsageError):  # noqa: N818 - reads as the answer to a look-up
    """No installed plugin offers a component of that name."""


@dataclass(frozen=True)
class ComponentInfo:
    """What is known of a component without importing it.

    Attributes:
        schema: JSON Schema of its hyperparameters (``properties``, ``required``).
        defaults: their defaults as JSON, or ``repr`` where JSON cannot hold them.
        attributes: class attributes of its contract (``kinds``, ``trains``, ``outputs``, ...), present where the class has them.
        source_hash: of its module and what that imports inside its distribution, AST-normalised.
    """

    family: str
    name: str
    plugin: str
    distribution: str
    version: str
    module: str
    qualname: str
    doc: str
    schema: Schema
    defaults: Mapping[str, Any]
    attributes: Mapping[str, Any]
    source_hash: str

    @property
    def origin(self) -> str:
        """Where it comes from, for messages: ``builtin`` or ``bench-foo 0.1``."""
        return self.plugin if self.distribution == OWN_DISTRIBUTION else f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Plugin:
    """One entry point. ``broken`` holds single components that are unusable: (family, name) -> reason."""

    name: str
    distribution: str
    version: str
    entry_point: str
    status: Literal["ok", "quarantined", "disabled"]
    reason: str
    editable: bool
    content_hash: str
    components: tuple[ComponentInfo, ...] = ()
    broken: Mapping[tuple[str, str], str] = field(default_factory=dict)
    observers: tuple[str, ...] = ()
    roots: Roots = field(default_factory=dict, repr=False)

    @property
    def origin(self) -> str:
        """``name (distribution version)``."""
        return f"{self.name} ({self.distribution} {self.version})"


class Registry:
    """The components of all usable plugins; the others stay known, with reasons."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self._offers: dict[tuple[str, str], list[ComponentInfo]] = {}
        given = sorted(plugins, key=lambda plugin: (plugin.distribution != OWN_DISTRIBUTION, plugin.name, plugin.distribution))
        kept = []
        for plugin in given:
            shadowing = {}
            for info in plugin.components:
                first = self._offers.get((info.family, info.name), [])
                if first and first[0].distribution == OWN_DISTRIBUTION:
                    shadowing[info.family, info.name] = f"the built-in {NOUNS[info.family]} {info.name!r} keeps its name: rename yours"
                else:
                    self._offers.setdefault((info.family, info.name), []).append(info)
            kept.append(_without(plugin, shadowing))
        self.plugins: tuple[Plugin, ...] = tuple(kept)
        self._data: dict[str, str] = {}
        self._specs: dict[str, dict[str, Any]] = {}
        self._loaded: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}

    # -------------------------------------------------------------- reading
    def names(self, family: str) -> tuple[str, ...]:
        """Names of a family that can be used, sorted."""
        return tuple(sorted(name for (kind, name), offers in self._offers.items() if kind == family and len(offers) == 1))

    def component(self, family: str, name: str) -> ComponentInfo:
        """The component of that name.

        Raises:
            PluginError: its plugin is broken, or two plugins offer it.
            UnknownName: nobody offers it; the text has the closest name, the installed and the quarantined.
        """
        offers = self._offers.get((family, name), [])
        if len(offers) == 1:
            return offers[0]
        noun = NOUNS.get(family, family)
        if offers:
            owners = " and ".join(f"{info.plugin} ({info.distribution} {info.version})" for info in offers)
            raise PluginError(f"{noun} {name!r} is offered by both {owners}: uninstall one, or choose with BENCH_LOAD_PLUGINS")
        for plugin in self.plugins:
            if (family, name) in plugin.broken:
                raise PluginError(f"{noun} {name!r} of plugin {plugin.origin} is quarantined: {plugin.broken[family, name]}")
        for plugin in self.plugins:
            if plugin.status == "quarantined" and _mentions(plugin, name):
                cause = f"  Quarantined: {plugin.origin}: {plugin.reason}"
                raise PluginError(f"{noun} {name!r} is unavailable: plugin {plugin.name!r} is quarantined\n{cause}")
        raise UnknownName(self._unknown(family, name))

    def _unknown(self, family: str, name: str) -> str:
        known = self.names(family)
        makers = [one for one in known if name in self.component(family, one).attributes.get("outputs", {})] if family == "metrics" else []
        hint = f" It is a value of the metric {' or '.join(makers)}: name that." if makers else did_you_mean(name, known)
        lines = [f"unknown {NOUNS.get(family, family)} {name!r}.{hint}"]
        lines.append(f"  Installed: {', '.join(f'{one} ({self.component(family, one).origin})' for one in known) or 'none'}")
        lines += [f"  Quarantined: {plugin.origin}: {plugin.reason}" for plugin in self.plugins if plugin.status == "quarantined"]
        lines += [f"  Disabled: {plugin.origin}: {plugin.reason}" for plugin in self.plugins if plugin.status == "disabled"]
        return "\n".join(lines)

    def source_hash(self, family: str, name: str) -> str:
        """AST-normalised hash of the component's code. Raises like :meth:`component`."""
        return self.component(family, name).source_hash

    @property
    def numeric_hash(self) -> str:
        """AST-normalised hash of bench's own modules that can change a number."""
        return bench_numeric_hash()

    def data_hash(self, family: str, name: str, parameters: Mapping[str, Any]) -> str:
        """Content hash of the data behind a component, '' where everything is in the code.

        Raises:
            DataError: the data are missing or damaged.
        """
        info = self.component(family, name)
        if family != "task_distributions":
            return ""
        key = json.dumps([name, parameters], sort_keys=True)
        if key not in self._data:  # asked for by every trial, and data do not change while a command runs
            self._data[key] = data_fingerprint(self._makers(info, parameters), name, parameters, plugins=self._usable)
        return self._data[key]

    def _makers(self, info: ComponentInfo, parameters: Mapping[str, Any]) -> str:
        """Content hashes of the plugins behind a component and those that its hyperparameters name."""
        return " ".join(sorted({self._plugin_of(one).content_hash for one in (info, *self.nested(info, parameters))}))

    @property
    def _usable(self) -> list[str]:
        return [plugin.name for plugin in self.plugins if plugin.status == "ok"]

    def nested(self, info: ComponentInfo, values: Mapping[str, Any]) -> Iterator[ComponentInfo]:
        """Components that hyperparameters with these values name (an inner optimiser, say), at any depth."""
        for hyperparameter, schema in info.schema.get("properties", {}).items():
            words = set(_words(values.get(hyperparameter)))
            for family in set(_families(schema)):
                yield from (self.component(family, name) for name in sorted(words & set(self.names(family))))

    def sample_spec(self, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What one sample of a task distribution looks like: the fields of :class:`bench.contracts.SampleSpec`.

        Raises:
            DataError: the task distribution cannot be made.
        """
        key = json.dumps([name, parameters], sort_keys=True)
        if key not in self._specs:
            made = self._makers(self.component("task_distributions", name), parameters)
            self._specs[key] = sample_spec(made, name, parameters, plugins=self._usable)
        return self._specs[key]

    def kind(self, name: str, parameters: Mapping[str, Any]) -> str:
        """Kind of the samples of a task distribution: as its class declares, or, where it wraps another one, as an instance says.

        Raises:
            DataError: the task distribution cannot be made.
        """
        declared = self.component("task_distributions", name).attributes.get("kind")
        return str(declared or self.sample_spec(name, parameters)["kind"])

    def _plugin_of(self, info: ComponentInfo) -> Plugin:
        return next(plugin for plugin in self.plugins if (plugin.name, plugin.distribution) == (info.plugin, info.distribution))

    def validate_parameters(self, family: str, name: str, parameters: Mapping[str, Any], *, partial: bool = False) -> list[Problem]:
        """Everything wrong with a component's hyperparameters, nested components included; places are inside ``parameters``.

        With ``partial``, required hyperparameters may be missing. Raises like :meth:`component`.
        """
        info = self.component(family, name)
        return hyperparameter_problems(
            f"{NOUNS.get(family, family)} {name!r}", info.schema, parameters, nested=self._nested, partial=partial
        )

    def _nested(self, family: str, spelling: Any) -> list[Problem]:
        try:
            name, parameters = unspelled(spelling)
            found = self.validate_parameters(family, name, parameters)
        except UsageError as error:
            return [Problem((), str(error))]
        except PluginError as error:
            return [Problem((), str(error), unavailable=True)]
        return [Problem((name, *problem.place), problem.message, unavailable=problem.unavailable) for problem in found]

    # -------------------------------------------------------------- making
    def create(self, family: str, name: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Import the plugin and call the factory; values that spell components are created first.

        Raises:
            PluginError: the plugin fails now although its probe passed.
            ContractError: a value does not fit its annotation.
            UnknownName: nobody offers the component.
        """
        from bench.registry.hyperparameters import coerced  # pulls in the contracts, which commands that only read do without

        factory = self.factory(family, name)

        def resolve(inner: str, spelling: Any) -> Any:
            return self.create(inner, *unspelled(spelling))

        return factory(**coerced(factory, parameters or {}, resolve=resolve))

    def observe(self, hook: str, **arguments: Any) -> None:
        """Call an observer hook on the plugins that have it; what they raise is logged and harms nothing."""
        for plugin in self.plugins:
            if plugin.status != "ok" or hook not in plugin.observers:
                continue
            from bench.registry.loading import register

            try:
                manager, _ = register(EntryPoint(plugin.name, plugin.entry_point, GROUP))
                with traced(f"observer {hook} of plugin {plugin.name}"):
                    getattr(manager.hook, hook)(**arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # plugin boundary: sys.exit included
                logging.getLogger("bench").warning(
                    "observer %s of plugin %s raised %s: %s", hook, plugin.origin, type(error).__name__, error
                )

    def factory(self, family: str, name: str) -> Any:
        """The factory itself, imported. Raises like :meth:`create`."""
        from bench.registry.loading import load_plugin

        info = self.component(family, name)
        key = (info.plugin, info.distribution)
        if key not in self._loaded:
            plugin = self._plugin_of(info)
            try:
                self._loaded[key] = load_plugin(EntryPoint(plugin.name, plugin.entry_point, GROUP))[1]
            except PluginError as error:
                raise PluginError(f"plugin {plugin.origin}: {error}") from error
        try:
            return self._loaded[key][family][name]
        except KeyError:
            raise PluginError(
                f"plugin {info.plugin} ({info.distribution} {info.version}) no longer offers {NOUNS[family]} {name!r}: start again"
            ) from None


def unspelled(spelling: Any) -> tuple[str, dict[str, Any]]:
    """``name`` or ``{name: {hyperparameter: value}}`` -> name and hyperparameters.

    Raises:
        UsageError: it is spelt otherwise.
    """
    if isinstance(spelling, str):
        return spelling, {}
    if isinstance(spelling, Mapping) and len(spelling) == 1:
        name, parameters = next(iter(spelling.items()))
        if parameters is None or isinstance(parameters, Mapping):
            return str(name), dict(parameters or {})
    raise UsageError(f"must be a component: name or {{name: {{hyperparameter: value}}}} (value {show(spelling)})")


def _families(schema: Any) -> Iterator[str]:
    """Families whose components a hyperparameter may name, at any depth of its schema."""
    if isinstance(schema, Mapping):
        if "x-family" in schema:
            yield schema["x-family"]
        for part in schema.values():
            yield from _families(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _families(part)


def _words(value: Any) -> Iterator[str]:
    """Every text in nested mappings and lists, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value:
            yield from _words(part)
        if isinstance(value, Mapping):
            yield from _words(list(value.values()))


def _without(plugin: Plugin, shadowing: Mapping[tuple[str, str], str]) -> Plugin:
    if not shadowing:
        return plugin
    components = tuple(info for info in plugin.components if (info.family, info.name) not in shadowing)
    return Plugin(**{**vars(plugin), "components": components, "broken": {**plugin.broken, **shadowing}})


def _mentions(plugin: Plugin, name: str) -> bool:
    """Whether a plugin that could not be asked spells ``name`` somewhere in its code."""
    spellings = (f'"{name}"'.encode(), f"'{name}'".encode())
    return any(spelling in path.read_bytes() for path in files_of(plugin.roots) if path.suffix == ".py" for spelling in spellings)


# ------------------------------------------------------------------ discovery
def discover(load: str | Iterable[str] | None = None, *, timeout: float = PROBE_TIMEOUT, refresh: bool = False) -> Registry:
    """Every installed plugin, probed once per version of its files.

    Args:
        load: entry-point or distribution names to use, all others being disabled (text: separated by commas, '' none);
            None reads ``BENCH_LOAD_PLUGINS``, and without it uses all but those that ``bench plugins disable`` has switched off.
        timeout: seconds for one probe.
        refresh: probe again whatever the cache holds.

    Raises:
        UsageError: ``load`` names something that is not installed.
    """
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: (point.name, owner_of(point)))
    chosen = os.environ.get("BENCH_LOAD_PLUGINS") if load is None else load
    allowed = _allowed(chosen, points)
    off = switched_off() if chosen is None else set()

    def found(point: EntryPoint) -> Plugin:
        if allowed is not None and not {point.name, owner_of(point)} & allowed:
            return _disabled(point, "not named in BENCH_LOAD_PLUGINS")
        if point.name in off:
            return _disabled(point, f"switched off; bench plugins enable {point.name}")
        with traced(f"plugin {point.name} ({owner_of(point)}): its probe, or what is cached of it"):
            return _plugin(point, timeout, refresh)

    with ThreadPoolExecutor(max_workers=4) as pool:
        return Registry(pool.map(found, points))


def _allowed(load: str | Iterable[str] | None, points: Iterable[EntryPoint]) -> set[str] | None:
    if load is None:
        return None
    wanted = {name.strip() for name in (load.split(",") if isinstance(load, str) else load)} - {""}
    known = {name for point in points for name in (point.name, owner_of(point))}
    for name in sorted(wanted - known):
        hint = did_you_mean(name, known)
        raise UsageError(f"BENCH_LOAD_PLUGINS names an unknown plugin {name!r}.{hint} Installed: {', '.join(sorted(known)) or 'none'}")
    return wanted


def _facts(point: EntryPoint) -> dict[str, Any]:
    """What is known of a plugin without looking at its files."""
    return {
        "name": point.name,
        "distribution": owner_of(point),
        "version": point.dist.version if point.dist else "",
        "entry_point": point.value,
        "editable": _editable(point),
    }


def _disabled(point: EntryPoint, reason: str) -> Plugin:
    return Plugin(**_facts(point), status="disabled", reason=reason, content_hash="")


def _plugin(point: EntryPoint, timeout: float, refresh: bool) -> Plugin:
    facts = _facts(point)
    roots = roots_of(point.dist, point.module) if point.dist else {}
    content = content_hash(roots)
    record = record_of(point, content, timeout=timeout, refresh=refresh)
    owner = {"plugin": facts["name"], "distribution": facts["distribution"], "version": facts["version"]}
    try:
        components = tuple(ComponentInfo(**owner, **component) for component in record["components"])
        broken = {(one["family"], one["name"]): str(one["reason"]) for one in record["broken"]}
        status, reason, observers = record["status"], record["reason"], tuple(record["observers"])
    except (KeyError, TypeError) as error:
        components, broken, observers = (), {}, ()
        status, reason = "quarantined", f"its probe wrote a record that cannot be read ({error})"
    return Plugin(
        **facts, status=status, reason=reason, content_hash=content, components=components, broken=broken, observers=observers, roots=roots
    )


def _editable(point: EntryPoint) -> bool:
    if point.dist is None:
        return False
    url = point.dist.read_text("direct_url.json")
    return bool(json.loads(url).get("dir_info", {}).get("editable")) if url else point.dist.read_text("RECORD") is None
