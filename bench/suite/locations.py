"""Hyperparameters that say where data lie, not what they are: in no identity, no random stream and no record.

A task distribution lists them in its class attribute ``locations``; what lies there enters an identity by its content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.registry.registry import Registry
    from bench.suite.components import Component
    from bench.suite.model import Suite

FAMILY = "task_distributions"  # the only family whose data have a content hash
KEYS = (FAMILY, "test_on")  # of a suite: where components of that family stand
ANONYMISED = "# Written by bench from the suite that was run: paths of that machine are shortened to their last part.\n"


def location_names(family: str, name: str, registry: Registry) -> tuple[str, ...]:
    """The component's hyperparameters that are locations."""
    return tuple(registry.component(family, name).attributes.get("locations", ())) if family == FAMILY else ()


def without_locations(component: Component, registry: Registry) -> dict[str, Any]:
    """The component's hyperparameters that can change a number."""
    locations = location_names(component.family, component.name, registry)
    return {name: value for name, value in component.parameters.items() if name not in locations}


def with_absolute_locations(component: Component, registry: Registry) -> Component:
    """``component`` as it means the same in a process with another current folder."""
    locations = location_names(component.family, component.name, registry)
    absolute = {
        name: str(Path(value).absolute()) for name, value in component.parameters.items() if name in locations and _is_relative(value)
    }
    return replace(component, parameters={**component.parameters, **absolute})


def anonymous_suite(suite: Suite, registry: Registry) -> Suite:
    """``suite`` with locations shortened to their last part."""
    return suite.model_copy(update={key: tuple(_anonymous(one, registry) for one in getattr(suite, key)) for key in KEYS})


def anonymous_text(text: bytes, suite: Suite, registry: Registry) -> bytes:
    """The text of ``suite`` as it is, or written anew where it names a folder of this machine."""
    from bench.suite.document import parse

    named = [
        one.parameters[name]
        for key in KEYS
        for one in getattr(suite, key)
        for name in location_names(FAMILY, one.name, registry)
        if name in one.parameters
    ]
    if not any(isinstance(value, str) and value and not _is_relative(value) for value in named):
        return text
    import yaml

    data = parse(text.decode("utf-8-sig")).data
    for item in (item for key in KEYS for item in data.get(key, [])):
        for name, given in item.items() if isinstance(item, Mapping) else ():
            for location in set(location_names(FAMILY, name, registry)) & set(given or ()):
                given[location] = _last_part(given[location])
    return ANONYMISED.encode() + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=140).encode()


def _anonymous(component: Component, registry: Registry) -> Component:
    locations = location_names(component.family, component.name, registry)
    shortened = {name: _last_part(value) for name, value in component.parameters.items() if name in locations}
    return replace(component, parameters={**component.parameters, **shortened})


def _is_relative(value: Any) -> bool:
    """Whether a value is a path from the current folder; addresses and home folders mean the same everywhere."""
    return isinstance(value, str) and bool(value) and "://" not in value and value[0] != "~" and not Path(value).is_absolute()


def _last_part(value: Any) -> Any:
    return (PureWindowsPath(value).name if "\\" in value else PurePosixPath(value).name) if isinstance(value, str) else value
