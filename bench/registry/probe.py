"""Describe one plugin as JSON, in a process of its own: ``python -m bench.registry.probe NAME``.

The plugin may print, exit, hang or crash; the caller only ever sees a record or its absence.
Whatever the plugin writes to stdout goes to stderr.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import json
import math
import os
import sys
import typing
from collections.abc import Mapping, Set
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any

from bench.contracts import Choice, Factor, Factory, Kind, Output
from bench.errors import ContractError, PluginError, did_you_mean
from bench.hookspecs import OBSERVERS
from bench.registry.hyperparameters import defaults_of, evaluated, hyperparameters, schema_of, underlying
from bench.registry.loading import GROUP, load_plugin, reason_of
from bench.registry.local import LocalFile, roots_behind
from bench.registry.missing import MissingModule, absent, needs
from bench.registry.probing import unusable
from bench.registry.sources import Roots, source_hash
from bench.suite.constraints import takes_numbers, value_problems

ATTRIBUTES = (
    "kind",
    "kinds",
    "roles",
    "needs_loss",
    "needs_modes",
    "needs_labels",
    "needs_predictions",
    "labels",
    "labelled",
    "predicts",
    "trains",
    "plays",
    "privileged",
    "has_objective",
    "needs_objective",
    "space",
    "at_test",
    "has_modes",
    "locations",
    "outputs",
    "health_outputs",
    "pooled",
    "version",
    "players",
    "uses_input_gradient",
    "mixes_samples",
    "fused_norms",
    "judge",
    "imports",
    "ignored_when",
)
"""Class attributes of the contracts that the planner reads."""

AUGMENTS = {"support": "augment_support", "view": "augment_view", "real": "generated_share", "task": "augment_task"}
"""What an augmentation acts on -> what its class then has."""

PLAYER = ("penalty", "reparametrise", "project")
LAYERS = ("activation",)
OUTER = ("term", "perturb", "adjust_task_gradient", "adjust_gradient", "adjust_update")
"""Methods of a penalty (:class:`bench.contracts.Penalty`), and of a regulariser of meta-learning
(:class:`bench.contracts.MetaRegulariser`): those that act at meta-test too, and those that act in meta-training only."""


def probe(entry_point: EntryPoint | LocalFile) -> dict[str, Any]:
    """The record of one plugin: status, reason, components, and components that are broken, or lack something, on their own."""
    try:
        plugin, factories = load_plugin(entry_point)
    except PluginError as error:
        return unusable("unavailable" if isinstance(error, MissingModule) else "quarantined", str(error))
    roots = roots_behind(entry_point)
    components, broken, lacking = [], [], []
    for family, offered in factories.items():
        for name, factory in offered.items():
            try:
                described = describe(family, factory, roots)
                missing = absent(described["attributes"].get("imports", ()))
                if missing:
                    reason = "; ".join(needs(module, entry_point.dist) for module in missing)
                    lacking.append({"family": family, "name": name, "reason": reason})
                else:
                    components.append({"family": family, "name": name, **described})
            except ContractError as error:
                broken.append({"family": family, "name": name, "reason": str(error)})
            except Exception as error:  # plugin boundary: descriptors, metaclasses, signatures
                broken.append({"family": family, "name": name, "reason": reason_of(error)})
    observers = [hook for hook in OBSERVERS if callable(getattr(plugin, hook, None))]
    return {"status": "ok", "reason": "", "components": components, "broken": broken, "lacking": lacking, "observers": observers}


def describe(family: str, factory: Factory, roots: Roots) -> dict[str, Any]:
    """What planning needs to know about one factory, without ever calling it.

    Raises:
        ContractError: it breaks the contract of factories; the text names the rule.
    """
    made_by = underlying(factory)
    parameters = hyperparameters(factory)
    about = attributes(family, factory)
    _check_names(about, {parameter.name for parameter in parameters})
    schema = schema_of(parameters)
    _check_space(about.get("space", {}), schema)
    extra = repr((factory.args, sorted(factory.keywords.items()))) if isinstance(factory, functools.partial) else ""
    try:
        digest = source_hash(made_by.__module__, roots, extra=extra)
    except FileNotFoundError as error:
        raise ContractError(f"its {error}: results could not be told apart when the code changes") from error
    return {
        "module": made_by.__module__,
        "qualname": made_by.__qualname__,
        "doc": next(iter((inspect.getdoc(made_by) or "").splitlines()), ""),
        "schema": schema,
        "defaults": defaults_of(parameters),
        "attributes": about,
        "source_hash": digest,
    }


def attributes(family: str, factory: Factory) -> dict[str, Any]:
    """Class attributes as JSON; those of a function factory are its own, or those of the class that it is annotated to return.

    Raises:
        ContractError: an attribute has a value outside its contract.
    """
    holder = _holder(factory)
    found: dict[str, Any] = {}
    for name in ATTRIBUTES:
        for owner in (underlying(factory), holder):
            value = getattr(owner, name, None)
            if (
                value is not None
                and not isinstance(value, property)
                and not inspect.isdatadescriptor(value)
                and not inspect.isroutine(value)
            ):
                found[name] = _plain(name, value)
                break
    for kind in [found["kind"]] if "kind" in found else found.get("kinds", []):
        known = typing.get_args(Kind)
        if kind not in known:
            raise ContractError(f"unknown sample kind {kind!r}.{did_you_mean(str(kind), known)} Known: {', '.join(known)}")
    if family == "metrics" and not found.get("outputs"):
        raise ContractError("a metric needs the class attribute `outputs`: {name: bench.contracts.Output}")
    if family == "regularisers":
        places = {"player": PLAYER, "layers": LAYERS, "outer": OUTER}
        acts_on = [place for place, methods in places.items() if any(hasattr(holder, method) for method in methods)]
        if "player" in acts_on[:1] and acts_on[1:]:
            raise ContractError(
                f"a regulariser acts on players ({', '.join(PLAYER)}) or on meta-learning ({', '.join((*LAYERS, *OUTER))}), not on both"
            )
        if acts_on:
            found["acts_on"] = acts_on[0]
    if family == "augmentations":
        acts = [place for place, name in AUGMENTS.items() if hasattr(holder, name)]
        if not acts:
            raise ContractError(f"an augmentation needs one of {', '.join(AUGMENTS.values())} (bench.contracts.Augmentation)")
        found["acts_on"] = acts[0]
    return found


def _check_names(about: Mapping[str, Any], known: Set[str]) -> None:
    """Refuse attributes about hyperparameters that are not there, and about modules that are no names.

    Raises:
        ContractError: names the attribute and what is wrong with it.
    """
    ignored = about.get("ignored_when", {})
    if not isinstance(ignored, Mapping) or not all(isinstance(others, Mapping) for others in ignored.values()):
        raise ContractError("`ignored_when` must map hyperparameters to others' values, such as {'unroll_lr': {'unroll': 0}}")
    named = {
        "locations": about.get("locations", ()),
        "ignored_when": {*ignored, *(other for others in ignored.values() for other in others)},
    }
    for attribute, names in named.items():
        if unknown := sorted(set(names) - known):
            raise ContractError(f"`{attribute}` lists {', '.join(unknown)}, which no hyperparameter is called")
    modules = about.get("imports", [])
    if not isinstance(modules, list) or not all(isinstance(module, str) for module in modules):
        raise ContractError(f"`imports` must be a tuple of names of modules, such as ('lpips',), got {modules!r}")


def _check_space(space: Any, schema: Mapping[str, Any]) -> None:
    """Refuse a space that says nothing sensible about hyperparameters that are there.

    Raises:
        ContractError: it is no mapping, names an unknown hyperparameter, or holds a range or values that the hyperparameter cannot have.
    """
    if not isinstance(space, Mapping):
        raise ContractError("`space` must map hyperparameters to bench.contracts.Factor or Choice")
    known = schema["properties"]
    for name, dimension in space.items():
        where = f"`space` of hyperparameter {name!r}"
        if name not in known:
            raise ContractError(f"{where}: there is none of that name.{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}")
        if not isinstance(dimension, Mapping) or dimension.keys() not in ({"factor"}, {"choice"}):
            raise ContractError(f"{where} must be bench.contracts.Factor or Choice, got {dimension!r}")
        if "factor" in dimension:
            low, high = dimension["factor"]
            if not (_is_number(low) and _is_number(high) and 0 < low < high < math.inf):
                raise ContractError(f"{where}: a Factor needs 0 < low < high, got low {low!r}, high {high!r}")
            if not takes_numbers(known[name]):
                raise ContractError(f"{where}: a Factor multiplies, and the hyperparameter takes no numbers with fractions: use a Choice")
        else:
            values = dimension["choice"]
            if not isinstance(values, list) or len({json.dumps(value) for value in values}) < max(2, len(values)):
                raise ContractError(f"{where}: a Choice needs a tuple of two or more different values, got {values!r}")
            for value in values:
                for problem in value_problems(known[name], value, nested=lambda family, spelling: []):
                    raise ContractError(f"{where}: {problem.message}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _holder(factory: Factory) -> Any:
    made_by = underlying(factory)
    if inspect.isclass(made_by):
        return made_by
    annotation = getattr(made_by, "__annotations__", {}).get("return")
    try:
        answer = evaluated(annotation, getattr(inspect.unwrap(made_by), "__globals__", {}), "return")
    except ContractError:
        return made_by
    return answer if inspect.isclass(answer) and answer is not type(None) else made_by


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Output):
        reading = dataclasses.asdict(value)
        return {**reading, "ideal": None} if math.isnan(value.ideal) else reading
    if isinstance(value, Factor):
        return {"factor": [_plain(name, value.low), _plain(name, value.high)]}
    if isinstance(value, Choice):
        return {"choice": _plain(name, value.values)}
    if isinstance(value, Mapping):
        if name in ("outputs", "health_outputs") and not all(isinstance(output, Output) for output in value.values()):
            raise ContractError(f"`{name}` must map names to bench.contracts.Output")
        return {str(key): _plain("", item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain("", item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ContractError(f"class attribute {name or 'value'!r} holds a {type(value).__name__}, which the planner cannot read")


def find(name: str, distribution: str | None = None) -> EntryPoint:
    """The entry point called ``name``, or the only one of the distribution ``name``.

    Raises:
        PluginError: there is none, or more than one.
    """

    def owner(entry_point: EntryPoint) -> str:
        return _normal(entry_point.dist.name) if isinstance(entry_point.dist, Distribution) else ""

    every = entry_points(group=GROUP)
    chosen = [point for point in every if point.name == name] or [point for point in every if owner(point) == _normal(name)]
    if distribution is not None:
        chosen = [point for point in chosen if owner(point) == _normal(distribution)]
    if len(chosen) != 1:
        raise PluginError(
            f"{len(chosen)} plugins answer to {name!r}; installed: {', '.join(sorted(point.name for point in every)) or 'none'}"
        )
    return chosen[0]


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def main(arguments: list[str] | None = None) -> None:
    """Probe one plugin, write its record and leave at once: threads and exit handlers of the plugin get no say."""
    parser = argparse.ArgumentParser(prog="python -m bench.registry.probe", description="Describe one plugin as JSON.")
    parser.add_argument("name", help="entry point or distribution, or a local file, which begins with /")
    parser.add_argument("--distribution", help="where several distributions have an entry point of this name")
    parser.add_argument("--output", type=Path, help="file for the record (default: stdout)")
    options = parser.parse_args(arguments)
    stdout = os.dup(1)
    os.dup2(2, 1)
    sys.path[:] = [entry for entry in sys.path if entry]
    try:
        path = Path(options.name)
        record = probe(LocalFile(path.name, path) if path.is_absolute() else find(options.name, options.distribution))
    except PluginError as error:
        record = unusable("quarantined", str(error))
    text = json.dumps(record)
    if options.output:
        partial = options.output.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, options.output)
    else:
        os.write(stdout, f"{text}\n".encode())
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
