"""A complete distribution for a new plugin: one module, its contract tests, a suite, a README, continuous integration.

What it writes installs with pip, passes its tests and runs its suite as it is; the author replaces the mathematics.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import keyword
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError, did_you_mean
from bench.registry.registry import NOUNS, Registry

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""Names that are at once a normalised distribution, a module (with _ for -), a class (in capitals) and a word of a suite."""

FAMILIES: Mapping[str, str] = {noun.lower().replace(" ", "-"): family for family, noun in NOUNS.items()}
"""Kind of a component on the command line -> family: ``gan-loss`` -> ``gan_losses``."""

OBSERVER = "observer"
KINDS = (*FAMILIES, OBSERVER)
"""What can be written: components, and the one kind of plugin that offers none."""


@dataclass(frozen=True)
class Author:
    """The names of one new plugin, all made from that of its component.

    Attributes:
        name: of the component and of the entry point, ``soft-hinge``.
        kind: one of :data:`KINDS`.
    """

    name: str
    kind: str

    @property
    def distribution(self) -> str:
        """``bench-soft-hinge``."""
        return f"bench-{self.name}"

    @property
    def module(self) -> str:
        """``bench_soft_hinge``."""
        return self.distribution.replace("-", "_")

    @property
    def component(self) -> str:
        """The class, ``SoftHinge``."""
        return "".join(word.capitalize() for word in self.name.split("-"))

    @property
    def family(self) -> str:
        """The suite's key, ``gan_losses``; empty for an observer."""
        return FAMILIES.get(self.kind, "")

    @property
    def noun(self) -> str:
        """What sentences call it, ``GAN loss``."""
        return NOUNS.get(self.family, self.kind)

    @property
    def setting(self) -> str:
        """The environment variable that switches an observer on, ``BENCH_SOFT_HINGE``."""
        return self.module.upper()

    @property
    def files(self) -> dict[str, str]:
        """Path inside the distribution -> template."""
        return {
            "pyproject.toml": "pyproject.toml.j2",
            "README.md": "README.md.j2",
            "suite.yaml": "suite.yaml.j2",
            ".gitignore": "gitignore.j2",
            ".github/workflows/test.yml": "test.yml.j2",
            f"{self.module}.py": f"kinds/{self.kind}.py.j2",
            f"tests/test_{self.module}.py": f"kinds/test_{self.kind}.py.j2",
        }


def new_plugin(name: str, kind: str, folder: Path, registry: Registry) -> Path:
    """Write a distribution with one component and return its folder, ``folder / "bench-<name>"``.

    Args:
        name: of the component; a leading ``bench-`` is that of the distribution and dropped.
        kind: one of :data:`KINDS`.
        folder: in which the distribution's own folder is made.
        registry: the installed plugins, whose names are taken.

    Raises:
        UsageError: the kind is unknown, the name is no name or is taken, or there is something at the place already.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown kind {kind!r}.{did_you_mean(kind, KINDS)} Known: {', '.join(KINDS)}")
    author = Author(name.removeprefix("bench-"), kind)
    _check(author, name, registry)
    place = folder / author.distribution
    if place.exists() or place.is_symlink():
        raise UsageError(f"{place} exists, and nothing is ever overwritten: choose another name, or another folder with --output")
    written = rendered(author)
    _check_component(author, written)
    for path, text in written.items():
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return place


def rendered(author: Author) -> dict[str, str]:
    """Path inside the distribution -> text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.authoring"), undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    facts = {"author": author, "bench": importlib.metadata.version("metagan-bench")}
    return {path: environment.get_template(template).render(facts) for path, template in author.files.items()}


def _check(author: Author, given: str, registry: Registry) -> None:
    """Refuse a name that cannot be used, or is used already.

    Raises:
        UsageError: so it is; the text says by whom.
    """
    if not NAME.fullmatch(author.name):
        raise UsageError(
            f"{given!r} is no name for a plugin: use small letters and digits in words joined by '-', a letter first, such as soft-hinge"
        )
    if author.family and author.name in registry.names(author.family):
        origin = registry.component(author.family, author.name).origin
        raise UsageError(f"there is a {author.noun} {author.name!r} already, from {origin}: choose another name")
    taken = {plugin.name for plugin in registry.plugins} | {plugin.distribution for plugin in registry.plugins}
    if author.name in taken or author.distribution in taken or _installed(author.distribution):
        raise UsageError(f"a distribution {author.distribution!r} or a plugin {author.name!r} is installed: choose another name")
    if importlib.util.find_spec(author.module) is not None:
        raise UsageError(f"a module {author.module!r} can be imported already: choose another name")


def _check_component(author: Author, written: Mapping[str, str]) -> None:
    """Refuse a name whose class would be no name in Python, or hide another one in the files that are written.

    Raises:
        UsageError: it does.
    """
    if keyword.iskeyword(author.component):
        raise UsageError(f"{author.name!r} would name a class {author.component!r}, a word of Python: choose another name")
    for path, text in written.items():
        if path.endswith(".py") and _bound(text)[author.component] > 1:
            raise UsageError(f"{author.name!r} would name a class {author.component!r}, which {path} has already: choose another name")


def _bound(source: str) -> Counter[str]:
    """How often each name is bound in a module by imports, classes and assignments, at any depth."""
    names: Counter[str] = Counter()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.ClassDef):
            names[node.name] += 1
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
