"""Local plugins: Python files that a suite names (``plugins: [./my_loss.py]``), for a first experiment without a package.

Their code comes with a suite, so commands load it only where the user allows it. A file is imported under its own name, the modules
beside it within reach but behind everything that is installed: it can hide nothing of others, and nothing of others may hide it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, ClassVar

from bench.errors import PluginError
from bench.registry.sources import reached, roots_of

VERSION = "local"
"""Stands for the version of a distribution, which a file has not."""


@dataclass(frozen=True)
class LocalFile:
    """What a file has in place of an entry point.

    Attributes:
        spelled: as the suite names it, from the suite's folder; the only form that records hold.
        path: where it lies on this machine.
        content: hash of the code that a run was planned with; '' where any will do.
    """

    spelled: str
    path: Path
    content: str = ""

    dist: ClassVar[Distribution | None] = None
    extras: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """Of the plugin, and of its module."""
        return self.path.stem

    value = module = name

    @property
    def fault(self) -> str:
        """Why it cannot be a plugin, from its place alone; '' where it may."""
        if PurePosixPath(self.spelled).is_absolute() or self.spelled.startswith("~") or "\\" in self.spelled:
            return "its place must be given from the suite's folder, such as ./my_loss.py"
        if self.path.suffix != ".py" or not self.name.isidentifier():
            return "it must be a Python file named like a module: letters, digits and _, such as ./my_loss.py"
        return "" if self.path.is_file() else "there is no such file; its place is taken from the suite's folder"

    def roots(self) -> dict[str, Path]:
        """The file, and what it imports of the modules and packages beside it, by name."""
        beside: dict[str, tuple[int, Path]] = {}
        for path in self.path.parent.iterdir():
            rank = 2 if path.joinpath("__init__.py").is_file() else 1 if path.suffix == ".py" else 0  # which one Python takes
            if (rank or path.is_dir()) and path.stem.isidentifier() and rank >= beside.get(path.stem, (0, path))[0]:
                beside[path.stem] = rank, path
        modules = {name: path for name, (_, path) in beside.items()} | {self.name: self.path}
        try:
            used = {name.partition(".")[0] for name in reached(self.name, modules)}
        except (SyntaxError, ValueError):  # importing it will say so
            used = {self.name}
        return {name: modules[name] for name in sorted(used)}

    def load(self) -> ModuleType:
        """Import the file as it is now.

        Raises:
            PluginError: it, or a module beside it, is hidden by an installed module of its name.
        """
        own = self.roots()
        if str(self.path.parent) not in sys.path:
            sys.path.append(str(self.path.parent))
        for name in [name for name, module in sys.modules.items() if _lies_in(module, own.values())]:
            del sys.modules[name]  # of an earlier version
        importlib.invalidate_caches()
        for name, path in own.items():
            if not _leads_to(name, path):
                raise PluginError(f"{path.name} has the name of another module that is installed or loaded: rename it")
        return importlib.import_module(self.name)

    def to_dict(self) -> dict[str, str]:
        """JSON form, as it travels to a worker."""
        return {**asdict(self), "path": str(self.path)}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> LocalFile:
        """Inverse of :meth:`to_dict`."""
        return cls(data["spelled"], Path(data["path"]), data.get("content", ""))


def _lies_in(module: ModuleType, places: Iterable[Path]) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and any(Path(file).is_relative_to(place) for place in places)


def _leads_to(name: str, path: Path) -> bool:
    """Whether ``import name`` takes what lies at ``path``."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = spec.submodule_search_locations or [spec.origin or ""]
    return any(Path(place).exists() and path.samefile(place) for place in places)


def roots_behind(point: EntryPoint | LocalFile) -> dict[str, Path]:
    """Packages and modules of an entry point's distribution, or of a local file, by name."""
    if isinstance(point, LocalFile):
        return point.roots()
    return roots_of(point.dist, point.module) if point.dist else {}


def local_files(suite: Path) -> tuple[LocalFile, ...]:
    """The files that the suite at ``suite`` names, whatever else is wrong with it; none where it cannot be read."""
    from bench.suite.document import parse

    try:
        data: Any = parse(suite.read_text(encoding="utf-8-sig")).data
    except (OSError, UnicodeDecodeError):
        return ()
    named = data.get("plugins") if isinstance(data, dict) else None
    texts = [one for one in named if isinstance(one, str) and one] if isinstance(named, list) else []
    return tuple(LocalFile(text, Path(suite.parent, text).resolve()) for text in dict.fromkeys(texts))
