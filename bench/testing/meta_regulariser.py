"""What every regulariser of meta-learning owes its users."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.testing.contract import Contract, global_state_untouched
from bench.testing.derivatives import PlainMaml, RecordingEngine, identical, largest_difference, meta_gradient_error, outer_step
from bench.testing.small_game import SmallGan, small_draws, small_episodes
from bench.trees import Tree, flatten, leaves, tree_map

NAME = "under-test"
DIRECT = ("adjust_task_gradient", "adjust_gradient", "adjust_update")


class MetaRegulariserContract(Contract):
    """What every regulariser of meta-learning owes its users. Give a fixture ``regulariser``; ``learner`` and ``game`` may be overridden.

    One that means to stop a derivative says so by its attribute ``exact_gradient``, False.
    """

    @pytest.fixture
    def learner(self) -> Any:
        """The learner that is regularised: MAML whose tasks share the first layer of each player."""
        return PlainMaml(shared=("0.",))

    @pytest.fixture
    def game(self) -> Any:
        """The game that is played."""
        return SmallGan()

    def test_it_changes_an_outer_step(self, regulariser: Any, learner: Any, game: Any) -> None:
        """It acts at all, on this step or on a meta-gradient a million times as large, and meta stays finite."""
        engine, plain = _engine(game, learner, regulariser), RecordingEngine(game, learner, adaptation_steps=2)
        meta = engine.init(torch.Generator().manual_seed(0))
        own = {name: leaf for name, leaf in meta.items() if name != NAME}
        after = outer_step(engine, _moved(meta))
        without = outer_step(plain, {name: leaf for name, leaf in _moved(meta).items() if name in own})
        assert all(torch.isfinite(leaf).all() for _, leaf in leaves(after))
        large = tree_map(lambda leaf: 1e6 * leaf, meta)
        clipped = (getattr(regulariser, name)(meta, large) for name in DIRECT[:2] if hasattr(regulariser, name))
        assert largest_difference({name: after[name] for name in own}, without) > 0 or any(
            largest_difference(one, large) > 0 for one in clipped
        )

    def test_stacked_and_in_a_loop_it_is_the_same(self, regulariser: Any, learner: Any, game: Any) -> None:
        """An outer step does not depend on how the tasks were batched."""
        engines = [_engine(game, learner, regulariser, vectorise=v) for v in (getattr(regulariser, "vectorised", True), False)]
        one, other = (outer_step(engine, _moved(engine.init(torch.Generator().manual_seed(0)))) for engine in engines)
        assert largest_difference(one, other) < 1e-9

    def test_derivatives_equal_finite_differences(self, regulariser: Any, learner: Any, game: Any) -> None:
        """Of the learner's objective with perturbed weights and layers, and of the term that joins it once per outer step."""
        if not getattr(regulariser, "exact_gradient", True):
            pytest.skip("this regulariser stops a derivative, as it says")
        if not hasattr(regulariser, "adjust_task_gradient"):
            error = meta_gradient_error(learner, game, regularisers={NAME: regulariser})
            assert error is None or error < 1e-6
        if hasattr(regulariser, "term"):
            assert self._error_of_the_term(regulariser, learner, game) < 1e-6

    def test_a_gradient_keeps_its_names_and_shapes(self, regulariser: Any, learner: Any, game: Any) -> None:
        """What is adjusted comes back whole, in new tensors."""
        meta = _moved(_engine(game, learner, regulariser).init(torch.Generator().manual_seed(0)))
        rates = tree_map(lambda leaf: 0.1, meta)
        for name in (one for one in DIRECT if hasattr(regulariser, one)):
            given, kept = tree_map(lambda leaf: 3 * leaf, meta), tree_map(lambda leaf: 3 * leaf, meta)
            after = getattr(regulariser, name)(meta, given, *([rates] if name == "adjust_update" else []))
            assert {path: leaf.shape for path, leaf in leaves(after)} == {path: leaf.shape for path, leaf in leaves(meta)}
            assert identical(given, kept)

    def test_it_is_nothing_but_its_settings(self, regulariser: Any, learner: Any, game: Any) -> None:
        """No state or randomness of its own; meta and what all components share stay as they are."""
        settings, ends = pickle.dumps(regulariser), []
        for _ in range(2):
            engine = _engine(game, learner, regulariser)
            meta = _moved(engine.init(torch.Generator().manual_seed(0)))
            kept = tree_map(torch.clone, meta)
            with global_state_untouched():
                ends.append(outer_step(engine, meta))
            assert identical(meta, kept)
        assert identical(*ends)
        assert pickle.dumps(regulariser) == settings

    def _error_of_the_term(self, regulariser: Any, learner: Any, game: Any) -> float:
        """Relative error of the term's gradient along a random direction."""
        engine = _engine(game, learner, regulariser)
        meta = _moved(engine.init(torch.Generator().manual_seed(0)))
        generator = torch.Generator().manual_seed(1)
        direction = tree_map(lambda leaf: torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype), meta)

        def total(meta: Tree) -> Tensor:
            values = regulariser.term(meta.get(NAME, {}), meta, engine, small_episodes(), small_draws())
            return torch.stack(list(values.values())).sum()

        fresh = tree_map(lambda leaf: leaf.clone().requires_grad_(), meta)
        grads = torch.autograd.grad(total(fresh), [leaf for _, leaf in leaves(fresh)], materialize_grads=True)
        analytic = sum(float((grad * move).sum()) for grad, move in zip(grads, flatten(direction).values(), strict=True))
        best = float("inf")
        for h in (1e-3, 1e-4, 1e-5):
            up, down = (float(total(tree_map(lambda leaf, move, s=s: leaf + s * move, meta, direction)).detach()) for s in (h, -h))
            best = min(best, abs(analytic - (up - down) / (2 * h)) / (abs(analytic) + 1e-12))
        return best


def _engine(game: Any, learner: Any, regulariser: Any, *, vectorise: bool = True) -> RecordingEngine:
    vectorise = vectorise and getattr(regulariser, "vectorised", True)
    return RecordingEngine(game, learner, regularisers={NAME: regulariser}, vectorise=vectorise, adaptation_steps=2)


def _moved(meta: Tree) -> Tree:
    """Not at zeros, where a regulariser's own parameters may start and nothing depends on them."""
    generator = torch.Generator().manual_seed(2)
    return tree_map(lambda leaf: leaf + 0.01 * torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype), meta)
