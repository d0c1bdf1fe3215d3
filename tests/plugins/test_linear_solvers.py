"""Krylov solvers against dense solutions: several systems at once, none of them symmetric."""

import numpy as np
import pytest
import torch

from bench.testing import largest_difference
from bench.trees import tree_map
from bench_builtin.linear_solvers import LinearSystem, solve

SOLVERS = ("gmres", "bicgstab", "cgne")
SIZE = 6


def tree(rows):
    """(T, 6) as a tree of two players."""
    return {"generator": {"w": rows[:, :4].reshape(-1, 2, 2)}, "discriminator": {"b": rows[:, 4:]}}


def flat(leaves):
    return torch.cat([leaves["generator"]["w"].flatten(1), leaves["discriminator"]["b"]], 1)


def system_of(matrices):
    """(T, 6, 6) as products with trees."""
    return LinearSystem(
        times=lambda w: tree(torch.einsum("tij,tj->ti", matrices, flat(w))),
        transposed=lambda w: tree(torch.einsum("tij,ti->tj", matrices, flat(w))),
    )


def solved(matrices, right, solver, iterations):
    return flat(solve(system_of(matrices), tree(right), solver=solver, iterations=iterations))


def random_systems(tasks=5, shift=3.0):
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(tasks, SIZE, SIZE)) + shift * np.eye(SIZE)
    return torch.tensor(matrices), torch.tensor(rng.normal(size=(tasks, SIZE)))


def rotations(strength):
    """strength * I + K with an antisymmetric K: the Jacobian of a bilinear game, and its proximal term."""
    rng = np.random.default_rng(1)
    some = rng.normal(size=(3, SIZE, SIZE))
    return torch.tensor(some - some.transpose(0, 2, 1) + strength * np.eye(SIZE)), torch.tensor(rng.normal(size=(3, SIZE)))


def error(found, matrices, right):
    exact = np.linalg.solve(matrices.numpy(), right.numpy()[:, :, None])[:, :, 0]
    return float(np.linalg.norm(found.numpy() - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("iterations", [2 * SIZE, 40])
def test_random_systems_are_solved_and_stay_solved(solver, iterations):
    matrices, right = random_systems()
    assert error(solved(matrices, right, solver, iterations), matrices, right) < 1e-9


def test_gmres_needs_as_many_steps_as_there_are_unknowns():
    matrices, right = random_systems(shift=0.0)
    assert error(solved(matrices, right, "gmres", SIZE), matrices, right) < 1e-11
    assert error(solved(matrices, right, "gmres", SIZE - 1), matrices, right) > 1e-3


def test_gmres_has_the_least_residual_of_its_space():
    """Truth: least squares over span(b, A b, A^2 b), by NumPy."""
    matrices, right = random_systems()
    found = solved(matrices, right, "gmres", 3)
    for matrix, b, w in zip(matrices.numpy(), right.numpy(), found.numpy(), strict=True):
        space = np.stack([b, matrix @ b, matrix @ matrix @ b], 1)
        best = space @ np.linalg.lstsq(matrix @ space, b, rcond=None)[0]
        assert w == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_rotation_with_a_little_pull_is_solved(solver):
    matrices, right = rotations(0.5)
    assert error(solved(matrices, right, solver, 2 * SIZE), matrices, right) < 1e-8


def test_conjugate_gradients_would_not_solve_a_rotation():
    """Their step length divides by w^T A w = strength |w|^2, which does not see K at all."""
    matrices, right = rotations(0.5)
    solution, residual, way = torch.zeros_like(right), right, right
    errors = []
    for _ in range(SIZE):
        image = torch.einsum("tij,tj->ti", matrices, way)
        alpha = residual.square().sum(1, keepdim=True) / (way * image).sum(1, keepdim=True)
        after = residual - alpha * image
        beta = after.square().sum(1, keepdim=True) / residual.square().sum(1, keepdim=True)
        solution, residual, way = solution + alpha * way, after, after + beta * way
        errors.append(error(solution, matrices, right))
    assert min(errors) > 1
    assert error(solved(matrices, right, "gmres", SIZE), matrices, right) < 1e-12


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_right_hand_side_of_zero_has_the_solution_zero(solver):
    matrices, right = random_systems()
    assert not solved(matrices, torch.zeros_like(right), solver, 4).any()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_space_that_ends_early_holds_the_solution(solver):
    """b is an eigenvector: one step is enough, and what follows must not spoil it."""
    matrices = torch.diag_embed(torch.tensor([[2.0, 5.0, 1.0, 3.0, 4.0, 6.0]], dtype=torch.float64))
    right = torch.eye(SIZE, dtype=torch.float64)[1:2]
    assert torch.allclose(solved(matrices, right, solver, 8), right / 5, rtol=1e-14)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_pure_rotation_breaks_no_solver(solver):
    """b^T A b = 0 is a breakdown of BiCGSTAB: it gives up, finite; the others go on."""
    matrices, right = rotations(0.0)
    found = solved(matrices, right, solver, 3 * SIZE)
    assert torch.isfinite(found).all()
    if solver != "bicgstab":
        assert error(found, matrices, right) < 1e-6


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_beyond_use_spoil_their_own_task_only(solver, bad):
    matrices, right = random_systems()
    matrices[1, 2, 3] = bad
    found = solved(matrices, right, solver, 2 * SIZE)
    assert not torch.isfinite(found[1]).all()
    others = [0, 2, 3, 4]
    assert error(found[others], matrices[others], right[others]) < 1e-9


@pytest.mark.parametrize("solver", SOLVERS)
def test_tasks_do_not_see_each_other(solver):
    matrices, right = random_systems()
    together = solve(system_of(matrices), tree(right), solver=solver, iterations=4)
    alone = solve(system_of(matrices[2:3]), tree(right[2:3]), solver=solver, iterations=4)
    assert largest_difference(tree_map(lambda leaf: leaf[2:3], together), alone) < 1e-12
