"""`bench plugins new`: what it writes installs, passes its tests and is listed at once; nothing is overwritten, no name taken twice."""

import ast
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from plugins_fixture import installed, put_in

from bench.authoring.scaffold import FAMILIES, KINDS, OBSERVER, Author, new_plugin, rendered
from bench.cli import main
from bench.errors import UsageError
from bench.hookspecs import FAMILIES as HOOKS
from bench.registry import probing
from bench.registry.registry import discover
from bench.suite.model import load_suite
from bench.testing import small_outcomes

EXAMPLE = Path(__file__).parent.parent / "plugins" / "example" / "bench_example"


@pytest.fixture(scope="module")
def registry():
    return discover()


@pytest.fixture(scope="module")
def written(registry, tmp_path_factory):
    """One new plugin of every kind."""
    folder = tmp_path_factory.mktemp("plugins")
    return {kind: new_plugin(f"fresh-{kind}", kind, folder, registry) for kind in KINDS}


@pytest.fixture(scope="module")
def listed(written, tmp_path_factory):
    """What is installed once all of them are."""
    site = tmp_path_factory.mktemp("site")
    for folder in written.values():
        put_in(site, folder)
    with installed(site, probing.cache_folder()):
        yield discover()


def lines_of_python(source):
    """Without docstrings, comments and empty lines."""
    documented = [
        range(node.body[0].lineno, node.body[0].end_lineno + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    ]
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and not any(number in lines for lines in documented)
        for number, line in enumerate(source.splitlines(), 1)
    )


def test_there_is_a_kind_for_every_family_and_one_for_observers():
    assert set(FAMILIES.values()) == set(HOOKS)
    assert {"meta-learner", "gan-loss", "task-distribution", "network", "metric"} <= set(KINDS)
    assert set(KINDS) - set(FAMILIES) == {OBSERVER}


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_new_plugin_is_listed_at_once_and_whole(listed, kind):
    (plugin,) = (one for one in listed.plugins if one.name == f"fresh-{kind}")
    assert (plugin.status, plugin.reason, plugin.broken) == ("ok", "", {})
    (component,) = plugin.components
    assert (component.family, component.name) == (FAMILIES[kind], f"fresh-{kind}")
    assert component.doc


def test_a_new_observer_is_listed_and_told(listed, tmp_path, monkeypatch):
    (plugin,) = (one for one in listed.plugins if one.name == "fresh-observer")
    assert (plugin.status, plugin.components, plugin.observers) == ("ok", (), ("bench_trial_finished",))
    monkeypatch.setenv("BENCH_FRESH_OBSERVER", str(tmp_path / "told"))
    outcome, *_ = small_outcomes()
    listed.observe("bench_trial_finished", **outcome)
    assert json.loads(tmp_path.joinpath("told").read_text())["measurements"] == len(outcome["measurements"]["value"])


@pytest.mark.parametrize("kind", KINDS)
def test_its_suite_is_valid_and_names_it(listed, written, kind):
    suite = load_suite(written[kind] / "suite.yaml", listed)
    assert f"fresh-{kind}" in str(suite.to_dict())


LIMITS = {"gan-loss": 30, "meta-learner": 60, "task-distribution": 60}
"""Lines of Python, besides docstrings and comments, that a plugin of a kind may need."""


@pytest.mark.parametrize("kind", LIMITS)
def test_a_plugin_is_short(written, kind):
    (module,) = written[kind].glob("bench_*.py")
    assert lines_of_python(module.read_text()) <= LIMITS[kind]


@pytest.mark.parametrize(
    ("module", "kind"), [("f_gan", "gan-loss"), ("minibatch_prox", "meta-learner"), ("checkerboards", "task-distribution")]
)
def test_a_component_of_the_example_is_short(module, kind):
    assert lines_of_python((EXAMPLE / f"{module}.py").read_text()) <= LIMITS[kind]


def test_the_tests_of_all_of_them_pass(written):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, written.values()), *filter(None, sys.path)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-W", "error"]
    folder = next(iter(written.values())).parent
    tests = [str(one / "tests") for one in written.values()]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), *tests], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]


def builds_wheels():
    return importlib.util.find_spec("setuptools") is not None and int(importlib.metadata.version("setuptools").split(".")[0]) >= 77


@pytest.mark.skipif(not builds_wheels(), reason="pip would have to download setuptools>=77 to build a wheel")
def test_pip_installs_it(written, tmp_path):
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *flags, str(written["gan-loss"])], check=True, capture_output=True)
    (distribution,) = importlib.metadata.distributions(name="bench-fresh-gan-loss", path=[str(tmp_path)])
    (point,) = distribution.entry_points.select(group="bench")
    assert (point.name, point.value) == ("fresh-gan-loss", "bench_fresh_gan_loss")
    assert any("metagan-bench" in one for one in distribution.requires)
    assert (tmp_path / "bench_fresh_gan_loss.py").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_the_continuous_integration_tests_runs_and_checks_it(kind):
    workflow = yaml.safe_load(rendered(Author("soft-hinge", kind))[".github/workflows/test.yml"])
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python-version"] == ["3.11", "3.12"]
    assert job["steps"][1]["with"]["python-version"] == "${{ matrix.python-version }}"
    commands = [step["run"].partition(" --")[0] for step in job["steps"] if "run" in step]
    assert commands == ["pip install -e '.[test]'", "pytest", "bench run suite.yaml", "bench plugins check bench-soft-hinge"]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Soft Hinge", "gan-loss", "'Soft Hinge' is no name for a plugin: use small letters"),
        ("2d", "gan-loss", "a letter first"),
        ("../up", "gan-loss", "is no name for a plugin"),
        ("bench-", "gan-loss", "is no name for a plugin"),
        ("hinge", "gan-loss", "there is a GAN loss 'hinge' already, from builtin"),
        ("bench-hinge", "gan-loss", "there is a GAN loss 'hinge' already"),
        ("builtin", "gan-loss", "a plugin 'builtin' is installed"),
        ("none", "gan-loss", "would name a class 'None', a word of Python"),
        ("tensor", "gan-loss", "would name a class 'Tensor', which bench_tensor.py has already"),
        ("constant", "game", "would name a class 'Constant', which tests/test_bench_constant.py has already"),
        ("soft", "gan-los", "unknown kind 'gan-los'. Did you mean 'gan-loss'?"),
    ],
)
def test_a_name_that_is_none_or_taken_is_refused(registry, tmp_path, name, kind, message):
    with pytest.raises(UsageError) as caught:
        new_plugin(name, kind, tmp_path, registry)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_never_overwritten(registry, tmp_path):
    tmp_path.joinpath("bench-soft").mkdir()
    with pytest.raises(UsageError, match="bench-soft exists, and nothing is ever overwritten"):
        new_plugin("soft", "gan-loss", tmp_path, registry)
    assert list((tmp_path / "bench-soft").iterdir()) == []


def test_from_the_command_line(tmp_path, capsys):
    assert main(["plugins", "new", "bench-soft", "--kind", "gan-loss", "--output", str(tmp_path)]) == 0
    assert f"cd {tmp_path / 'bench-soft'}" in capsys.readouterr().out
    assert main(["plugins", "new", "soft", "--kind", "gan-loss", "--output", str(tmp_path)]) == 4
    assert "nothing is ever overwritten" in capsys.readouterr().err
