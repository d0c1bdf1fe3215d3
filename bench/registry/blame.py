"""Which component is behind an exception or a change of shared state, in the words of the suite that uses it."""

from __future__ import annotations

import ast
import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from bench.registry.plugins import NOUNS, OWN_DISTRIBUTION, ComponentInfo
from bench.registry.registry import Registry
from bench.registry.sources import reached
from bench.suite.components import Component

if TYPE_CHECKING:
    from bench.registry.global_state import Part


_ENGINE = [Path(__file__).parents[1] / "game" / name for name in ("engine.py", "regularised.py")]


@dataclass(frozen=True)
class Suspect:
    """A component that took part.

    Attributes:
        label: as the suite spells it.
        files: its module, and what that imports inside its distribution, by name.
    """

    info: ComponentInfo
    label: str
    files: dict[str, Path]

    def __str__(self) -> str:
        return f"{NOUNS[self.info.family]} {self.label!r} of plugin {self.info.plugin} ({self.info.distribution} {self.info.version})"

    def owns(self, frame: FrameType) -> bool:
        """Whether a frame runs a method of its class."""
        cls = type(frame.f_locals.get("self"))
        return (cls.__module__, cls.__qualname__) == (self.info.module, self.info.qualname)


def suspects(components: Iterable[Component], registry: Registry) -> list[Suspect]:
    """The components, and those that their hyperparameters name."""
    found: dict[tuple[str, str], Suspect] = {}
    for component in components:
        info = registry.component(component.family, component.name)
        given = {**info.defaults, **component.parameters}
        for one, label in ((info, component.label), *((inner, inner.name) for inner in registry.nested(info, given))):
            found.setdefault((one.family, label), Suspect(one, label, reached(one.module, registry.plugin_of(one).roots)))
    return list(found.values())


def raised_by(error: BaseException, those: Sequence[Suspect]) -> str:
    """``GAN loss 'soft' of plugin soft (bench-soft 0.1), bench_soft/loss.py:12``; '' where no code of theirs was running.

    The innermost frame decides: of a wrapper and what it wraps, the wrapped one where it is at fault.
    """
    for frame, line in _frames(error):
        path = Path(frame.f_code.co_filename)
        ranked = (
            [one for one in those if one.owns(frame)],
            [one for one in those if one.files.get(one.info.module) == path],
            [one for one in those if path in one.files.values()],
        )
        owners = next((found for found in ranked if found), [])
        if owners:
            return f"{' or '.join(map(str, owners))}, {path.parent.name}/{path.name}:{line}"
        if path in _ENGINE:  # it refuses what a component has answered, or what another one than its caller did
            return ""
    return ""


def changed_by(parts: Sequence[Part], those: Sequence[Suspect]) -> str:
    """The components whose code names what changes these parts, with the places; without such code, all that are not built in."""
    words = re.compile("|".join(part.words for part in parts))
    foreign = [one for one in those if one.info.distribution != OWN_DISTRIBUTION]
    for group in (foreign, those):
        named = {str(one): places for one in group if (places := _mentions(one, words))}
        if named:
            return "; ".join(f"{name} ({', '.join(places)})" for name, places in named.items())
    return " or ".join(map(str, foreign or those))


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Frames of an exception and of its causes, the innermost of the first cause first."""
    chain: list[BaseException] = []
    while error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__ or error
    for one in reversed(chain):
        yield from reversed(list(traceback.walk_tb(one.__traceback__)))


def _mentions(one: Suspect, words: re.Pattern[str]) -> list[str]:
    """``loss.py:12`` for each line of its class that has such a name; else of its module, and of what that imports."""
    trees = {path: ast.parse(path.read_bytes()) for path in one.files.values()}
    own = one.info.qualname.partition(".")[0]
    classes = [(path, node) for path, tree in trees.items() for node in tree.body if getattr(node, "name", "") == own]
    for group in (classes, list(trees.items())):
        lines = {(path.name, line) for path, tree in group for line in _lines(tree, words)}
        if lines:
            return [f"{name}:{line}" for name, line in sorted(lines)]
    return []


def _lines(tree: ast.AST, words: re.Pattern[str]) -> Iterator[int]:
    for node in ast.walk(tree):
        name = {ast.Attribute: "attr", ast.Name: "id", ast.alias: "name"}.get(type(node), "")
        if name and words.search(getattr(node, name)):
            yield getattr(node, "lineno", 0)
