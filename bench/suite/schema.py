"""JSON Schema of suites for the installed components, so that editors complete and check them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.suite.components import LONGEST_LABEL, TESTABLE
from bench.suite.model import CONTROLS, LISTS, SETS, Budget, Overrides, Primary, Protocol, Suite, Tuning

if TYPE_CHECKING:
    from bench.registry.registry import Registry

_FAMILIES = (*LISTS, *SETS, "feature_extractors", "inner_optimisers")


def json_schema(registry: Registry) -> dict[str, Any]:
    """The schema (draft 2020-12) of a suite file.

    What only makes sense across keys (labels that must exist, unique labels) is left to ``bench validate``.
    """
    definitions = {family: _spellings(registry, family) for family in _FAMILIES}
    properties: dict[str, Any] = {
        **{
            name: Suite.model_json_schema()["properties"][name]
            for name in ("question", "name", "description", "tuning_record", "seed", "replicates", "design")
        },
        "requires": {"type": "array", "items": {"type": "string", "minLength": 1}},
        "plugins": {"type": "array", "items": {"type": "string", "pattern": r"\.py$"}},
        "primary": _section(Primary, definitions),
        "budget": {**_section(Budget, definitions), "oneOf": [{"required": ["gradient_evaluations"]}, {"required": ["outer_steps"]}]},
        "protocol": _section(Protocol, definitions),
        "tuning": _section(Tuning, definitions),
        **{
            family: {"type": "array", "items": {"$ref": f"#/$defs/{family}"}, **({} if family == "gan_losses" else {"minItems": 1})}
            for family in LISTS
        },
        "test_on": {"type": "array", "items": {"$ref": "#/$defs/task_distributions"}},
        **{family: {"type": "array", "items": {"type": "array", "items": {"$ref": f"#/$defs/{family}"}}, "minItems": 1} for family in SETS},
        "feature_extractor": {"anyOf": [{"const": "auto"}, {"$ref": "#/$defs/feature_extractors"}]},
        "controls": _object({control: _WORDS for control in CONTROLS}),
    }
    changes = {name: properties[name] for name in Overrides.model_fields} | {"budget": _section(Budget, definitions)}
    excluded = {family: _WORDS for family in (*LISTS, *SETS) if family != "metrics"}
    properties["exclude"] = {
        "type": "array",
        "items": {**_object({**excluded, "reason": {"type": "string", "minLength": 1}}, ["reason"]), "minProperties": 2},
    }
    properties["per_task_distribution"] = {"type": "object", "additionalProperties": _object(changes)}
    required = [name for name, part in Suite.model_fields.items() if part.is_required()]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bench suite",
        **_object(properties, required),
        "$defs": definitions,
    }


_WORDS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False, **({"required": required} if required else {})}


def _section(model: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = model.model_json_schema()
    definitions |= schema.pop("$defs", {})
    return schema


def _spellings(registry: Registry, family: str) -> dict[str, Any]:
    """Every way to write a component of ``family``."""
    known = [registry.component(family, name) for name in registry.names(family)]
    bare = {"enum": [info.name for info in known if not info.schema.get("required")]}
    objects = {}
    for info in known:
        plain = {name: {**_linked(part), **_default(info.defaults, name)} for name, part in info.schema.get("properties", {}).items()}
        if family == "inner_optimisers":
            mapping = _object(plain, info.schema.get("required"))
        else:
            swept = {
                name: {"anyOf": [part, _object({"sweep": {"type": "array", "items": part, "minItems": 1, "uniqueItems": True}}, ["sweep"])]}
                for name, part in plain.items()
            }
            words: dict[str, Any] = {"label": {"type": "string", "minLength": 1, "maxLength": LONGEST_LABEL}}
            words |= {"test": _object(plain)} if family in TESTABLE else {}
            mapping = _object({**swept, **words}, info.schema.get("required"))
        objects[info.name] = {
            "anyOf": [mapping, {"type": "null"}] if not info.schema.get("required") else [mapping],
            "description": info.doc,
        }
    return {"anyOf": [bare, {**_object(objects), "minProperties": 1, "maxProperties": 1}]}


def _default(defaults: Any, name: str) -> dict[str, Any]:
    return {"default": defaults[name]} if name in defaults else {}


def _linked(schema: Any) -> Any:
    """``x-family`` as a reference to the spellings of that family."""
    if isinstance(schema, list):
        return [_linked(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "x-family" in schema:
        return {"$ref": f"#/$defs/{schema['x-family']}"}
    return {key: _linked(value) for key, value in schema.items()}
