"""Where arms are not equal: every kind of difference planted alone, and none reported where there is none."""

import pytest
import yaml

from bench.grid.equality import unequal_arms
from bench.registry.registry import discover
from bench.suite.model import load_suite

EQUAL = {
    "question": "Which?",
    "name": "equal",
    "replicates": 2,
    "primary": {"metric": "energy", "adaptation_step": 2, "compare": ["reptile", "finetune"]},
    "budget": {"gradient_evaluations": 500, "warm_start": {"finetune": 100}},
    "protocol": {"shots": 6, "query": 6, "adaptation_steps": {"train": 2, "test": [0, 2]}},
    "games": ["gan"],
    "task_distributions": ["gaussian-rings"],
    "networks": ["mlp"],
    "gan_losses": ["non-saturating"],
    "meta_learners": ["finetune", "reptile", {"maml": {"order": 1}}],
    "controls": {"shuffled-tasks": ["reptile"]},
    "metrics": ["energy"],
}
SMALLER = {"gaussian-rings": {"modes": 3, "label": "smaller"}}


@pytest.fixture(scope="module")
def registry():
    return discover("builtin")


@pytest.fixture
def flags(registry, tmp_path):
    """What is told of the suite above with some keys changed."""

    def telling(**changes):
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump({**EQUAL, **changes}, sort_keys=False))
        return unequal_arms(load_suite(path, registry), registry)

    return telling


def test_equal_arms_are_not_flagged(flags):
    assert flags() == []


def test_what_does_not_meta_train_spends_nothing(flags):
    (flag,) = flags(meta_learners=[*EQUAL["meta_learners"], "scratch", "memorise"])
    assert flag.startswith("budget: scratch, memorise spend none of it")


def test_outer_steps_are_no_common_currency(flags):
    (flag,) = flags(budget={"outer_steps": 10})
    assert "outer steps of finetune, maml, reptile" in flag
    assert "set budget.gradient_evaluations" in flag
    assert flags(budget={"outer_steps": 10}, meta_learners=[{"reptile": {"label": "a", "outer_lr": 0.5}}, {"reptile": {"outer_lr": 1.0}}],
                 primary={**EQUAL["primary"], "compare": ["a", "reptile"]}) == []  # fmt: skip


def test_steps_of_a_learner_that_are_not_the_protocols(flags):
    (flag,) = flags(meta_learners=["finetune", {"reptile": {"steps": 5}}, {"maml": {"steps": 2}}])
    assert flag.startswith("adaptation steps: reptile meta-trains with 5, the protocol says 2")


def test_a_learner_whose_default_steps_are_not_the_protocols(flags):
    (flag,) = flags(meta_learners=["finetune", "reptile", "imaml"])
    assert "imaml meta-trains with 16, the protocol says 2" in flag


def test_settings_for_held_out_tasks_that_one_arm_has(flags):
    (flag,) = flags(meta_learners=["finetune", {"reptile": {"test": {"inner_lr": 0.01}}}])
    assert flag.startswith("adaptation: only reptile has test settings")
    everywhere = [{name: {"test": {"inner_lr": 0.01}}} for name in ("finetune", "reptile")]
    assert flags(meta_learners=everywhere) == []


def test_settings_by_hand_beside_defaults_unless_it_is_told_how(flags):
    learners = ["finetune", {"reptile": {"outer_lr": 0.7}}]
    (flag,) = flags(meta_learners=learners)
    assert flag.startswith("tuning: finetune runs on defaults")
    assert flags(meta_learners=learners, tuning_record="chosen on meta-val") == []
    assert flags(meta_learners=learners, tuning={"trials": 2}) == []


def test_a_space_too_small_for_the_trials(flags):
    budget, tuning = flags(meta_learners=["finetune", "reptile", "kde"], tuning={"trials": 3})
    assert budget.startswith("budget: kde spends none of it")
    assert tuning.startswith("tuning: kde has 2 of 3 configurations")


def test_arms_that_are_missing_somewhere(flags):
    changes = {"task_distributions": ["gaussian-rings", SMALLER]}
    assert flags(**changes) == []
    rule = {"meta_learners": "maml", "task_distributions": "smaller", "reason": "too slow"}
    (flag,) = flags(**changes, exclude=[rule])
    assert flag.startswith("evaluations: no cell on smaller (excluded by the suite: too slow) for maml")


def test_a_difference_on_some_task_distributions_names_them(flags):
    own = {"smaller": {"meta_learners": ["finetune", {"reptile": {"steps": 9}}, {"maml": {"order": 1}}]}}
    (flag,) = flags(task_distributions=["gaussian-rings", SMALLER], per_task_distribution=own)
    assert flag.endswith("(on smaller)")
