"""What a factory can be told: its keyword-only, annotated hyperparameters.

Read once in the probing process (to JSON Schema) and again in a worker (to turn values from YAML into the
annotated types: lists into tuples, text into paths).
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import operator
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PydanticUserError, TypeAdapter, WithJsonSchema
from pydantic.errors import PydanticSchemaGenerationError

from bench.contracts import Factory, Network, Optimiser, TaskDistribution
from bench.errors import ContractError

COMPONENT_TYPES: dict[Any, str] = {Network: "networks", Optimiser: "inner_optimisers", TaskDistribution: "task_distributions"}
"""Annotations whose value in a suite is a component spelling -> the family it names."""

RESERVED = ("label", "test", "sweep")  # words of the suite's grammar


@dataclass(frozen=True)
class Hyperparameter:
    """One keyword-only parameter; ``default`` is ``inspect.Parameter.empty`` where it is required."""

    name: str
    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether a suite must give a value."""
        return self.default is inspect.Parameter.empty


def underlying(factory: Factory) -> Any:
    """The class or function behind ``functools.partial``."""
    return underlying(factory.func) if isinstance(factory, functools.partial) else factory


def hyperparameters(factory: Factory) -> tuple[Hyperparameter, ...]:
    """The hyperparameters of ``factory``, annotations evaluated.

    Raises:
        ContractError: a parameter is positional, variadic, without annotation, or its annotation cannot be evaluated.
    """
    made_by = underlying(factory)
    starter = made_by.__init__ if inspect.isclass(made_by) else made_by
    if getattr(starter, "__name__", "") == "_no_init_or_replace_init" or starter is object.__init__:
        return ()  # typing.Protocol gives its subclasses a variadic stand-in
    found = []
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise ContractError(f"hyperparameter {parameter} must be keyword-only: put '*,' before it")
        if parameter.annotation is inspect.Parameter.empty:
            raise ContractError(f"hyperparameter {parameter.name!r} has no annotation: suites could not be checked")
        if parameter.name in RESERVED:
            raise ContractError(f"hyperparameter {parameter.name!r} has a name that suites reserve ({', '.join(RESERVED)})")
        scope = _scope(made_by, starter, parameter.name)
        found.append(Hyperparameter(parameter.name, evaluated(parameter.annotation, scope, parameter.name), parameter.default))
    return tuple(found)


def _scope(made_by: Any, starter: Any, name: str) -> Mapping[str, Any]:
    """Where the annotation of ``name`` was written: for a field that a dataclass inherits, its ancestor's module."""
    if dataclasses.is_dataclass(made_by) and isinstance(made_by, type):
        owner = next((cls for cls in made_by.__mro__ if name in inspect.get_annotations(cls)), made_by)
        return vars(sys.modules[owner.__module__])
    return getattr(inspect.unwrap(starter), "__globals__", {})


def evaluated(annotation: Any, scope: Mapping[str, Any], name: str) -> Any:
    """An annotation that may be text, as a type.

    Raises:
        ContractError: it names something that does not exist at run time.
    """

    def holder() -> None:
        """Carry one annotation, so that the others of its owner need not be evaluable."""

    holder.__annotations__ = {"value": annotation}
    try:
        return typing.get_type_hints(holder, globalns=dict(scope), include_extras=True)["value"]
    except Exception as error:  # an annotation is the plugin's code
        raise ContractError(
            f"annotation {annotation!r} of {name!r} cannot be evaluated ({error}): import its names outside TYPE_CHECKING"
        ) from error


def schema_of(parameters: tuple[Hyperparameter, ...]) -> dict[str, Any]:
    """JSON Schema of the mapping from hyperparameters to values.

    Raises:
        ContractError: pydantic knows no JSON Schema for an annotation.
    """
    properties = {}
    for parameter in parameters:
        try:
            schema = TypeAdapter(_with_families(parameter.annotation)).json_schema()
        except (PydanticUserError, PydanticSchemaGenerationError, TypeError) as error:
            first = str(error).splitlines()[0]
            raise ContractError(
                f"annotation of hyperparameter {parameter.name!r} has no JSON Schema ({first}): use plain types, Literal or Field ranges"
            ) from error
        properties[parameter.name] = _inlined(schema, schema.pop("$defs", {}))
    return {
        "type": "object",
        "properties": properties,
        "required": [parameter.name for parameter in parameters if parameter.required],
        "additionalProperties": False,
    }


def defaults_of(parameters: tuple[Hyperparameter, ...]) -> dict[str, Any]:
    """Defaults as JSON, or as ``repr`` where JSON cannot hold them."""
    return {parameter.name: _jsonable(parameter.default) for parameter in parameters if not parameter.required}


def coerced(factory: Factory, values: Mapping[str, Any], *, resolve: Callable[[str, Any], Any], owner: str) -> dict[str, Any]:
    """``values`` in the annotated types; spellings of components become what ``resolve(family, spelling)`` returns.

    A default that is itself a spelling (``optimiser: Optimiser = "sgd"``) is resolved too. ``owner`` is what messages call the component.

    Raises:
        ContractError: a value does not fit its annotation.
    """
    parameters = {parameter.name: parameter for parameter in hyperparameters(factory)}
    ready = {}
    for name, parameter in parameters.items():
        schema = TypeAdapter(_with_families(parameter.annotation)).json_schema() if _names_family(parameter.annotation) else {}
        if name in values:
            value = values[name]
        elif schema and isinstance(parameter.default, str | dict | list):
            value = parameter.default
        else:
            continue
        resolved = _resolved(schema, value, resolve)
        try:
            ready[name] = TypeAdapter(_with_families(parameter.annotation)).validate_python(resolved)
        except ValueError as error:
            raise ContractError(f"hyperparameter {name!r} of {owner}: {error}") from error
    return ready | {name: value for name, value in values.items() if name not in parameters}


# ------------------------------------------------------------------ annotations
def _with_families(annotation: Any) -> Any:
    """The annotation with contract types replaced by what stands for them in a suite."""
    for contract, family in COMPONENT_TYPES.items():
        if annotation is contract:
            return Annotated[Any, WithJsonSchema({"x-family": family})]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None or origin is typing.Literal:
        return annotation
    if origin is Annotated:
        return Annotated[(_with_families(arguments[0]), *annotation.__metadata__)]
    replaced = tuple(argument if isinstance(argument, list) or argument is Ellipsis else _with_families(argument) for argument in arguments)
    if replaced == arguments:
        return annotation
    if origin in (types.UnionType, typing.Union):
        return functools.reduce(operator.or_, replaced)
    return origin[replaced]


def _names_family(annotation: Any) -> bool:
    return any(annotation is contract for contract in COMPONENT_TYPES) or any(map(_names_family, typing.get_args(annotation)))


def _resolved(schema: Mapping[str, Any], value: Any, resolve: Callable[[str, Any], Any]) -> Any:
    """Build the components that ``value`` spells, following the schema's unions, lists and mappings."""
    if "x-family" in schema:
        return resolve(schema["x-family"], value) if isinstance(value, str | dict) else value
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_resolved(schema["items"], item, resolve) for item in value]
    if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        return {key: _resolved(schema["additionalProperties"], item, resolve) for key, item in value.items()}
    kind = "array" if isinstance(value, list) else "object"
    for branch in schema.get("anyOf", ()) if isinstance(value, str | list | dict) else ():
        if "x-family" in branch or (branch.get("type") == kind and not isinstance(value, str)):
            return _resolved(branch, value, resolve)
    return value


def _inlined(schema: Any, definitions: Mapping[str, Any], above: tuple[str, ...] = ()) -> Any:
    """Replace references, so that a property's schema can be moved into another schema; titles go too."""
    if isinstance(schema, list):
        return [_inlined(item, definitions, above) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        if name in above:
            raise ContractError(f"hyperparameter type {name!r} refers to itself: use plain types")
        return _inlined(
            {**definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}, definitions, (*above, name)
        )
    return {key: _inlined(value, definitions, above) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}


def _jsonable(value: Any) -> Any:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return repr(value)
    return list(value) if isinstance(value, tuple) else value
