"""Which components are installed: discovery, probing in subprocesses, quarantine, provenance.

Commands read cached probe records and never import a plugin; :meth:`Registry.create`, which does, is for workers.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from bench.errors import PluginError, UsageError, did_you_mean
from bench.registry.finding import disabled_plugin, local_plugin, probed_plugin
from bench.registry.local import LocalFile, local_files
from bench.registry.missing import MissingModule, needs
from bench.registry.plugins import GROUP, NOUNS, OWN_DISTRIBUTION, ComponentInfo, Plugin
from bench.registry.probing import (
    PROBE_TIMEOUT,
    bench_numeric_hash,
    data_fingerprint,
    files_of,
    owner_of,
    sample_spec,
)
from bench.registry.switches import switched_off
from bench.registry.tracing import traced
from bench.suite.constraints import hyperparameter_problems, show
from bench.suite.document import Problem

__all__ = ["NOUNS", "ComponentInfo", "Plugin", "Registry", "UnknownName", "bench_numeric_hash", "discover", "discover_for", "unspelled"]


class UnknownName(UsageError):  # noqa: N818 - reads as the answer to a look-up
    """No installed plugin offers a component of that name."""


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
            if (family, name) in plugin.lacking:
                raise PluginError(f"{noun} {name!r} of plugin {plugin.origin} is unavailable: it {plugin.lacking[family, name]}")
        for plugin in self.plugins:
            if plugin.status in UNUSABLE and _mentions(plugin, name):
                raise PluginError(f"{noun} {name!r} is unavailable: plugin {plugin.name!r} is {plugin.status}\n{_cause(plugin)}")
        raise UnknownName(self._unknown(family, name))

    def _unknown(self, family: str, name: str) -> str:
        known = self.names(family)
        makers = [one for one in known if name in self.component(family, one).attributes.get("outputs", {})] if family == "metrics" else []
        hint = f" It is a value of the metric {' or '.join(makers)}: name that." if makers else did_you_mean(name, known)
        lines = [f"unknown {NOUNS.get(family, family)} {name!r}.{hint}"]
        lines.append(f"  Installed: {', '.join(f'{one} ({self.component(family, one).origin})' for one in known) or 'none'}")
        lines += [_cause(plugin) for status in (*UNUSABLE, "disabled") for plugin in self.plugins if plugin.status == status]
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
            made = self._makers(info, parameters)
            self._data[key] = data_fingerprint(made, name, parameters, plugins=self._usable, local=self.local)
        return self._data[key]

    def _makers(self, info: ComponentInfo, parameters: Mapping[str, Any]) -> str:
        """Content hashes of the plugins behind a component and those that its hyperparameters name."""
        return " ".join(sorted({self.plugin_of(one).content_hash for one in (info, *self.nested(info, parameters))}))

    @property
    def _usable(self) -> list[str]:
        return [plugin.name for plugin in self.plugins if plugin.status == "ok" and plugin.file is None]

    @property
    def local(self) -> tuple[LocalFile, ...]:
        """Local plugins that can be used, each with the hash of its code as it is now."""
        usable = [(plugin.file, plugin.content_hash) for plugin in self.plugins if plugin.status == "ok"]
        return tuple(replace(file, content=content) for file, content in usable if file is not None)

    def nested(self, info: ComponentInfo, values: Mapping[str, Any]) -> Iterator[ComponentInfo]:
        """Components that hyperparameters with these values name (an inner optimiser, say), at any depth."""
        for hyperparameter, schema in info.schema.get("properties", {}).items():
            words = set(_words(values.get(hyperparameter)))
            for family in set(_families(schema)) if words else ():
                yield from (self.component(family, name) for name in sorted(words & set(self.names(family))))

    def sample_spec(self, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What one sample of a task distribution looks like: the fields of :class:`bench.contracts.SampleSpec`.

        Raises:
            DataError: the task distribution cannot be made.
        """
        key = json.dumps([name, parameters], sort_keys=True)
        if key not in self._specs:
            made = self._makers(self.component("task_distributions", name), parameters)
            self._specs[key] = sample_spec(made, name, parameters, plugins=self._usable, local=self.local)
        return self._specs[key]

    def kind(self, name: str, parameters: Mapping[str, Any]) -> str:
        """Kind of the samples of a task distribution: as its class declares, or, where it wraps another one, as an instance says.

        Raises:
            DataError: the task distribution cannot be made.
        """
        declared = self.component("task_distributions", name).attributes.get("kind")
        return str(declared or self.sample_spec(name, parameters)["kind"])

    def plugin_of(self, info: ComponentInfo) -> Plugin:
        """The plugin that offers a component."""
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
            PluginError: the plugin fails now although its probe passed, or the component needs a module that is not installed.
            ContractError: a value does not fit its annotation, or making the component changes what all share.
            UnknownName: nobody offers the component.
        """
        # These pull in torch, which commands that only read do without.
        from bench.registry.global_state import undisturbed
        from bench.registry.hyperparameters import coerced

        factory = self.factory(family, name)
        info = self.component(family, name)
        who = f"{NOUNS.get(family, family)} {name!r} of plugin {info.plugin} ({info.distribution} {info.version})"

        def resolve(inner: str, spelling: Any) -> Any:
            return self.create(inner, *unspelled(spelling))

        settings = coerced(factory, parameters or {}, resolve=resolve, owner=f"{NOUNS.get(family, family)} {name!r}")
        try:
            with undisturbed(lambda parts: f"making {who}"):
                return factory(**settings)
        except ModuleNotFoundError as error:
            if not error.name or error.name.partition(".")[0] == info.module.partition(".")[0]:
                raise
            raise MissingModule(f"{who} {needs(error.name, info.distribution)}") from error

    def observe(self, hook: str, **arguments: Any) -> None:
        """Call an observer hook on the plugins that have it; what they raise is logged and harms nothing."""
        for plugin in self.plugins:
            if plugin.status != "ok" or hook not in plugin.observers:
                continue
            from bench.registry.global_state import undisturbed
            from bench.registry.loading import register

            try:
                manager, _ = register(plugin.point)
                with traced(f"observer {hook} of plugin {plugin.name}"), undisturbed(lambda parts: "it"):
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
            plugin = self.plugin_of(info)
            try:
                self._loaded[key] = load_plugin(plugin.point)[1]
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
    components = tuple(info for info in plugin.components if (info.family, info.name) not in shadowing)
    return replace(plugin, components=components, broken={**plugin.broken, **shadowing}) if shadowing else plugin


UNUSABLE = ("quarantined", "unavailable")


def _cause(plugin: Plugin) -> str:
    """``  Quarantined: soft (bench-soft 0.1): ...``: the same line wherever something misses the plugin, so that it is told once."""
    return f"  {plugin.status.capitalize()}: {plugin.origin}: {plugin.reason}"


def _mentions(plugin: Plugin, name: str) -> bool:
    """Whether a plugin that could not be asked spells ``name`` somewhere in its code."""
    spellings = (f'"{name}"'.encode(), f"'{name}'".encode())
    return any(spelling in path.read_bytes() for path in files_of(plugin.roots) if path.suffix == ".py" for spelling in spellings)


# ------------------------------------------------------------------ discovery
def discover_for(suite: Path, *, allow_local: bool) -> Registry:
    """What is installed, and, where the user allows it, what the suite at ``suite`` brings along as local plugins.

    Raises:
        UsageError: as :func:`discover`.
    """
    return discover(local=local_files(suite) if allow_local else ())


def discover(
    load: str | Iterable[str] | None = None,
    *,
    local: Sequence[LocalFile] = (),
    timeout: float = PROBE_TIMEOUT,
    refresh: bool = False,
) -> Registry:
    """Every installed plugin, probed once per version of its files.

    Args:
        load: entry-point or distribution names to use, all others being disabled (text: separated by commas, '' none);
            None reads ``BENCH_LOAD_PLUGINS``, and without it uses all but those that ``bench plugins disable`` has switched off.
        local: files that are plugins, too, whatever ``load`` says.
        timeout: seconds for one probe.
        refresh: probe again whatever the cache holds.

    Raises:
        UsageError: ``load`` names something that is not installed.
    """
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: (point.name, owner_of(point)))
    chosen = os.environ.get("BENCH_LOAD_PLUGINS") if load is None else load
    allowed = _allowed(chosen, points)
    off = switched_off() if chosen is None else set()

    def found(point: EntryPoint | LocalFile) -> Plugin:
        if isinstance(point, LocalFile):
            twin = next(one for one in local if one.name == point.name)
            fault = "" if twin == point else f"{twin.spelled} has the same name: rename one"
            return local_plugin(point, fault, timeout=timeout, refresh=refresh)
        if allowed is not None and not {point.name, owner_of(point)} & allowed:
            return disabled_plugin(point, "not named in BENCH_LOAD_PLUGINS")
        if point.name in off:
            return disabled_plugin(point, f"switched off; bench plugins enable {point.name}")
        with traced(f"plugin {point.name} ({owner_of(point)}): its probe, or what is cached of it"):
            return probed_plugin(point, timeout=timeout, refresh=refresh)

    with ThreadPoolExecutor(max_workers=4) as pool:
        return Registry(pool.map(found, [*points, *local]))


def _allowed(load: str | Iterable[str] | None, points: Iterable[EntryPoint]) -> set[str] | None:
    if load is None:
        return None
    wanted = {name.strip() for name in (load.split(",") if isinstance(load, str) else load)} - {""}
    known = {name for point in points for name in (point.name, owner_of(point))}
    for name in sorted(wanted - known):
        hint = did_you_mean(name, known)
        raise UsageError(f"BENCH_LOAD_PLUGINS names an unknown plugin {name!r}.{hint} Installed: {', '.join(sorted(known)) or 'none'}")
    return wanted
