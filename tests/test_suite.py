import json
import textwrap

import pytest
import yaml
from jsonschema import Draft202012Validator
from plugins_fixture import installed, write_zoo

from bench.errors import PluginError, SuiteError
from bench.registry.registry import discover
from bench.suite.components import Component
from bench.suite.model import Exclusion, Suite, load_suite
from bench.suite.schema import json_schema

FULL = """
question: Does meta-learning help a GAN that sees 8 glyphs?
name: fewshot
description: A full example.
tuning_record: chosen on meta-val
seed: 3
replicates: 5
primary: {metric: energy, adaptation_step: 10, compare: [reptile, finetune]}
budget: {gradient_evaluations: 40_000, warm_start: {finetune: 4000}}
protocol: {shots: 4, query: 12, adaptation_steps: {train: 5, test: [0, 1, 10]}, tasks: {meta_test: 64}}
games: [gan]
task_distributions: [{digits: {size: 16}}, {rings: {label: ring}}]
networks: [{mlp: {width: {sweep: [16, 32]}, sizes: [1, 2]}}]
gan_losses: [non-saturating, {hinge: {}}]
meta_learners:
  - scratch
  - finetune
  - {maml: {order: {sweep: [1, 2]}, inner_optimiser: {sgd: {momentum: 0.5}}}}
  - {reptile: {inner_lr: 5e-3, label: reptile, test: {steps: 3}}}
regularisers: [[], [r1, outer-clip], [{r1: {weight: {sweep: [1, 10]}}}]]
augmentations: [[]]
controls: {shuffled-tasks: [reptile]}
exclude:
  - {meta_learners: scratch, regularisers: [r1], reason: not meta-trained}
metrics: [energy]
feature_extractor: auto
per_task_distribution:
  ring: {metrics: [energy, modes], feature_extractor: pixels, protocol: {shots: 32, adaptation_steps: {train: 7}}, budget: {outer_steps: 9}}
"""

SMALL = """\
question: Which?
name: small
primary: {metric: energy, adaptation_step: 1, compare: [maml, reptile]}
budget: {outer_steps: 10}
games: [gan]
task_distributions: [digits]
networks: [mlp]
gan_losses: [hinge]
meta_learners: [maml, reptile]
metrics: [energy]
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    write_zoo(site)
    with installed(site, tmp_path_factory.mktemp("cache")):
        yield discover("builtin,good,raises,partly,twin-a,twin-b")


@pytest.fixture
def load(registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def reading(text):
        (tmp_path / "suite.yaml").write_text(text)
        return load_suite("suite.yaml", registry)

    return reading


def complaints(load, text):
    with pytest.raises(SuiteError) as caught:
        load(text)
    return [line for line in str(caught.value).splitlines() if line.startswith("suite.yaml:")]


def changed(key, value):
    """The small suite with one line replaced or added, and the number of that line."""
    lines = SMALL.splitlines()
    places = [number for number, line in enumerate(lines) if line.startswith(f"{key}:")] or [len(lines)]
    lines[places[0] : places[0] + 1] = [f"{key}: {value}"]
    return "\n".join(lines) + "\n", places[0] + 1


# ------------------------------------------------------------------ what is read
def test_a_full_suite_is_read_and_expanded(load):
    suite = load(FULL)
    assert (suite.seed, suite.replicates, suite.primary.compare) == (3, 5, ("reptile", "finetune"))
    assert (suite.budget.axis, suite.budget.amount, suite.budget.warm_start) == ("gradient_evaluations", 40_000, {"finetune": 4000})
    assert [one.label for one in suite.task_distributions] == ["digits", "ring"]
    assert suite.networks == (
        Component("networks", "mlp", {"width": 16, "sizes": [1, 2]}, {}, "mlp(width=16)"),
        Component("networks", "mlp", {"width": 32, "sizes": [1, 2]}, {}, "mlp(width=32)"),
    )
    assert [one.label for one in suite.meta_learners] == ["scratch", "finetune", "maml(order=1)", "maml(order=2)", "reptile"]
    assert suite.meta_learners[-1].parameters == {"inner_lr": 0.005}
    assert suite.meta_learners[-1].test == {"steps": 3}
    assert [[one.label for one in members] for members in suite.regularisers] == [
        [],
        ["r1", "outer-clip"],
        ["r1(weight=1)"],
        ["r1(weight=10)"],
    ]
    assert suite.augmentations == ((),)
    assert suite.feature_extractor is None
    assert suite.exclude == (Exclusion(where={"meta_learners": ("scratch",), "regularisers": ("r1",)}, reason="not meta-trained"),)


def test_an_exclusion_needs_all_its_families_and_a_set_that_contains_the_word(load):
    suite = load(FULL)
    (rule,) = suite.exclude
    scratch, finetune = suite.meta_learners[:2]
    none, pair, weighted, _ = suite.regularisers
    assert rule.matches({"meta_learners": scratch, "regularisers": pair, "gan_losses": None})
    assert rule.matches({"meta_learners": scratch, "regularisers": weighted})  # by name, whatever the label
    assert not rule.matches({"meta_learners": scratch, "regularisers": none})
    assert not rule.matches({"meta_learners": finetune, "regularisers": pair})


def test_defaults_are_those_of_the_protocol(load):
    suite = load(SMALL)
    assert suite.protocol.to_dict() == {
        "shots": 8,
        "query": 16,
        "reference": 16,
        "samples": 64,
        "task_batch": 4,
        "task_chunk": 8,
        "adaptation_steps": {"train": 5, "test": [0, 1, 2, 5, 10, 25]},
        "tasks": {"meta_val": 16, "meta_test": 32},
        "validations": 4,
    }
    assert load(FULL).protocol.reference == 12  # as many as query


def test_shots_are_one_number_or_an_axis_and_an_override_replaces_it(load):
    suite = load(SMALL + "protocol: {shots: [1, 5, 20]}\nper_task_distribution: {digits: {protocol: {shots: [4]}}}\n")
    cells = [{name: protocol.get(name) for name in ("shots", "drawn")} for protocol in suite.protocol.by_shots()]
    assert cells == [{"shots": 1, "drawn": 20}, {"shots": 5, "drawn": 20}, {"shots": 20, "drawn": None}]
    digits = suite.for_distribution("digits").protocol
    assert digits.shots == 4
    assert digits.by_shots() == [digits.to_dict()]
    assert Suite.from_dict(suite.to_dict()) == suite


def test_measuring_elsewhere_survives_json(load):
    suite = load(SMALL + "test_on: [rings, {digits: {size: 9, label: larger}}]\n")
    assert [(one.family, one.label) for one in suite.test_on] == [("task_distributions", "rings"), ("task_distributions", "larger")]
    assert Suite.from_dict(suite.to_dict()) == suite


def test_overrides_merge_mappings_and_replace_lists(load):
    suite = load(FULL)
    digits, ring = suite.for_distribution("digits"), suite.for_distribution("ring")
    assert digits.protocol == suite.protocol
    assert [one.label for one in digits.task_distributions] == ["digits"]
    assert (ring.protocol.shots, ring.protocol.query, ring.protocol.adaptation_steps.train) == (32, 12, 7)
    assert ring.protocol.adaptation_steps.test == (0, 1, 10)
    assert [one.name for one in ring.metrics] == ["energy", "modes"]
    assert ring.feature_extractor == Component("feature_extractors", "pixels", {}, {}, "pixels")
    assert (ring.budget.axis, ring.budget.amount, ring.budget.warm_start) == ("outer_steps", 9, {})
    assert ring.networks == suite.networks
    with pytest.raises(SuiteError, match="Did you mean 'ring'"):
        suite.for_distribution("rings")


def test_a_label_has_the_last_word_over_the_name(load):
    text, _ = changed("task_distributions", "[{digits: {label: a}}, {digits: {label: b}}]")
    suite = load(text + "per_task_distribution: {a: {protocol: {shots: 1}}, digits: {protocol: {shots: 2, query: 3}}}\n")
    assert (suite.for_distribution("a").protocol.shots, suite.for_distribution("a").protocol.query) == (1, 3)
    assert suite.for_distribution("b").protocol.shots == 2


def test_arms_are_learners_with_their_regularisers_and_controls(load):
    text, _ = changed("regularisers", "[[], [r1, outer-clip]]")
    assert load(text + "controls: {shuffled-tasks: [maml]}\n").arms() == (
        "maml",
        "maml (shuffled tasks)",
        "maml + r1 + outer-clip",
        "maml + r1 + outer-clip (shuffled tasks)",
        "reptile",
        "reptile + r1 + outer-clip",
    )


def test_a_suite_survives_json(load):
    for text in (FULL, SMALL):
        suite = load(text)
        again = Suite.from_dict(json.loads(json.dumps(suite.to_dict())))
        assert again == suite
        for one in suite.task_distributions:
            assert again.for_distribution(one.label) == suite.for_distribution(one.label)
    with pytest.raises(SuiteError, match="not a resolved suite"):
        Suite.from_dict({"name": "x"})


def test_a_suite_cannot_be_changed(load):
    suite = load(SMALL)
    with pytest.raises(ValueError, match="frozen"):
        suite.seed = 4


# ------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("gan_losses", "[hinge, least-square]", "gan_losses[1]: unknown GAN loss 'least-square'. Did you mean 'least-squares'?"),
        ("meta_learner", "[maml]", "meta_learner: unknown key 'meta_learner'. Did you mean 'meta_learners'?"),
        ("tests_on", "[rings]", "tests_on: unknown key 'tests_on'. Did you mean 'test_on'?"),
        ("test_on", "[ring]", "test_on[0]: unknown task distribution 'ring'. Did you mean 'rings'?"),
        ("test_on", "rings", 'test_on: must be a list of components, such as [digits] (value "rings")'),
        ("test_on", "[rings, rings]", "test_on[1]: the label 'rings' appears twice"),
        ("tuning", "{trials: 8, split: meta-test}", "tuning.split: must be meta-val: what is chosen on meta-test tasks looks better"),
        ("tuning", "{trials: 8, split: val}", 'tuning.split: must be meta-val (value "val")'),
        ("tuning", "{trials: 0}", "tuning.trials: must be >= 1 (value 0)"),
        ("tuning", "{trials: 2.5}", "tuning.trials: must be an integer (value 2.5)"),
        ("tuning", "{trials: 8, budget: 3}", "tuning.budget: unknown key 'budget'."),
        ("tuning", "{}", "tuning.trials: is required"),
        ("tuning", "8", "tuning: must be a mapping with trials, split (value 8)"),
        ("question", "", "question: has no value; give one, or leave the key out"),
        ("replicates", "", "replicates: has no value; give one, or leave the key out"),
        ("replicates", "10_000_000", "replicates: "),
        ("meta_learners", "[{maml: {order: 3}}, reptile]", "meta_learners[0].maml.order: must be one of 1, 2 (value 3)"),
        (
            "meta_learners",
            "[{maml: {ordr: 1}}, reptile]",
            "meta_learners[0].maml.ordr: unknown hyperparameter 'ordr' of meta-learner 'maml'. Did you mean",
        ),
        ("meta_learners", "[maml, reptile, maml]", "meta_learners[2]: the label 'maml' appears twice"),
        ("meta_learners", "[{maml: {label: ''}}, reptile]", "meta_learners[0].maml.label: a label must be one line"),
        (
            "meta_learners",
            "[{maml: {order: {sweep: [1, 3]}}}, reptile]",
            "meta_learners[0].maml.order.sweep[1]: must be one of 1, 2 (value 3)",
        ),
        ("meta_learners", "[{maml: {order: {sweep: []}}}, reptile]", "meta_learners[0].maml.order: a sweep is {sweep: [a, b]}"),
        ("meta_learners", "[{maml: {order: {sweep: [1, 1]}}}, reptile]", "meta_learners[0].maml.order: a sweep is {sweep: [a, b]}"),
        ("meta_learners", "[{maml: {test: {order: 9}}}, reptile]", "meta_learners[0].maml.test.order: must be one of 1, 2 (value 9)"),
        (
            "meta_learners",
            "[{maml: {inner_optimiser: {sgd: {momentum: 2}}}}, reptile]",
            "meta_learners[0].maml.inner_optimiser.sgd.momentum: must be",
        ),
        (
            "meta_learners",
            "[{maml: null, order: 1}, reptile]",
            "meta_learners[0]: must be one component: got the keys maml, order; indent the others",
        ),
        ("meta_learners", "maml", 'meta_learners: must be a list of components, such as [finetune] (value "maml")'),
        ("networks", "[{mlp: {test: {width: 8}}}]", "networks[0].mlp.test: only meta_learners and games"),
        ("networks", "[{mlp: 3}]", "networks[0].mlp: must be a mapping of hyperparameters to values (value 3)"),
        ("networks", "[3]", "networks[0]: must be a component"),
        ("networks", "[]", "networks: must not be empty"),
        ("regularisers", "[r1]", 'regularisers[0]: each item is the ordered set of one cell: write ["r1"]'),
        ("regularisers", "[[r1], [{r1: {weight: 2}}]]", "regularisers[1]: the label 'r1' appears twice"),
        ("regularisers", "[[r1, r1]]", "regularisers[0]: the set 'r1+r1' holds a component twice"),
        ("gan_losses", "[]", "games[0]: game 'gan' needs a GAN loss on 'digits': add gan_losses"),
        ("gan_losses", "[shifted]", "gan_losses[0]: GAN loss 'shifted' needs the hyperparameter 'target': a number"),
        ("protocol", "{shots: 0}", "protocol.shots: must be >= 1 (value 0)"),
        ("protocol", "{shots: 8.5}", "protocol.shots: must be an integer (value 8.5)"),
        ("protocol", "{shots: true}", "protocol.shots: must be an integer (value true)"),
        ("protocol", "{shots: []}", "protocol.shots: must ascend without repetition, from the smallest support to the largest (value [])"),
        ("protocol", "{shots: [5, 1]}", "protocol.shots: must ascend without repetition, from the smallest"),
        ("protocol", "{shots: [1, 1]}", "protocol.shots: must ascend without repetition, from the smallest"),
        ("protocol", "{shots: [0, 1]}", "protocol.shots: must be >= 1 (value [0, 1])"),
        ("protocol", "{shots: [1, 2.5]}", "protocol.shots: must be an integer, or a list of integers (value [1, 2.5])"),
        ("protocol", "{shot: 8}", "protocol.shot: unknown key 'shot'. Did you mean 'shots'?"),
        ("protocol", "{tasks: {meta_tset: 8}}", "protocol.tasks.meta_tset: unknown key 'meta_tset'. Did you mean 'meta_test'?"),
        ("protocol", "{adaptation_steps: {test: [1, 0]}}", "protocol.adaptation_steps.test: must ascend without repetition (value [1, 0])"),
        ("protocol", "{adaptation_steps: {test: [1, 1]}}", "protocol.adaptation_steps.test: must ascend without repetition (value [1, 1])"),
        ("protocol", "{adaptation_steps: {test: []}}", "protocol.adaptation_steps.test: must have at least 1 values"),
        ("protocol", "3", "protocol: must be a mapping with shots, train_shots, query"),
        ("budget", "{}", "budget: needs exactly one of gradient_evaluations and outer_steps (value {})"),
        ("budget", "{outer_steps: 1, gradient_evaluations: 1}", "budget: needs exactly one of gradient_evaluations and outer_steps"),
        ("budget", "{outer_steps: -1}", "budget.outer_steps: must be >= 1 (value -1)"),
        ("budget", "{outer_steps: 5, warm_start: {maml: 5}}", "budget: the warm start of 'maml' (5) must stay below the budget (5)"),
        (
            "budget",
            "{outer_steps: 5, warm_start: {mamml: 2}}",
            "budget.warm_start.mamml: no meta-learner of this suite is called 'mamml'. Did you mean 'maml'?",
        ),
        (
            "budget",
            "{outer_steps: 5, warm_start: {scratch: 2}}",
            "budget.warm_start.scratch: 'scratch' does not meta-train, so it can't be a warm start",
        ),
        (
            "meta_learners",
            "[maml, {scratch: {test: {strength: 2.0}}}]",
            "meta_learners[1].scratch.test.strength: has no effect on held-out tasks; what scratch can be told for them: inner_lr",
        ),
        (
            "primary",
            "{metric: enrgy, adaptation_step: 1, compare: [maml, reptile]}",
            "primary.metric: 'enrgy' is no output of the listed metrics. Did you mean",
        ),
        (
            "primary",
            "{metric: modes, adaptation_step: 1, compare: [maml, reptile]}",
            "primary.metric: 'modes' is no output of the listed metrics.",
        ),
        (
            "primary",
            "{metric: energy, adaptation_step: 3, compare: [maml, reptile]}",
            "primary.adaptation_step: must be one of protocol.adaptation_steps.test",
        ),
        (
            "primary",
            "{metric: energy, adaptation_step: 1, compare: [maml, reptil]}",
            "primary.compare[1]: no arm is called 'reptil'. Did you mean 'reptile'?",
        ),
        ("primary", "{metric: energy, adaptation_step: 1, compare: [maml, maml]}", "primary.compare: must name two different arms"),
        ("primary", "{metric: energy, compare: [maml, reptile]}", "primary.adaptation_step: is required"),
        (
            "controls",
            "{shuffled-tasks: [reptil]}",
            "controls.shuffled-tasks[0]: no meta-learner of this suite is called 'reptil'. Did you mean",
        ),
        ("controls", "{shuffled: [reptile]}", "controls.shuffled: unknown control 'shuffled'. Did you mean 'shuffled-tasks'?"),
        (
            "exclude",
            "[{meta_learners: scratch, reason: x}]",
            "exclude[0].meta_learners[0]: no meta learner of this suite is called 'scratch'.",
        ),
        ("exclude", "[{meta_learners: maml}]", "exclude[0].reason: needs a reason"),
        ("exclude", "[{reason: none}]", "exclude[0]: names no family"),
        (
            "exclude",
            "[{meta_learner: maml, reason: x}]",
            "exclude[0].meta_learner: unknown key 'meta_learner'. Did you mean 'meta_learners'?",
        ),
        ("replicates", "0", "replicates: must be >= 1 (value 0)"),
        ("seed", "-1", "seed: must be >= 0 (value -1)"),
        ("seed", ".nan", "seed: a number must be finite (value .nan)"),
        ("name", "../escape", "name: must be letters, digits"),
        ("question", "''", "question: must not be empty"),
        ("feature_extractor", "pixel", "feature_extractor: unknown feature extractor 'pixel'. Did you mean 'pixels'?"),
        (
            "per_task_distribution",
            "{digit: {protocol: {shots: 1}}}",
            "per_task_distribution.digit: no task distribution of this suite has this name",
        ),
        (
            "per_task_distribution",
            "{digits: {protocl: {shots: 1}}}",
            "per_task_distribution.digits.protocl: unknown key 'protocl'. Did you mean",
        ),
        (
            "per_task_distribution",
            "{digits: {protocol: {shots: 0}}}",
            "per_task_distribution.digits.protocol.shots: must be >= 1 (value 0)",
        ),
        (
            "per_task_distribution",
            "{digits: {networks: [mpl]}}",
            "per_task_distribution.digits.networks[0]: unknown network 'mpl'. Did you mean",
        ),
        ("per_task_distribution", "{digits: {protocol: {adaptation_steps: {test: [5]}}}}", "primary.adaptation_step: must be one of"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_a_cure(load, key, value, message):
    text, line = changed(key, value)
    found = complaints(load, text)
    assert any(message in one for one in found), found
    if message.split(":")[0].split(".")[0].split("[")[0] == key:
        assert any(one.startswith(f"suite.yaml:{line}: {message}") for one in found), found


def test_the_wording_of_an_unknown_component(load):
    text, _ = changed("gan_losses", "[hinge, least-square]")
    with pytest.raises(SuiteError) as caught:
        load(text)
    assert str(caught.value).startswith(
        "suite.yaml:8: gan_losses[1]: unknown GAN loss 'least-square'. Did you mean 'least-squares'?\n"
        "  Installed: fine (bench-partly 0.1), hinge (builtin), "
    )
    assert caught.value.exit_code == 4


def test_all_problems_are_told_at_once_each_at_its_own_line(load):
    text = textwrap.dedent("""\
    name: many
    primary: {metric: energy, adaptation_step: 1, compare: [maml, reptile]}
    budget:
      outer_steps: 0
    games: [gann]
    task_distributions:
      - digits:
          size: big
    networks: [mlp]
    meta_learners: [maml, reptile]
    metrics: [energy]
    colour: red
    """)
    assert [one.split(": ")[0:2] for one in complaints(load, text)] == [
        ["suite.yaml:1", "question"],
        ["suite.yaml:4", "budget.outer_steps"],
        ["suite.yaml:5", "games[0]"],
        ["suite.yaml:8", "task_distributions[0].digits.size"],
        ["suite.yaml:12", "colour"],
    ]


def test_a_control_of_a_learner_that_does_not_train_is_refused(load):
    text, _ = changed("meta_learners", "[maml, reptile, scratch]")
    (found,) = complaints(load, text + "controls: {shuffled-tasks: [scratch]}\n")
    assert "'scratch' does not meta-train" in found


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the file is empty"),
        ("- a\n", 1, "a suite must be a mapping"),
        ("name: a\nname: b\n", 2, "name: the key 'name' appears twice, first in line 1"),
        ("name: a\nx: [1, 2\ny: 3\n", 3, "not valid YAML"),
        ("name: a\nx: y: z\n", 2, "not valid YAML: mapping values are not allowed here"),
        ("name: !!python/object/apply:os.system [ls]\n", 1, "not allowed"),
        ("name: a\nbase: &b {x: 1}\nother: {<<: *b}\n", 3, "merge keys"),
        ("a: &a [*a]\n", 1, "an alias refers to the value that contains it"),
        ("a: \0\n", 1, "not valid YAML: special characters are not allowed"),
        ("1: a\n", 1, "a key must be text: put quotes around '1'"),
        ("a: " + 60 * "[" + 60 * "]", 1, "nested more than"),
        ("a: " + 100_000 * "[", 1, "nested more than"),
    ],
)
def test_text_that_is_no_safe_yaml_is_refused_with_its_line(load, text, line, message):
    with pytest.raises(SuiteError) as caught:
        load(text)
    assert any(one.startswith(f"suite.yaml:{line}: ") and message in one for one in str(caught.value).splitlines()), str(caught.value)


def test_a_bomb_of_aliases_is_refused(load):
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join(10 * [f'*a{n - 1}'])}]\n" for n in range(1, 9))
    with pytest.raises(SuiteError, match="more than 20,000 values once aliases are expanded"):
        load(text)


def test_files_that_cannot_be_read(registry, tmp_path):
    with pytest.raises(SuiteError, match="no such file"):
        load_suite(tmp_path / "none.yaml", registry)
    with pytest.raises(SuiteError, match="cannot be read"):
        load_suite(tmp_path, registry)
    (tmp_path / "latin.yaml").write_bytes(b"name: a\nquestion: caf\xe9\n")
    with pytest.raises(SuiteError, match=r"latin.yaml:2: not UTF-8 text"):
        load_suite(tmp_path / "latin.yaml", registry)
    (tmp_path / "big.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(SuiteError, match="larger than"):
        load_suite(tmp_path / "big.yaml", registry)


# ------------------------------------------------------------------ broken plugins
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("bare", "GAN loss 'bare' of plugin partly (bench-partly 0.1) is quarantined: hyperparameter 'weight' has no annotation"),
        ("twin", "GAN loss 'twin' is offered by both twin-a (bench-twin-a 0.1) and twin-b (bench-twin-b 0.1)"),
        ("lost-loss", "GAN loss 'lost-loss' is unavailable: plugin 'raises' is quarantined\n  Quarantined: raises (bench-raises 0.1): "),
    ],
)
def test_a_suite_that_only_names_a_broken_plugin_blames_the_plugin(load, loss, message):
    text, line = changed("gan_losses", f"[hinge, {loss}]")
    with pytest.raises(PluginError) as caught:
        load(text)
    assert str(caught.value).startswith(f"suite.yaml:{line}: gan_losses[1]: {message}")
    assert caught.value.exit_code == 3
    with pytest.raises(SuiteError):
        load(text + "colour: red\n")


# ------------------------------------------------------------------ JSON Schema
def test_suites_fit_their_json_schema(registry):
    schema = json_schema(registry)
    Draft202012Validator.check_schema(schema)
    for text in (FULL.replace("40_000", "40000").replace("5e-3", "0.005"), SMALL):
        assert [error.message for error in Draft202012Validator(schema).iter_errors(yaml.safe_load(text))] == []
    assert "soft" in json.dumps(schema["$defs"]["gan_losses"])
    assert "bare" not in json.dumps(schema["$defs"]["gan_losses"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gan_losses", "[least-square]"),
        ("gan_losses", "[shifted]"),
        ("meta_learners", "[{maml: {order: 3}}]"),
        ("meta_learners", "[{maml: {order: {sweep: [1, 3]}}}]"),
        ("meta_learners", "[{maml: {inner_optimiser: {sgd: {momentum: 2}}}}]"),
        ("meta_learners", "[{maml: {}, reptile: {}}]"),
        ("networks", "[{mlp: {test: {width: 8}}}]"),
        ("networks", "[]"),
        ("regularisers", "[r1]"),
        ("protocol", "{shots: 0}"),
        ("protocol", "{shots: [1, 0]}"),
        ("test_on", "[ring]"),
        ("budget", "{outer_steps: 1, gradient_evaluations: 1}"),
        ("budget", "{}"),
        ("controls", "{shuffled: [maml]}"),
        ("exclude", "[{meta_learners: maml}]"),
        ("exclude", "[{reason: none}]"),
        ("per_task_distribution", "{digits: {seed: 1}}"),
        ("tuning", "{}"),
        ("tuning", "{trials: 8, split: meta-test}"),
    ],
)
def test_wrong_suites_do_not_fit_their_json_schema(registry, key, value):
    text, _ = changed(key, value)
    assert not Draft202012Validator(json_schema(registry)).is_valid(yaml.safe_load(text))
