"""Krylov solvers of A w = b for Jacobians of games, which are not symmetric: conjugate gradients would be wrong.

T systems are solved at once, on trees of [T, ...]. No solver raises or branches on numbers: a breakdown ends a task's iterations
where they stand, and a NaN stays a NaN of its task.
Shape suffixes: T tasks, N unknowns of a task, M Krylov vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.contracts import Tree, leaves, rebuild

Solver = Literal["gmres", "bicgstab", "cgne"]
Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LinearSystem:
    """A square matrix per task, known by its products with trees of [T, ...].

    Attributes:
        times: w -> A w.
        transposed: w -> A^T w; only "cgne" asks for it.
    """

    times: Callable[[Tree], Tree]
    transposed: Callable[[Tree], Tree]


def solve(system: LinearSystem, right: Tree, *, solver: Solver, iterations: int) -> Tree:
    """The w of each task with A w close to ``right``, after ``iterations`` steps from 0; a tree like ``right``.

    Exact to rounding after N steps of "gmres" for any regular A. Where A is singular the result is finite, and no solution.

    Args:
        system: the matrices.
        right: b, a tree of [T, ...].
        solver: "gmres": least residual over the Krylov space, keeps all its vectors (Saad & Schultz, 1986); "bicgstab": short
            recurrences, two products a step (van der Vorst, 1992); "cgne": conjugate gradients on A^T A w = A^T b, a product with A
            and one with A^T a step, slow where A is ill-conditioned (Hestenes & Stiefel, 1952, section 10).
        iterations: steps.
    """
    sizes = [leaf[0].numel() for _, leaf in leaves(right)]

    def rows(tree: Tree) -> Tensor:
        return torch.cat([leaf.flatten(1) for _, leaf in leaves(tree)], 1)

    def times(rows_TN: Tensor) -> Tensor:
        return rows(system.times(tree(rows_TN)))

    def transposed(rows_TN: Tensor) -> Tensor:
        return rows(system.transposed(tree(rows_TN)))

    def tree(rows_TN: Tensor) -> Tree:
        parts = zip(torch.split(rows_TN, sizes, 1), leaves(right), strict=True)  # type: ignore[no-untyped-call]
        return rebuild(right, (part.reshape(like.shape) for part, (_, like) in parts))

    return tree(_SOLVERS[solver](times, transposed, rows(right), iterations))


def _gmres(times: Product, transposed: Product, right_TN: Tensor, iterations: int) -> Tensor:
    """Arnoldi's basis V with A V_M = V_{M+1} H, then the least |H y - |b| e_1|."""
    steps = min(iterations, right_TN.shape[1])
    length = _norm(right_TN)
    basis, columns = [_ratio(right_TN, length)], []
    for step in range(steps):
        image = times(basis[-1])
        before, column = _norm(image), right_TN.new_zeros(len(right_TN), steps + 1)
        for _ in range(2):  # twice is enough: one pass of Gram-Schmidt leaves what rounding has spoilt
            known_TMN = torch.stack(basis, 1)
            shares_TM = torch.einsum("tmn,tn->tm", known_TMN, image)
            image = image - torch.einsum("tmn,tm->tn", known_TMN, shares_TM)
            column = column + torch.nn.functional.pad(shares_TM, (0, steps - step))
        height = _norm(image)
        # A space that A maps into itself holds the solution: what is left is rounding, and must not become a direction.
        height = torch.where(height <= 10 * torch.finfo(height.dtype).eps * before, 0.0, height)
        basis.append(_ratio(image, height))
        columns.append(torch.cat([column[:, : step + 1], height, column[:, step + 2 :]], 1))
    hessenberg = torch.stack(columns, 2)
    q, r = torch.linalg.qr(hessenberg)
    # Columns after the end of a space are 0 and weigh nothing, whatever their diagonal; it only must not divide by 0.
    regular = r + torch.diag_embed((r.diagonal(dim1=1, dim2=2) == 0).to(r.dtype))
    weights = torch.linalg.solve_triangular(regular, length[:, :, None] * q[:, :1].mT, upper=True)
    return torch.einsum("tmn,tm->tn", torch.stack(basis[:-1], 1), weights[:, :, 0])


def _bicgstab(times: Product, transposed: Product, right_TN: Tensor, iterations: int) -> Tensor:
    solution, residual, shadow, way = torch.zeros_like(right_TN), right_TN, right_TN, right_TN
    rho, enough = _dot(shadow, residual), torch.finfo(right_TN.dtype).eps * _norm(right_TN)
    done = torch.zeros_like(rho, dtype=torch.bool)
    for _ in range(iterations):
        image = times(way)
        alpha = _ratio(rho, _dot(shadow, image))
        halfway = residual - alpha * image
        turned = times(halfway)
        omega = _ratio(_dot(turned, halfway), _dot(turned, turned))
        residual = halfway - omega * turned
        solution = torch.where(done, solution, solution + alpha * way + omega * halfway)
        done = done | (_norm(residual) <= enough)  # later steps would divide rounding by rounding
        after = _dot(shadow, residual)
        way = residual + _ratio(after, rho) * _ratio(alpha, omega) * (way - omega * image)
        rho = after
    return solution


def _cgne(times: Product, transposed: Product, right_TN: Tensor, iterations: int) -> Tensor:
    solution, residual = torch.zeros_like(right_TN), right_TN
    slope = way = transposed(residual)
    square = _dot(slope, slope)
    for _ in range(iterations):
        image = times(way)
        alpha = _ratio(square, _dot(image, image))
        solution, residual = solution + alpha * way, residual - alpha * image
        slope = transposed(residual)
        after = _dot(slope, slope)
        way, square = slope + _ratio(after, square) * way, after
    return solution


def _dot(one_TN: Tensor, other_TN: Tensor) -> Tensor:
    return (one_TN * other_TN).sum(1, keepdim=True)


def _norm(rows_TN: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(rows_TN, dim=1, keepdim=True)
    return norm


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """``above / below``, and 0 where ``below`` is 0: a step that isn't taken."""
    nothing = below == 0
    return torch.where(nothing, 0.0, above / torch.where(nothing, 1.0, below))


_SOLVERS: Mapping[Solver, Callable[[Product, Product, Tensor, int], Tensor]] = {"gmres": _gmres, "bicgstab": _bicgstab, "cgne": _cgne}
