"""Import one plugin, register it and ask it for its factories; whatever goes wrong becomes one reason.

Runs in a probing process or in a worker, never in the process of a `bench` command.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import TracebackType
from typing import Any

import pluggy

from bench import hookspecs
from bench.contracts import Factory
from bench.errors import ContractError, PluginError, did_you_mean
from bench.registry.global_state import undisturbed
from bench.registry.local import LocalFile, roots_behind
from bench.registry.missing import MissingModule, needs
from bench.registry.tracing import traced

GROUP = "bench"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\+*")
RESERVED = {"feature_extractors": ("auto",)}

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("bench_"))


def load_plugin(entry_point: EntryPoint | LocalFile) -> tuple[Any, dict[str, dict[str, Factory]]]:
    """The plugin object and its factories ``{family: {name: factory}}``.

    Raises:
        PluginError: it cannot be imported, is no valid plugin, or one of its hooks fails; the text is the reason.
    """
    manager, plugin = register(entry_point)
    factories: dict[str, dict[str, Factory]] = {}
    faults: list[str] = []
    for family, hook in hookspecs.FAMILIES.items():
        caller = getattr(manager.hook, hook)
        if not caller.get_hookimpls():
            continue
        try:
            with traced(f"hook {hook} of plugin {entry_point.name}"), undisturbed(lambda parts: "it"):
                answers = caller()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # plugin boundary: sys.exit included
            faults.append(f"{hook}() raised {reason_of(error)}")
            continue
        factories[family] = {}
        for answer in answers:
            fault = _fault(family, answer)
            if fault:
                faults.append(f"{hook}() {fault}")
            else:
                factories[family].update(answer)
    if faults:
        raise PluginError("; ".join(faults))
    return plugin, factories


def register(entry_point: EntryPoint | LocalFile) -> tuple[pluggy.PluginManager, Any]:
    """A manager of its own with this one plugin in it, and the plugin.

    Raises:
        MissingModule: it imports what is not installed.
        PluginError: it cannot be imported or registered, misspells a hook or has none.
    """
    try:
        with traced(f"import of plugin {entry_point.name}, {entry_point.value}"), undisturbed(lambda parts: "importing it"):
            plugin = entry_point.load()
    except KeyboardInterrupt:
        raise
    except ContractError as error:
        raise PluginError(str(error)) from error
    except PluginError:
        raise
    except SystemExit as error:
        raise PluginError(f"called sys.exit({error.code!r}) at import{_spot(error.__traceback__)}") from error
    except BaseException as error:  # plugin boundary
        if isinstance(error, ModuleNotFoundError) and error.name and not _is_own(error.name, entry_point):
            raise MissingModule(needs(error.name, entry_point.dist)) from error
        raise PluginError(f"import failed: {reason_of(error)}") from error
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, name=entry_point.name)
        callers = manager.get_hookcallers(plugin) or []
        for caller in callers:
            if not caller.has_spec():
                raise PluginError(f"unknown hook {caller.name!r}.{did_you_mean(caller.name, HOOKS)}")
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(" ".join(str(error).split())) from error
    undecorated = [name for name in HOOKS if callable(getattr(plugin, name, None)) and name not in {caller.name for caller in callers}]
    if undecorated:
        raise PluginError(f"{', '.join(undecorated)} is not decorated with @hookimpl (from bench import hookimpl)")
    if not callers:
        raise PluginError("has no hooks: define bench_networks, bench_metrics or another one, decorated with @hookimpl")
    return manager, plugin


def _is_own(module: str, entry_point: EntryPoint | LocalFile) -> bool:
    """Whether a module that cannot be found ought to be part of the plugin itself, or of bench."""
    roots = roots_behind(entry_point)
    return module.partition(".")[0] in ("bench", entry_point.module.partition(".")[0], *(name.partition(".")[0] for name in roots))


def _fault(family: str, answer: Any) -> str:
    """What is wrong with the answer of a component hook, or an empty string."""
    if not isinstance(answer, Mapping):
        return f"must return a mapping of names to factories, got {type(answer).__name__}"
    for name, factory in answer.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            return f"returned the name {name!r}: a name is letters, digits, '-', '_' and '.', and may end in '+'"
        if name in RESERVED.get(family, ()):
            return f"returned the name {name!r}, which suites reserve"
        if not callable(factory):
            return f"returned for {name!r} a {type(factory).__name__}, which is no factory: give the class or a function"
    return ""


def reason_of(error: BaseException) -> str:
    """One line: type, first line of the text, and the last file and line of the plugin."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}{f': {first}' if first else ''}{_spot(error.__traceback__)}"


def _spot(trace: TracebackType | None) -> str:
    """`` (package/file.py:3)``: relative, because records hold no absolute paths."""
    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith("<frozen")
        and Path(frame.filename).name not in ("loading.py", "_callers.py", "_hooks.py", "_manager.py")
    ]
    frames = [frame for frame in frames if "importlib" not in Path(frame.filename).parts]
    if not frames:
        return ""
    path = Path(frames[-1].filename)
    return f" ({path.parent.name}/{path.name}:{frames[-1].lineno})"
