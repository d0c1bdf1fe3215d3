"""What every inner optimiser owes its users."""

from __future__ import annotations

import pickle
from typing import Any

import torch

from bench.testing.contract import Contract, global_state_untouched
from bench.testing.derivatives import PlainMaml, identical, largest_difference, meta_gradient_error
from bench.testing.small_game import SmallGan
from bench.trees import Tree, leaves, tree_map

CURVATURE = {"weight": torch.tensor([[1.0, 2.0], [0.5, 4.0]], dtype=torch.float64), "bias": torch.tensor([3.0, 0.25], dtype=torch.float64)}
"""Of the quadratic bowl sum(c * x^2) / 2 that an optimiser is tried on, whose gradient at x is c * x."""


class InnerOptimiserContract(Contract):
    """What every inner optimiser owes its users. Give a fixture ``optimiser``."""

    def test_directions_have_the_shape_of_their_gradients(self, optimiser: Any) -> None:
        """Same names, shapes and dtypes, in float32 and float64; and the state keeps its own."""
        for dtype in (torch.float32, torch.float64):
            grads = tree_map(lambda leaf, dtype=dtype: leaf.to(dtype), CURVATURE)
            state = optimiser.start(grads)
            direction, after = optimiser.direction(grads, state, 0)
            assert _shapes(direction) == _shapes(grads)
            assert _shapes(after) == _shapes(state)

    def test_steps_go_down_a_bowl(self, optimiser: Any) -> None:
        """Twenty small steps from (1, ..., 1) lower sum(c * x^2) / 2."""
        at = tree_map(torch.ones_like, CURVATURE)
        before, state = _height(at), optimiser.start(at)
        for step in range(20):
            direction, state = optimiser.direction(tree_map(torch.mul, CURVATURE, at), state, step)
            at = tree_map(lambda x, move: x - 0.01 * move, at, direction)
        assert _height(at) < before

    def test_a_gradient_of_zero_is_no_trouble(self, optimiser: Any) -> None:
        """A dead unit's gradient is exactly 0: its direction is finite, and so is what is differentiated through it."""
        zeros = tree_map(lambda leaf: torch.zeros_like(leaf).requires_grad_(), CURVATURE)
        direction, _ = optimiser.direction(zeros, optimiser.start(zeros), 0)
        total = sum(leaf.sum() for _, leaf in leaves(direction))
        assert isinstance(total, torch.Tensor)
        pulled = torch.autograd.grad(total, [leaf for _, leaf in leaves(zeros)], allow_unused=True) if total.requires_grad else ()
        assert all(torch.isfinite(leaf).all() for _, leaf in leaves(direction))
        assert all(torch.isfinite(leaf).all() for leaf in pulled if leaf is not None)

    def test_stacked_and_alone_it_is_the_same(self, optimiser: Any) -> None:
        """Tasks do not see each other, and one that has gone wrong harms no other."""
        tasks = 4
        grads = tree_map(lambda leaf: torch.stack([(task + 1) * leaf for task in range(tasks)]), CURVATURE)
        grads["bias"][0] = torch.nan

        def two_steps(grads: Tree) -> Tree:
            direction, state = optimiser.direction(grads, optimiser.start(grads), 0)
            return optimiser.direction(tree_map(torch.add, grads, direction), state, 1)[0]

        stacked = torch.vmap(two_steps)(grads)
        for task in range(1, tasks):
            alone = two_steps(tree_map(lambda leaf, task=task: leaf[task], grads))
            assert largest_difference(tree_map(lambda leaf, task=task: leaf[task], stacked), alone) < 1e-12

    def test_meta_gradient_through_a_step_equals_finite_differences(self, optimiser: Any) -> None:
        """Second-order meta-learning differentiates through direction and state."""
        error = meta_gradient_error(PlainMaml(optimiser, inner_lr=0.05), SmallGan())
        assert error is not None
        assert error < 1e-5

    def test_it_is_nothing_but_its_settings(self, optimiser: Any) -> None:
        """State lives in what it returns; arguments and what all components share are left alone."""
        settings, grads = pickle.dumps(optimiser), tree_map(torch.clone, CURVATURE)
        with global_state_untouched():
            state = optimiser.start(grads)
            kept = tree_map(torch.clone, state)
            first, second = (optimiser.direction(grads, state, 0) for _ in range(2))
        assert pickle.dumps(optimiser) == settings
        assert identical(grads, CURVATURE)
        assert identical(state, kept)
        assert identical(first[0], second[0])
        assert identical(first[1], second[1])


def _shapes(tree: Tree) -> dict[Any, Any]:
    return {path: (leaf.shape, leaf.dtype) for path, leaf in leaves(tree)}


def _height(at: Tree) -> float:
    return sum(float((c * x.square()).sum() / 2) for (_, c), (_, x) in zip(leaves(CURVATURE), leaves(at), strict=True))
