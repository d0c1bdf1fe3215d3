import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from plugins_fixture import installed, plugin, write_distribution, write_zoo

from bench.errors import ContractError, DataError, PluginError, SuiteError, UsageError
from bench.registry import probing
from bench.registry.registry import UnknownName, bench_numeric_hash, discover
from bench.suite.reading import read_suite


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    write_zoo(site)
    with installed(site, tmp_path_factory.mktemp("cache")):
        yield site


@pytest.fixture(scope="module")
def registry(zoo):
    return discover()


@pytest.fixture
def lone(tmp_path):
    """A folder for distributions of one test."""
    with installed(tmp_path / "site", tmp_path / "cache") as patch:
        (tmp_path / "site").mkdir()
        yield tmp_path / "site", patch


def named(registry, name):
    return next(one for one in registry.plugins if one.name == name)


# ------------------------------------------------------------------ what a probe finds
def test_a_component_is_known_without_importing_its_plugin(registry):
    soft = registry.component("gan_losses", "soft")
    assert (soft.plugin, soft.distribution, soft.version, soft.module, soft.qualname) == ("good", "bench-good", "0.1", "bench_good", "Soft")
    assert soft.doc == "Soft labels."
    assert soft.defaults == {"target": 1.0, "kind": "a"}
    assert soft.schema == {
        "type": "object",
        "properties": {
            "target": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "kind": {"type": "string", "enum": ["a", "b"]},
        },
        "required": [],
        "additionalProperties": False,
    }
    assert "bench_good" not in sys.modules
    assert named(registry, "good").status == "ok"
    assert len(named(registry, "good").content_hash) == 64


def test_contract_attributes_are_read_from_classes(registry):
    assert registry.component("games", "gan").attributes == {
        "kinds": ["image", "points"],
        "roles": {"generator": "generator", "discriminator": "discriminator"},
        "needs_loss": True,
    }
    energy = registry.component("metrics", "energy").attributes
    assert energy["outputs"] == {"energy": {"better": "lower", "ideal": 0.0, "label": "energy distance", "about": "samples", "range": None}}
    assert energy["version"] == 3
    assert registry.component("meta_learners", "scratch").attributes == {"trains": False, "at_test": ["inner_lr"]}
    assert registry.component("task_distributions", "digits").attributes == {"kind": "image"}
    assert registry.component("regularisers", "r1").attributes == {"players": ["discriminator"], "acts_on": "player"}
    assert registry.component("regularisers", "outer-clip").attributes == {"acts_on": "outer"}


def test_a_hyperparameter_of_contract_type_names_a_component(registry):
    properties = registry.component("meta_learners", "maml").schema["properties"]
    assert properties["inner_optimiser"] == {"x-family": "inner_optimisers"}
    assert properties["outer_optimiser"] == {"anyOf": [{"x-family": "inner_optimisers"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises", "import failed: ValueError: no way (site/bench_raises.py:8)"),
        ("exits", "called sys.exit(3) at import"),
        ("dies", "its probe ended with exit code 7 before it could report"),
        ("misspelt", "unknown hook 'bench_gan_loses'. Did you mean 'bench_gan_losses'?"),
        ("forgot", "bench_metrics is not decorated with @hookimpl"),
        ("list", "bench_metrics() must return a mapping of names to factories, got list"),
        ("instance", "bench_metrics() returned for 'x' a int, which is no factory"),
        ("hook", "bench_metrics() raised ZeroDivisionError: division by zero"),
        ("extra", "Argument(s) {'colour'} are declared in the hookimpl but can not be found in the hookspec"),
    ],
)
def test_a_broken_plugin_is_quarantined_with_its_reason(registry, zoo, name, reason):
    broken = named(registry, name)
    assert broken.status == "quarantined"
    assert reason in re.sub(r"site\d+/", "site/", broken.reason)  # pytest numbers the folders of a session
    assert broken.components == ()
    assert str(zoo) not in broken.reason


def test_output_of_a_plugin_does_not_disturb_its_record(registry):
    assert named(registry, "chatty").status == "ok"
    assert "quiet" in registry.names("gan_losses")


@pytest.mark.parametrize(
    ("family", "name", "reason"),
    [
        ("gan_losses", "positional", "must be keyword-only"),
        ("gan_losses", "bare", "has no annotation"),
        ("gan_losses", "absent", "cannot be evaluated"),
        ("gan_losses", "opaque", "has no JSON Schema"),
        ("regularisers", "both", "not on both"),
        ("augmentations", "idle", "needs one of augment_support, augment_view"),
        ("networks", "kindless", "unknown sample kind 'images'. Did you mean 'image'?"),
    ],
)
def test_one_broken_component_leaves_the_others_of_its_plugin(registry, family, name, reason):
    assert name not in registry.names(family)
    with pytest.raises(PluginError, match="quarantined") as caught:
        registry.component(family, name)
    assert reason in str(caught.value)
    assert registry.component("gan_losses", "fine").plugin == "partly"


def test_a_hanging_plugin_is_killed_with_its_children(lone):
    site, _ = lone
    source = f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open({str(site / "child")!r}, "w").write(str(child.pid))
        time.sleep(60)
    """
    write_distribution(site, "bench-hangs", {"bench_hangs.py": source}, entry="hangs")
    started = time.monotonic()
    registry = discover("hangs", timeout=4)
    assert time.monotonic() - started < 20
    assert named(registry, "hangs").reason.startswith("its probe took more than 4 s")
    child = Path("/proc", (site / "child").read_text(), "stat")
    deadline = time.monotonic() + 5
    while child.exists() and child.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_a_failing_observer_is_logged_and_harms_nothing(lone, caplog):
    site, _ = lone
    source = """
    @hookimpl
    def bench_suite_finished(results, rows):
        __import__("pathlib").Path(results).write_text(str(rows))
        raise ValueError("observed")
    """
    write_distribution(site, "bench-watch", {"bench_watch.py": source}, entry="watch")
    registry = discover("watch")
    assert named(registry, "watch").observers == ("bench_suite_finished",)
    registry.observe("bench_suite_finished", results=str(site / "seen"), rows=3)
    assert (site / "seen").read_text() == "3"
    assert "observer bench_suite_finished of plugin watch (bench-watch 0.1) raised ValueError: observed" in caplog.text


# ------------------------------------------------------------------ names
def test_an_unknown_name_gets_the_closest_the_installed_and_the_quarantined(registry):
    with pytest.raises(UnknownName) as caught:
        registry.component("gan_losses", "least-square")
    text = str(caught.value)
    assert text.startswith(
        "unknown GAN loss 'least-square'. Did you mean 'least-squares'?\n  Installed: fine (bench-partly 0.1), hinge (builtin), "
    )
    assert "soft (bench-good 0.1)" in text
    assert "Quarantined: exits (bench-exits 0.1): called sys.exit(3) at import" in text
    assert caught.value.exit_code == 4


def test_a_name_that_only_a_quarantined_plugin_spells_is_its_fault(registry):
    with pytest.raises(
        PluginError,
        match=r"'lost-loss' is unavailable: plugin 'raises' is quarantined\n  Quarantined: raises \(bench-raises 0.1\): import failed",
    ) as caught:
        registry.component("gan_losses", "lost-loss")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("requires", "message"),
    [
        ("[bench-god]", "requires[0]: plugin 'bench-god' is not installed. Did you mean 'bench-good'? Install it: pip install bench-god"),
        ("[bench-good, bench-exits]", "requires[1]: plugin 'bench-exits' is quarantined: called sys.exit(3) at import"),
        ("bench-good", "requires: must be a list of distributions of plugins, such as [bench-example]"),
        ("[3]", "requires: must be a list of distributions of plugins"),
    ],
)
def test_a_suite_says_which_distributions_it_needs(registry, requires, message):
    with pytest.raises((SuiteError, PluginError)) as caught:
        read_suite(f"requires: {requires}", registry, source="suite.yaml")
    assert f"suite.yaml:1: {message}" in str(caught.value)


def test_a_distribution_that_is_there_is_no_problem(registry):
    with pytest.raises(SuiteError) as caught:
        read_suite("requires: [bench-good]", registry, source="suite.yaml")
    assert "requires:" not in str(caught.value)
    assert "requires[" not in str(caught.value)


def test_the_cause_of_many_problems_is_told_once(registry):
    suite = {"gan_losses": ["lost-loss", "least-square", "nobodys"], "networks": ["mpl", "ml"]}
    with pytest.raises(SuiteError) as caught:
        read_suite(json.dumps(suite), registry, source="suite.yaml")
    lines = str(caught.value).splitlines()
    assert sum("least-square'" in line or "lost-loss'" in line or "nobodys'" in line for line in lines) == 3
    assert len([line for line in lines if line.startswith("  Quarantined: raises")]) == 1
    assert len(lines) == len(set(lines))


def test_a_built_in_component_keeps_its_name(registry):
    assert registry.component("gan_losses", "hinge").distribution == "metagan-bench"
    assert registry.component("gan_losses", "own").plugin == "shadow"
    assert named(registry, "shadow").broken == {("gan_losses", "hinge"): "the built-in GAN loss 'hinge' keeps its name: rename yours"}


def test_two_plugins_with_one_name_are_both_named(registry):
    assert "twin" not in registry.names("gan_losses")
    with pytest.raises(PluginError, match=r"offered by both twin-a \(bench-twin-a 0.1\) and twin-b \(bench-twin-b 0.1\)"):
        registry.component("gan_losses", "twin")


def test_one_of_two_namesakes_can_be_chosen(zoo, monkeypatch):
    monkeypatch.setenv("BENCH_LOAD_PLUGINS", "builtin, bench-twin-b")
    chosen = discover()
    assert chosen.component("gan_losses", "twin").plugin == "twin-b"
    assert {one.name for one in chosen.plugins if one.status != "disabled"} == {"builtin", "twin-b"}
    assert "soft" not in chosen.names("gan_losses")
    monkeypatch.setenv("BENCH_LOAD_PLUGINS", "")
    assert {one.status for one in discover().plugins} == {"disabled"}
    with pytest.raises(UsageError, match="'twin-c'. Did you mean 'twin-"):
        discover("twin-c")


# ------------------------------------------------------------------ hyperparameters
@pytest.mark.parametrize(
    ("name", "parameters", "place", "message"),
    [
        ("maml", {"ordre": 1}, ("ordre",), "unknown hyperparameter 'ordre' of meta-learner 'maml'. Did you mean 'order'?"),
        ("maml", {"order": 3}, ("order",), "must be one of 1, 2 (value 3)"),
        ("maml", {"steps": 0}, ("steps",), "must be an integer >= 1 (value 0)"),
        ("maml", {"steps": 1.0}, ("steps",), "must be an integer >= 1 or null (value 1.0)"),
        ("maml", {"inner_lr": "1"}, ("inner_lr",), 'must be a number or a mapping whose values are a number (value "1")'),
        ("maml", {"inner_lr": {"generator": "x"}}, ("inner_lr", "generator"), 'must be a number (value "x")'),
        ("maml", {"inner_optimiser": "sdg"}, ("inner_optimiser",), "unknown inner optimiser 'sdg'. Did you mean 'sgd'?"),
        ("maml", {"inner_optimiser": 3}, ("inner_optimiser",), "must be a component: name or {name: {hyperparameter: value}} (value 3)"),
        (
            "maml",
            {"inner_optimiser": {"sgd": {"momentum": 1}}},
            ("inner_optimiser", "sgd", "momentum"),
            "must be a number >= 0 and < 1 (value 1)",
        ),
        ("maml", {"outer_optimiser": {"sgd": {"momentun": 0}}}, ("outer_optimiser", "sgd", "momentun"), "Did you mean 'momentum'?"),
    ],
)
def test_a_wrong_hyperparameter_is_explained(registry, name, parameters, place, message):
    (problem,) = registry.validate_parameters("meta_learners", name, parameters)
    assert problem.place == place
    assert message in problem.message


def test_right_hyperparameters_have_no_problem(registry):
    right = {
        "order": 1,
        "inner_lr": {"generator": 1, "discriminator": 0.1},
        "steps": None,
        "inner_optimiser": {"sgd": {"momentum": 0.5}},
        "outer_optimiser": None,
    }
    assert registry.validate_parameters("meta_learners", "maml", right) == []


def test_a_required_hyperparameter_must_be_given_unless_others_are_only_overridden(registry):
    (problem,) = registry.validate_parameters("gan_losses", "shifted", {})
    assert problem.message == "GAN loss 'shifted' needs the hyperparameter 'target': a number"
    assert registry.validate_parameters("gan_losses", "shifted", {}, partial=True) == []


def test_create_builds_nested_components_and_annotated_types(registry):
    maml = registry.create("meta_learners", "maml", {"outer_optimiser": {"sgd": {"momentum": 0.5}}, "inner_lr": {"generator": 1}})
    assert type(maml.inner_optimiser).__name__ == "Sgd"  # the default is a spelling
    assert maml.outer_optimiser.momentum == 0.5
    assert maml.inner_lr == {"generator": 1.0}
    assert registry.create("networks", "mlp", {"sizes": [3, 4]}).sizes == (3, 4)
    assert registry.create("meta_learners", "maml").outer_optimiser is None


def test_create_refuses_a_value_that_does_not_fit(registry):
    with pytest.raises(ContractError, match="hyperparameter 'width' of network 'mlp'"):
        registry.create("networks", "mlp", {"width": 0})


# ------------------------------------------------------------------ data
def test_the_hash_of_data_follows_their_content(zoo, registry, tmp_path):
    data = tmp_path / "data"
    data.write_text("one")
    first = registry.data_hash("task_distributions", "files", {"path": str(data)})
    assert len(first) == 64
    data.write_text("three")
    assert registry.data_hash("task_distributions", "files", {"path": str(data)}) == first  # one command, one answer
    assert discover().data_hash("task_distributions", "files", {"path": str(data)}) != first
    data.write_text("one")
    assert discover().data_hash("task_distributions", "files", {"path": str(data)}) == first
    assert registry.data_hash("task_distributions", "digits", {}) == ""
    assert "zoo_builtin.Files" not in sys.modules
    with pytest.raises(DataError, match="no path given: set path"):
        registry.data_hash("task_distributions", "files", {"path": ""})


# ------------------------------------------------------------------ cache and provenance
def refuse(*_, **__):
    raise AssertionError("a cached plugin was probed again")


def test_a_probe_is_asked_once_per_version_of_the_files(lone):
    site, patch = lone
    write_distribution(site, "bench-solo", {"bench_solo.py": "class A: pass" + plugin("bench_gan_losses", a="A")}, entry="solo")
    first = discover("solo")
    assert first.names("gan_losses") == ("a",)
    with pytest.MonkeyPatch.context() as frozen:
        frozen.setattr(probing, "isolated", refuse)
        assert discover("solo").component("gan_losses", "a") == first.component("gan_losses", "a")
    module = site / "bench_solo.py"
    module.write_text("# a comment\n" + module.read_text().replace("class A: pass", "class A:\n    '''Documented.'''"))
    second = discover("solo")
    assert named(second, "solo").content_hash != named(first, "solo").content_hash
    assert second.component("gan_losses", "a").doc == "Documented."
    module.write_text(module.read_text().replace("'''Documented.'''", "weight = 2"))
    third = discover("solo")
    assert third.source_hash("gan_losses", "a") != second.source_hash("gan_losses", "a")


def test_a_failure_is_tried_again_once_something_was_installed(lone):
    site, _ = lone
    write_distribution(
        site, "bench-needs", {"bench_needs.py": "import needed_thing\nclass A: pass" + plugin("bench_gan_losses", a="A")}, entry="needs"
    )
    assert named(discover("needs"), "needs").status == "unavailable"
    (site / "needed_thing.py").write_text("")
    assert named(discover("needs"), "needs").status == "ok"


@pytest.mark.parametrize("damage", ["", "{", '{"record": {}}', '{"record": {"status": "ok", "broken": []}, "surroundings": "", "time": 0}'])
def test_a_damaged_cache_is_replaced(lone, damage):
    site, _ = lone
    write_distribution(site, "bench-solo", {"bench_solo.py": "class A: pass" + plugin("bench_gan_losses", a="A")}, entry="solo")
    discover("solo")
    for record in Path(os.environ["BENCH_CACHE_DIR"], "probes").iterdir():
        record.write_text(damage)
    assert discover("solo").names("gan_losses") == ("a",)


def test_a_cache_that_cannot_be_written_costs_only_time(lone, tmp_path):
    site, patch = lone
    write_distribution(site, "bench-solo", {"bench_solo.py": "class A: pass" + plugin("bench_gan_losses", a="A")}, entry="solo")
    (tmp_path / "file").write_text("")
    patch.setenv("BENCH_CACHE_DIR", str(tmp_path / "file" / "folder"))
    assert discover("solo").names("gan_losses") == ("a",)


def test_the_cache_follows_xdg(monkeypatch):
    monkeypatch.delenv("BENCH_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert probing.cache_folder() == Path("/somewhere/bench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert probing.cache_folder() == Path.home() / ".cache" / "bench"


def test_numeric_hash_is_a_stable_sha256():
    assert len(bench_numeric_hash()) == 64
    assert set(bench_numeric_hash()) <= set("0123456789abcdef")


def test_a_distribution_named_by_hand_can_be_probed_from_the_shell(zoo):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(zoo), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "-m", "bench.registry.probe", "bench-chatty"], capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(done.stdout)["status"] == "ok"
    assert "raw" in done.stderr


def test_warm_discovery_and_loading_a_suite_take_a_fifth_of_a_second_without_torch(zoo, registry, tmp_path):
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        textwrap.dedent("""
        question: Which?
        name: quick
        primary: {metric: energy, adaptation_step: 1, compare: [maml, reptile]}
        budget: {outer_steps: 10}
        games: [gan]
        task_distributions: [digits]
        networks: [{mlp: {width: {sweep: [8, 16]}}}]
        gan_losses: [hinge]
        meta_learners: [{maml: {order: 1}}, {reptile: {inner_lr: 1e-3}}]
        metrics: [energy]
        """)
    )
    script = f"""
import sys, time
from bench.registry.registry import discover
from bench.suite.model import load_suite
import bench.suite.reading
best = 9.0
for _ in range(5):
    started = time.perf_counter()
    load_suite({str(suite)!r}, discover())
    best = min(best, time.perf_counter() - started)
assert not {{"torch", "ray", "pandas", "matplotlib", "zoo_builtin", "bench_good"}} & set(sys.modules), sorted(sys.modules)
print(best)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    discover()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.2
