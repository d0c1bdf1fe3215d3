"""Task-agnostic meta-learning: a start that favours no task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.contracts import ContractError, Tree

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine

Measure = Literal["theil", "generalised-entropy", "gini", "atkinson", "variance-of-logs", "variance"]


class Taml:
    """weight * I(L_1(theta), ..., L_n(theta)) joins each player's meta-objective: its losses before adaptation shall be equal.

    I is an inequality over the tasks of an outer step. All measures but "variance" do not change when every loss is scaled, and are
    defined for positive losses only: not for Wasserstein losses, for the generator's hinge and minimax losses, or for losses that
    have reached 0.

    Args:
        weight: of the inequality.
        measure: which one, see :func:`inequality`.
        sensitivity: alpha of the generalised entropy (1 is Theil's index), or epsilon of Atkinson's index.
        part: the samples of a task on which its initial loss is taken: the support, as adaptation does, or the query.

    Source: Jamal & Qi, 2019, https://arxiv.org/abs/1805.07722, section 3.2 (inequality-minimisation TAML).
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(gt=0)] = 1.0,
        measure: Measure = "theil",
        sensitivity: Annotated[float, Field(ge=0)] = 0.5,
        part: Literal["support", "query"] = "support",
    ) -> None:
        self.weight, self.measure, self.sensitivity, self.part = weight, measure, sensitivity, part

    def term(self, own: Tree, meta: Tree, game: Engine, episodes: Tree, draws: Draws) -> dict[str, Tensor]:
        """One inequality per player.

        Raises:
            ContractError: the measure is for positive losses, and a loss is not.
        """
        start = game.begin(meta, episodes["support"], draws)
        losses, _ = game.losses(meta, start.params, episodes[self.part], start.state, draws.at("initial"))
        for player, loss_T in losses.items():
            if self.measure != "variance" and bool((loss_T <= 0).any()):  # a NaN passes: the trial has diverged, and says so itself
                raise ContractError(
                    f"taml: {self.measure} is defined for losses above 0, and the {player}'s initial loss on a task is "
                    f"{float(loss_T.detach().min()):.3g}; use measure: variance, or a positive GAN loss (non-saturating, least-squares)"
                )
        return {player: self.weight * inequality(self.measure, loss_T, self.sensitivity) for player, loss_T in losses.items()}


def inequality(measure: Measure, x_T: Tensor, sensitivity: float) -> Tensor:
    """Inequality of T positive numbers, 0 where they are equal.

    With r = x / mean(x): theil mean(r ln r); generalised-entropy mean(r^alpha - 1) / (alpha (alpha - 1)), with its limits mean(-ln r)
    at alpha = 0 and Theil's index at 1; gini mean over pairs |r_i - r_j| / 2; atkinson 1 - mean(r^(1 - eps))^(1 / (1 - eps)), with the
    limit 1 - exp(mean ln r) at eps = 1; variance-of-logs and variance with divisor T.

    Source: Cowell, Measuring Inequality, 3rd edition, 2011, appendix A.
    """
    if measure == "variance":
        return x_T.var(correction=0)
    return _INEQUALITIES[measure](x_T / x_T.mean(), sensitivity)


def _theil(r: Tensor, sensitivity: float) -> Tensor:
    return torch.xlogy(r, r).mean()


def _generalised_entropy(r: Tensor, alpha: float) -> Tensor:
    if alpha == 0:
        return -r.log().mean()
    return _theil(r, alpha) if alpha == 1 else (r.pow(alpha) - 1).mean() / (alpha * (alpha - 1))


def _gini(r: Tensor, sensitivity: float) -> Tensor:
    return (r[:, None] - r).abs().mean() / 2


def _atkinson(r: Tensor, epsilon: float) -> Tensor:
    return 1 - (r.log().mean().exp() if epsilon == 1 else r.pow(1 - epsilon).mean().pow(1 / (1 - epsilon)))


def _variance_of_logs(r: Tensor, sensitivity: float) -> Tensor:
    return r.log().var(correction=0)


_INEQUALITIES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "theil": _theil,
    "generalised-entropy": _generalised_entropy,
    "gini": _gini,
    "atkinson": _atkinson,
    "variance-of-logs": _variance_of_logs,
}
