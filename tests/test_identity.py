"""Everything that can change a number gives a cell another identity, one thing at a time, and nothing else does.

What there is to change is read from the models and from the components, so that a new field or hyperparameter cannot be forgotten.
"""

import dataclasses
import importlib.metadata
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from grid_fixture import SUITE, ids, one, suite_of
from plugins_fixture import installed, plugin, write_distribution

from bench.driver.run import RunOptions, prepare
from bench.grid import identity
from bench.grid.cells import Trial, expand
from bench.registry import probing
from bench.registry.registry import Registry, discover
from bench.suite.components import Component
from bench.suite.model import Budget, Primary, Protocol, Suite

RINGS = {"gaussian-rings": {"modes": 3, "label": "three"}}


@pytest.fixture
def registry(monkeypatch):
    """The built-in components; reading data is not what this is about."""
    monkeypatch.setattr(Registry, "data_hash", lambda self, family, name, parameters: f"data of {name}")
    return discover("builtin")


@pytest.fixture
def load(registry, tmp_path):
    """Suite from changes to the one of the fixture, or from text."""
    return lambda changes=None, text="": suite_of(tmp_path, registry, changes, text)


@pytest.fixture
def cells(load, registry):
    """Cells of the suite with some keys changed."""
    return lambda **changes: expand(load(changes), registry)


def trained(trials):
    """Identities of Reptile's cells, controls included: a baseline that does not train has no budget, for one."""
    return ids(trial for trial in trials if trial.meta_learner.name == "reptile" and trial.configuration is None)


def changed(suite, registry, **update):
    """Identity of the same cell of a suite that was changed after it was read."""
    return one(expand(suite.model_copy(update=update), registry)).trial_id


# ------------------------------------------------------------------ the suite
BEFORE = Budget(**SUITE["budget"])
ANOTHER = {
    "seed": [2],
    "primary": [{**SUITE["primary"], "adaptation_step": 0}, {**SUITE["primary"], "metric": "modes"}],
    "budget": [
        {"gradient_evaluations": 501, "warm_start": {"finetune": 100}},
        {"outer_steps": 500, "warm_start": {"finetune": 100}},
        {"gradient_evaluations": 500, "warm_start": {"finetune": 101}},
        {"gradient_evaluations": 500, "warm_start": {"reptile": 100}},
        {"gradient_evaluations": 500},
    ],
    "protocol": [{**SUITE["protocol"], "samples": 7}],  # and all others, below
    "games": [[{"gan": {"order": "simultaneous"}}]],
    "task_distributions": [[{"gaussian-rings": {"modes": 3}}]],
    "test_on": [[RINGS]],
    "networks": [[{"mlp": {"width": 5}}]],
    "gan_losses": [["minimax"]],
    "meta_learners": [["finetune", {"reptile": {"outer_lr": 0.1}}], ["finetune", {"reptile": {"test": {"inner_lr": 0.1}}}]],
    "regularisers": [[["r1"]], [["r1", "gradient-penalty"]], [["gradient-penalty", "r1"]]],  # a set is ordered
    "augmentations": [[["task-augmentation"]]],
    "metrics": [["energy"], ["energy", "kid"]],
    "feature_extractor": ["pixels"],
    "per_task_distribution": [{"gaussian-rings": {"networks": [{"mlp": {"width": 5}}]}}],
    "tuning": [{"trials": 2}, {"trials": 3}],
}
"""What makes every cell of Reptile another one, by field of the suite."""

THE_SAME = {
    "question": ["Another?"],
    "name": ["other"],
    "description": ["Longer."],
    "tuning_record": ["by hand"],
    "requires": [["metagan-bench"]],
    "plugins": [],  # what a local file offers is a component like any other
    "primary": [{**SUITE["primary"], "compare": ["finetune", "reptile"]}],
    "replicates": [3],
    "gan_losses": [SUITE["gan_losses"][::-1], [*SUITE["gan_losses"], "hinge"]],
    "task_distributions": [["digits", "gaussian-rings"]],
    "meta_learners": [SUITE["meta_learners"][::-1]],
    "metrics": [SUITE["metrics"][::-1]],
    "regularisers": [SUITE["regularisers"] + [["r1"]]],
    "controls": [{"shuffled-tasks": ["reptile", "finetune"]}],
    "exclude": [[{"meta_learners": "maml", "reason": "too dear"}]],
    "design": ["one-at-a-time", "ablation"],
}
"""What leaves every cell what it was, though there may be more of them, or fewer."""


def cases(table):
    return [pytest.param(field, value, id=f"{field}-{number}") for field, values in table.items() for number, value in enumerate(values)]


def test_every_field_of_a_suite_is_known_to_change_numbers_or_not():
    assert ANOTHER.keys() | THE_SAME.keys() == set(Suite.model_fields)
    assert {name for budget in ANOTHER["budget"] for name in budget} == set(Budget.model_fields)
    changed_primary = [value for table in (ANOTHER, THE_SAME) for value in table["primary"]]
    assert {name for value in changed_primary for name in value if value[name] != SUITE["primary"][name]} == set(Primary.model_fields)


@pytest.mark.parametrize(("field", "value"), cases(ANOTHER))
def test_each_thing_that_can_change_a_number_is_part_of_the_identity(cells, field, value):
    assert trained(cells(**{field: value})).isdisjoint(trained(cells()))


@pytest.mark.parametrize(("field", "value"), cases(THE_SAME))
def test_nothing_else_is(cells, field, value):
    before, after = ids(cells()), ids(cells(**{field: value}))
    assert before <= after or after < before


def test_values_of_one_field_have_identities_of_their_own(cells):
    for field, values in ANOTHER.items():
        found = [trained(cells(**{field: value})) for value in values]
        assert len(set.union(*found)) == sum(map(len, found)), field


def leaves(settings, place=()):
    for name, value in settings.items():
        yield from leaves(value, (*place, name)) if isinstance(value, dict) else [((*place, name), value)]


@pytest.mark.parametrize(("place", "value"), list(leaves({**Protocol().to_dict(), "train_shots": 3})), ids=str)
def test_every_field_of_the_protocol_is_part_of_the_identity(load, registry, place, value):
    assert set(Protocol.model_fields) == {first for (first, *_), _ in leaves({**Protocol().to_dict(), "train_shots": 3})}
    suite = load()
    settings = {**suite.protocol.to_dict(), "train_shots": 3}
    before = Protocol.model_validate_json(json.dumps(settings))
    inside = settings
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = [*inside[place[-1]], 99] if isinstance(value, list) else inside[place[-1]] + 1
    after = Protocol.model_validate_json(json.dumps(settings))
    assert changed(suite, registry, protocol=after) != changed(suite, registry, protocol=before)


def test_a_replicate_and_a_control_have_identities_of_their_own(cells):
    assert len(ids(cells())) == len(cells())


def test_formatting_and_comments_do_not_matter(load, registry):
    text = "# A comment.\n" + yaml.safe_dump(SUITE, default_flow_style=True, width=60)
    assert ids(expand(load(text=text), registry)) == ids(expand(load(), registry))


def test_labels_do_not_matter(cells):
    labelled = {
        "games": [{"gan": {"label": "a"}}],
        "task_distributions": [{"gaussian-rings": {"label": "b"}}],
        "networks": [{"mlp": {"label": "c"}}],
        "gan_losses": [{"non-saturating": {"label": "d"}}, {"wasserstein": {"label": "e"}}],
        "meta_learners": ["scratch", {"finetune": {"label": "f"}}, "reptile", {"maml": {"order": {"sweep": [1, 2]}, "label": "g"}}],
        "regularisers": [[], [{"gradient-penalty": {"label": "h"}}], ["outer-clip"]],
        "metrics": [{"energy": {"label": "i"}}, "modes"],
        "primary": {**SUITE["primary"], "compare": ["reptile", "f"]},
    }
    assert ids(cells(**labelled)) == ids(cells())


# ------------------------------------------------------------------ components
KEYS = {
    "games": "games", "networks": "networks", "gan_losses": "gan_losses", "meta_learners": "meta_learners", "metrics": "metrics",
    "task_distributions": "task_distributions", "regularisers": "regularisers", "augmentations": "augmentations",
    "feature_extractors": "feature_extractor",
}  # fmt: skip
"""Families of components of a cell -> their field of the suite; inner optimisers are hyperparameters of others, reporters of none."""


def hyperparameters(registry):
    """Every hyperparameter of every component that can be part of a cell of the suite."""
    for family in KEYS:
        for name in registry.names(family):
            info = registry.component(family, name)
            if info.attributes.get("needs_labels") or info.attributes.get("needs_predictions"):
                continue  # the suite's tasks have no labels, and its game predicts nothing
            if family == "task_distributions" and "kind" not in info.attributes:
                continue  # it wraps another one, and an instance would be asked for its kind
            for hyperparameter in info.schema["properties"]:
                if hyperparameter not in info.attributes.get("locations", ()):
                    yield family, name, hyperparameter


def test_every_hyperparameter_of_every_component_is_part_of_the_identity(load, registry):
    small = {"meta_learners": ["finetune", "reptile"], "gan_losses": ["wasserstein"], "regularisers": [[]], "controls": {}, "replicates": 1}
    suite, tried = load(small), 0
    for family, name, hyperparameter in hyperparameters(registry):
        key = KEYS[family]
        value = ["generator"] if hyperparameter == "players" else 0.123  # planning reads that one
        plain, set_ = (Component(family, name, values, {}, "x") for values in ({}, {hyperparameter: value}))
        sets = {"regularisers": lambda c: ((c,),), "augmentations": lambda c: ((c,),), "feature_extractor": lambda c: c}
        spelled = sets.get(key, lambda c: (c,))
        found = [ids(expand(suite.model_copy(update={key: spelled(component)}), registry)) for component in (plain, set_)]
        assert found[0].isdisjoint(found[1]), (name, hyperparameter)
        tried += 1
    assert tried > 150


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("games", "gan"), ("task_distributions", "gaussian-rings"), ("networks", "mlp"), ("gan_losses", "wasserstein"),
        ("meta_learners", "reptile"), ("regularisers", "outer-clip"), ("metrics", "modes"), ("feature_extractors", "identity"),
        ("augmentations", "task-augmentation"), ("meta_learners", "finetune"), ("inner_optimisers", "sgd"),
    ],
)  # fmt: skip
def test_the_code_of_each_component_is_part_of_the_identity(load, registry, monkeypatch, family, name):
    """Of the warm start's learner and of components that a hyperparameter names, too."""
    suite = load(
        {
            "meta_learners": ["finetune", {"reptile": {"inner_optimiser": {"sgd": {"momentum": 0.5}}}}],
            "regularisers": [["outer-clip"]],
            "augmentations": [["task-augmentation"]],
        }
    )

    def cell():
        return one(expand(suite, registry), arm="reptile + outer-clip + task-augmentation").trial_id

    before, source_hash = cell(), registry.source_hash
    monkeypatch.setattr(registry, "source_hash", lambda *asked: "edited" if asked == (family, name) else source_hash(*asked))
    assert cell() != before


def test_the_code_of_another_component_is_not(load, registry, monkeypatch):
    suite, source_hash = load(), registry.source_hash
    before = one(expand(suite, registry)).trial_id
    monkeypatch.setattr(registry, "source_hash", lambda *asked: "edited" if asked[1] in ("maml", "adam", "r1") else source_hash(*asked))
    assert one(expand(suite, registry)).trial_id == before


# ------------------------------------------------------------------ the harness, the machine, the command
def test_code_data_torch_and_device_are_part_of_the_identity(load, registry, monkeypatch):
    suite = load()
    before = ids(expand(suite, registry))
    assert ids(expand(suite, registry, device="cuda")).isdisjoint(before)
    for target, name, value in (
        (Registry, "numeric_hash", property(lambda self: "edited")),
        (Registry, "data_hash", lambda *asked: "other data"),
        (identity, "_torch_minor", lambda: "99.1"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, value)
            assert ids(expand(suite, registry)).isdisjoint(before), name


def test_a_patch_release_of_torch_is_the_same_torch(monkeypatch):
    found = []
    for version in ("2.11.0", "2.11.3+cu128", "2.12.0"):
        monkeypatch.setattr(identity, "metadata", SimpleNamespace(version=lambda name, version=version: version))
        found.append(identity._torch_minor.__wrapped__())
    assert found == ["2.11", "2.11", "2.12"]


OPTIONS = {
    "jobs": 7, "executor": "inline", "address": "elsewhere:6379", "debug": True, "timeout": 1.0, "gpus_per_trial": 0.5, "max_failures": 1,
    "again": ("failed",), "allow_local": True, "join": True, "select": "reptile",
}  # fmt: skip
"""What a command can be told that changes no number; device and quick do."""


def test_how_and_where_a_suite_is_run_does_not_matter(load, tmp_path):
    load()
    base = RunOptions(output=tmp_path / "results", device="cpu")
    assert {field.name for field in dataclasses.fields(RunOptions)} == {*OPTIONS, "output", "device", "quick"}

    def planned(**options):
        return ids(prepare(tmp_path / "suite.yaml", replace(base, **options)).plan.trials)

    before = planned()
    for name, value in {**OPTIONS, "output": tmp_path / "elsewhere"}.items():
        assert planned(**{name: value}) <= before, name
    assert planned(device="cuda").isdisjoint(before)
    assert planned(quick=True).isdisjoint(before)


def test_where_data_lie_does_not_matter(load, registry, tmp_path, monkeypatch):
    """But a worker must be told, wherever its current folder is."""
    monkeypatch.chdir(tmp_path)
    plain = {"metrics": ["energy"], "task_distributions": ["omniglot"]}
    before = ids(expand(load(plain), registry))
    for parameters, told in (
        ({"path": "data/omniglot.npz"}, {"path": str(tmp_path / "data" / "omniglot.npz")}),
        ({"path": "/elsewhere/omniglot.npz"}, {"path": "/elsewhere/omniglot.npz"}),
        ({"root": "~/data", "download": True}, {"root": "~/data", "download": True}),
    ):
        trials = expand(load({**plain, "task_distributions": [{"omniglot": parameters}]}), registry)
        assert ids(trials) == before
        assert Trial.from_dict(trials[0].to_dict()).task_distribution.parameters == told
    assert ids(expand(load({**plain, "task_distributions": [{"omniglot": {"size": 20}}]}), registry)).isdisjoint(before)


# ------------------------------------------------------------------ a plugin's files
LOSS = """
from own_loss.margins import MARGIN

class Margin:
    def discriminator_loss(self, real_B, fake_B): return (MARGIN - real_B).relu().mean() + (MARGIN + fake_B).relu().mean()
    def generator_loss(self, real_B, fake_B): return -fake_B.mean()
"""
TASKS = """
from pathlib import Path

class Listed:
    kind: ClassVar[Kind] = "points"
    locations: ClassVar = ("path",)
    def __init__(self, *, path: str, spread: float = 1.0): self.path, self.spread = path, spread
    def fingerprint(self): return Path(self.path).read_text()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two throw-away distributions: a loss with a helper module and a stranger beside it, and tasks that are read from a file."""
    site = tmp_path_factory.mktemp("site")
    modules = {"own_loss/__init__.py": LOSS + plugin("bench_gan_losses", margin="Margin")}
    modules |= {"own_loss/margins.py": "MARGIN = 1.0", "own_loss/stranger.py": "UNUSED = 1"}
    write_distribution(site, "own-loss", modules)
    write_distribution(site, "own-tasks", {"own_tasks.py": TASKS + plugin("bench_task_distributions", listed="Listed")})
    site.joinpath("data.txt").write_text("1 2 3")
    with installed(site, probing.cache_folder()):
        yield site


def real_identity(site, data):
    """Identity of a cell that is made of the two distributions as they are now on the disk."""
    parts = {"gan_losses": ["margin"], "regularisers": [[]], "metrics": ["energy"]}
    changes = {**parts, "task_distributions": [{"listed": {"path": str(data)}}]}
    registry = discover("builtin,own-loss,own-tasks")
    return one(expand(suite_of(site, registry, changes), registry), loss="margin").trial_id


@pytest.fixture(scope="module")
def untouched(site):
    return real_identity(site, site / "data.txt")


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("own_loss/__init__.py", "-fake_B.mean()", "-2 * fake_B.mean()", False),
        ("own_loss/margins.py", "MARGIN = 1.0", "MARGIN = 2.0", False),
        ("data.txt", "1 2 3", "1 2 4", False),
        ("own_loss/__init__.py", "class Margin:", "class Margin:  # hinge\n    'Another docstring.'\n", True),
        ("own_loss/stranger.py", "UNUSED = 1", "UNUSED = 2", True),
    ],
    ids=["code", "helper module", "data", "comment and docstring", "module that is not imported"],
)
def test_a_real_plugins_files_count_by_what_they_do(site, untouched, file, old, new, same):
    path = site / file
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    try:
        assert (real_identity(site, site / "data.txt") == untouched) is same
    finally:
        path.write_text(before)


def test_equal_data_elsewhere_are_the_same_data(site, untouched, tmp_path):
    Path(tmp_path / "moved.txt").write_text((site / "data.txt").read_text())
    assert real_identity(site, tmp_path / "moved.txt") == untouched


def test_another_version_of_a_distribution_is_the_same_code(site, untouched):
    """The version is in the environment record; what counts is what the code does."""
    (info,) = site.glob("own_loss-*.dist-info")
    before = info.joinpath("METADATA").read_text()
    info.joinpath("METADATA").write_text(before.replace("0.1", "0.2"))
    try:
        assert importlib.metadata.version("own-loss") == "0.2"
        assert real_identity(site, site / "data.txt") == untouched
    finally:
        info.joinpath("METADATA").write_text(before)
