"""Meta-learning without memorisation: noise and a Kullback-Leibler price on what tasks share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from bench.contracts import ContractError, Game, LayerCall, Tree, tree_map
from bench_builtin.regularisers.layers import inverse_softplus, kernel_layers, kernels, zeros_beside

if TYPE_CHECKING:
    from bench.contracts import Draws, Engine

PAPER_BETA = {"weights": 5e-5, "activations": 5.0}
"""Of the authors' sinusoids."""


class MrMaml:
    """Meta-regularisation: what tasks share may tell a task's answer only at a price, so adaptation has to (MR-MAML).

    Form "weights": each entry w of the matrices and kernels that no task adapts becomes N(w, sigma^2), drawn anew at every forward
    pass of every task in meta-training, and beta * sum KL(N(w, sigma^2) || N(0, 1)) joins the meta-objective once per outer step;
    biases and gains stay as they are. Form "activations": the output m(x) of a layer that tasks share becomes m(x) + s(x) eps with
    s = softplus(a linear map of the layer's inputs), eps anew for every point and pass, and where the query is judged
    beta * mean KL(N(m, s^2) || N(0, 1)), over points and units, joins the player's loss; a discriminator passes reals and fakes, and
    pays for both. At meta-test there is no noise in either form.

    It needs a learner that shares some of its parameters among tasks, such as ANIL.

    Args:
        form: what is made noisy.
        beta: price of information; None: the authors' for sinusoids, 5e-5 (weights) or 5 (activations).
        sigma: standard deviation of the noise before the first outer step.
        learn_sigma: learn it, per entry (weights) or as a function of the layer's inputs (activations). The authors' code for
            weights leaves it at 1e-7, so that what acts is L2 decay alone.
        layer: pattern of ``player.layer``, a layer that tasks share and whose outputs become noisy; None: in each player the last one
            that stands before a layer which adapts. Activations only.

    Source: Yin et al., 2020, https://arxiv.org/abs/1912.03820, sections 4.1 (activations) and 4.2 (weights).
    """

    needs_objective: ClassVar[bool] = True

    def __init__(
        self,
        *,
        form: Literal["weights", "activations"] = "weights",
        beta: Annotated[float, Field(ge=0)] | None = None,
        sigma: Annotated[float, Field(gt=0)] = 0.05,
        learn_sigma: bool = True,
        layer: str | None = None,
    ) -> None:
        if layer is not None and form == "weights":
            raise ContractError(f"mr-maml: layer {layer!r} says whose activations are noisy; set form: activations, or leave it out")
        self.form, self.sigma, self.learn_sigma, self.layer = form, sigma, learn_sigma, layer
        self.beta = PAPER_BETA[form] if beta is None else beta

    def init(self, rng: torch.Generator, game: Game, meta: Tree) -> Tree:
        """Logarithm of sigma for each entry, or the maps that give standard deviations.

        Raises:
            ContractError: the learner shares nothing that could be made noisy.
        """
        if self.form == "activations":
            chosen = self.layers(game, meta)
            own = {player: {name: zeros_beside(kernel_layers(game.modules[player])[name]) for name in chosen[player]} for player in chosen}
            return own if self.learn_sigma else {}
        shared = kernels(meta.get("shared", {}))
        if not shared:
            raise ContractError(
                "mr-maml regularises weights that tasks share, and this meta-learner adapts all of them (or shares only biases); "
                "use anil or boil, or leave some of them out of the learner's `adapts`"
            )
        return tree_map(lambda weight: torch.full_like(weight, math.log(self.sigma)), shared) if self.learn_sigma else {}

    # ---- weights
    def perturb(self, own: Tree, meta: Tree, weights: Tree, draws: Draws) -> Tree:
        if self.form == "activations":
            return weights
        noisy = {
            player: {
                name: weights[player][name] + sigma * draws.at(player).normal(name, tuple(sigma.shape)) for name, sigma in sigmas.items()
            }
            for player, sigmas in self._sigmas(own, meta).items()
        }
        return {player: {**mine, **noisy.get(player, {})} for player, mine in weights.items()}

    def term(self, own: Tree, meta: Tree, game: Engine, episodes: Tree, draws: Draws) -> dict[str, Tensor]:
        if self.form == "activations":
            return {}
        prices = tree_map(lambda sigma, mean: divergence(mean, sigma).sum(), self._sigmas(own, meta), meta["shared"])
        return {player: self.beta * torch.stack(list(mine.values())).sum() for player, mine in prices.items()}

    def _sigmas(self, own: Tree, meta: Tree) -> Tree:
        """Standard deviation of each noisy entry, {player: {name: tensor}}."""
        if self.learn_sigma:
            return tree_map(torch.exp, own)
        return tree_map(lambda mean: torch.full_like(mean, self.sigma), kernels(meta["shared"]))

    # ---- activations
    def layers(self, game: Game, meta: Tree) -> Mapping[str, Sequence[str]]:
        """The bottleneck of each player.

        Raises:
            ContractError: no player has one.
        """
        if self.form == "weights":
            return {}
        found, known = {}, []
        for player, module in game.modules.items():
            free = meta.get("shared", {}).get(player, {})
            every = kernel_layers(module)
            shared = [name for name, layer in every.items() if all(f"{name}.{own}" in free for own in zeros_beside(layer))]
            last_adapted = max((place for place, name in enumerate(every) if name not in shared), default=0)
            if self.layer is None:
                chosen = [name for name in list(every)[:last_adapted] if name in shared][-1:]
            else:
                chosen = [name for name in shared if fnmatch(f"{player}.{name}", self.layer)]
            if chosen:
                found[player] = chosen
            known += [f"{player}.{name}" for name in shared]
        if not found:
            sought = "none of them stands before a layer which adapts" if self.layer is None else f"none of them is called {self.layer!r}"
            raise ContractError(
                f"mr-maml makes the output of a layer noisy that tasks share; {sought}; shared are {', '.join(known) or 'none'}; "
                "use anil, or choose with the learner's `adapts` and with `layer`"
            )
        return found

    def activation(self, own: Tree, call: LayerCall, draws: Draws) -> tuple[Tensor, Tensor | None]:
        if not call.training:
            return call.output, None
        sigma = torch.full_like(call.output, self.sigma)
        if self.learn_sigma:
            sigma = softplus(call.run(own[call.player][call.layer], call.inputs) + inverse_softplus(self.sigma))
        noisy = call.output + sigma * draws.normal("noise", tuple(sigma.shape))
        return noisy, None if call.adapting else self.beta * divergence(call.output, sigma).mean()


def divergence(mean: Tensor, sigma: Tensor) -> Tensor:
    """KL(N(mean, sigma^2) || N(0, 1)) = (sigma^2 + mean^2 - 1) / 2 - ln sigma, entry by entry."""
    return (sigma.square() + mean.square() - 1) / 2 - sigma.log()
