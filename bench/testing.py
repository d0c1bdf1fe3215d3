"""Contract tests for plugin authors: subclass a class, give one fixture, run pytest.

    class TestMine(MetaLearnerContract):
        @pytest.fixture
        def learner(self):
            return Mine(inner_lr=0.05)

Everything runs in float64 on a small game of two networks, where finite differences tell right from wrong.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from bench.contracts import SPLITS, Choice, Episode, Play
from bench.errors import ContractError
from bench.game.critic import Critic
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.store import load_tree, save_tree
from bench.trees import Path as LeafPath
from bench.trees import Tree, flatten, leaves, rebuild, tree_map, unflatten

TASKS, SHOTS, QUERIES, FEATURES, LATENT = 3, 5, 6, 2, 2


class SmallGan:
    """Two tanh networks, non-saturating loss plus whatever penalties are given: the game of the contract tests."""

    players = ("generator", "discriminator")

    def __init__(
        self, *, order: str = "alternating", loss: Any = None, penalties: dict[str, Any] | None = None, modules: Any = None
    ) -> None:
        self.modules = modules or small_networks()
        self.schedule = (self.players,) if order == "simultaneous" else (("discriminator",), ("generator",))
        self.loss, self.penalties = loss, penalties or {}

    def state(self) -> Tree:
        """Of those penalties that keep one."""
        return {name: one.start() for name, one in self.penalties.items() if hasattr(one, "start")}

    def losses(self, weights: Tree, batch: Tree, players: tuple[str, ...], state: Tree, draws: Draws) -> tuple[dict[str, Tensor], Tree]:
        """Losses of one task."""
        latents = self.latents(len(batch["x"]), draws)

        def generate(z: Tensor) -> Tensor:
            made: Tensor = functional_call(self.modules["generator"], dict(weights["generator"]), (z,))
            return made

        critic = Critic(self.modules["discriminator"], weights["discriminator"])
        play = Play(batch["x"], generate(latents), latents, None, critic, generate, weights)
        real_logits, fake_logits = play.logits(play.real), play.logits(play.fake)
        values = {}
        if "generator" in players:
            values["generator"] = self.loss.generator_loss(real_logits, fake_logits) if self.loss else softplus(-fake_logits).mean()
        if "discriminator" in players:
            values["discriminator"] = (
                self.loss.discriminator_loss(real_logits, fake_logits)
                if self.loss
                else softplus(-real_logits).mean() + softplus(fake_logits).mean()
            )
        after = dict(state)
        for name, penalty in self.penalties.items():
            for player in () if not hasattr(penalty, "penalty") else getattr(penalty, "players", ("discriminator",)):
                if player in players:
                    extra, own = penalty.penalty(player, play, after.get(name, {}), draws.at(name))
                    values[player] = values[player] + extra
                    after |= {name: own} if name in after else {}
        return values, after

    def latents(self, n: int, draws: Draws) -> Tensor:
        """Noise (n, 2) that samples are made from."""
        return draws.normal("z", (n, LATENT))

    def sample(self, weights: Tree, batch: Tree, n: int, draws: Draws) -> Tensor:
        """Samples (n, 2)."""
        samples: Tensor = functional_call(self.modules["generator"], dict(weights["generator"]), (self.latents(n, draws),))
        return samples


def small_networks(activation: Callable[[], nn.Module] = nn.Tanh, norm: Callable[[], nn.Module] | None = None) -> dict[str, nn.Module]:
    """Generator and discriminator with 8 hidden units in float64, always the same ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)

        def network(outputs: int) -> nn.Module:
            return nn.Sequential(nn.Linear(2, 8), *([norm()] if norm else []), activation(), nn.Linear(8, outputs)).double()

        return {"generator": network(FEATURES), "discriminator": network(1)}


def small_episodes(tasks: int = TASKS) -> Tree:
    """Stacked support and query of Gaussian tasks with different means, float64."""
    rng = np.random.default_rng(1)
    means = rng.normal(size=(tasks, 1, FEATURES))
    support, query = (torch.tensor(means + rng.normal(size=(tasks, n, FEATURES))) for n in (SHOTS, QUERIES))
    return {"support": {"x": support}, "query": {"x": query}}


def small_draws(tasks: int = TASKS) -> Draws:
    """Random numbers of the small tasks."""
    return Draws(torch.arange(tasks) * 7919, torch.float64)


@dataclass(frozen=True)
class Differentiated:
    """One meta-gradient that a learner asked for: the arguments, and what came out."""

    objective: Callable[[Tree, Tree, Draws], Any]
    meta: Tree
    episodes: Tree
    draws: Draws
    owner: Callable[[LeafPath], str | None]
    gradient: Tree


class RecordingEngine(Engine):
    """An engine that remembers what its learner differentiated."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.recorded: list[Differentiated] = []

    def meta_gradient(self, objective: Any, meta: Tree, episodes: Tree, draws: Draws, wrt: Any = None) -> Any:
        """As the engine's, and keep objective, arguments and gradient."""
        result = super().meta_gradient(objective, meta, episodes, draws, wrt)
        self.recorded.append(Differentiated(objective, meta, episodes, draws, wrt or self.owner, result[0]))
        return result


def meta_gradient_error(
    learner: Any,
    game: Any,
    *,
    vectorise: bool = True,
    seed: int = 5,
    episodes: Tree | None = None,
    rules: Sequence[Any] = (),
) -> float | None:
    """Worst relative error, over players, of the learner's meta-gradient along a random direction.

    Truth is a fourth-order central difference of the learner's own objective, best of several step sizes; ``episodes`` default to
    :func:`small_episodes`, ``rules`` are the engine's.
    None: the learner takes no meta-gradient (a baseline, Reptile).
    """
    engine = RecordingEngine(game, learner, rules=rules, vectorise=vectorise, adaptation_steps=2)
    generator = torch.Generator().manual_seed(seed)
    meta = learner.init(torch.Generator().manual_seed(3), game)
    meta = tree_map(lambda leaf: leaf + 0.01 * torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype), meta)
    learner.meta_update(meta, engine, small_episodes() if episodes is None else episodes, Outer(learner), small_draws())
    errors = [_error(taken, player, generator) for taken in engine.recorded for player in game.players]
    return max(errors) if errors else None


def _error(taken: Differentiated, player: str, generator: torch.Generator) -> float:
    """Relative error of a meta-gradient along a random direction among the leaves that ``player`` owns."""
    mine = {path: float(taken.owner(path) == player) for path, _ in leaves(taken.meta)}
    random = (torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype) * mine[path] for path, leaf in leaves(taken.meta))
    direction = rebuild(taken.meta, random)
    analytic = sum(float((a * b).sum()) for (_, a), (_, b) in zip(leaves(taken.gradient), leaves(direction), strict=True))

    def along(h: float) -> float:
        values = taken.objective(tree_map(lambda theta, d: theta + h * d, taken.meta, direction), taken.episodes, taken.draws)
        value = values.get(player) if isinstance(values, Mapping) else values
        return 0.0 if value is None else float(value.detach().mean())

    best = float("inf")
    for h in (1e-3, 3e-4, 1e-4, 1e-5, 1e-6):
        difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
        best = min(best, abs(analytic - difference) / (abs(analytic) + 1e-12))
        if best < 1e-8:  # a wrong derivative is never that close by accident
            break
    return best


def largest_difference(one: Tree, other: Tree) -> float:
    """Largest difference of two trees of the same shape, relative to the largest entry of each leaf."""
    pairs = zip(leaves(one), leaves(other), strict=True)
    return max(float((a - b).detach().abs().max() / (b.detach().abs().max() + 1e-300)) for (_, a), (_, b) in pairs)


class MetaLearnerContract:
    """What every meta-learner owes its users. Give a fixture ``learner``; ``game`` may be overridden.

    A learner whose nature forbids a rule says so by an attribute, of its class or, where settings decide, of the instance:

    - ``exact_gradient`` False: what it pulls back is not the derivative of a value (first order, implicit, one's own path);
      ``order`` 1 says the same.
    - ``crosses_players`` True: a player's meta-objective moves meta parameters of another, or of several.
    """

    @pytest.fixture
    def game(self) -> Any:
        """The game that the learner is tried on."""
        return SmallGan()

    @pytest.fixture
    def meta(self, learner: Any, game: Any) -> Tree:
        """The learner's own start."""
        return learner.init(torch.Generator().manual_seed(3), game)

    def test_adaptation_leaves_meta_untouched(self, learner: Any, game: Any, meta: Tree) -> None:
        """Adaptation returns new tensors."""
        before = tree_map(torch.clone, meta)
        Engine(game, learner).rollout(meta, small_episodes(), small_draws(), steps=3, order=1)
        assert identical(before, meta)

    def test_trajectory_is_the_same_however_it_is_computed(self, learner: Any, game: Any, meta: Tree) -> None:
        """Derivatives, batching and recomputation change no number of the forward pass."""
        ends = []
        for order, vectorise, remember in ((1, True, 10), (1, False, 10), (2, True, 10), (2, False, 10), (2, True, 0)):
            start = tree_map(lambda leaf, order=order: leaf.clone().requires_grad_(order == 2), meta)
            engine = Engine(game, learner, vectorise=vectorise, remember=remember)
            ends.append(engine.rollout(start, small_episodes(), small_draws(), steps=3, order=order).params)
        assert max(largest_difference(end, ends[0]) for end in ends) < 1e-10

    def test_a_task_does_not_depend_on_its_neighbours(self, learner: Any, game: Any, meta: Tree) -> None:
        """Tasks in another order give the same results in that order."""
        episodes, draws, order = small_episodes(), small_draws(), torch.tensor([2, 0, 1])
        straight = Engine(game, learner).rollout(meta, episodes, draws, steps=3, order=1).params
        shuffled = tree_map(lambda leaf: leaf[order], episodes)
        permuted = Engine(game, learner).rollout(meta, shuffled, draws.of(draws.key[order]), steps=3, order=1).params
        assert largest_difference(permuted, tree_map(lambda leaf: leaf[order], straight)) < 1e-10

    def test_zero_steps_is_the_start(self, learner: Any, game: Any, meta: Tree) -> None:
        """Without a step, what was begun with stays."""
        engine = Engine(game, learner)
        end = engine.rollout(meta, small_episodes(), small_draws(), steps=0, order=1)
        start = engine.begin(meta, small_episodes()["support"], small_draws())
        assert largest_difference(end.params, start.params) == 0

    def test_meta_gradient_equals_finite_differences(self, learner: Any, game: Any) -> None:
        """The gradient is that of the learner's own objective."""
        if not getattr(learner, "exact_gradient", getattr(learner, "order", 2) == 2):
            pytest.skip("what this learner pulls back is not the derivative of its objective")
        error = meta_gradient_error(learner, game)
        assert error is None or error < 1e-6

    def test_meta_gradient_is_the_same_however_it_is_computed(self, learner: Any, game: Any, meta: Tree) -> None:
        """Stacked or in a loop, remembered or recomputed, and for the same price: so one of them stands for all."""
        engines = [
            RecordingEngine(game, learner, vectorise=vectorise, remember=remember, adaptation_steps=2)
            for vectorise, remember in ((True, 10), (True, 0), (False, 10))
        ]
        for engine in engines:
            _outer_step(engine, meta)
        first = engines[0]
        for engine in engines[1:]:
            assert engine.gradient_evaluations == first.gradient_evaluations
            for one, other in zip(engine.recorded, first.recorded, strict=True):
                assert largest_difference(one.gradient, other.gradient) < (1e-12 if engine.vectorise else 1e-10)

    def test_a_players_meta_step_moves_only_what_it_owns(self, learner: Any, game: Any, meta: Tree) -> None:
        """An objective has no derivative beyond its player's leaves, and these move whatever becomes of the others."""
        if getattr(learner, "crosses_players", False):
            pytest.skip("a player's meta-objective moves another's meta parameters, as this learner says")
        engine = RecordingEngine(game, learner, adaptation_steps=2)
        carried = engine.carried
        together = _outer_step(engine, meta)
        engine.carried = carried  # what was recorded runs on this engine, and is done again
        for taken in engine.recorded:
            for player in game.players:
                alone = _gradient_of(player, taken, Engine(game, learner, adaptation_steps=2))
                for (path, own), (_, joint) in zip(leaves(alone), leaves(taken.gradient), strict=True):
                    assert torch.equal(own, joint if taken.owner(path) == player else torch.zeros_like(own)), ".".join(path)
        owner = engine.recorded[0].owner if engine.recorded else engine.owner
        for player in game.players if learner.trains else ():
            moved = _outer_step(Engine(game, learner, adaptation_steps=2), meta, _OnePlayer(learner, player, owner))
            for (path, new), (_, old), (_, both) in zip(leaves(moved), leaves(meta), leaves(together), strict=True):
                assert torch.equal(new, both if owner(path) == player else old), ".".join(path)

    def test_an_outer_step_moves_meta_unless_the_learner_does_not_train(self, learner: Any, game: Any, meta: Tree) -> None:
        """``trains`` says what ``meta_update`` does."""
        after = _outer_step(Engine(game, learner, adaptation_steps=2), meta)
        assert (largest_difference(after, meta) > 0) == learner.trains

    def test_a_learner_is_nothing_but_its_settings(self, learner: Any, game: Any, meta: Tree) -> None:
        """No state, no randomness of its own: a copy made before the step does the same step."""
        before = pickle.dumps(learner)
        after = _outer_step(Engine(game, learner, adaptation_steps=2), meta)
        assert pickle.dumps(learner) == before
        copy = pickle.loads(before)
        assert identical(after, _outer_step(Engine(game, copy, adaptation_steps=2), meta))

    def test_a_checkpoint_keeps_all_that_the_next_step_depends_on(self, learner: Any, game: Any, meta: Tree, tmp_path: Path) -> None:
        """Meta, the outer optimiser's state and what the engine carries, stored and read back, go on bit by bit."""
        engine, outer = Engine(game, learner, adaptation_steps=2), Outer(learner)
        meta = _outer_step(engine, meta, outer)
        save_tree(tmp_path / "checkpoint", flatten({"meta": meta, "outer": outer.state, "carried": engine.carried}))
        stored = unflatten(load_tree(tmp_path / "checkpoint"))
        resumed, again = Engine(game, learner, adaptation_steps=2), Outer(learner)
        resumed.carried, again.state = stored.get("carried", {}), stored.get("outer", {})
        outer.step = again.step = 1
        assert identical(_outer_step(engine, meta, outer), _outer_step(resumed, stored["meta"], again))

    def test_adaptation_is_charged_by_the_gradient(self, learner: Any, game: Any, meta: Tree) -> None:
        """One for each move of a player on a task: the axis that budgets are counted in."""
        engine = Engine(game, learner)
        engine.rollout(meta, small_episodes(), small_draws(), steps=4, order=1)
        moves = sum(len(group) for group in game.schedule)
        assert engine.gradient_evaluations == 4 * TASKS * moves

    def test_an_outer_step_is_charged_for_every_derivative_it_takes(self, learner: Any, game: Any, meta: Tree) -> None:
        """Counted where derivatives pass: a player's loss on a task, samples of a task, an inner gradient that is differentiated."""
        engine = _TalliedEngine(game, learner, _Tally())
        _outer_step(engine, meta)
        assert engine.gradient_evaluations == engine.tally.passes

    def test_tuning_varies_hyperparameters_that_exist(self, learner: Any) -> None:
        """A factor needs a number, or one per player, to multiply; a choice needs something to choose from."""
        known = inspect.signature(type(learner)).parameters
        for name, how in getattr(learner, "space", {}).items():
            assert name in known, f"{type(learner).__name__}.space names {name!r}, which is no hyperparameter of it"
            if isinstance(how, Choice):
                assert how.values
                continue
            value = getattr(learner, name, known[name].default)
            assert 0 < how.low < how.high
            assert all(type(number) in (int, float) for number in (value.values() if isinstance(value, Mapping) else [value]))


def identical(one: Tree, other: Tree) -> bool:
    """Are two trees equal, bit by bit and name by name?"""
    first, second = flatten(one), flatten(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _outer_step(engine: Engine, meta: Tree, outer: Outer | None = None) -> Tree:
    return engine.outer_step(meta, small_episodes(), outer or Outer(engine.learner), small_draws())[0]


def _gradient_of(player: str, taken: Differentiated, engine: Engine) -> Tree:
    """A recorded meta-gradient, taken again of one player's objective."""

    def objective(meta: Tree, episodes: Tree, draws: Draws) -> dict[str, Tensor]:
        values = taken.objective(meta, episodes, draws)
        if not isinstance(values, Mapping):
            pytest.fail("one value for all players moves the meta parameters of all; say so: crosses_players = True")
        return {player: values[player]}

    return engine.meta_gradient(objective, taken.meta, taken.episodes, taken.draws, taken.owner)[0]


class _OnePlayer(Outer):
    """An outer loop in which only one player's part of the gradient is applied."""

    def __init__(self, learner: Any, player: str, owner: Callable[[LeafPath], str | None]) -> None:
        super().__init__(learner)
        self.player, self.owner = player, owner

    def descend(self, meta: Tree, gradient: Tree) -> Tree:
        """As the outer loop's."""
        masked = (leaf if self.owner(path) == self.player else torch.zeros_like(leaf) for path, leaf in leaves(gradient))
        return super().descend(meta, rebuild(gradient, masked))


@dataclass
class _Tally:
    """How many derivatives have passed through the tensors that it was shown."""

    passes: int = 0

    def of(self, *tensors: Tensor, worth: int = 1) -> tuple[Tensor, ...]:
        """The same values; a derivative that passes through any of them counts ``worth``."""
        counted: tuple[Tensor, ...] = _Counted.apply(self, worth, *tensors)  # type: ignore[no-untyped-call]
        return counted


class _Counted(torch.autograd.Function):
    """The identity; its backward pass counts itself."""

    @staticmethod
    def forward(ctx: Any, tally: _Tally, worth: int, *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.tally, ctx.worth = tally, worth
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        ctx.tally.passes += ctx.worth
        return None, None, *cotangents


class _TalliedGame:
    """A game that shows the tally the losses and samples of each task."""

    def __init__(self, game: Any, tally: _Tally) -> None:
        self._game, self._tally = game, tally

    def __getattr__(self, name: str) -> Any:
        return getattr(self._game, name)

    def losses(self, weights: Tree, batch: Tree, players: tuple[str, ...], state: Tree, draws: Draws) -> tuple[dict[str, Tensor], Tree]:
        """As the game's."""
        values, state = self._game.losses(weights, batch, players, state, draws)
        return {player: self._tally.of(value)[0] for player, value in values.items()}, state

    def sample(self, weights: Tree, batch: Tree, n: int, draws: Draws) -> Tensor:
        """As the game's."""
        return self._tally.of(self._game.sample(weights, batch, n, draws))[0]


class _TalliedEngine(Engine):
    """An engine that shows the tally each player's inner gradients, those of all tasks together."""

    def __init__(self, game: Any, learner: Any, tally: _Tally) -> None:
        super().__init__(_TalliedGame(game, tally), learner, vectorise=False, adaptation_steps=2)
        self.tally = tally

    def gradients(self, *arguments: Any, **settings: Any) -> tuple[Tree, Tree]:
        """As the engine's."""
        grads, state = super().gradients(*arguments, **settings)
        shown = {
            player: rebuild(own, iter(self.tally.of(*(leaf for _, leaf in leaves(own)), worth=TASKS))) for player, own in grads.items()
        }
        return shown, state


class GanLossContract:
    """What every GAN loss owes its users. Give a fixture ``loss``."""

    def test_losses_are_finite_scalars(self, loss: Any) -> None:
        """A mean over samples, not a value per sample."""
        real, fake = torch.tensor([2.0, -0.5]), torch.tensor([-1.5, 0.5])
        for value in (loss.discriminator_loss(real, fake), loss.generator_loss(real, fake)):
            assert value.shape == ()
            assert torch.isfinite(value)

    def test_real_and_fake_may_differ_in_number(self, loss: Any) -> None:
        """A game may play more fakes than reals, or fewer."""
        for reals, fakes in ((2, 5), (5, 2)):
            real, fake = torch.linspace(0, 1, reals), torch.linspace(-1, 0, fakes)
            for value in (loss.discriminator_loss(real, fake), loss.generator_loss(real, fake)):
                assert value.shape == ()
                assert torch.isfinite(value)

    def test_players_pull_fake_logits_apart(self, loss: Any) -> None:
        """At undecided logits the discriminator lowers the fakes and raises the reals, the generator raises the fakes."""
        real, fake = (torch.zeros(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
        d_real, d_fake = torch.autograd.grad(loss.discriminator_loss(real, fake), (real, fake))
        (g_fake,) = torch.autograd.grad(loss.generator_loss(real, fake), fake)
        assert (d_real <= 0).all()
        assert (d_fake >= 0).all()
        assert (g_fake < 0).all()

    def test_meta_gradient_through_the_loss_equals_finite_differences(self, loss: Any) -> None:
        """Twice differentiable, as second-order meta-learning needs."""
        error = meta_gradient_error(_PlainMaml(), SmallGan(loss=loss))
        assert error is not None
        assert error < 1e-6


class PenaltyContract:
    """What every penalty owes its users, be it a term of a loss or a rule of what weights may be. Give a fixture ``penalty``.

    One that means to stop a derivative says so by its attribute ``exact_gradient``, False.
    """

    def test_meta_gradient_equals_finite_differences(self, penalty: Any) -> None:
        """Differentiable as often as second-order meta-learning needs, through its state too."""
        if not getattr(penalty, "exact_gradient", True):
            pytest.skip("this penalty stops a derivative, as it says")
        error = meta_gradient_error(_PlainMaml(), self._game(penalty), rules=[penalty])
        assert error is not None
        assert error < 1e-6

    def test_stacked_and_in_a_loop_it_is_the_same(self, penalty: Any) -> None:
        """Adaptation, meta-gradient and state are those of each task alone."""
        engines = [self._after_a_step(penalty, vectorise=vectorise) for vectorise in (True, False)]
        one, other = ({"gradient": engine.recorded[0].gradient, **engine.carried} for engine in engines)
        assert largest_difference(one, other) < 1e-10

    def test_it_is_nothing_but_its_settings(self, penalty: Any) -> None:
        """No state or randomness of its own: used again, it gives the same numbers."""
        before = pickle.dumps(penalty)
        one, other = (self._after_a_step(penalty) for _ in range(2))
        assert pickle.dumps(penalty) == before
        assert identical(one.recorded[0].gradient, other.recorded[0].gradient)
        assert identical(one.carried, other.carried)

    def test_it_changes_how_a_task_is_adapted_to(self, penalty: Any) -> None:
        """It acts at all, on the players that it names."""
        with_it, without = (self._after_a_step(*given).recorded[0].gradient for given in ((penalty,), ()))
        assert largest_difference(with_it, without) > 1e-9

    @staticmethod
    def _game(*penalties: Any) -> SmallGan:
        """With a discriminator so steep that penalties on slopes above 1 have something to do."""
        modules = small_networks()
        with torch.no_grad():
            for weight in modules["discriminator"].parameters():
                weight.mul_(3)
        return SmallGan(penalties={str(number): one for number, one in enumerate(penalties)}, modules=modules)

    def _after_a_step(self, *penalties: Any, vectorise: bool = True) -> RecordingEngine:
        game, learner = self._game(*penalties), _PlainMaml()
        engine = RecordingEngine(game, learner, rules=penalties, vectorise=vectorise, adaptation_steps=2)
        _outer_step(engine, learner.init(torch.Generator(), game))
        return engine


class TaskDistributionContract:
    """What every task distribution owes its users. Give a fixture ``tasks``; ``shots`` and ``query`` may be overridden."""

    shots, query = 4, 5

    def test_episodes_have_the_promised_shape_and_range(self, tasks: Any) -> None:
        """As ``sample_spec`` says, in every split; so many of each class where tasks are labelled."""
        for split in SPLITS:
            episode = self._episode(tasks, split, 0)
            for part, n in (("support", self.shots), ("query", self.query)):
                x = getattr(episode, part)["x"]
                assert x.shape == (n * max(1, tasks.sample_spec.classes), *tasks.sample_spec.shape)
                assert x.dtype == np.float32
                assert np.isfinite(x).all()
                if tasks.sample_spec.low is not None:
                    assert x.min() >= tasks.sample_spec.low
                    assert x.max() <= tasks.sample_spec.high

    def test_labels_follow_one_another(self, tasks: Any) -> None:
        """Row i of a labelled task is of class i modulo ways, one-hot; and the planner is told that there are labels."""
        classes = tasks.sample_spec.classes
        assert getattr(tasks, "labelled", False) == (classes > 0)
        if classes:
            episode = self._episode(tasks, "meta-train", 0)
            for part, n in ((episode.support, self.shots), (episode.query, self.query)):
                assert part["y"].dtype == np.float32
                assert np.array_equal(part["y"], np.tile(np.eye(classes), (n, 1)))

    def test_the_generator_decides_everything(self, tasks: Any) -> None:
        """Equal generators draw equal episodes, others draw others."""
        one, same, other = (self._episode(tasks, "meta-train", 0, seed) for seed in (1, 1, 2))
        assert np.array_equal(one.support["x"], same.support["x"])
        assert np.array_equal(one.query["x"], same.query["x"])
        assert not np.array_equal(one.support["x"], other.support["x"])

    def test_support_and_query_are_disjoint(self, tasks: Any) -> None:
        """No sample is in both."""
        episode = self._episode(tasks, "meta-test", 0)
        support, query = (np.asarray(part["x"]).reshape(len(part["x"]), -1) for part in (episode.support, episode.query))
        assert not any((row == other).all() for row in support for other in query)

    def test_the_query_may_be_empty(self, tasks: Any) -> None:
        """Shuffled tasks are made from single support samples."""
        episode = tasks.episode("meta-train", 0, shots=1, query=0, rng=np.random.default_rng(0))
        assert len(episode.query["x"]) == 0

    def _episode(self, tasks: Any, split: Any, task: int, seed: int = 0) -> Episode:
        episode: Episode = tasks.episode(split, task, shots=self.shots, query=self.query, rng=np.random.default_rng(seed))
        return episode


class _PlainMaml:
    """theta -> query loss after SGD steps: the least learner that differentiates through everything."""

    trains, order, outer_lr = True, 2, 0.1

    class outer_optimiser:  # noqa: N801 (stands for an instance)
        @staticmethod
        def start(params: Tree) -> Tree:
            return {}

        @staticmethod
        def direction(grads: Tree, state: Tree, step: int) -> tuple[Tree, Tree]:
            return grads, state

    def init(self, rng: torch.Generator, game: Any) -> Tree:
        return {"initial": {p: {n: w.detach().clone() for n, w in m.named_parameters()} for p, m in game.modules.items()}}

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        return meta["initial"], {}

    def weights(self, meta: Tree, params: Tree) -> Tree:
        return params

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        return tree_map(lambda p, g: p - 0.1 * g, params, grads), inner

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        def objective(meta: Tree, chunk: Tree, draws: Draws) -> dict[str, Tensor]:
            end = game.rollout(meta, chunk, draws, steps=game.adaptation_steps, order=2)
            return game.losses(meta, end.params, chunk["query"], end.state, draws.at("query"))[0]

        gradient, log = game.meta_gradient(objective, meta, episodes, draws)
        return outer.descend(meta, gradient), log


__all__ = [
    "ContractError",
    "GanLossContract",
    "MetaLearnerContract",
    "PenaltyContract",
    "SmallGan",
    "TaskDistributionContract",
    "identical",
    "largest_difference",
    "meta_gradient_error",
    "small_draws",
    "small_episodes",
    "small_networks",
]
