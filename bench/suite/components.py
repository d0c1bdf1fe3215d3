"""Components as a suite spells them: ``name`` or ``{name: {hyperparameter: value, label: ..., test: {...}}}``.

A value ``{sweep: [a, b]}`` stands for several components; each gets its value in its label.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.errors import PluginError, UsageError
from bench.suite.constraints import show
from bench.suite.document import Place, Problem
from bench.suite.locations import location_names

if TYPE_CHECKING:
    from bench.registry.registry import Registry

TESTABLE = ("meta_learners", "games")  # families whose hyperparameters may differ when adapting to held-out tasks
LONGEST_LABEL = 80


@dataclass(frozen=True)
class Component:
    """One component of a suite.

    Attributes:
        parameters: hyperparameters that the suite gives; the others keep the factory's defaults.
        test: hyperparameters that replace them when adapting to held-out tasks.
        label: its name in tables and figures, unique within its family.
    """

    family: str
    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    test: dict[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        """Without a label, the name is the label."""
        if not self.label:
            object.__setattr__(self, "label", self.name)

    def answers_to(self, word: str) -> bool:
        """Whether ``word`` is its name or its label."""
        return word in (self.name, self.label)


class Reader:
    """Reads spellings and collects everything that is wrong with them."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.problems: list[Problem] = []

    def complain(self, place: Place, message: str, *, unavailable: bool = False) -> None:
        """Note a problem."""
        self.problems.append(Problem(place, message, unavailable=unavailable))

    def family(self, family: str, value: Any, place: Place) -> tuple[Component, ...]:
        """A list of components of one family; labels are unique."""
        if not isinstance(value, list):
            self.complain(place, f"must be a list of components, such as [{self._example(family)}] (value {show(value)})")
            return ()
        found: dict[str, Component] = {}
        for position, item in enumerate(value):
            for component in self.one(family, item, (*place, position)):
                if component.label in found:
                    self.complain((*place, position), _twice(component.label, component))
                found.setdefault(component.label, component)
        return tuple(found.values())

    def sets(self, family: str, value: Any, place: Place) -> tuple[tuple[Component, ...], ...]:
        """A list of ordered sets of components; every cell uses one set."""
        if not isinstance(value, list):
            self.complain(place, f"must be a list of lists, such as [[], [{self._example(family)}]] (value {show(value)})")
            return ()
        found: dict[str, tuple[Component, ...]] = {}
        for position, item in enumerate(value):
            here = (*place, position)
            if not isinstance(item, list):
                self.complain(here, f"each item is the ordered set of one cell: write [{show(item)}], or [] for none (value {show(item)})")
                continue
            members = [self.one(family, member, (*here, number)) for number, member in enumerate(item)]
            for chosen in itertools.product(*members):
                joined = set_label(chosen)
                if len({component.label for component in chosen}) < len(chosen):
                    self.complain(here, f"the set {joined!r} holds a component twice")
                if joined in found:
                    self.complain(here, _twice(joined, *chosen))
                found.setdefault(joined, chosen)
        return tuple(found.values())

    def one(self, family: str, item: Any, place: Place) -> tuple[Component, ...]:
        """One spelling: several components where it sweeps, none where it is wrong."""
        if isinstance(item, str):
            if not self._exists(family, item, place):
                return ()
            self._check(family, item, {}, place)
            return (Component(family, item),)
        if isinstance(item, Mapping) and len(item) > 1:
            first = next(iter(item))
            hint = f"indent the others beneath {first!r}" if item[first] is None else "one component per item"
            self.complain(place, f"must be one component: got the keys {', '.join(item)}; {hint}")
            return ()
        if not isinstance(item, Mapping) or not item:
            self.complain(place, f"must be a component: name or {{name: {{hyperparameter: value}}}} (value {show(item)})")
            return ()
        ((name, given),) = item.items()
        if not self._exists(family, name, place):
            return ()
        if given is not None and not isinstance(given, Mapping):
            self.complain((*place, name), f"must be a mapping of hyperparameters to values (value {show(given)})")
            return ()
        values = dict(given or {})
        label = self._label(values.pop("label", name), (*place, name, "label"))
        test = self._test(family, name, values.pop("test", {}), (*place, name, "test"))
        return self._expanded(Component(family, name, values, test, label), (*place, name))

    # -------------------------------------------------------------- parts of a spelling
    def _exists(self, family: str, name: str, place: Place) -> bool:
        try:
            self.registry.component(family, name)
        except UsageError as error:
            self.complain(place, str(error))
            return False
        except PluginError as error:
            self.complain(place, str(error), unavailable=True)
            return False
        return True

    def _example(self, family: str) -> str:
        return next(iter(self.registry.names(family)), "name")

    def _label(self, label: Any, place: Place) -> str:
        if isinstance(label, str) and label.strip() and label.isprintable() and len(label) <= LONGEST_LABEL:
            return label
        self.complain(place, f"a label must be one line of 1 to {LONGEST_LABEL} characters (value {show(label)})")
        return "?"

    def _test(self, family: str, name: str, test: Any, place: Place) -> dict[str, Any]:
        if test and family not in TESTABLE:
            self.complain(place, f"only {' and '.join(TESTABLE)} can have other hyperparameters at test time")
        elif not isinstance(test, Mapping):
            self.complain(place, f"must be a mapping of hyperparameters to values (value {show(test)})")
        else:
            self._check(family, name, test, place, partial=True)
            acting = self.registry.component(family, name).attributes.get("at_test")
            for hyperparameter in test:
                if acting is not None and hyperparameter not in acting:
                    self.complain(
                        (*place, hyperparameter),
                        f"has no effect on held-out tasks; what {name} can be told for them: {', '.join(acting) or 'nothing'}",
                    )
            return dict(test)
        return {}

    def _check(self, family: str, name: str, values: Mapping[str, Any], place: Place, *, partial: bool = False) -> None:
        for problem in self.registry.validate_parameters(family, name, values, partial=partial):
            self.complain((*place, *problem.place), problem.message, unavailable=problem.unavailable)

    def _expanded(self, component: Component, place: Place) -> tuple[Component, ...]:
        sweeps: dict[str, list[Any]] = {}
        for name, value in component.parameters.items():
            if not isinstance(value, Mapping) or "sweep" not in value:
                continue
            if name in location_names(component.family, component.name, self.registry):
                self.complain((*place, name), "cannot be swept: it only says where the data lie, which is in no label and no identity")
                return ()
            swept = value["sweep"]
            if len(value) > 1 or not isinstance(swept, list) or not swept or len({show(one) for one in swept}) < len(swept):
                self.complain(
                    (*place, name), f"a sweep is {{sweep: [a, b]}} with one or more different values and no other key (value {show(value)})"
                )
                return ()
            sweeps[name] = swept
        if not sweeps:
            self._check(component.family, component.name, component.parameters, place)
            return (component,)
        first = {**component.parameters, **{name: values[0] for name, values in sweeps.items()}}
        for problem in self._swept_problems(component, first, sweeps):
            self.complain((*place, *problem.place), problem.message, unavailable=problem.unavailable)
        return tuple(
            replace(
                component,
                parameters={**component.parameters, **dict(zip(sweeps, chosen, strict=True))},
                label=f"{component.label}({_values(sweeps, chosen)})",
            )
            for chosen in itertools.product(*sweeps.values())
        )

    def _swept_problems(self, component: Component, first: Mapping[str, Any], sweeps: Mapping[str, list[Any]]) -> list[Problem]:
        """Problems of the first values, then of each further value of a sweep, at the place of that value."""

        def found(values: Mapping[str, Any]) -> list[Problem]:
            return self.registry.validate_parameters(component.family, component.name, values)

        problems = []
        for problem in found(first):
            name, *rest = problem.place or ("",)
            problems.append(replace(problem, place=(name, "sweep", 0, *rest)) if name in sweeps else problem)
        for name, values in sweeps.items():
            if name not in self.registry.component(component.family, component.name).schema["properties"]:
                continue
            for position, value in enumerate(values[1:], start=1):
                problems += [
                    replace(problem, place=(name, "sweep", position, *problem.place[1:]))
                    for problem in found({**first, name: value})
                    if problem.place[:1] == (name,)
                ]
        return problems


def set_label(components: tuple[Component, ...]) -> str:
    """Label of an ordered set: its labels joined by ``+``, '' where it is empty."""
    return "+".join(component.label for component in components)


def _values(names: Mapping[str, Any], chosen: tuple[Any, ...]) -> str:
    return ", ".join(f"{name}={value if isinstance(value, str) else show(value)}" for name, value in zip(names, chosen, strict=True))


def _twice(label: str, *components: Component) -> str:
    name = components[0].name if components else "name"
    return f"the label {label!r} appears twice: remove one, or tell them apart with {{{name}: {{label: ...}}}}"
