"""What every game owes its users. Suffixes: T tasks, S support samples, N drawn samples."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.contracts import Parts, SampleSpec
from bench.game.critic import Critic
from bench.game.engine import Engine
from bench.testing.contract import Contract, global_state_untouched
from bench.testing.derivatives import PlainMaml, identical, largest_difference, meta_gradient_error
from bench.testing.gan_loss import Logistic
from bench.testing.network import SPECS
from bench.testing.small_game import LATENT, QUERIES, SHOTS, TASKS, small_draws
from bench.trees import Tree, tree_map

CLASSES, HIDDEN, DRAWN = 2, 6, 7


class GameContract(Contract):
    """What every game owes its users. Give a fixture ``rules``; ``parts`` and ``episodes`` must be overridden for unusual roles or data.

    The game is tried with tanh networks on the first of its kinds of samples, labelled where it requires labels.
    """

    @pytest.fixture
    def spec(self, rules: Any) -> SampleSpec:
        """What samples look like."""
        plain = SPECS[rules.kinds[0]]
        return SampleSpec(plain.kind, plain.shape, plain.low, plain.high, plain.targets, CLASSES * (_labels(rules) == "required"))

    @pytest.fixture
    def parts(self, rules: Any, spec: SampleSpec) -> Parts:
        """Modules by player, and the logistic loss where the game needs one."""
        modules = {player: _module(role, spec) for player, role in rules.roles.items()}
        return Parts(modules=modules, critic=Critic, loss=Logistic() if rules.needs_loss else None, spec=spec)

    @pytest.fixture
    def episodes(self, spec: SampleSpec) -> Tree:
        """Stacked support and query, float64: inputs, and targets or labels where there are any."""
        rng = np.random.default_rng(0)

        def part(n: int) -> Tree:
            x = {"x": torch.tensor(rng.normal(size=(TASKS, n, *spec.shape)))}
            if spec.classes:
                return {**x, "y": torch.eye(spec.classes, dtype=torch.float64)[torch.arange(n) % spec.classes].repeat(TASKS, 1, 1)}
            return {**x, "y": torch.tensor(rng.normal(size=(TASKS, n, *spec.targets)))} if spec.targets else x

        return {"support": part(SHOTS), "query": part(QUERIES)}

    @pytest.fixture
    def game(self, rules: Any, parts: Parts) -> Any:
        """The game on its parts."""
        return rules.bind(parts)

    def test_players_are_those_of_the_roles(self, rules: Any, game: Any) -> None:
        """Every player has a network, moves at least once in an adaptation step, and nobody else does."""
        assert set(game.players) == set(rules.roles)
        assert {player for group in game.schedule for player in group} == set(game.players)
        assert set(game.modules) == set(game.players)
        assert getattr(game, "predicts", False) == getattr(rules, "predicts", False)

    def test_losses_are_finite_scalars_of_those_asked_for(self, game: Any, episodes: Tree) -> None:
        """One player asked for, one loss given, the same as when all are asked for."""
        weights, draws = _weights(game), small_draws().of(small_draws().key[0])
        batch = tree_map(lambda leaf: leaf[0], episodes["support"])
        together, _ = game.losses(weights, batch, game.players, game.state(), draws)
        assert set(together) == set(game.players)
        for player in game.players:
            alone, _ = game.losses(weights, batch, (player,), game.state(), draws)
            assert set(alone) == {player}
            assert alone[player].shape == ()
            assert torch.isfinite(alone[player])
            assert torch.allclose(alone[player], together[player], rtol=1e-10)

    def test_samples_have_the_promised_shape(self, game: Any, episodes: Tree, spec: SampleSpec) -> None:
        """N samples, whatever the batch; a game that predicts answers each row of the batch instead."""
        batch = tree_map(lambda leaf: leaf[0], episodes["query"])
        drawn = game.sample(_weights(game), batch, DRAWN, small_draws().of(small_draws().key[0]))
        if getattr(game, "predicts", False):
            assert len(drawn) == len(batch["x"])
        else:
            assert drawn.shape == (DRAWN, *spec.shape)
        assert torch.isfinite(drawn).all()

    def test_stacked_and_in_a_loop_it_is_the_same(self, rules: Any, game: Any, episodes: Tree) -> None:
        """Adaptation and samples of a task do not depend on batching."""
        ends = []
        for vectorise in (getattr(rules, "vectorised", True), False):
            learner = PlainMaml()
            engine = Engine(game, learner, vectorise=vectorise)
            meta = engine.init(torch.Generator())
            end = engine.rollout(meta, episodes, small_draws(), steps=2, order=1)
            ends.append({"params": end.params, "samples": engine.sample(meta, end, DRAWN, small_draws(), episodes["query"])})
        assert largest_difference(*ends) < 1e-9

    def test_one_bad_task_does_not_spoil_the_others(self, rules: Any, game: Any, episodes: Tree) -> None:
        """A support that is not finite leaves the adaptation of other tasks as it is."""
        spoilt = tree_map(torch.clone, episodes)
        spoilt["support"]["x"][0] = torch.nan
        engine = Engine(game, PlainMaml(), vectorise=getattr(rules, "vectorised", True))
        meta = engine.init(torch.Generator())
        good, bad = (engine.rollout(meta, given, small_draws(), steps=2, order=1).params for given in (episodes, spoilt))
        assert largest_difference(*(tree_map(lambda leaf: leaf[1:], one) for one in (bad, good))) < 1e-10

    def test_meta_gradient_equals_finite_differences(self, rules: Any, game: Any, episodes: Tree) -> None:
        """Twice differentiable in every player's weights."""
        error = meta_gradient_error(PlainMaml(inner_lr=0.01), game, vectorise=getattr(rules, "vectorised", True), episodes=episodes)
        assert error is not None
        assert error < 1e-6

    def test_draws_decide_everything(self, rules: Any, game: Any, episodes: Tree) -> None:
        """Equal draws give equal losses; settings, arguments and what all components share stay as they are."""
        settings, kept = pickle.dumps(rules), tree_map(torch.clone, episodes)
        weights, draws = _weights(game), small_draws().of(small_draws().key[0])
        batch = tree_map(lambda leaf: leaf[0], episodes["support"])
        with global_state_untouched():
            first, second = (game.losses(weights, batch, game.players, game.state(), draws)[0] for _ in range(2))
        assert identical(first, second)
        assert identical(episodes, kept)
        assert pickle.dumps(rules) == settings

    def test_health_is_what_it_promises(self, rules: Any, game: Any, episodes: Tree) -> None:
        """``health_outputs`` names the values of ``health``: finite scalars."""
        promised = getattr(rules, "health_outputs", {})
        if not promised:
            assert not hasattr(game, "health"), "health() has values that no health_outputs explain"
            return
        episode = tree_map(lambda leaf: leaf[0], episodes)
        said = game.health(_weights(game), episode, game.state(), small_draws().of(small_draws().key[0]))
        assert set(said) == set(promised)
        assert all(value.shape == () and torch.isfinite(value) for value in said.values())


def _labels(rules: Any) -> str:
    return str(getattr(rules, "labels", "none"))


def _weights(game: Any) -> Mapping[str, Mapping[str, Tensor]]:
    return {player: {name: weight.detach() for name, weight in module.named_parameters()} for player, module in game.modules.items()}


class _Reshaped(nn.Module):
    """Tanh network (B, ...) -> (B, *shape)."""

    def __init__(self, inputs: int, shape: tuple[int, ...], *, latent: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, math.prod(shape)))
        self.shape, self.latent = shape, latent

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.body(x)
        return made.reshape(len(x), *self.shape)


class _Autoencoder(nn.Module):
    """Samples and noise -> reconstructions, means and log variances; latents alone -> samples."""

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        self.latent = LATENT
        self.encoder = _Reshaped(math.prod(spec.shape), (2 * LATENT,))
        self.decoder = _Reshaped(LATENT, spec.shape)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Any:
        if noise is None:
            return self.decoder(x)
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return self.decoder(mean + noise * (log_variance / 2).exp()), mean, log_variance


def _module(role: str, spec: SampleSpec) -> nn.Module:
    """A small network of one of the known roles, float64, always the same one."""
    features = math.prod(spec.shape)
    made: dict[str, Callable[[], nn.Module]] = {
        "generator": lambda: _Reshaped(LATENT, spec.shape, latent=LATENT),
        "discriminator": lambda: _Reshaped(features, ()),
        "model": lambda: _Reshaped(features, spec.targets),
        "classifier": lambda: _Reshaped(features, (spec.classes,)),
        "autoencoder": lambda: _Autoencoder(spec),
    }
    if role not in made:
        pytest.fail(f"role {role!r} is none of {', '.join(made)}: override the fixture `parts` with a network for it")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return made[role]().double()
