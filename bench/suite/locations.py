"""Hyperparameters that say where data lie, not what they are: in no identity, no random stream and no record.

A component lists them in its class attribute ``locations``. What lies there enters an identity by its content: that of a task
distribution through its fingerprint, that of a feature extractor because its code has the checksum that it insists on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.registry.registry import Registry
    from bench.suite.components import Component
    from bench.suite.model import Suite

FAMILIES = ("task_distributions", "feature_extractors")
KEYS = {"task_distributions": "task_distributions", "test_on": "task_distributions", "feature_extractor": "feature_extractors"}
"""Of a suite: where components of these families stand, one or a list of them."""
ANONYMISED = "# Written by bench from the suite that was run: paths of that machine are shortened to their last part.\n"


def location_names(family: str, name: str, registry: Registry) -> tuple[str, ...]:
    """The component's hyperparameters that are locations."""
    return tuple(registry.component(family, name).attributes.get("locations", ())) if family in FAMILIES else ()


def without_locations(component: Component, registry: Registry) -> dict[str, Any]:
    """The component's hyperparameters that can change a number."""
    if component.family not in FAMILIES:
        return component.parameters
    return _mapped(component.family, component.name, component.parameters, registry, lambda location: _LEFT_OUT)


def with_absolute_locations(component: Component, registry: Registry) -> Component:
    """``component`` as it means the same in a process with another current folder."""
    return _with_locations(component, registry, lambda location: str(Path(location).absolute()) if _is_relative(location) else location)


def anonymous_suite(suite: Suite, registry: Registry) -> Suite:
    """``suite`` with locations shortened to their last part."""

    def shortened(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(shortened(one) for one in value)
        return None if value is None else _with_locations(value, registry, _last_part)

    overrides = {
        label: override.model_copy(update={"feature_extractor": shortened(override.feature_extractor)})
        if override.feature_extractor
        else override
        for label, override in suite.per_task_distribution.items()
    }
    return suite.model_copy(update={"per_task_distribution": overrides, **{key: shortened(getattr(suite, key)) for key in KEYS}})


def anonymous_text(text: bytes, suite: Suite, registry: Registry) -> bytes:
    """The text of ``suite`` as it is, or written anew where it names a folder of this machine."""
    from bench.suite.document import parse

    named: list[Any] = []

    def note(location: Any) -> None:
        named.append(location)

    for key in KEYS:
        held = getattr(suite, key)
        for one in held if isinstance(held, tuple) else (held,) if held else ():
            _mapped(one.family, one.name, one.parameters, registry, note)
    if not any(isinstance(value, str) and value and not _is_relative(value) for value in named):
        return text
    import yaml

    data = parse(text.decode("utf-8-sig")).data
    for key, family in KEYS.items():
        held = data.get(key) or []
        for item in (item for item in (held if isinstance(held, list) else [held]) if isinstance(item, dict)):
            for name, given in item.items():
                item[name] = _mapped(family, name, given, registry, _last_part) if given else given
    return ANONYMISED.encode() + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=140).encode()


def _with_locations(component: Component, registry: Registry, change: Callable[[Any], Any]) -> Component:
    return replace(component, parameters=_mapped(component.family, component.name, component.parameters, registry, change))


_LEFT_OUT = object()


def _mapped(family: str, name: str, parameters: Mapping[str, Any], registry: Registry, change: Callable[[Any], Any]) -> dict[str, Any]:
    """Hyperparameters of a component, and of one of its family that it wraps, with ``change(location)`` in place of each location."""
    properties, locations = registry.component(family, name).schema.get("properties", {}), location_names(family, name, registry)

    def one(hyperparameter: str, value: Any) -> Any:
        if hyperparameter in locations:
            return change(value)
        if isinstance(value, Mapping) and properties.get(hyperparameter, {}).get("x-family") == family:
            return {
                inner: [one(hyperparameter, swept) for swept in given]
                if inner == "sweep"
                else _mapped(family, inner, given or {}, registry, change)
                for inner, given in value.items()
            }
        return value

    changed = {hyperparameter: one(hyperparameter, value) for hyperparameter, value in parameters.items()}
    return {hyperparameter: value for hyperparameter, value in changed.items() if value is not _LEFT_OUT}


def _is_relative(value: Any) -> bool:
    """Whether a value is a path from the current folder; addresses and home folders mean the same everywhere."""
    return isinstance(value, str) and bool(value) and "://" not in value and value[0] != "~" and not Path(value).is_absolute()


def _last_part(value: Any) -> Any:
    return (PureWindowsPath(value).name if "\\" in value else PurePosixPath(value).name) if isinstance(value, str) else value
