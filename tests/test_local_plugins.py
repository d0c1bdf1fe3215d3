"""Local plugins: a suite's own Python files run where the user allows it, count in identities, and are not needed to read results."""

import json
import sys
from dataclasses import replace

import pytest
import yaml

import bench
from bench.cli import main
from bench.driver import lookup
from bench.driver import run as driver
from bench.driver.outputs import metric_outputs
from bench.driver.reading import show
from bench.errors import ExitCode, PluginError, SuiteError, UsageError
from bench.registry.local import LocalFile, local_files
from bench.registry.registry import discover, discover_for
from bench.registry.sources import source_hash
from bench.store import read_ledger
from bench.suite.model import load_suite

PLUGIN = '''
"""A loss and a metric of one experiment."""

import numpy as np
from bench import hookimpl
from bench.contracts import Output

import marginals


class Margin:
    """Pull logits to a margin."""

    def __init__(self, *, margin: float = 1.0) -> None:
        self.margin = margin * marginals.SCALE

    def discriminator_loss(self, real_B, fake_B):
        return (real_B - self.margin).square().mean() + (fake_B + self.margin).square().mean()

    def generator_loss(self, real_B, fake_B):
        return (fake_B - self.margin).square().mean()


class Spread:
    """Standard deviation of generated samples."""

    kinds = ("points",)
    version = 1
    outputs = {"spread": Output("higher", 1.0, "spread of the samples")}

    def measure(self, adapted):
        return {"spread": np.std(adapted.fake, axis=(1, 2))}


@hookimpl
def bench_gan_losses():
    return {"margin": Margin}


@hookimpl
def bench_metrics():
    return {"spread": Spread}
'''
SUITE = {
    "question": "Does a margin help?",
    "name": "edges",
    "plugins": ["./my_margin.py"],
    "primary": {"metric": "spread", "adaptation_step": 1, "compare": ["reptile", "finetune"]},
    "budget": {"outer_steps": 1},
    "protocol": {
        "shots": 3, "query": 3, "samples": 4, "task_batch": 1, "validations": 0,
        "adaptation_steps": {"train": 1, "test": [0, 1]}, "tasks": {"meta_val": 1, "meta_test": 2},
    },
    "games": ["gan"],
    "task_distributions": ["gaussians"],
    "networks": [{"mlp": {"width": 4}}],
    "gan_losses": ["margin", "hinge"],
    "meta_learners": ["reptile", "finetune"],
    "metrics": ["spread", "energy"],
}  # fmt: skip


def written(folder, **changes):
    """The plugin, what it imports, and a suite beside them."""
    folder.mkdir(exist_ok=True)
    folder.joinpath("my_margin.py").write_text(PLUGIN)
    folder.joinpath("marginals.py").write_text("SCALE = 1.0\n")
    folder.joinpath("unrelated.py").write_text("VALUE = 1\n")
    folder.joinpath("suite.yaml").write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
    return folder / "suite.yaml"


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path, modules = written(tmp_path_factory.mktemp("experiment")), set(sys.modules)
    yield path
    sys.path[:] = [entry for entry in sys.path if entry != str(path.parent)]
    for name in {"my_margin", "marginals"} - modules:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def results(suite):
    """The suite, run in this process without its report, which takes longer than the rest."""
    folder = suite.parent / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_report", lambda planned: "")
        command = ["run", str(suite), "--executor", "inline", "--device", "cpu", "--output", str(folder), "--allow-local-plugins"]
        assert main(command) == ExitCode.OK
    return folder


# ------------------------------------------------------------------ permission
@pytest.mark.parametrize("verb", ["validate", "plan", "run", "retry"])
def test_no_verb_loads_the_file_of_a_suite_unasked(suite, capsys, verb):
    assert main([verb, str(suite)]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert f"{suite}:4: plugins[0]: './my_margin.py' is code that comes with the suite: read it, then allow it with " in told
    assert "--allow-local-plugins" in told
    assert len(told.splitlines()) == 1  # what the suite misses for want of it is not told
    assert "my_margin" not in sys.modules


def test_it_is_read_without_being_imported(suite):
    registry = discover_for(suite, allow_local=True)
    assert registry.component("gan_losses", "margin").origin == "my_margin.py local"
    assert load_suite(suite, registry).plugins == ("./my_margin.py",)
    assert [one["properties"]["margin"]["type"] for one in [registry.component("gan_losses", "margin").schema]] == ["number"]
    assert "my_margin" not in sys.modules


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/my_margin.py", "local plugin '/my_margin.py' is quarantined: its place must be given from the suite's folder"),
        ("~/my_margin.py", "its place must be given from the suite's folder"),
        ("./my-margin.py", "it must be a Python file named like a module: letters, digits and _, such as ./my_loss.py"),
        ("./results", "it must be a Python file named like a module"),
        ("./my_margins.py", "there is no such file; its place is taken from the suite's folder"),
    ],
)
def test_what_is_no_file_beside_the_suite_is_refused_with_its_line(tmp_path, name, reason):
    path = written(tmp_path, plugins=[name])
    with pytest.raises(SuiteError) as caught:
        load_suite(path, discover_for(path, allow_local=True))
    assert f"{path}:4: plugins[0]: " in str(caught.value)
    assert reason in str(caught.value)


def test_two_files_of_one_name_are_told_apart(tmp_path):
    path = written(tmp_path, plugins=["./my_margin.py", "./more/my_margin.py"])
    written(tmp_path / "more")
    assert [file.name for file in local_files(path)] == ["my_margin", "my_margin"]
    second = next(one for one in discover_for(path, allow_local=True).plugins if one.entry_point == "./more/my_margin.py")
    assert (second.status, second.reason) == ("quarantined", "./my_margin.py has the same name: rename one")


def test_it_hides_no_installed_module(tmp_path):
    tmp_path.joinpath("colorsys.py").write_text(PLUGIN)
    with pytest.raises(PluginError, match=r"colorsys\.py has the name of another module that is installed or loaded: rename it"):
        LocalFile("./colorsys.py", tmp_path / "colorsys.py").load()
    sys.path.remove(str(tmp_path))


# ------------------------------------------------------------------ identity
def identity(path):
    file = LocalFile("./my_margin.py", path)
    return source_hash(file.name, file.roots())


def test_its_identity_is_its_code_and_that_of_what_it_imports(tmp_path):
    written(tmp_path)
    path = tmp_path / "my_margin.py"
    first = identity(path)
    assert set(LocalFile("./my_margin.py", path).roots()) == {"my_margin", "marginals"}
    tmp_path.joinpath("unrelated.py").write_text("VALUE = 2\n")
    tmp_path.joinpath("marginals.py").write_text("# a comment\nSCALE = 1.0\n")
    path.write_text(PLUGIN.replace('"""Pull logits to a margin."""', '"""Pull them."""'))
    assert identity(path) == first
    tmp_path.joinpath("marginals.py").write_text("SCALE = 2.0\n")
    assert identity(path) != first
    tmp_path.joinpath("marginals.py").unlink()
    tmp_path.joinpath("marginals").mkdir()
    tmp_path.joinpath("marginals", "__init__.py").write_text("from marginals.inner import SCALE\n")
    tmp_path.joinpath("marginals", "inner.py").write_text("SCALE = 1.0\n")
    package = identity(path)
    tmp_path.joinpath("marginals", "inner.py").write_text("SCALE = 3.0\n")
    assert identity(path) != package


def test_a_file_that_changes_during_a_run_is_not_taken_for_what_was_planned(suite, results):
    (planned,) = discover_for(suite, allow_local=True).local
    assert discover(local=[planned]).component("gan_losses", "margin")
    stale = discover(local=[replace(planned, content=64 * "0")])
    with pytest.raises(PluginError, match=r"Quarantined: my_margin \(my_margin\.py local\): has changed since the run began"):
        stale.component("gan_losses", "margin")
    assert stale.component("gan_losses", "hinge")


# ------------------------------------------------------------------ results
def test_its_cells_run_beside_the_others_and_records_name_no_place(suite, results):
    rows = read_ledger(results).planned().values()
    assert [(row.cell["gan_loss"], row.status) for row in rows] == [(loss, "ok") for loss in ("margin", "hinge") for _ in range(2)]
    assert json.loads((results / "suite.json").read_text())["plugins"] == ["./my_margin.py"]
    (environment,) = (json.loads(path.read_text()) for path in (results / "environments").iterdir())
    assert environment["plugins"]["my_margin"].startswith("my_margin.py local ")
    assert "--allow-local-plugins" in (results / "command.txt").read_text()
    records = [path for path in results.rglob("*") if path.suffix in (".json", ".jsonl", ".yaml", ".txt")]
    assert not [path for path in records if str(suite.parent) in path.read_text()]


def test_results_are_read_without_it(results):
    assert "my_margin" not in {plugin.name for plugin in discover().plugins}
    assert metric_outputs(discover(), [results])["spread"]["better"] == "higher"
    assert "spread of the samples" in show(results, width=400)


@pytest.mark.filterwarnings("ignore::bench.driver.lookup.ChangedTrialWarning")
def test_a_trial_that_is_not_made_of_it_adapts_without_it(results):
    model = bench.load_trial(results, select="hinge and reptile")
    assert model.adapt(model.examples(1)[0], steps=1).samples(2).shape == (2, 2)


def test_a_trial_that_is_made_of_it_adapts_where_it_is_allowed(suite, results):
    with pytest.raises(UsageError, match=r"unknown GAN loss 'margin'(.|\n)*came with the suite: --suite FILE --allow-local-plugins"):
        bench.load_trial(results, select="margin and reptile")
    model = bench.load_trial(results, select="margin and reptile", suite=suite, allow_local_plugins=True)
    assert model.trial.trial_id == lookup.find(results, "", "margin and reptile").trial_id  # the identity that it ran with
    assert model.adapt(model.examples(1)[0], steps=1).samples(2).shape == (2, 2)


def test_why_knows_its_cells_with_the_suite_only(suite, results, capsys):
    assert main(["why", str(results)]) == ExitCode.USAGE
    assert "came with the suite: --suite FILE --allow-local-plugins" in capsys.readouterr().err
    assert main(["why", str(results), "--suite", str(suite), "--allow-local-plugins"]) == ExitCode.OK
    assert "in the ledger with the same identity" in capsys.readouterr().out


def test_the_schema_of_a_suite_has_its_components(suite, capsys):
    assert main(["schema", str(suite), "--allow-local-plugins"]) == ExitCode.OK
    losses = json.loads(capsys.readouterr().out)["$defs"]["gan_losses"]["anyOf"][0]["enum"]
    assert {"margin", "hinge"} <= set(losses)
