"""The architecture as a table: a module imports only from lower layers, and heavy libraries only where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench"
PLUGINS = ROOT / "plugins"

LAYERS = {
    "errors": 0, "seeds": 0, "trees": 0,
    "contracts": 1,
    "hookspecs": 2, "game": 2, "measure": 2, "stats": 2,
    "suite": 3, "registry": 3,
    "grid": 4, "episodes": 4,
    "environment": 5, "store": 5,
    "trial": 6,
    "schedule": 7, "union": 7, "frame": 7,
    "report": 8,
    "audit": 9, "driver": 9, "testing": 9,
    "authoring": 10, "plots": 10,
    "cli": 11,
}  # fmt: skip
"""Layer of each module; equal layers may import each other. ``testing`` is for plugin authors: nothing but ``authoring`` imports it."""

HEAVY = {"ray": {"schedule"}, "matplotlib": {"report", "plots"}}
PUBLIC = ("bench.contracts", "bench.measure", "bench.testing")


def imports(path):
    """(module, is it inside a function or a type-checking block) of every import in a file."""
    tree = ast.parse(path.read_text())
    late = set()
    for node in ast.walk(tree):
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        )
        if lazy:
            late |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) in late
            if node.module == "bench":
                yield from ((f"bench.{alias.name}", id(node) in late) for alias in node.names)


def module_of(path):
    return path.relative_to(BENCH).parts[0].removesuffix(".py")


SOURCES = sorted(path for path in BENCH.rglob("*.py") if path != BENCH / "__init__.py")


def test_every_module_has_a_layer():
    assert {module_of(path) for path in SOURCES} == set(LAYERS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(BENCH)))
def test_imports_point_downwards(path):
    own = module_of(path)
    for name, late in imports(path):
        parts = name.split(".")
        if parts[0] == "bench" and len(parts) > 1 and parts[1] in LAYERS and not (late and own == "contracts"):
            assert LAYERS[parts[1]] <= LAYERS[own], f"{own} (layer {LAYERS[own]}) imports {name} (layer {LAYERS[parts[1]]})"
        assert parts[0] != "bench_builtin", f"{own} imports a concrete component"
        assert own in HEAVY.get(parts[0], {own}), f"{own} imports {parts[0]}"


def allowed_for_plugins(name):
    return not name.startswith("bench.") or name == "bench.hookimpl" or any(name == home or name.startswith(f"{home}.") for home in PUBLIC)


OURS = sorted(path for package in ("bench_builtin", "bench_tensorboard") for path in (PLUGINS / package).rglob("*.py"))


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_built_in_plugins_use_the_public_interface_only(path):
    assert [name for name, _ in imports(path) if not allowed_for_plugins(name)] == []


HARMLESS = (["--help"], ["run", "--help"], ["plugins", "list"], ["validate", str(ROOT / "suites" / "smoke.yaml")])


@pytest.mark.parametrize("command", HARMLESS, ids=lambda command: " ".join(command[:2]))
def test_commands_that_only_read_import_nothing_heavy(command):
    lines = [
        "import sys",
        "from bench.cli import main",
        f"try: main({command!r})",
        "except SystemExit: pass",
        "print(sorted({'torch', 'ray', 'pandas', 'matplotlib'} & set(sys.modules)))",
    ]
    code = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
