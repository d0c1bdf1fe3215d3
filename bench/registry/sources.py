"""What code a component consists of: its module, and what that imports inside its own distribution.

Hashes are taken over the syntax tree, so comments, docstrings and formatting do not count. Nothing is
imported: modules are found on disk and read. Imports by a computed name stay unseen.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution
from pathlib import Path

Roots = Mapping[str, Path]
"""Dotted name of a package or module of a distribution -> its folder or file."""

OWN_PACKAGE = "bench"  # covered by its own hashes, never part of a plugin's


# ------------------------------------------------------------------ syntax
def normalised(source: bytes | str) -> str:
    """The syntax tree of ``source`` as text, without docstrings, comments, positions and formatting.

    Spelt out here because ``ast.dump`` writes the same tree differently in different Python versions.

    Raises:
        SyntaxError: the source is not Python.
    """
    return _spell(ast.parse(source))


def _spell(node: object) -> str:
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if name not in ("ctx", "kind", "type_ignores", "type_comment")}
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _is_text(node.body[:1]):
            fields["body"] = node.body[1:]
        inside = ",".join(f"{name}={_spell(value)}" for name, value in fields.items() if value is not None and value != [])
        return f"{type(node).__name__}({inside})"
    if isinstance(node, list):
        return f"[{','.join(map(_spell, node))}]"
    return repr(node)


def _is_text(body: list[ast.stmt]) -> bool:
    return any(
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str) for first in body
    )


# ------------------------------------------------------------------ files
def roots_of(distribution: Distribution, module: str) -> dict[str, Path]:
    """Top-level packages and modules of ``distribution``, and the package of the entry point's ``module``.

    Works for editable installs, whose file list names no source: packages are then found by their names.
    """
    names = (distribution.read_text("top_level.txt") or "").split()
    names += sorted(
        {
            file.parts[0].removesuffix(".py")
            for file in distribution.files or ()
            if file.suffix == ".py" and not file.name.startswith("__editable__")
        }
    )
    roots: dict[str, Path] = {}
    for name in (module, *names):
        if name.split(".")[0] != OWN_PACKAGE:
            roots.update(_locate(name))
    return roots


def _locate(module: str) -> Iterator[tuple[str, Path]]:
    """The outermost real package (or module file) of a dotted name; namespace packages are passed through."""
    parts = module.split(".")
    try:
        spec = importlib.util.find_spec(parts[0])
    except (ImportError, ValueError, AttributeError):
        return
    for depth in range(1, len(parts) + 1):
        if spec is None:
            return
        if spec.origin and spec.has_location:
            origin = Path(spec.origin)
            yield ".".join(parts[:depth]), origin.parent if spec.submodule_search_locations is not None else origin
            return
        if depth < len(parts):
            spec = importlib.machinery.PathFinder.find_spec(".".join(parts[: depth + 1]), list(spec.submodule_search_locations or ()))


def file_of(module: str, roots: Roots) -> Path | None:
    """The source file of a dotted name inside ``roots``, or None where it is not one of their modules."""
    parts = module.split(".")
    for depth in range(len(parts), 0, -1):
        root = roots.get(".".join(parts[:depth]))
        if root is None:
            continue
        if root.is_file():
            return root if depth == len(parts) and root.suffix == ".py" else None
        inside = root.joinpath(*parts[depth:])
        for candidate in (inside / "__init__.py", inside.with_name(f"{inside.name}.py") if depth < len(parts) else None):
            if candidate is not None and candidate.is_file():
                return candidate
    return None


# ------------------------------------------------------------------ closure
def reached(module: str, roots: Roots) -> dict[str, Path]:
    """``module`` and every module of ``roots`` that it imports, directly or not (also inside functions).

    A package's ``__init__`` counts only where something is taken from it: running it on the way to a
    submodule does not make the submodule depend on its siblings.
    """
    files: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = file_of(name, roots)
        if path is None or name in files:
            continue
        files[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += _imports(ast.parse(path.read_bytes()), package, roots)
    return files


def _imports(tree: ast.Module, package: str, roots: Roots) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                if alias.asname is None:  # binds the outermost package, so anything in between may be used
                    parts = alias.name.split(".")
                    yield from (".".join(parts[:depth]) for depth in range(1, len(parts)))
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            base = (
                ".".join([*above[: len(above) - node.level + 1], *([node.module] if node.module else [])])
                if node.level
                else node.module or ""
            )
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield submodule if file_of(submodule, roots) else base


def source_hash(module: str, roots: Roots, *, extra: str = "") -> str:
    """SHA-256 of the normalised sources that :func:`reached` finds, and of ``extra``.

    Raises:
        FileNotFoundError: ``module`` has no source file inside ``roots``.
    """
    files = reached(module, roots)
    if not files:
        raise FileNotFoundError(f"module {module!r} has no Python source in its distribution")
    return normalised_hash(files.items(), extra=extra)


def normalised_hash(files: Iterable[tuple[str, Path]], *, extra: str = "") -> str:
    """SHA-256 of named source files, normalised; the order of ``files`` does not count."""
    digest = hashlib.sha256(extra.encode())
    for name, path in sorted(files):
        digest.update(f"\n{name}\n{normalised(path.read_bytes())}".encode())
    return digest.hexdigest()
