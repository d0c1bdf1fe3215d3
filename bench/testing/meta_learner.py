"""What every meta-learner owes its users, with a game or without."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.contracts import Choice
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.store import load_tree, save_tree
from bench.testing.charges import TalliedEngine, Tally
from bench.testing.contract import Contract, global_state_untouched
from bench.testing.derivatives import Differentiated, RecordingEngine, identical, largest_difference, meta_gradient_error, outer_step
from bench.testing.feature_extractor import SmallTasks, noise
from bench.testing.network import SPECS
from bench.testing.small_game import TASKS, SmallGan, small_draws, small_episodes
from bench.trees import Path as LeafPath
from bench.trees import Tree, flatten, leaves, rebuild, tree_map, unflatten


class MetaLearnerContract(Contract):
    """What every meta-learner owes its users. Give a fixture ``learner``; ``game`` may be overridden.

    A learner whose nature forbids a rule says so by an attribute, of its class or, where settings decide, of the instance:

    - ``exact_gradient`` False: what it pulls back is not the derivative of a value (first order, implicit, one's own path);
      ``order`` 1 says the same.
    - ``crosses_players`` True: a player's meta-objective moves meta parameters of another, or of several.
    - ``vectorised`` False: its functions can't be mapped over tasks, and run in a loop.
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
        _engine(game, learner).rollout(meta, small_episodes(), small_draws(), steps=3, order=1)
        assert identical(before, meta)

    def test_trajectory_is_the_same_however_it_is_computed(self, learner: Any, game: Any, meta: Tree) -> None:
        """Derivatives, batching and recomputation change no number of the forward pass."""
        ends = []
        for order, vectorise, remember in ((1, True, 10), (1, False, 10), (2, True, 10), (2, False, 10), (2, True, 0)):
            start = tree_map(lambda leaf, order=order: leaf.clone().requires_grad_(order == 2), meta)
            engine = _engine(game, learner, vectorise=vectorise, remember=remember)
            ends.append(engine.rollout(start, small_episodes(), small_draws(), steps=3, order=order).params)
        assert max(largest_difference(end, ends[0]) for end in ends) < 1e-10

    def test_a_task_does_not_depend_on_its_neighbours(self, learner: Any, game: Any, meta: Tree) -> None:
        """Tasks in another order give the same results in that order."""
        episodes, draws, order = small_episodes(), small_draws(), torch.tensor([2, 0, 1])
        straight = _engine(game, learner).rollout(meta, episodes, draws, steps=3, order=1).params
        shuffled = tree_map(lambda leaf: leaf[order], episodes)
        permuted = _engine(game, learner).rollout(meta, shuffled, draws.of(draws.key[order]), steps=3, order=1).params
        assert largest_difference(permuted, tree_map(lambda leaf: leaf[order], straight)) < 1e-10

    def test_one_bad_task_does_not_spoil_the_others(self, learner: Any, game: Any, meta: Tree) -> None:
        """A support that is not finite leaves the adaptation of other tasks as it is."""
        episodes, spoilt = small_episodes(), small_episodes()
        spoilt["support"]["x"][0] = torch.nan
        engine = _engine(game, learner)
        good, bad = (engine.rollout(meta, given, small_draws(), steps=2, order=1).params for given in (episodes, spoilt))
        assert largest_difference(*(tree_map(lambda leaf: leaf[1:], one) for one in (bad, good))) < 1e-10

    def test_what_all_components_share_is_left_alone(self, learner: Any, game: Any, meta: Tree) -> None:
        """Random state, default dtype and their like; noise comes from ``rng`` and ``draws``."""
        with global_state_untouched():
            learner.init(torch.Generator().manual_seed(3), game)
            outer_step(_engine(game, learner), meta)

    def test_zero_steps_is_the_start(self, learner: Any, game: Any, meta: Tree) -> None:
        """Without a step, what was begun with stays."""
        engine = _engine(game, learner)
        end = engine.rollout(meta, small_episodes(), small_draws(), steps=0, order=1)
        start = engine.begin(meta, small_episodes()["support"], small_draws())
        assert largest_difference(end.params, start.params) == 0

    def test_meta_gradient_equals_finite_differences(self, learner: Any, game: Any) -> None:
        """The gradient is that of the learner's own objective."""
        if not getattr(learner, "exact_gradient", getattr(learner, "order", 2) == 2):
            pytest.skip("what this learner pulls back is not the derivative of its objective")
        error = meta_gradient_error(learner, game, vectorise=getattr(learner, "vectorised", True))
        assert error is None or error < 1e-6

    def test_meta_gradient_is_the_same_however_it_is_computed(self, learner: Any, game: Any, meta: Tree) -> None:
        """Stacked or in a loop, remembered or recomputed, and for the same price: so one of them stands for all."""
        engines = [
            _engine(game, learner, RecordingEngine, vectorise=vectorise, remember=remember)
            for vectorise, remember in ((True, 10), (True, 0), (False, 10))
        ]
        for engine in engines:
            outer_step(engine, meta)
        first = engines[0]
        for engine in engines[1:]:
            assert engine.gradient_evaluations == first.gradient_evaluations
            for one, other in zip(engine.recorded, first.recorded, strict=True):
                assert largest_difference(one.gradient, other.gradient) < (1e-12 if engine.vectorise else 1e-10)

    def test_a_players_meta_step_moves_only_what_it_owns(self, learner: Any, game: Any, meta: Tree) -> None:
        """An objective has no derivative beyond its player's leaves, and these move whatever becomes of the others."""
        if getattr(learner, "crosses_players", False):
            pytest.skip("a player's meta-objective moves another's meta parameters, as this learner says")
        engine = _engine(game, learner, RecordingEngine)
        carried = engine.carried
        together = outer_step(engine, meta)
        engine.carried = carried  # what was recorded runs on this engine, and is done again
        for taken in engine.recorded:
            for player in game.players:
                alone = _gradient_of(player, taken, _engine(game, learner))
                for (path, own), (_, joint) in zip(leaves(alone), leaves(taken.gradient), strict=True):
                    assert torch.equal(own, joint if taken.owner(path) == player else torch.zeros_like(own)), ".".join(path)
        owner = engine.recorded[0].owner if engine.recorded else engine.owner
        for player in game.players if learner.trains else ():
            moved = outer_step(_engine(game, learner), meta, _OnePlayer(learner, player, owner))
            for (path, new), (_, old), (_, both) in zip(leaves(moved), leaves(meta), leaves(together), strict=True):
                assert torch.equal(new, both if owner(path) == player else old), ".".join(path)

    def test_an_outer_step_moves_meta_unless_the_learner_does_not_train(self, learner: Any, game: Any, meta: Tree) -> None:
        """``trains`` says what ``meta_update`` does."""
        after = outer_step(_engine(game, learner), meta)
        assert (largest_difference(after, meta) > 0) == learner.trains

    def test_a_learner_is_nothing_but_its_settings(self, learner: Any, game: Any, meta: Tree) -> None:
        """No state, no randomness of its own: a copy made before the step does the same step."""
        before = pickle.dumps(learner)
        after = outer_step(_engine(game, learner), meta)
        assert pickle.dumps(learner) == before
        copy = pickle.loads(before)
        assert identical(after, outer_step(_engine(game, copy), meta))

    def test_a_checkpoint_keeps_all_that_the_next_step_depends_on(self, learner: Any, game: Any, meta: Tree, tmp_path: Path) -> None:
        """Meta, the outer optimiser's state and what the engine carries, stored and read back, go on bit by bit."""
        engine, outer = _engine(game, learner), Outer(learner)
        meta = outer_step(engine, meta, outer)
        save_tree(tmp_path / "checkpoint", flatten({"meta": meta, "outer": outer.state, "carried": engine.carried}))
        stored = unflatten(load_tree(tmp_path / "checkpoint"))
        resumed, again = _engine(game, learner), Outer(learner)
        resumed.carried, again.state = stored.get("carried", {}), stored.get("outer", {})
        outer.step = again.step = 1
        assert identical(outer_step(engine, meta, outer), outer_step(resumed, stored["meta"], again))

    def test_adaptation_is_charged_by_the_gradient(self, learner: Any, game: Any, meta: Tree) -> None:
        """One for each move of a player on a task: the axis that budgets are counted in."""
        engine = _engine(game, learner)
        engine.rollout(meta, small_episodes(), small_draws(), steps=4, order=1)
        moves = sum(len(group) for group in game.schedule)
        assert engine.gradient_evaluations == 4 * TASKS * moves

    def test_an_outer_step_is_charged_for_every_derivative_it_takes(self, learner: Any, game: Any, meta: Tree) -> None:
        """Counted where derivatives pass: a player's loss on a task, samples of a task, an inner gradient that is differentiated."""
        engine = TalliedEngine(game, learner, Tally())
        outer_step(engine, meta)
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


def _engine(game: Any, learner: Any, kind: type[Engine] = Engine, *, vectorise: bool = True, **settings: Any) -> Any:
    """An engine of two adaptation steps, which loops over tasks where the learner says that it can't be vectorised."""
    return kind(game, learner, vectorise=vectorise and getattr(learner, "vectorised", True), adaptation_steps=2, **settings)


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


class SamplingLearnerContract(Contract):
    """What every learner without a game owes its users. Give a fixture ``learner``."""

    @pytest.fixture
    def fitted(self, learner: Any) -> Any:
        """What it learns from as many tasks of noise as it asks for."""
        rng, kind = np.random.default_rng(1), learner.kinds[0]
        tasks = SmallTasks(kind)
        return learner.fit([tasks.episode("meta-train", task, shots=5, query=6, rng=rng) for task in range(learner.episodes)])

    def test_samples_have_the_shape_of_the_support(self, learner: Any, fitted: Any) -> None:
        """Any number of finite samples, float32 or float64."""
        support = self._support(learner)
        for n in (1, 9):
            drawn = learner.sample(fitted, support, n, np.random.default_rng(2))
            assert drawn.shape == (n, *support.shape[1:])
            assert np.isfinite(drawn).all()

    def test_the_generator_decides_everything(self, learner: Any, fitted: Any) -> None:
        """Equal generators draw equal samples; support, settings and what all components share stay as they are."""
        support, settings = self._support(learner), pickle.dumps(learner)
        kept = support.copy()
        with global_state_untouched():
            one, same = (learner.sample(fitted, support, 5, np.random.default_rng(3)) for _ in range(2))
        assert np.array_equal(one, same)
        assert np.array_equal(support, kept)
        assert pickle.dumps(learner) == settings

    def test_what_is_learned_are_arrays(self, fitted: Any) -> None:
        """{name: array}, as checkpoints keep it."""
        assert all(isinstance(name, str) and isinstance(value, np.ndarray) for name, value in fitted.items())

    def _support(self, learner: Any) -> np.ndarray:
        return noise(SPECS[learner.kinds[0]], 6, np.random.default_rng(0))
