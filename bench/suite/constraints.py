"""Values against JSON Schema, in words: the rule, the value, and what would be allowed.

The keyword ``x-family`` marks a value that is itself a component spelling: ``name`` or ``{name: {...}}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from bench.errors import did_you_mean
from bench.suite.document import Problem

Schema = Mapping[str, Any]
Nested = Callable[[str, Any], list[Problem]]
"""(family, spelling) -> problems of a nested component, with places inside the spelling."""

_TYPES = {
    "integer": "an integer",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a mapping",
}
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def show(value: Any) -> str:
    """A value in one short line, as it would stand in JSON."""
    text = json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def describe(schema: Schema) -> str:
    """What a schema allows: ``a number >= 0``, ``one of 1, 2``, ``a list of integers``."""
    if "x-family" in schema:
        return f"one of the {schema['x-family'].replace('_', ' ')}: name or {{name: {{...}}}}"
    if "enum" in schema:
        return f"one of {', '.join(map(show, schema['enum']))}" if len(schema["enum"]) > 1 else show(schema["enum"][0])
    if "const" in schema:
        return show(schema["const"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(describe(branch) for branch in schema[union])
    kind = schema.get("type")
    if not isinstance(kind, str):
        return "a value"
    text = _TYPES.get(kind, kind)
    bounds = [f"{sign} {schema[bound]:g}" for bound, sign in _BOUNDS.items() if bound in schema]
    if bounds:
        text += " " + " and ".join(bounds)
    if "multipleOf" in schema:
        text += f", a multiple of {show(schema['multipleOf'])}"
    if "pattern" in schema:
        text += f" that matches {schema['pattern']}"
    if kind == "array":
        text += _describe_items(schema)
    inner = schema.get("additionalProperties")
    if kind == "object" and isinstance(inner, Mapping):
        text += f" whose values are {describe(inner)}"
    return text


def _describe_items(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f" of ({', '.join(describe(item) for item in schema['prefixItems'])})"
    least, most = schema.get("minItems"), schema.get("maxItems")
    items = f", each {describe(schema['items'])}" if schema.get("items") else ""
    count = " ".join([*([f"at least {least}"] if least else []), *([f"at most {most}"] if most is not None else [])])
    return (f" of {count} values" if count else "") + items


def hyperparameter_problems(
    owner: str, schema: Schema, values: Mapping[str, Any], *, nested: Nested, partial: bool = False
) -> list[Problem]:
    """Everything that is wrong with the hyperparameters ``values`` of the component ``owner``.

    Args:
        owner: how messages call the component, such as ``meta-learner 'maml'``.
        values: hyperparameter -> value, as the suite spells it.
        schema: its object schema (``properties``, ``required``).
        nested: checks a value marked ``x-family``.
        partial: required ones may be missing (overrides of other values).
    """
    known = schema.get("properties", {})
    problems = [
        Problem((name,), f"unknown hyperparameter {name!r} of {owner}.{did_you_mean(name, known)}\n  Known: {', '.join(known) or 'none'}")
        for name in values
        if name not in known
    ]
    if not partial:
        problems += [
            Problem((), f"{owner} needs the hyperparameter {name!r}: {describe(known[name])}")
            for name in schema.get("required", ())
            if name not in values
        ]
    for name, value in values.items():
        if name in known:
            found = {(name, *problem.place): problem for problem in value_problems(known[name], value, nested=nested)}
            problems += [Problem(place, problem.message, unavailable=problem.unavailable) for place, problem in found.items()]
    return problems


def value_problems(schema: Schema, value: Any, *, nested: Nested) -> list[Problem]:
    """Everything that is wrong with one value, with places inside it."""

    def family(_validator: Any, name: str, spelling: Any, _schema: Any) -> Iterator[ValidationError]:
        for problem in nested(name, spelling):
            yield ValidationError(problem.message, path=problem.place, cause=None, validator="x-family", instance=problem.unavailable)

    strict = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _checker, given: isinstance(given, int) and not isinstance(given, bool)
    )
    extended: Any = extend
    validator = extended(Draft202012Validator, {"x-family": family}, type_checker=strict)(dict(schema))
    return [problem for error in validator.iter_errors(value) for problem in _explain(error, value)]


def takes_numbers(schema: Schema) -> bool:
    """Whether a value may be a number with a fraction, or a mapping to such numbers (rates by player)."""
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return isinstance(inner, Mapping) and takes_numbers(inner)
    return schema.get("type") == "number" or any(takes_numbers(branch) for union in ("anyOf", "oneOf") for branch in schema.get(union, ()))


def _explain(error: ValidationError, value: Any) -> Iterator[Problem]:
    place = tuple(error.absolute_path)
    if error.validator == "x-family":
        yield Problem(place, error.message, unavailable=bool(error.instance))
        return
    if error.validator in ("anyOf", "oneOf") and error.context:
        branches: dict[Any, list[ValidationError]] = {}
        for inner in error.context:
            branches.setdefault(inner.relative_schema_path[0], []).append(inner)
        # A branch that already refuses the type of the value is not the one that was meant.
        meant = [
            inners
            for inners in branches.values()
            if not any(inner.validator in ("type", "const", "enum") and not inner.relative_path for inner in inners)
        ]
        if len(meant) == 1:
            for inner in meant[0]:
                yield from _explain(inner, value)
            return
    yield Problem(place, f"must be {describe(error.schema if isinstance(error.schema, Mapping) else {})} (value {show(error.instance)})")
