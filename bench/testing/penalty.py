"""What every regulariser of the game itself owes its users."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from bench.testing.contract import Contract, global_state_untouched
from bench.testing.derivatives import PlainMaml, RecordingEngine, identical, largest_difference, meta_gradient_error, outer_step
from bench.testing.small_game import SmallGan, small_networks


class PenaltyContract(Contract):
    """What every penalty owes its users, be it a term of a loss or a rule of what weights may be. Give a fixture ``penalty``.

    One that means to stop a derivative says so by its attribute ``exact_gradient``, False.
    """

    def test_meta_gradient_equals_finite_differences(self, penalty: Any) -> None:
        """Differentiable as often as second-order meta-learning needs, through its state too."""
        if not getattr(penalty, "exact_gradient", True):
            pytest.skip("this penalty stops a derivative, as it says")
        error = meta_gradient_error(PlainMaml(), self._game(penalty), rules=[penalty])
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

    def test_what_all_components_share_is_left_alone(self, penalty: Any) -> None:
        """Random state, default dtype and their like; noise comes from ``draws``."""
        with global_state_untouched():
            self._after_a_step(penalty)

    @staticmethod
    def _game(*penalties: Any) -> SmallGan:
        """With a discriminator so steep that penalties on slopes above 1 have something to do."""
        modules = small_networks()
        with torch.no_grad():
            for weight in modules["discriminator"].parameters():
                weight.mul_(3)
        return SmallGan(penalties={str(number): one for number, one in enumerate(penalties)}, modules=modules)

    def _after_a_step(self, *penalties: Any, vectorise: bool = True) -> RecordingEngine:
        game, learner = self._game(*penalties), PlainMaml()
        engine = RecordingEngine(game, learner, rules=penalties, vectorise=vectorise, adaptation_steps=2)
        outer_step(engine, learner.init(torch.Generator(), game))
        return engine
