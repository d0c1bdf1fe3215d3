"""What every augmentation owes its users. Suffixes: T tasks, B batch, S support samples, Q query samples."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.testing.contract import Contract, global_state_untouched
from bench.testing.derivatives import PlainMaml, identical, largest_difference
from bench.testing.network import SPECS
from bench.testing.small_game import QUERIES, SHOTS, TASKS, SmallGan, small_draws
from bench.trees import Tree, leaves, tree_map

ACTS = ("augment_task", "augment_support", "augment_view")


class AugmentationContract(Contract):
    """What every augmentation owes its users. Give a fixture ``augmentation``; ``episodes`` may be overridden.

    Rules hold for each of its methods: ``augment_task``, ``augment_support``, ``augment_view``.
    """

    @pytest.fixture
    def episodes(self, augmentation: Any) -> Tree:
        """Stacked support and query of the first kind that it fits, float64, normal numbers."""
        spec = SPECS[augmentation.kinds[0]]
        rng = np.random.default_rng(0)
        targets = {"y": spec.targets} if spec.targets else {}
        return {
            part: {key: torch.tensor(rng.normal(size=(TASKS, n, *shape))) for key, shape in {"x": spec.shape, **targets}.items()}
            for part, n in (("support", SHOTS), ("query", QUERIES))
        }

    def test_names_shapes_and_dtypes_stay(self, augmentation: Any, episodes: Tree) -> None:
        """Of support and query, of a support, or of what a discriminator sees; and numbers stay finite."""
        for stacked, act in _acts(augmentation, episodes):
            after = _mapped(augmentation, act, stacked)
            assert _shapes(after) == _shapes(stacked)
            assert all(torch.isfinite(leaf).all() for _, leaf in leaves(after))

    def test_stacked_and_alone_it_is_the_same(self, augmentation: Any, episodes: Tree) -> None:
        """What a task gets depends on its own draws: not on batching, nor on a neighbour gone wrong."""
        for stacked, act in _acts(augmentation, episodes):
            spoilt = tree_map(torch.clone, stacked)
            for _, leaf in leaves(spoilt):
                leaf[0] = torch.nan
            together = _mapped(augmentation, act, spoilt)
            for task in range(1, TASKS):
                alone = act(tree_map(lambda leaf, task=task: leaf[task], stacked), small_draws().of(small_draws().key[task]))
                assert largest_difference(tree_map(lambda leaf, task=task: leaf[task], together), alone) < 1e-10

    def test_draws_decide_everything(self, augmentation: Any, episodes: Tree) -> None:
        """Equal draws give equal numbers; arguments, settings and what all components share stay as they are."""
        settings = pickle.dumps(augmentation)
        for stacked, act in _acts(augmentation, episodes):
            kept = tree_map(torch.clone, stacked)
            with global_state_untouched():
                first, second = (_mapped(augmentation, act, stacked) for _ in range(2))
            assert identical({"x": first} if isinstance(first, Tensor) else first, {"x": second} if isinstance(second, Tensor) else second)
            assert largest_difference(stacked, kept) == 0
        assert pickle.dumps(augmentation) == settings

    def test_it_acts(self, augmentation: Any, episodes: Tree) -> None:
        """Some of 40 draws change something, unless it feeds generated samples back instead (``generated_share``)."""
        if getattr(augmentation, "generated_share", 0.0) > 0:
            return
        assert any(
            largest_difference(act(one, small_draws().of(torch.tensor(number))), one) > 0
            for stacked, act in _acts(augmentation, episodes, state=1.0)
            for one in [tree_map(lambda leaf: leaf[0], stacked)]
            for number in range(40)
        )

    def test_derivatives_go_through_a_view(self, augmentation: Any, episodes: Tree) -> None:
        """The generator learns through what the discriminator sees: equal to finite differences along a random direction."""
        if not hasattr(augmentation, "augment_view"):
            pytest.skip("it does not act on what the discriminator sees")
        x, draws = episodes["support"]["x"][0], small_draws().of(small_draws().key[0])
        direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)

        def view(x: Tensor) -> Tensor:
            seen: Tensor = augmentation.augment_view(x, _state(augmentation), draws)
            return seen.square().sum()

        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(view(leaf), leaf)
        h = 1e-5
        difference = (view(x + h * direction) - view(x - h * direction)) / (2 * h)
        assert torch.allclose((gradient * direction).sum(), difference, rtol=1e-6, atol=1e-8)

    def test_what_it_says_of_itself_is_there(self, augmentation: Any) -> None:
        """Rows of a suite carry a note where transforms leak into the generator, so ``leaks`` is a bool."""
        assert isinstance(augmentation.leaks, bool)
        assert 0 <= getattr(augmentation, "generated_share", 0.0) < 1


Act = Callable[[Any, Draws], Any]


def _acts(augmentation: Any, episodes: Tree, state: float | None = None) -> list[tuple[Tree, Act]]:
    """What each of its methods is given, stacked, and the method as a function of one task and its draws."""
    given = {"augment_task": episodes, "augment_support": episodes["support"], "augment_view": episodes["support"]["x"]}

    def bound(name: str) -> Act:
        method = getattr(augmentation, name)
        return (lambda x, draws: method(x, _state(augmentation, state), draws)) if name == "augment_view" else method

    return [(given[name], bound(name)) for name in ACTS if hasattr(augmentation, name)]


def _state(augmentation: Any, value: float | None = None) -> Tree:
    """Its initial state, all numbers of which are ``value`` where one is given: what acts only later then acts."""
    start = augmentation.start() if hasattr(augmentation, "start") else {}
    return start if value is None else tree_map(lambda leaf: torch.full_like(leaf, value), start)


def _mapped(augmentation: Any, act: Act, stacked: Tree) -> Tree:
    """``act`` of every task as the engine does it, whose errors name what cannot be vectorised and the cure."""
    draws = small_draws()
    engine = Engine(SmallGan(), PlainMaml(), vectorise=getattr(augmentation, "vectorised", True))
    return engine.map(type(augmentation).__name__, lambda tree, key: act(tree, draws.of(key)), stacked, draws.key)


def _shapes(tree: Tree) -> dict[Any, Any]:
    return {path: (leaf.shape, leaf.dtype) for path, leaf in leaves(tree)}
