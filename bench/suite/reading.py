"""The text of a suite -> a Suite, or everything that is wrong with it, each with its line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from bench.errors import PluginError, SuiteError, did_you_mean
from bench.suite.coherence import check, check_primary
from bench.suite.components import Component, Reader
from bench.suite.constraints import show
from bench.suite.document import Document, Place, parse, spell
from bench.suite.model import CONTROLS, LISTS, SETS, Budget, Exclusion, Overrides, Primary, Protocol, Suite, Tuning

if TYPE_CHECKING:
    from bench.registry.registry import Registry


LONGEST_MESSAGE = 1000  # characters


def read_suite(text: str, registry: Registry, *, source: str) -> Suite:
    """Read and check the text of a suite; ``source`` is what messages call its file.

    Raises:
        SuiteError: it is invalid; the text has one entry per problem, with file and line.
        PluginError: nothing is wrong with it but that it names components of broken plugins.
    """
    document = parse(text)
    reading = _Reading(document, Reader(registry))
    suite = reading.suite() if isinstance(document.data, dict) else None
    if not isinstance(document.data, dict) and not document.problems:
        reading.reader.complain((), f"a suite must be a mapping of keys to values (value {show(document.data)})")
    problems = [*document.problems, *reading.reader.problems]
    if problems or suite is None:
        placed = sorted({(problem.line or document.line(problem.place), spell(problem.place), problem.message) for problem in problems})
        lines: list[str] = []
        for line, place, message in placed:
            head, *notes = message.splitlines()
            # A key may be a megabyte of anything; a line of a message is not.
            told = " ".join(f"{f'{place}: ' if place else ''}{head}".splitlines())[:LONGEST_MESSAGE]
            # One cause, such as a broken plugin, is told once however many components miss it.
            lines += [f"{source}:{line}: {told}", *(note for note in notes if note not in lines)]
        kind = PluginError if all(problem.unavailable for problem in problems) else SuiteError
        raise kind("\n".join(lines))
    return suite


class _Reading:
    """One pass over a document: every part is read even where another one is wrong."""

    def __init__(self, document: Document, reader: Reader) -> None:
        self.document = document
        self.reader = reader

    def suite(self) -> Suite | None:
        data = self.document.data
        parts: dict[str, Any] = {"plugins": self._local(data.get("plugins", []))}
        if self.reader.problems:
            return None  # whatever else is wrong may be so for want of them
        self._unknown(data, tuple(Suite.model_fields), ())
        for name in Suite.model_fields:
            if name in data and data[name] is None:
                self.reader.complain((name,), "has no value; give one, or leave the key out")
        parts |= {
            name: data[name]
            for name in ("question", "name", "description", "tuning_record", "seed", "replicates", "design")
            if name in data
        }
        for name, model in (("primary", Primary), ("budget", Budget), ("protocol", Protocol), ("tuning", Tuning)):
            if name in data:
                parts[name] = self._section(model, data[name], (name,))
        parts |= self._families(data, ())
        parts["requires"] = self._required(data.get("requires", []))
        parts["controls"] = self._words(data.get("controls", {}), ("controls",))
        parts["exclude"] = self._exclusions(data.get("exclude", []))
        parts["per_task_distribution"] = self._per_distribution(parts.get("task_distributions", ()))
        for name in LISTS:
            if parts.get(name) == () and name != "gan_losses" and data.get(name) == []:
                self.reader.complain((name,), "must not be empty")
        suite = self._build(Suite, parts, ())
        if isinstance(suite, Suite) and not self.reader.problems and not self.document.problems:
            check(suite, self.reader)
        elif parts.get("primary") is not None:
            self._primary_of(parts)
        return suite if isinstance(suite, Suite) else None

    def _primary_of(self, parts: Mapping[str, Any]) -> None:
        """Mistakes of the primary comparison of a suite in which something else is wrong, too."""
        read = {name: value for name, value in parts.items() if value is not None}
        wrong = {problem.place[0] for problem in (*self.document.problems, *self.reader.problems) if problem.place}
        missing = {name: () for name, part in Suite.model_fields.items() if part.is_required() and name not in read}
        check_primary(Suite.model_construct(**{**missing, **read}), self.reader, wrong={str(name) for name in (*wrong, *missing)})

    # -------------------------------------------------------------- parts
    def _local(self, given: Any) -> tuple[str, ...]:
        """Local plugins, each of which the user must allow and must be usable."""
        if given is None or given == []:
            return ()
        if not isinstance(given, list) or not all(isinstance(name, str) and name for name in given):
            self.reader.complain(("plugins",), f"must be a list of Python files, such as [./my_loss.py] (value {show(given)})")
            return ()
        known = {plugin.file.spelled: plugin for plugin in self.reader.registry.plugins if plugin.file}
        for position, name in enumerate(given):
            if name not in known:
                self.reader.complain(
                    ("plugins", position), f"{name!r} is code that comes with the suite: read it, then allow it with --allow-local-plugins"
                )
            elif known[name].status != "ok":
                plugin = known[name]
                reason = f"local plugin {name!r} is {plugin.status}: {plugin.reason}"
                self.reader.complain(("plugins", position), reason, unavailable=bool(plugin.content_hash))
        return tuple(given)

    def _required(self, given: Any) -> tuple[str, ...]:
        """Distributions of plugins, each of which must be there and usable."""
        if not isinstance(given, list) or not all(isinstance(name, str) and name for name in given):
            self.reader.complain(
                ("requires",), f"must be a list of distributions of plugins, such as [bench-example] (value {show(given)})"
            )
            return ()
        # The best of several plugins of a distribution stands for it.
        known = {plugin.distribution: plugin for plugin in sorted(self.reader.registry.plugins, key=lambda plugin: plugin.status == "ok")}
        for position, name in enumerate(given):
            plugin = known.get(name)
            if plugin is None:
                hint = did_you_mean(name, known)
                self.reader.complain(("requires", position), f"plugin {name!r} is not installed.{hint} Install it: pip install {name}")
            elif plugin.status != "ok":
                reason = f"plugin {name!r} is {plugin.status}: {plugin.reason}"
                self.reader.complain(("requires", position), reason, unavailable=plugin.status != "disabled")
        return tuple(given)

    def _families(self, data: Mapping[str, Any], place: Place) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        for name in (*LISTS, *SETS):
            if name in data:
                read: Callable[..., Any] = self.reader.sets if name in SETS else self.reader.family
                parts[name] = read(name, data[name], (*place, name))
        if "test_on" in data:
            parts["test_on"] = self.reader.family("task_distributions", data["test_on"], (*place, "test_on"))
        if data.get("feature_extractor", "auto") != "auto":
            here = (*place, "feature_extractor")
            found = self.reader.one("feature_extractors", data["feature_extractor"], here)
            if len(found) > 1:
                self.reader.complain(here, "cannot be swept: measures with different features share no column")
            parts["feature_extractor"] = found[0] if found else None
        elif "feature_extractor" in data:
            parts["feature_extractor"] = None
        return parts

    def _per_distribution(self, distributions: tuple[Component, ...]) -> dict[str, Overrides]:
        given = self.document.data.get("per_task_distribution", {})
        place: Place = ("per_task_distribution",)
        if not isinstance(given, dict):
            self.reader.complain(place, f"must be a mapping of task distributions to what differs there (value {show(given)})")
            return {}
        known = [word for component in distributions for word in (component.label, component.name)]
        parts: dict[str, dict[str, Any]] = {}
        for word, changes in given.items():
            here = (*place, word)
            if word not in known and distributions:
                self.reader.complain(here, f"no task distribution of this suite has this name or label.{did_you_mean(word, known)}")
            if not isinstance(changes, dict):
                self.reader.complain(here, f"must be a mapping of suite keys to what differs there (value {show(changes)})")
                continue
            self._unknown(changes, tuple(Overrides.model_fields), here)
            parts[word] = self._families(changes, here)
            for name in LISTS:
                if changes.get(name) == [] and name not in ("gan_losses", "task_distributions"):
                    self.reader.complain((*here, name), "must not be empty")
        resolved = {}
        for component in distributions:
            words = [word for word in dict.fromkeys((component.name, component.label)) if word in parts]  # the label has the last word
            merged = {name: value for word in words for name, value in parts[word].items() if name in Overrides.model_fields}
            for name, model, merge in (("protocol", Protocol, _deeper), ("budget", Budget, _other_axis)):
                whole = self.document.data.get(name, {})
                changing = [word for word in words if name in given[word]]
                for word in changing:
                    whole = merge(whole, given[word][name])
                if changing:
                    merged[name] = self._section(model, whole, (*place, changing[-1], name))
            if merged and None not in [merged.get(name, 0) for name in ("protocol", "budget")]:
                resolved[component.label] = Overrides(**merged)
        return resolved

    def _words(self, given: Any, place: Place) -> dict[str, tuple[str, ...]]:
        """``{control: [labels]}``."""
        if not isinstance(given, dict):
            self.reader.complain(
                place,
                f"must be a mapping of controls to lists of meta-learners, such as {{shuffled-tasks: [reptile]}} (value {show(given)})",
            )
            return {}
        for name in given:
            if name not in CONTROLS:
                self.reader.complain(
                    (*place, name), f"unknown control {name!r}.{did_you_mean(name, CONTROLS)} Known: {', '.join(CONTROLS)}"
                )
        return {name: self._list_of_words(words, (*place, name)) for name, words in given.items() if name in CONTROLS}

    def _exclusions(self, given: Any) -> tuple[Exclusion, ...]:
        place: Place = ("exclude",)
        if not isinstance(given, list):
            self.reader.complain(place, f"must be a list of {{family: names, reason: text}} (value {show(given)})")
            return ()
        found = []
        families = tuple(name for name in (*LISTS, *SETS) if name != "metrics")
        for position, item in enumerate(given):
            here = (*place, position)
            if not isinstance(item, dict):
                self.reader.complain(here, f"must be a mapping {{family: names, reason: text}} (value {show(item)})")
                continue
            self._unknown(item, (*families, "reason"), here)
            reason = item.get("reason")
            if not isinstance(reason, str) or not reason.strip():
                self.reader.complain((*here, "reason"), "needs a reason: it stands beside the cells in every table")
            where = {name: self._list_of_words(words, (*here, name)) for name, words in item.items() if name in families}
            if not where:
                self.reader.complain(here, f"names no family, so it would exclude nothing. Families: {', '.join(families)}")
            found.append(Exclusion(where=where, reason=str(reason)))
        return tuple(found)

    def _list_of_words(self, words: Any, place: Place) -> tuple[str, ...]:
        words = [words] if isinstance(words, str) else words
        if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
            return tuple(words)
        self.reader.complain(place, f"must be a name or a label, or a list of them (value {show(words)})")
        return ()

    # -------------------------------------------------------------- models
    def _unknown(self, data: Mapping[str, Any], known: tuple[str, ...], place: Place) -> None:
        for name in data:
            if name not in known:
                self.reader.complain((*place, name), f"unknown key {name!r}.{did_you_mean(name, known)}\n  Known: {', '.join(known)}")

    def _section(self, model: type[BaseModel], data: Any, place: Place) -> Any:
        try:
            return model.model_validate_json(json.dumps(data))
        except ValidationError as error:
            self._explain(error, model, place)
            return None

    def _build(self, model: type[BaseModel], parts: Mapping[str, Any], place: Place) -> BaseModel | None:
        try:
            return model.model_validate({name: value for name, value in parts.items() if value is not None or name == "feature_extractor"})
        except ValidationError as error:
            self._explain(error, model, place, read={name for name in self.document.data if name in parts and parts[name] is None})
            return None

    def _explain(self, error: ValidationError, model: type[BaseModel], place: Place, read: Set[str] = frozenset()) -> None:
        for one in error.errors(include_url=False):
            here = tuple(part for part in one["loc"] if part != "[key]")
            if one["type"] == "missing" and here[0] in read:
                continue  # it is there, and its own problem has been told
            self.reader.complain((*place, *here), _in_words(one, _known_keys(model, here[:-1])))


def _in_words(error: Any, known: tuple[str, ...]) -> str:
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "extra_forbidden":
        name = str(error["loc"][-1])
        return f"unknown key {name!r}.{did_you_mean(name, known)}\n  Known: {', '.join(known)}"
    if kind == "missing":
        return "is required"
    rules = {
        "greater_than_equal": f"must be >= {context.get('ge')}",
        "int_type": "must be an integer",
        "int_from_float": "must be an integer",
        "string_type": "must be text",
        "string_too_short": "must not be empty",
        "literal_error": f"must be {context.get('expected')}",
        "string_pattern_mismatch": "must be letters, digits, '-', '_' and '.', because it names a folder",
        "tuple_type": "must be a list",
        "too_short": f"must have at least {context.get('min_length')} values",
        "too_long": f"must have at most {context.get('max_length')} values",
        "model_type": f"must be a mapping with {', '.join(known)}",
        "dict_type": "must be a mapping",
        "value_error": str(context.get("error", "")),
    }
    return f"{rules.get(kind, error['msg'])} (value {show(value)})"


def _known_keys(model: type[BaseModel], place: Place) -> tuple[str, ...]:
    for part in place:
        annotation = model.model_fields[part].annotation if isinstance(part, str) and part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return tuple(model.model_fields)


def _deeper(base: Any, changes: Any) -> Any:
    """Mappings are merged key by key, everything else is replaced."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    return {**base, **{name: _deeper(base.get(name), value) for name, value in changes.items()}}


def _other_axis(base: Any, changes: Any) -> Any:
    """Like :func:`_deeper` at the top level; naming an axis replaces the other one, and with it the warm starts in its unit."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    axes = {"gradient_evaluations", "outer_steps"}
    new, old = axes & set(changes), axes & set(base)
    kept = {} if new and old and new != old else base
    return {**kept, **changes}
