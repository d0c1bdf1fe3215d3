"""Plugins that misbehave: each is named with its component, explained and contained, and what runs beside or after it has its numbers.

Import errors, exits, crashes, time-outs and wrong hooks are in test_registry.py, wrong mathematics in test_wrong_components.py and
test_certificate.py.
"""

import json
import os
import random
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from plugins_fixture import installed, plugin, write_distribution

from bench.authoring.certificate import certify
from bench.cli import _stdout_kept
from bench.driver.run import RunOptions, prepare
from bench.registry import probing
from bench.registry.global_state import PARTS, Snapshot
from bench.registry.listing import info_text, plugins_text
from bench.registry.missing import absent, needs
from bench.registry.probe import find, probe
from bench.registry.registry import Registry, discover
from bench.schedule.work import call
from bench.trial import assemble

ATTACKS = """
import os, random, sys
import numpy as np
import torch
from torch.nn.functional import softplus
from bench.testing.derivatives import PlainMaml
from bench.trees import tree_map

class Fine:
    def discriminator_loss(self, real_B, fake_B): return softplus(-real_B).mean() + softplus(fake_B).mean()
    def generator_loss(self, real_B, fake_B):
        self.misbehave(fake_B)
        return softplus(-fake_B).mean()
    def misbehave(self, fake_B): pass

class SeedsTorch(Fine):
    def misbehave(self, fake_B): torch.manual_seed(0)
class SeedsNumpy(Fine):
    def misbehave(self, fake_B): np.random.seed(20261121)
class Draws(Fine):
    def misbehave(self, fake_B): random.random()
class Doubles(Fine):
    def misbehave(self, fake_B): torch.set_default_dtype(torch.float64)
class Threads(Fine):
    def misbehave(self, fake_B): torch.set_num_threads(2)
class NoGrad(Fine):
    def misbehave(self, fake_B): torch.set_grad_enabled(False)
class Careless(Fine):
    def misbehave(self, fake_B): torch.use_deterministic_algorithms(False)
class Strict(Fine):
    def misbehave(self, fake_B): np.seterr(all="raise")
class Wanders(Fine):
    def misbehave(self, fake_B): os.chdir("/")
class Branches(Fine):
    def misbehave(self, fake_B): return 1 if fake_B.mean() > 0 else 2
class Leaks(Fine):
    last = None
    def generator_loss(self, real_B, fake_B):
        previous, self.last = self.last, fake_B.mean()
        return self.last if previous is None else self.last + previous
class Raises(Fine):
    def misbehave(self, fake_B): return 1 / 0
class Exits(Fine):
    def misbehave(self, fake_B): sys.exit(3)
class Text(Fine):
    def generator_loss(self, real_B, fake_B): return "loss"
class PerSample(Fine):
    def generator_loss(self, real_B, fake_B): return softplus(-fake_B)
class NotANumber(Fine):
    def generator_loss(self, real_B, fake_B): return fake_B.mean() * float("nan")
class Makes(Fine):
    def __init__(self): torch.manual_seed(0)
class Heavy(Fine):
    def __init__(self, *, scale: float = 1.0): import heavy_thing.part

class InPlace(PlainMaml):
    def __init__(self): super().__init__()
    def update(self, meta, player, step, params, grads, inner, support):
        tree_map(lambda leaf: leaf.mul_(0.5), params)
        return params, inner

class Reseeds:
    kinds: ClassVar = ("points",)
    def build(self, role, spec):
        torch.manual_seed(0)
        module = torch.nn.Linear(2, 2 if role == "generator" else 1)
        module.latent = 2
        return module

class Overwrites:
    kinds: ClassVar = ("points",)
    version: ClassVar = 1
    outputs: ClassVar = {"own": Output("lower", 0.0, "own")}
    def measure(self, adapted):
        adapted.query[:] = 0
        return {"own": np.zeros(len(adapted.fake))}
class Listed(Overwrites):
    outputs: ClassVar = {"listed": Output("lower", 0.0, "listed")}
    def measure(self, adapted): return [0.0]
class Short(Overwrites):
    outputs: ClassVar = {"short": Output("lower", 0.0, "short")}
    def measure(self, adapted): return {"short": np.zeros(7)}
class Lacking(Overwrites):
    imports: ClassVar = ("weighty.nets",)

@hookimpl
def bench_trial_started(trial):
    torch.set_default_dtype(torch.float64)
""" + "".join(
    (
        plugin(
            "bench_gan_losses", fine="Fine", seeds_torch="SeedsTorch", seeds_numpy="SeedsNumpy", draws="Draws", doubles="Doubles",
            threads="Threads", no_grad="NoGrad", careless="Careless", strict="Strict", wanders="Wanders", branches="Branches",
            leaks="Leaks",
            raises="Raises", exits="Exits", text="Text", per_sample="PerSample", not_a_number="NotANumber", makes="Makes", heavy="Heavy",
        ),
        plugin("bench_meta_learners", in_place="InPlace"),
        plugin("bench_networks", reseeds="Reseeds"),
        plugin("bench_metrics", overwrites="Overwrites", listed="Listed", short="Short", lacking="Lacking"),
    )
)  # fmt: skip
METADATA = 'Requires-Dist: Heavy_Thing>=2; extra == "deep"\nRequires-Dist: numpy\n'
SUITE = {
    "question": "?",
    "name": "attacked",
    "primary": {"metric": "energy", "adaptation_step": 1, "compare": ["reptile", "finetune"]},
    "budget": {"outer_steps": 1},
    "protocol": {
        "shots": 3, "query": 3, "samples": 4, "task_batch": 2, "validations": 0,
        "adaptation_steps": {"train": 1, "test": [0, 1]}, "tasks": {"meta_val": 1, "meta_test": 2},
    },
    "games": ["gan"],
    "task_distributions": ["gaussians"],
    "networks": [{"mlp": {"width": 4}}],
    "gan_losses": ["hinge"],
    "meta_learners": ["reptile", "finetune"],
    "metrics": ["energy"],
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_distribution(folder, "bench-attacks", {"bench_attacks.py": ATTACKS}, entry="attacks", metadata=METADATA)
    caches = (assemble.worker_registry, assemble._tasks, assemble._extractor)
    settings = Snapshot()
    with installed(folder, probing.cache_folder()):
        for cached in caches:
            cached.cache_clear()
        yield folder
    settings.restore()
    for cached in caches:
        cached.cache_clear()


@pytest.fixture(scope="module")
def run(site, tmp_path_factory):
    """Row and measurements of the first cell of a suite with these components."""

    def running(**changes):
        folder = tmp_path_factory.mktemp("run")
        folder.joinpath("suite.yaml").write_text(yaml.safe_dump({**SUITE, **changes}))
        planned = prepare(folder / "suite.yaml", RunOptions(device="cpu", output=folder / "results"))
        return call("bench.trial.run:run", {"trial": planned.plan.trials[0].to_dict(), "results": str(folder / "results")})

    return running


@pytest.fixture(scope="module")
def built_in(run):
    """A built-in cell while the plugin is not there, before anything of it has run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_LOAD_PLUGINS", "builtin")
        row, measurements = run()
    assemble.worker_registry.cache_clear()
    assert row["status"] == "ok", row
    return measurements


NAMED = "of plugin attacks (bench-attacks 0.1)"


# ------------------------------------------------------------------ what all share
@pytest.mark.parametrize(
    ("loss", "what", "word"),
    [
        ("seeds-torch", "torch's random state", "manual_seed"),
        ("seeds-numpy", "NumPy's random state", "np.random.seed"),
        ("doubles", "torch's default dtype", "set_default_dtype"),
        ("threads", "torch's number of threads", "set_num_threads"),
        ("careless", "torch's determinism", "use_deterministic_algorithms"),
        ("strict", "NumPy's handling of errors", "seterr"),
        ("wanders", "the current folder", "chdir"),
    ],
)
def test_a_change_of_what_all_share_is_named_and_put_back(built_in, run, loss, what, word):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    before = Snapshot()
    row, measurements = run(gan_losses=[loss])
    assert (row["status"], measurements) == ("failed", {})
    assert f"GAN loss {loss!r} {NAMED} (bench_attacks.py:{line_of(word)}) changed" in row["reason"]
    assert f"changed {what}, which all components share; take noise from `draws` or `rng`" in row["reason"]
    assert before.changed() == []


def line_of(word):
    """In the module as it is written, behind its header."""
    lines = Path(sys.modules["bench_attacks"].__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if word in line and "def " in line)


def test_what_libraries_change_when_they_are_imported_is_put_back_without_a_word(built_in, run):
    before = Snapshot()
    row, _ = run(gan_losses=["draws"])
    assert row["status"] == "ok"
    assert before.changed() == []


def test_making_a_component_changes_nothing(built_in, run):
    row, _ = run(gan_losses=["makes"])
    assert f"making GAN loss 'makes' {NAMED} changed torch's random state" in row["reason"]


def test_a_network_that_seeds_itself_would_give_every_replicate_one_start(built_in, run):
    row, _ = run(networks=["reseeds"])
    assert "network 'reseeds' seeds torch while it builds the generator, so that all replicates would start alike" in row["reason"]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_part_of_what_is_shared_can_be_put_back(part, tmp_path):
    changes = {
        "Python's random state": random.random,
        "NumPy's random state": np.random.rand,
        "torch's random state": lambda: torch.rand(1),
        "torch's default dtype": lambda: torch.set_default_dtype(torch.float64),
        "torch's default device": lambda: torch.set_default_device("meta"),
        "torch's number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
        "torch's gradient mode": lambda: torch.set_grad_enabled(not torch.is_grad_enabled()),
        "torch's determinism": lambda: torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled()),
        "torch's anomaly detection": lambda: torch.autograd.set_detect_anomaly(not torch.is_anomaly_enabled()),
        "NumPy's handling of errors": lambda: np.seterr(all="raise"),
        "the current folder": lambda: os.chdir(tmp_path),
    }
    before = Snapshot()
    changes[part.name]()
    assert [one.name for one in before.changed()] == [part.name]
    before.restore()
    assert before.changed() == []


# ------------------------------------------------------------------ what they answer and raise
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gan_losses": ["raises"]}, f"ZeroDivisionError: division by zero (in GAN loss 'raises' {NAMED}, site/bench_attacks.py:"),
        ({"gan_losses": ["exits"]}, f"SystemExit: 3 (in GAN loss 'exits' {NAMED}, site/bench_attacks.py:"),
        ({"gan_losses": ["branches"]}, "`if`, max() or float() on a tensor; use torch.where"),
        ({"gan_losses": ["branches"]}, f"(in GAN loss 'branches' {NAMED}, site/bench_attacks.py:"),
        ({"gan_losses": ["leaks"]}, "GAN loss 'leaks' sets last on itself while it runs, which leaks from task to task and is in no "),
        ({"gan_losses": ["no-grad"]}, "element 0 of tensors does not require grad and does not have a grad_fn (the trial uses GAN loss"),
        ({"gan_losses": ["text"]}, f"(the trial uses GAN loss 'text' {NAMED})"),
        ({"gan_losses": ["per-sample"]}, "the loss of 'generator' must be a scalar per task, got shape ["),
        ({"gan_losses": ["per-sample"]}, f"(the trial uses GAN loss 'per-sample' {NAMED})"),
        ({"meta_learners": [{"in-place": {"label": "mine"}}, "finetune"]}, f"meta-learner 'mine' {NAMED}"),
        ({"metrics": ["overwrites", "energy"]}, "metric 'overwrites' changed query in place, which the other metrics see, too; copy it"),
        ({"metrics": ["energy", "listed"]}, "metric 'listed' must return a mapping of outputs to values, got list"),
        ({"metrics": ["energy", "short"]}, "output 'short' of metric 'short' must have one value a task, shape [2], or one for all, got"),
        ({"gan_losses": ["heavy"]}, f"GAN loss 'heavy' {NAMED} needs the module 'heavy_thing', which is not installed: "),
        ({"gan_losses": ["heavy"]}, "pip install 'bench-attacks[deep]'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_goes_wrong_is_told_with_component_and_plugin(built_in, run, changes, told):
    primary = {**SUITE["primary"], "compare": [next(iter(changes.get("meta_learners", [{"reptile": {}}])[0])), "finetune"]}
    if "meta_learners" in changes:
        primary["compare"][0] = "mine"
    row, measurements = run(primary=primary, **changes)
    assert (row["status"], measurements) == ("failed", {})
    assert told in re.sub(r"site\d+/", "site/", row["reason"])  # pytest numbers the folders of a session


def test_numbers_that_are_none_are_an_outcome(built_in, run):
    row, _ = run(gan_losses=["not-a-number"])
    assert row["status"] == "diverged"
    assert "nan_param" in row["reason"]


def test_a_built_in_cell_has_its_numbers_beside_and_after_all_of_them(built_in, run):
    for loss in ("doubles", "seeds-torch", "raises"):
        run(gan_losses=[loss])
    row, measurements = run()
    assert row["status"] == "ok"
    assert {**measurements, "value": bits(measurements)} == {**built_in, "value": bits(built_in)}


def bits(measurements):
    return np.asarray(measurements["value"], dtype=np.float64).view(np.int64).tolist()


def test_an_observer_changes_nothing(site, caplog):
    before = Snapshot()
    discover().observe("bench_trial_started", trial={})
    told = "observer bench_trial_started of plugin attacks (bench-attacks 0.1) raised ContractError: it changed torch's default dtype"
    assert told in caplog.text
    assert before.changed() == []


def test_a_check_that_takes_too_long_is_named_in_the_certificate(site):
    registry = discover()
    one = [replace(each, components=each.components[:1], lacking={}, observers=()) for each in registry.plugins if each.name == "attacks"]
    certificate = certify("attacks", Registry(one), timeout=1)
    assert [(each["name"], each["checks"]) for each in certificate["components"]] == [
        (one[0].components[0].name, [{"name": "running", "outcome": "failed", "reason": "took more than 1 s"}])
    ]
    assert not certificate["passed"]


# ------------------------------------------------------------------ at import
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import torch\ntorch.set_default_dtype(torch.float64)", "importing it changed torch's default dtype, which all components share"),
        ("import numpy\nnumpy.random.seed(3)", "importing it changed NumPy's random state"),
        ("@hookimpl\ndef bench_metrics():\n    import torch\n    torch.manual_seed(3)\n    return {}", "it changed torch's random state"),
    ],
)
def test_importing_a_plugin_changes_nothing(tmp_path, source, reason):
    write_distribution(tmp_path, "bench-settles", {"bench_settles.py": source + plugin("bench_games")}, entry="settles")
    before = Snapshot()
    with installed(tmp_path, tmp_path / "cache"):
        record = probe(find("settles"))
    assert record["status"] == "quarantined"
    assert reason in record["reason"]
    assert before.changed() == []


# ------------------------------------------------------------------ what is not installed
@pytest.mark.parametrize(
    ("imported", "status", "reason"),
    [
        ("heavy_thing.part", "unavailable", "needs the module 'heavy_thing', which is not installed: pip install 'bench-absent[deep]'"),
        ("light_thing", "unavailable", "needs the module 'light_thing', which is not installed: pip install light_thing"),
        ("bench_absent_own", "quarantined", "import failed: ModuleNotFoundError: No module named 'bench_absent.own'"),
        ("bench.nothing", "quarantined", "import failed: ModuleNotFoundError: No module named 'bench.nothing'"),
    ],
)
def test_a_plugin_that_lacks_somebody_elses_module_says_how_to_install_it(tmp_path, imported, status, reason):
    imported = imported.replace("_own", ".own")
    source = f"import {imported}\n" + plugin("bench_games")
    write_distribution(tmp_path, "bench-absent", {"bench_absent/__init__.py": source}, entry="absent", metadata=METADATA)
    with installed(tmp_path, tmp_path / "cache"):
        record = probe(find("absent"))
    assert record["status"] == status
    assert record["reason"].startswith(reason)


def test_a_component_that_lacks_a_module_leaves_the_others_of_its_plugin(site):
    registry = discover()
    assert "needs the module 'weighty.nets', which is not installed: pip install weighty" in plugins_text(registry)
    (attacks,) = (one for one in registry.plugins if one.name == "attacks")
    assert (attacks.status, list(attacks.lacking)) == ("ok", [("metrics", "lacking")])
    with pytest.raises(Exception, match=r"metric 'lacking' of plugin attacks \(bench-attacks 0\.1\) is unavailable: it needs the module"):
        info_text(registry, "lacking")


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("imports = 'lpips'", "`imports` must be a tuple of names of modules, such as ('lpips',), got 'lpips'"),
        ("ignored_when = ('weight',)", "`ignored_when` must map hyperparameters to others' values"),
        ("ignored_when = {'weight': {'wait': 0}}", "`ignored_when` lists wait, which no hyperparameter is called"),
    ],
)
def test_what_a_component_says_of_itself_is_checked(tmp_path, attribute, told):
    source = f"class One:\n    {attribute}\n    def __init__(self, *, weight: float = 1.0): pass\n" + plugin("bench_gan_losses", one="One")
    write_distribution(tmp_path, "bench-says", {"bench_says.py": source}, entry="says")
    with installed(tmp_path, tmp_path / "cache"):
        (broken,) = probe(find("says"))["broken"]
    assert told in broken["reason"]


def test_modules_have_the_names_that_pip_knows():
    assert needs("PIL.Image", None).endswith("pip install pillow")
    assert needs("torch.nothing", None).endswith("pip install torch")
    assert absent(["json", "torch.nn", "torch.nothing", "nothing.at.all"]) == ["torch.nothing", "nothing.at.all"]


# ------------------------------------------------------------------ output
def test_what_a_plugin_prints_stays_out_of_json(capfd):
    with _stdout_kept(True):
        print("{")
        os.write(1, b"raw")
    print(json.dumps({"answer": 1}))
    said = capfd.readouterr()
    assert json.loads(said.out) == {"answer": 1}
    assert "{" in said.err
    assert "raw" in said.err
