"""What is published: wheel and sdist hold the packages whole and nothing else, and the tutorial of plugins works from the wheel alone.

`pytest -m wheel` makes an environment that has the built wheel and sees, of this one, the dependencies only.
"""

import ast
import email
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bench

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "plugins" / "example"
PACKAGES = {"bench": "bench", "bench_builtin": "plugins/bench_builtin", "bench_tensorboard": "plugins/bench_tensorboard"}
"""Package -> its folder in the source tree."""
LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "build", "dist", "results")
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
NEW = """
from pathlib import Path
from bench.authoring.scaffold import KINDS, new_plugin
from bench.registry.registry import discover
registry = discover()
print(*(new_plugin(f"fresh-{kind}", kind, Path("plugins"), registry) for kind in KINDS))
"""


def call(*command, cwd, env=None):
    """Its output; what it said is in the failure otherwise."""
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An sdist of a copy of this tree, and a wheel of the sdist."""
    folder = tmp_path_factory.mktemp("build")
    tree, made = folder / "tree", folder / "made"
    shutil.copytree(ROOT, tree, ignore=LEFTOVERS)
    made.mkdir()
    call(sys.executable, "-c", BUILD, "build_sdist", made, cwd=tree)
    (archive,) = made.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        sdist.extractall(folder / "unpacked", filter="data")
        members = {name for member in sdist if member.isfile() for name in [member.name.partition("/")[2]]}
    (unpacked,) = (folder / "unpacked").iterdir()
    call(sys.executable, "-c", BUILD, "build_wheel", made, cwd=unpacked)
    (wheel,) = made.glob("*.whl")
    return SimpleNamespace(tree=tree, sdist=members, wheel=wheel)


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def metadata(wheel):
    with zipfile.ZipFile(wheel) as content:
        (name,) = (name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(content.read(name))


# ------------------------------------------------------------------ what is in them
def test_the_wheel_holds_its_packages_whole_and_nothing_else(built):
    names = {name for name in zipfile.ZipFile(built.wheel).namelist() if ".dist-info/" not in name}
    assert names == {f"{package}/{name}" for package, folder in PACKAGES.items() for name in files(built.tree / folder)}
    assert "bench/py.typed" in names


def test_the_sdist_holds_the_packages_and_what_builds_them(built):
    sources = {f"{folder}/{name}" for folder in PACKAGES.values() for name in files(built.tree / folder)}
    others = {name for name in built.sdist - sources if ".egg-info/" not in name}
    assert sources <= built.sdist
    assert others == {"LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}


def test_its_description_is_the_readme(built):
    about = metadata(built.wheel)
    assert about["Description-Content-Type"] == "text/markdown"
    assert about.get_payload(decode=True).decode().strip() == built.tree.joinpath("README.md").read_text().strip()
    assert about["License-Expression"] == "MIT"


def test_its_entry_points_lead_to_modules_that_it_has(built):
    stated = tomllib.loads(built.tree.joinpath("pyproject.toml").read_text())["project"]
    names = set(zipfile.ZipFile(built.wheel).namelist())
    for target in [*stated["entry-points"]["bench"].values(), *stated["scripts"].values()]:
        module = target.partition(":")[0].replace(".", "/")
        assert {f"{module}.py", f"{module}/__init__.py"} & names, target


def imported(tree):
    """Top-level names of what the packages import, at any depth of their code."""
    for path in (path for folder in PACKAGES.values() for path in (tree / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]
            elif (
                isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module" and isinstance(node.args[0], ast.Constant)
            ):
                yield node.args[0].value.partition(".")[0]


def test_what_is_imported_is_required_and_what_is_required_is_imported(built):
    homes = importlib.metadata.packages_distributions()
    others = set(imported(built.tree)) - set(sys.stdlib_module_names) - set(PACKAGES)
    needed = {canonicalize_name(homes.get(name, [name])[0]) for name in others}
    required = [Requirement(line) for line in metadata(built.wheel).get_all("Requires-Dist")]
    always = {canonicalize_name(one.name) for one in required if one.marker is None}
    assert always <= needed
    assert needed <= {canonicalize_name(one.name) for one in required}


# ------------------------------------------------------------------ the tutorial, from the wheel alone
@pytest.fixture(scope="module")
def clean(built, tmp_path_factory):
    """An environment of its own: ``python`` in it, and ``env`` for commands, outside of this tree."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", built.wheel, cwd=folder)
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "venv")}))
    dependencies = folder / "dependencies"
    dependencies.mkdir()
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(place).iterdir():
            if not entry.name.startswith(("metagan_bench", "__editable__")):
                dependencies.joinpath(entry.name).symlink_to(entry)
    own.joinpath("dependencies.pth").write_text(f"{dependencies}\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "PYTHON", "VIRTUAL_ENV"))}
    env |= {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    env |= {"BENCH_CACHE_DIR": str(folder / "cache"), "BENCH_CONFIG_DIR": str(folder / "config")}
    return SimpleNamespace(folder=folder, python=python, env=env, own=own)


@pytest.fixture(scope="module")
def written(clean):
    """A new plugin of every kind: {kind: folder}."""
    said = call(clean.python, "-c", NEW, cwd=clean.folder, env=clean.env)
    return {Path(name).name.removeprefix("bench-fresh-"): clean.folder / name for name in said.split()}


@pytest.fixture(scope="module")
def installed(clean, written):
    """The example, and new plugins of some kinds beside it: their folders."""
    example = shutil.copytree(EXAMPLE, clean.folder / "bench-example", ignore=LEFTOVERS)
    folders = [example, *(written[kind] for kind in ("gan-loss", "reporter", "observer"))]
    flags = ["--no-deps", "--no-index", "--no-build-isolation"]
    call(clean.python, "-m", "pip", "install", *flags, *folders, cwd=clean.folder, env=clean.env)
    return folders


@pytest.mark.wheel
def test_bench_is_that_of_the_wheel(clean):
    places = call(
        clean.python, "-c", "import bench, bench_builtin; print(bench.__file__, bench_builtin.__file__)", cwd=clean.folder, env=clean.env
    )
    assert all(Path(place).is_relative_to(clean.own) for place in places.split())


@pytest.mark.wheel
def test_every_plugin_is_listed_whole(clean, installed):
    plugins = {one["name"]: one for one in json.loads(call("bench", "plugins", "list", "--json", cwd=clean.folder, env=clean.env))}
    for name in ("builtin", "tensorboard", *(folder.name.removeprefix("bench-") for folder in installed)):
        assert (plugins[name]["status"], plugins[name]["broken"]) == ("ok", []), name


@pytest.mark.wheel
def test_their_own_tests_pass(clean, installed):
    tests = [folder / "tests" for folder in installed]
    said = call(clean.python, "-m", "pytest", "-q", "--import-mode=importlib", "--rootdir", ".", *tests, cwd=clean.folder, env=clean.env)
    assert re.search(r"\d+ passed", said)


@pytest.mark.wheel
def test_the_public_interface_is_typed(clean, written, installed):
    modules = [module for folder in written.values() for module in folder.glob("bench_*.py")]
    said = call(clean.python, "-m", "mypy", "--strict", *modules, installed[0] / "bench_example", cwd=clean.folder, env=clean.env)
    assert f"no issues found in {len(modules) + 4} source files" in said


@pytest.mark.wheel
@pytest.mark.parametrize("how", [("--executor", "inline"), ("--jobs", "2")], ids=["inline", "ray"])
def test_a_suite_uses_them(clean, installed, how):
    results = clean.folder / f"results{how[0]}"
    call("bench", "run", installed[0] / "suite.yaml", *how, "--output", results, cwd=clean.folder, env=clean.env)
    frame = bench.load_results(results)
    assert set(frame.arm) == {"minibatch-prox", "reptile"}
    assert set(frame.status) == {"ok"}
    assert 'id="reporter-fresh-reporter"' in results.joinpath("report.html").read_text()


@pytest.mark.wheel
def test_a_plugin_is_certified(clean, installed):
    call("bench", "plugins", "check", "bench-fresh-gan-loss", "--output", "certificate.json", cwd=clean.folder, env=clean.env)
    certificate = json.loads(clean.folder.joinpath("certificate.json").read_text())
    assert certificate["passed"]
    assert not certificate["editable"]
