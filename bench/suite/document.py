"""YAML text -> plain data with the line of every key. Nothing is ever executed or constructed.

Scalars follow the YAML 1.2 core schema, so ``1e-3`` is a number and ``no`` is text (PyYAML alone reads 1.1).
Source: YAML 1.2.2, section 10.3, https://yaml.org/spec/1.2.2/#103-core-schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

Place = tuple[str | int, ...]
"""Keys and list positions from the top of a document."""

MOST_VALUES = 20_000  # a suite of 1,000 components stays below; an alias bomb does not
DEEPEST = 40

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where; ``unavailable`` says that a broken plugin is to blame, not the file."""

    place: Place
    message: str
    line: int = 0
    unavailable: bool = False


@dataclass(frozen=True)
class Document:
    """Plain data (dict, list, str, int, float, bool, None), lines by place, and what was wrong with the text itself."""

    data: Any
    lines: Mapping[Place, int]
    problems: tuple[Problem, ...]

    def line(self, place: Place) -> int:
        """Line of ``place``, or of the nearest key above it that the text contains."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def spell(place: Place) -> str:
    """``("gan_losses", 1)`` -> ``gan_losses[1]``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


class _RefusedError(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Composes nodes, and stops as soon as there are too many or they lie too deep: a hostile megabyte would take a minute."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}  # type: ignore[misc]

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        self._depth += 1
        if self._nodes > 2 * MOST_VALUES or self._depth > DEEPEST + 2:  # keys are nodes, too
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise _too_many(line) if self._nodes > 2 * MOST_VALUES else _too_deep(line)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _kind, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+(?:_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(_pattern), _first)


def _too_many(line: int) -> _RefusedError:
    return _RefusedError(line, f"more than {MOST_VALUES:,} values once aliases are expanded: refused")


def _too_deep(line: int) -> _RefusedError:
    return _RefusedError(line, f"nested more than {DEEPEST} levels deep: refused")


class _Builder:
    """Turns composed nodes into data; aliases are expanded here, so their growth is counted here."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {(): 1}
        self.problems: list[Problem] = []
        self.values = 0

    def build(self, node: yaml.Node, place: Place = (), above: tuple[int, ...] = ()) -> Any:
        line = node.start_mark.line + 1
        self.values += 1
        if id(node) in above:
            raise _RefusedError(line, "an alias refers to the value that contains it")
        if self.values > MOST_VALUES:
            raise _too_many(line)
        if len(above) > DEEPEST:
            raise _too_deep(line)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, place, (*above, id(node)))
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            items = []
            for position, item in enumerate(node.value):
                self.lines[(*place, position)] = item.start_mark.line + 1
                items.append(self.build(item, (*place, position), (*above, id(node))))
            return items
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place, line)
        return self._complain(place, line, f"the tag {node.tag.replace(_TAG, '!!')[:60]!r} is not allowed: write plain YAML")

    def _mapping(self, node: yaml.MappingNode, place: Place, above: tuple[int, ...]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(place, line, "a key must be text")
                continue
            key = str(key_node.value)
            here = (*place, key)
            if key_node.tag != f"{_TAG}str":
                self._complain(here, line, f"a key must be text: put quotes around {key!r}")
            elif key == "<<":
                self._complain(here, line, "merge keys ('<<') are not supported: repeat the values, or use a plain alias")
            elif key in data:
                self._complain(here, line, f"the key {key!r} appears twice, first in line {self.lines[here]}")
            else:
                self.lines[here] = line
                data[key] = self.build(value_node, here, above)
        return data

    def _scalar(self, node: yaml.ScalarNode, place: Place, line: int) -> Any:
        text = str(node.value)
        kind = node.tag.removeprefix(_TAG)
        try:
            if kind == "str":
                return text
            if kind == "null":
                return None
            if kind == "bool":
                return {"true": True, "false": False}[text.lower()]
            if kind == "int":
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            if kind == "float":
                number = float(text.replace(".inf", "inf").replace(".nan", "nan").lower())
                return number if math.isfinite(number) else self._complain(place, line, f"a number must be finite (value {text})")
        except (ValueError, KeyError):
            return self._complain(place, line, f"not a value of the tag !!{kind} (value {text[:40]!r})")
        return self._complain(place, line, f"the tag {node.tag.replace(_TAG, '!!')[:60]!r} is not allowed: write plain YAML")

    def _complain(self, place: Place, line: int, message: str) -> None:
        self.problems.append(Problem(place, message, line))


def parse(text: str) -> Document:
    """Read one YAML document; what is wrong with it stands in ``problems`` (``data`` is None where nothing can be read)."""
    builder = _Builder()
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            return Document(None, {(): 1}, (Problem((), "the file is empty", 1),))
        data = builder.build(node)
    except _RefusedError as refused:
        return Document(None, {(): 1}, (Problem((), str(refused), refused.line),))
    except RecursionError:
        return Document(None, {(): 1}, (Problem((), f"nested more than {DEEPEST} levels deep: refused", 1),))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        details = " ".join(part for part in (error.context, error.problem) if part)
        return Document(None, {(): 1}, (Problem((), f"not valid YAML: {details}", mark.line + 1 if mark else 1),))
    except yaml.reader.ReaderError as error:
        return Document(None, {(): 1}, (Problem((), f"not valid YAML: {error.reason}", text.count("\n", 0, error.position) + 1),))
    return Document(data, builder.lines, tuple(builder.problems))
