"""What does not fit across the keys of a suite: told in one round with everything else, and noted where it only changes nothing."""

import pytest
import yaml

from bench.errors import SuiteError
from bench.registry.registry import discover
from bench.suite.coherence import ignored
from bench.suite.reading import read_suite

SUITE = {
    "question": "?",
    "name": "s",
    "primary": {"metric": "energy", "adaptation_step": 1, "compare": ["maml", "reptile"]},
    "budget": {"outer_steps": 10},
    "protocol": {"adaptation_steps": {"train": 1, "test": [0, 1]}},
    "games": ["gan"],
    "task_distributions": ["gaussians"],
    "networks": ["mlp"],
    "gan_losses": ["hinge"],
    "meta_learners": ["maml", "reptile"],
    "metrics": ["energy"],
}


@pytest.fixture(scope="module")
def registry():
    return discover("builtin")


def problems(registry, **changes):
    with pytest.raises(SuiteError) as caught:
        read_suite(yaml.safe_dump({**SUITE, **changes}, sort_keys=False), registry, source="s.yaml")
    return [line.partition(" ")[2] for line in str(caught.value).splitlines() if line.startswith("s.yaml")]


def read(registry, **changes):
    return read_suite(yaml.safe_dump({**SUITE, **changes}), registry, source="s.yaml")


# ------------------------------------------------------------------ one round
@pytest.mark.parametrize("other", [{"seed": -1}, {"replicates": "many"}, {"regularisers": [["r3"]]}, {"budget": {"outer_steps": 0}}])
def test_mistakes_of_the_primary_comparison_are_told_beside_others(registry, other):
    primary = {"metric": "energie", "adaptation_step": 3, "compare": ["maml", "reptil"]}
    found = problems(registry, primary=primary, **other)
    told = [line.partition(":")[0] for line in found]
    assert {"primary.metric", "primary.adaptation_step"} <= set(told)
    assert ("primary.compare[1]" in told) == ("regularisers" not in other)  # which arms there are depends on every family
    assert len(told) == len(set(told)) == (4 if "regularisers" not in other else 3)


def test_what_refers_to_a_part_that_is_wrong_is_left_alone(registry):
    assert [line.partition(":")[0] for line in problems(registry, metrics=["energie"])] == ["metrics[0]"]
    assert [line.partition(":")[0] for line in problems(registry, meta_learners=["maml", "reptil"])] == ["meta_learners[1]"]


# ------------------------------------------------------------------ players
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"regularisers": [[{"weight-clip": {"players": ["critic"]}}]]},
            "regularisers: weight-clip: players: no game has a player 'critic'",
        ),
        (
            {"meta_learners": [{"maml": {"adapts": ["generater.*"]}}, "reptile"]},
            "meta_learners: maml: adapts: no game has a player 'generater'. Did you mean 'generator'?",
        ),
    ],
)
def test_a_player_that_no_game_has_is_a_mistake(registry, changes, told):
    (found,) = problems(registry, **changes)
    assert found.startswith(told)


def test_players_of_any_game_and_patterns_are_none(registry):
    read(
        registry,
        games=["gan", "vae"],
        regularisers=[[], [{"weight-clip": {"players": ["discriminator"]}}]],
        meta_learners=[{"maml": {"adapts": ["head", "*.bias", "vae.last", "gen*.0.*"]}}, "reptile"],
    )


# ------------------------------------------------------------------ without effect
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"games": [{"gan": {"unroll_lr": 0.1}}]}, ["games: unroll_lr of 'gan' changes nothing with unroll: 0"]),
        ({"games": [{"gan": {"unroll_lr": 0.1, "unroll": 2}}]}, []),
        ({"games": [{"gan": {"label": "mine", "unroll_lr": 0.1, "unroll": {"sweep": [0, 2]}}}]}, [
            "games: unroll_lr of 'mine(unroll=0)' changes nothing with unroll: 0"
        ]),
        ({"games": [{"vae": {"likelihood": "bernoulli", "scale": 0.1}}]},
         ["games: scale of 'vae' changes nothing with likelihood: bernoulli"]),
    ],
)  # fmt: skip
def test_a_hyperparameter_that_changes_nothing_is_noted(registry, changes, told):
    assert ignored(read(registry, **changes), registry) == told
